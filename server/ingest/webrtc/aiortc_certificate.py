"""Gives an aiortc connection a certificate that also talks to senders whose own is RSA, and that tells alerts.

aiortc offers ECDSA ciphers only, and where it is the DTLS client, which it is by default, it is the *sender's*
certificate that chooses: GStreamer's is RSA. Fits aiortc 1.16; with any other the connection stays as it is, and one
warning says so.
"""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any

from aiortc import RTCCertificate, RTCConfiguration, RTCPeerConnection
from aiortc.rtcdtlstransport import SRTP_PROFILES
from OpenSSL import SSL

logger = logging.getLogger("defectvision.webrtc")

FITS = "1.16"
CERTIFICATES = "_RTCPeerConnection__certificates"
CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:"
    b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"
)
"""aiortc's own, then the two that a sender with an RSA certificate can use."""

MAX_ALERTS = 4

ALERTS = {
    10: "unexpected message",
    20: "bad record",
    40: "no cipher or curve in common",
    42: "bad certificate",
    43: "unsupported certificate",
    46: "certificate unknown",
    48: "unknown authority",
    50: "decode error",
    51: "decrypt error",
    70: "no protocol version in common",
    71: "insufficient security",
    80: "internal error",
}
"""The fatal ones of RFC 8446 that a handshake ends with."""


class Certificate(RTCCertificate):  # type: ignore[misc]  # aiortc has no types
    """An ordinary aiortc certificate; its connections speak more ciphers.

    Attributes:
        alerts: what went wrong in its handshakes, in words, at most :data:`MAX_ALERTS`.
    """

    def __init__(self, key: Any, cert: Any) -> None:
        super().__init__(key, cert)
        self.alerts: list[str] = []

    def _create_ssl_context(self, srtp_profiles: list[Any]) -> SSL.Context:
        context: SSL.Context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(CIPHERS)
        context.set_info_callback(self._note_alert)
        return context

    def _note_alert(self, connection: SSL.Connection, where: int, value: int) -> None:
        level, code = value >> 8, value & 0xFF
        if where & SSL.SSL_CB_ALERT and level == 2 and len(self.alerts) < MAX_ALERTS:
            by = "the sender says" if where & SSL.SSL_CB_READ else "we say"
            self.alerts.append(f"{by}: {ALERTS.get(code, 'handshake failure')} (alert {code})")


def misfit(installed: str, connection: object) -> str | None:
    """Why an aiortc version and a connection of it cannot be adapted; ``None`` when they can."""
    if installed.split(".")[:2] != FITS.split("."):
        return f"aiortc {installed} is installed, made for {FITS}"
    certificates = getattr(connection, CERTIFICATES, None)
    if not (isinstance(certificates, list) and len(certificates) == 1 and isinstance(certificates[0], RTCCertificate)):
        return f"RTCPeerConnection.{CERTIFICATES} does not hold one RTCCertificate"
    # What cannot be made fails here, where it is told, and not with the first sender.
    Certificate.generateCertificate()._create_ssl_context(SRTP_PROFILES)
    return None


def _check() -> str | None:
    try:
        return misfit(version("aiortc"), RTCPeerConnection(RTCConfiguration(iceServers=[])))
    except Exception as error:  # whatever another aiortc raises here, the stock connection still works
        return f"{type(error).__name__}: {error}"


MISFIT = _check()
"""Why the installed aiortc is left as it is, or ``None``."""

if MISFIT is not None:
    logger.warning("WebRTC senders with RSA certificates (GStreamer) cannot connect: %s", MISFIT)


def adapt(connection: RTCPeerConnection) -> list[str]:
    """Give a new connection, before it has any transport, a certificate of its own that speaks all ciphers.

    Returns:
        a list that will hold what its handshake failed of, in words; it stays empty where aiortc does not fit.
    """
    if MISFIT is not None:
        return []
    certificate = Certificate.generateCertificate()
    setattr(connection, CERTIFICATES, [certificate])
    alerts: list[str] = certificate.alerts
    return alerts
