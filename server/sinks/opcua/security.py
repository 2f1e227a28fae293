"""Who this server is, and who may come in. Only in the process that serves."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server.ground import private_file

VALID_FOR = timedelta(days=10 * 365)
RENEWED_BEFORE = timedelta(days=30)
OWN = "own.der"
"""The server's certificate, for clients that want it as a file."""
KEY = "own.key"
TRUSTED, REJECTED = "trusted", "rejected"
MOST_REJECTED = 20
"""Certificates that are kept so that an operator can move them over; the newest."""
MOST_TRUSTED = 500
LARGEST = 20_000
"""Bytes of a certificate."""


@dataclass(frozen=True)
class Identity:
    """``certificate``: DER; ``key``: PEM."""

    certificate: bytes
    key: bytes

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.certificate).hexdigest()


def identity(folder: Path, uri: str, name: str) -> Identity:
    """The certificate that lies in the folder, or a new one where there is none that can be used.

    Args:
        uri: of the application, which the certificate has to name.

    Raises:
        OSError: the folder cannot be read or written.
    """
    private_file.make_folder(folder)
    for one in (TRUSTED, REJECTED):
        private_file.make_folder(folder / one)
    try:
        kept = Identity((folder / OWN).read_bytes(), (folder / KEY).read_bytes())
        if _is_good(kept, uri):
            return kept
    except FileNotFoundError:
        pass
    made = make_identity(uri, name, _names())
    private_file.write(folder / KEY, made.key)
    private_file.write(folder / OWN, made.certificate)
    return made


def make_identity(uri: str, name: str, names: list[str]) -> Identity:
    """A key of 2048 bits, and a certificate that it signs itself, as OPC 10000-6 wants applications to have one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(public, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(public), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=True,
                key_encipherment=True,
                data_encipherment=True,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), *map(_general, names)]), critical=False
        )
    )
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(certificate, pem)


class Users:
    """The one user there is, or anybody where none is set; asked by asyncua.

    Attributes:
        refused: logins that were not let in.
    """

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self.refused = 0

    @property
    def tokens(self) -> list[Any]:
        return [ua.UserNameIdentityToken] if self._user else [ua.AnonymousIdentityToken]

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        if not self._user:
            return User(role=UserRole.User)
        given = hmac.compare_digest((username or "").encode(), self._user.encode())
        right = hmac.compare_digest((password or "").encode(), self._password.encode())
        if given and right:
            return User(role=UserRole.User, name=self._user)
        self.refused += 1
        return None


class Trust:
    """Which applications may open a session.

    Args:
        listed_only: whether only those whose certificate lies in the folder ``trusted``; others are put into
            ``rejected``, from where an operator may move them.
        own: DER of this server's certificate, which it trusts itself.

    Attributes:
        untrusted: sessions that were refused.
    """

    def __init__(self, folder: Path, own: bytes, *, listed_only: bool) -> None:
        self._folder, self._own, self._listed_only = folder, own, listed_only
        self.untrusted = 0

    async def validate(self, certificate: x509.Certificate, application: Any) -> None:
        """Asked by asyncua once for each session. Raises ServiceError."""
        der = certificate.public_bytes(serialization.Encoding.DER)
        now = datetime.now(UTC)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            self.untrusted += 1
            raise ServiceError(ua.StatusCodes.BadCertificateTimeInvalid)
        if not self._listed_only or der == self._own or der in self._trusted():
            return
        self.untrusted += 1
        self._keep(der)
        raise ServiceError(ua.StatusCodes.BadCertificateUntrusted)

    def _trusted(self) -> set[bytes]:
        found = set()
        for path in sorted((self._folder / TRUSTED).iterdir())[:MOST_TRUSTED]:
            try:
                if path.stat().st_size <= LARGEST:
                    found.add(_der(path.read_bytes()))
            except (OSError, ValueError):
                continue
        return found

    def _keep(self, der: bytes) -> None:
        """For the operator; what cannot be kept is refused all the same."""
        if len(der) > LARGEST:
            return
        folder = self._folder / REJECTED
        try:
            private_file.write(folder / f"{hashlib.sha256(der).hexdigest()[:40]}.der", der)
            kept = sorted(folder.glob("*.der"), key=lambda path: path.stat().st_mtime)
            for path in kept[:-MOST_REJECTED]:
                path.unlink(missing_ok=True)
        except OSError:
            return


def _der(data: bytes) -> bytes:
    if data.lstrip().startswith(b"-----BEGIN"):
        return x509.load_pem_x509_certificate(data).public_bytes(serialization.Encoding.DER)
    return data


def _is_good(kept: Identity, uri: str) -> bool:
    try:
        certificate = x509.load_der_x509_certificate(kept.certificate)
        key = serialization.load_pem_private_key(kept.key, None)
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return False
    uris = named.get_values_for_type(x509.UniformResourceIdentifier)
    in_time = datetime.now(UTC) < certificate.not_valid_after_utc - RENEWED_BEFORE
    return key.public_key() == certificate.public_key() and uri in uris and in_time


def _names() -> list[str]:
    """Of this machine: a client that checks them wants the one it came by; no name service is asked."""
    own = socket.gethostname()
    return [*dict.fromkeys([*([own] if own.isascii() and own else []), "localhost", "127.0.0.1"])]


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
