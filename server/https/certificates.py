"""HTTPS without a public certificate: phones open their camera only for a secure page.

``DATA_DIR/certificates`` holds a small certificate authority (see :mod:`server.https.authority`) and a server
certificate from it. A phone installs the authority once and then trusts this machine under every name and
address it has, also after renewals.

A server that runs for months picks up a renewed certificate without a restart, because an
:class:`ssl.SSLContext` in service may load a certificate again::

    made = ensure(folder, network_address.names())
    config = uvicorn.Config(app, ssl_certfile=made.cert_path, ssl_keyfile=made.key_path)
    config.load()
    fresh = Fresh(config.ssl, InService(made), lambda: ensure(folder, network_address.names()))
    task = asyncio.create_task(fresh.keep())
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from detector.files import set_aside, write_atomically
from server.ground import private_file
from server.https import authority, pair_file

CA_FILE = "authority.crt"
AUTHORITY, SERVER = "authority.pem", "server.pem"
"""Each a key with its certificate."""

_log = logging.getLogger("defectvision.https")

_Parsed = TypeVar("_Parsed")


class CertificateError(Exception):
    """A certificate that cannot be made or used; one sentence for the operator."""


@dataclass(frozen=True)
class Certificates:
    """What a server needs to speak TLS, and what its operator needs to know about it."""

    cert_path: Path
    """PEM, for ``ssl_certfile``."""
    key_path: Path
    """PEM, for ``ssl_keyfile``; the same file as `cert_path` when it was made here."""
    ca_path: Path | None
    """The authority's certificate, PEM, for phones to install; None with the operator's own certificate."""
    fingerprint: str
    """SHA-256 of the authority (or the operator's own certificate) as phones show it: ``AB:CD:…``."""
    serial: int
    """Serial number of the server certificate; a renewed one has another."""
    expires: datetime
    """When the server certificate expires, UTC."""
    names: tuple[str, ...] = ()
    """Host names and addresses that the server certificate is of."""
    warnings: tuple[str, ...] = ()
    """Sentences for the operator, e.g. that phones must install a new authority."""


@dataclass
class InService:
    """What a running server speaks TLS with now: :class:`Fresh` puts there what it renews."""

    certificates: Certificates


@dataclass(frozen=True)
class Outlook:
    """What :func:`ensure` will find, and do."""

    expires: datetime | None
    """Of the server certificate that is there, UTC; None where none can be used, and one is made."""
    is_due: bool
    """Whether another one is made in its place."""
    is_believable: bool
    """Whether this machine's clock shows a time at which the authority is valid; otherwise `warnings` says so."""
    warnings: tuple[str, ...] = ()
    """Sentences for the operator, of what stays so."""


def ensure(folder: Path, names: Sequence[str], now: datetime | None = None) -> Certificates:
    """Make what is missing in `folder`, renew what is due, and leave alone what is good.

    The server certificate is made anew 30 days before it expires and when it lacks one of `names`. The
    authority is made anew only when it is missing or damaged beyond mending; `warnings` then says so, because
    every phone has to install it again. Damaged files are set aside under another name.

    The clock alone replaces no authority: where it shows a time at which that is not valid, `warnings` says so, and a
    server certificate is made for the time of the last one.

    Args:
        folder: Where to keep them, ``DATA_DIR/certificates``; made with mode 0700, private keys with 0600.
        names: Host names and addresses this server answers to, see :func:`server.ground.network_address.names`.
        now: For tests; with a time zone.

    Raises:
        CertificateError: The folder cannot be read or written, or `names` holds nothing a browser could ask
            for.
    """
    now = now or datetime.now(UTC)
    try:
        private_file.make_folder(folder)
        return _ensure(folder, names, now)
    except OSError as error:
        raise CertificateError(
            f"cannot keep certificates in {folder} ({error.strerror or error}): "
            "let this user write there, or set DATA_DIR to a folder it may write"
        ) from error


def outlook(folder: Path, names: Sequence[str], now: datetime | None = None) -> Outlook:
    """What :func:`ensure` will find in `folder`; only looked at.

    Args:
        now: For tests; with a time zone.

    Raises:
        CertificateError: The folder cannot be read.
    """
    now = now or datetime.now(UTC)
    try:
        pair, server = (_only_read(folder / name) for name in (AUTHORITY, SERVER))
    except OSError as error:
        raise CertificateError(f"{folder} cannot be read ({error.strerror}): let this user read it") from error
    if pair is None or server is None or not authority.is_issued_by(server.certificate, pair.certificate):
        return Outlook(None, True, True)
    ca, warnings = pair.certificate, list[str]()
    wanted = _vouched_for(ca, authority.parse_names(names), folder, warnings)
    time = _believable(now, ca, server, folder, warnings)
    due = authority.is_due(server.certificate, ca, wanted, time)
    return Outlook(server.certificate.not_valid_after_utc, due, time == now, tuple(warnings))


def check_own(cert_path: Path, key_path: Path, now: datetime | None = None) -> Certificates:
    """Check the operator's own certificate and private key before a server starts with them.

    Args:
        cert_path: PEM, the server's own certificate first, then those between it and its authority.
        key_path: PEM, without a password.
        now: For tests; with a time zone.

    Raises:
        CertificateError: A file is missing, unreadable, not PEM or password-protected; the two do not belong
            together; the certificate has expired or is not valid yet; TLS refuses it (e.g. a 1024-bit key).
    """
    now = now or datetime.now(UTC)
    leaf = _read(cert_path, x509.load_pem_x509_certificates)[0]
    key = _read(key_path, pair_file.load_open_key)
    if leaf.public_key() != key.public_key():
        raise CertificateError(
            f"{key_path} is not the private key of {cert_path}: "
            "give two files that belong together, the server's own certificate first in its file"
        )
    if now >= leaf.not_valid_after_utc:
        raise CertificateError(f"{cert_path} expired on {leaf.not_valid_after_utc:%Y-%m-%d}: get a new one")
    if now < leaf.not_valid_before_utc:
        starts = f"{leaf.not_valid_before_utc:%Y-%m-%d}"
        raise CertificateError(f"{cert_path} is not valid before {starts}: check this machine's clock")
    try:
        # A context of its own: the one in service must never hold half of a bad pair.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_path, key_path)
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"TLS cannot use {cert_path} ({error}): get another certificate") from error
    warnings = []
    if now >= leaf.not_valid_after_utc - authority.RENEW_BEFORE:
        warnings.append(f"{cert_path} expires on {leaf.not_valid_after_utc:%Y-%m-%d}: renew it soon.")
    if not authority.names_of(leaf):
        warnings.append(f"{cert_path} has no subject alternative names: browsers will not accept it.")
    return _described(leaf, leaf, cert_path, key_path, None, warnings)


def ca_der(ca_path: Path) -> bytes:
    """The authority's certificate for download at ``/ca``: DER, ``application/x-x509-ca-cert``.

    Raises:
        CertificateError: The file is missing or damaged.
    """
    return _read(ca_path, x509.load_pem_x509_certificate).public_bytes(serialization.Encoding.DER)


class Fresh:
    """Keeps a running server's certificate valid.

    Every ten minutes rather than every day, because the router may hand this machine another address at any
    time. A check that finds nothing to do takes about a millisecond, in a thread.

    Args:
        context: The server's own: ``uvicorn.Config.ssl`` after ``load()``.
        in_service: What it loaded at the start; what is renewed is put there.
        renew: :func:`ensure` with the names of the moment, or :func:`check_own` to follow files that another
            program renews.
        every_s: Seconds between checks.
        clock: The time, for tests.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        in_service: InService,
        renew: Callable[[], Certificates],
        every_s: float = 600.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._context, self._in_service, self._renew, self._every_s = context, in_service, renew, every_s
        self._clock = clock
        self._complaint = ""

    @property
    def warning(self) -> str | None:
        """That the certificate in service has expired, or soon will and cannot be renewed; one sentence, or nothing."""
        until = self._in_service.certificates.expires
        if self._clock() >= until:
            why = f" ({self._complaint})" if self._complaint else ""
            return (
                f"the certificate in service expired on {until:%Y-%m-%d}{why}: browsers refuse the page until it is "
                "renewed, or this machine's clock is put right"
            )
        if self._complaint:
            return f"still serving the certificate that expires on {until:%Y-%m-%d}: {self._complaint}"
        return None

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.look()

    async def look(self) -> None:
        """Renew it where that is due."""
        served = self._in_service.certificates
        try:
            fresh = await asyncio.to_thread(self._renew)
            if fresh.serial != served.serial:
                # Here, not in the thread: OpenSSL does not lock a context against a handshake meanwhile.
                self._context.load_cert_chain(fresh.cert_path, fresh.key_path)
        except (CertificateError, OSError) as error:
            if str(error) != self._complaint:  # one line, not one every ten minutes
                self._complaint = str(error)
                until = served.expires.date()
                _log.error("still serving the certificate that expires on %s: %s", until, self._complaint)
            return
        if fresh.serial != served.serial:
            _log.info("a new server certificate is in use; it expires on %s", fresh.expires.date())
        for warning in fresh.warnings:
            if warning not in served.warnings:
                _log.warning("%s", warning)
        self._in_service.certificates, self._complaint = fresh, ""


def _ensure(folder: Path, names: Sequence[str], now: datetime) -> Certificates:
    warnings: list[str] = []
    known = authority.parse_names(names)
    pair, is_new = _authority(folder, known, now, warnings)
    ca, ca_path = pair.certificate, folder / CA_FILE
    public = ca.public_bytes(serialization.Encoding.PEM)
    if _read_at_most(ca_path) != public:
        write_atomically(ca_path, public)

    wanted = _vouched_for(ca, known, folder, warnings)
    if not wanted:
        raise CertificateError("no host name or address to make a certificate for: give at least one")
    path = folder / SERVER
    server = None if is_new else _load(path, ca, "a new server certificate was made", warnings)
    now = _believable(now, ca, server, folder, warnings)
    if server is None or authority.is_due(server.certificate, ca, wanted, now):
        server = authority.issue(pair, wanted, now)
        private_file.write(path, pair_file.dump(server))
    return _described(server.certificate, ca, path, path, ca_path, warnings)


def _vouched_for(
    ca: x509.Certificate, known: list[x509.GeneralName], folder: Path, warnings: list[str]
) -> list[x509.GeneralName]:
    """The names that the authority may vouch for."""
    wanted = [name for name in known if authority.permits(ca, name)]
    left_out = ", ".join(str(name.value) for name in known if name not in wanted)
    if left_out:
        warnings.append(
            f"The certificate authority may not vouch for {left_out}, new on this machine since it was made. "
            f"To reach the page there, delete {folder} and restart; "
            "phones then have to install the new authority from /ca."
        )
    return wanted


def _authority(
    folder: Path, names: list[x509.GeneralName], now: datetime, warnings: list[str]
) -> tuple[authority.Pair, bool]:
    """The authority, and whether it was made just now: where there was none, or one that could not be used.

    What this machine's clock shows is no reason: it may be wrong, and every phone would have to install another one.
    """
    path, remedy = (
        folder / AUTHORITY,
        "a new certificate authority was made, and phones have to install it again from /ca",
    )
    damaged = _read_at_most(path)
    pair = _load(path, None, remedy, warnings)
    if pair is None and damaged is not None and (pair := _mended(damaged, folder / CA_FILE)) is not None:
        warnings[-1] = warnings[-1].replace(
            remedy, f"its certificate was taken from {CA_FILE}, and phones notice nothing"
        )
        private_file.write(path, pair_file.dump(pair))
    if pair is not None and pair.certificate.not_valid_after_utc <= authority.EARLIEST:
        set_aside(path)
        warnings.append(
            f"The certificate authority was made by a clock that was wrong, and no phone took it: {remedy}."
        )
        pair = None
    if pair is not None:
        return pair, False
    pair = authority.make(names, now)
    private_file.write(path, pair_file.dump(pair))
    return pair, True


def _believable(
    now: datetime, ca: x509.Certificate, server: authority.Pair | None, folder: Path, warnings: list[str]
) -> datetime:
    """The time to make a server certificate for, which suits the phones' clocks: these are probably right."""
    expires = ca.not_valid_after_utc
    earliest = max(authority.EARLIEST, ca.not_valid_before_utc)
    if earliest <= now < expires:
        if now >= expires - 3 * authority.RENEW_BEFORE:
            warnings.append(
                f"The certificate authority expires on {expires:%Y-%m-%d}. To choose the day yourself, "
                f"delete {folder} and restart; phones then have to install the new authority from /ca."
            )
        return now
    warnings.append(
        f"This machine's clock shows {now:%Y-%m-%d}, and its certificate authority is valid from "
        f"{earliest:%Y-%m-%d} to {expires:%Y-%m-%d}: set this machine's clock. "
        f"If it is right, delete {folder} and restart; phones then have to install the new authority from /ca."
    )
    return authority.issued_on(server.certificate) if server is not None else authority.made_on(ca)


def _described(
    server: x509.Certificate,
    shown: x509.Certificate,
    cert_path: Path,
    key_path: Path,
    ca_path: Path | None,
    warnings: list[str],
) -> Certificates:
    fingerprint = shown.fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificates(
        cert_path,
        key_path,
        ca_path,
        fingerprint,
        server.serial_number,
        server.not_valid_after_utc,
        tuple(str(name.value) for name in authority.names_of(server)),
        tuple(warnings),
    )


def _load(path: Path, ca: x509.Certificate | None, remedy: str, warnings: list[str]) -> authority.Pair | None:
    """The key and certificate in a file, signed by `ca` or, without one, by itself; None when there is none, or it was
    damaged and is now set aside."""
    pem = _read_at_most(path)
    if pem is None:
        return None
    if private_file.close_to_others(path):
        warnings.append(f"{path} was open to other users of this machine; this was corrected.")
    try:
        pair = pair_file.load(pem)
        if not authority.is_issued_by(pair.certificate, ca or pair.certificate):
            raise ValueError(f"its certificate is not signed by {'the authority beside it' if ca else 'itself'}")
    except ValueError as error:
        aside = set_aside(path)
        warnings.append(f"{path} was damaged ({error}) and is now {aside.name}; {remedy}.")
        return None
    if pem != (whole := pair_file.dump(pair)):
        private_file.write(path, whole)
        warnings.append(f"{path} was damaged where it does not matter, and was written again.")
    return pair


def _only_read(path: Path) -> authority.Pair | None:
    """The key and certificate in a file; None where there is none, or it is damaged."""
    with contextlib.suppress(ValueError):
        return pair_file.load(_read_at_most(path) or b"")
    return None


def _mended(damaged: bytes, ca_path: Path) -> authority.Pair | None:
    """An authority whose key is whole, with its certificate from the public copy; None where that does not fit."""
    key, end, _ = damaged.partition(b"-----END PRIVATE KEY-----\n")
    try:
        pair = pair_file.load(key + end + (_read_at_most(ca_path) or b""))
    except ValueError:
        return None
    return pair if authority.is_issued_by(pair.certificate, pair.certificate) else None


def _read_at_most(path: Path) -> bytes | None:
    """A file as far as it is no longer than such a file can be; None where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(pair_file.LARGEST + 1)
    except FileNotFoundError:
        return None


def _read(path: Path, parse: Callable[[bytes], _Parsed]) -> _Parsed:
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        raise CertificateError(f"{path} does not exist: check the path") from None
    except OSError as error:
        raise CertificateError(f"{path} cannot be read ({error.strerror}): let this user read it") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path} cannot be used ({error}): give an open PEM file") from error
