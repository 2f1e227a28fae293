"""https for phones: a certificate authority of this machine's own, and the certificate it signs."""

from server.https.certificates import (
    CertificateError,
    Certificates,
    Fresh,
    InService,
    ca_der,
    check_own,
    ensure,
    outlook,
)

__all__ = ["CertificateError", "Certificates", "Fresh", "InService", "ca_der", "check_own", "ensure", "outlook"]
