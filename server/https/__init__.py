"""https for phones: a certificate authority of this machine's own, and the certificate it signs."""

from server.https.certificates import CertificateError, Certificates, ca_der, check_own, ensure, keep_fresh

__all__ = ["CertificateError", "Certificates", "ca_der", "check_own", "ensure", "keep_fresh"]
