"""Certificates as a phone meets them: real handshakes on loopback, checked against the authority."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from server.https import authority, pair_file
from server.https.certificates import CertificateError, Certificates, Fresh, InService, ca_der, check_own, ensure

NAMES = ["press-4", "press-4.local", "localhost", "127.0.0.1", "::1", "192.168.1.20"]
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "certificates"


def server_context(made: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.cert_path, made.key_path)
    return context


def phone(made: Certificates) -> ssl.SSLContext:
    """A client that trusts the authority and nothing else, as strict as OpenSSL can be."""
    context = ssl.create_default_context(cafile=str(made.ca_path))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> int:
    """A TLS handshake over a socket pair; returns the serial number of the server's certificate."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(ours, server_side=True) as connection:
                connection.recv(1)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname=name) as connection:
            certificate = connection.getpeercert(binary_form=True)
            assert certificate is not None
            return x509.load_der_x509_certificate(certificate).serial_number
    finally:
        theirs.close()
        thread.join(timeout=10)


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_a_phone_with_the_authority_trusts_every_name_and_address(folder: Path, name: str) -> None:
    made = ensure(folder, NAMES)
    assert made.warnings == ()
    assert shake_hands(server_context(made), phone(made), name) == made.serial


def test_another_name_is_not_trusted(folder: Path) -> None:
    made = ensure(folder, NAMES)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(server_context(made), phone(made), "press-5.local")


@pytest.mark.parametrize("stolen_for", ["bank.example", "8.8.8.8", "2001:db8::1"])
def test_a_stolen_authority_cannot_vouch_for_the_rest_of_the_world(
    folder: Path, tmp_path: Path, stolen_for: str
) -> None:
    made = ensure(folder, NAMES)
    pem = (folder / "authority.pem").read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    stolen = authority.Pair(key, x509.load_pem_x509_certificate(pem))
    forged = authority.issue(stolen, authority.parse_names([stolen_for]), NOW)
    path = tmp_path / "forged.pem"
    write_pair(path, path, forged.key, forged.certificate)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(server_context(replace(made, cert_path=path, key_path=path)), phone(made), stolen_for)


def test_private_keys_are_for_this_user_only(folder: Path) -> None:
    ensure(folder, NAMES)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    expected = {"certificates": 0o700, "authority.pem": 0o600, "server.pem": 0o600, "authority.crt": 0o644}
    assert modes == expected
    assert b"PRIVATE" not in (folder / "authority.crt").read_bytes()


def test_open_permissions_are_corrected_and_reported(folder: Path) -> None:
    ensure(folder, NAMES)
    folder.chmod(0o755)
    (folder / "server.pem").chmod(0o644)
    again = ensure(folder, NAMES)
    assert stat.S_IMODE((folder / "server.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "was open to other users" in again.warnings[0]


def test_what_is_good_stays(folder: Path) -> None:
    first = ensure(folder, NAMES)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert ensure(folder, NAMES, now=NOW + timedelta(days=300)) == first
    assert ensure(folder, NAMES[:3]) == first, "a lost address is no reason to renew"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_lifetimes_suit_phones(folder: Path) -> None:
    made = ensure(folder, NAMES)
    assert made.ca_path is not None
    server, ca = read(made.cert_path), read(made.ca_path)
    assert server.not_valid_after_utc - server.not_valid_before_utc <= timedelta(days=397)
    assert ca.not_valid_after_utc - NOW > timedelta(days=3640)
    usage = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH in usage
    assert made.expires == server.not_valid_after_utc
    assert made.fingerprint == ca.fingerprint(hashes.SHA256()).hex(":").upper()
    assert x509.load_der_x509_certificate(ca_der(made.ca_path)) == ca


def test_the_server_certificate_is_renewed_a_month_before_it_expires(folder: Path) -> None:
    first = ensure(folder, NAMES)
    later = first.expires - timedelta(days=29)
    second = ensure(folder, NAMES, now=later)
    assert second.serial != first.serial
    assert second.expires > later + timedelta(days=390)
    assert second.fingerprint == first.fingerprint, "phones keep trusting the same authority"
    assert second.warnings == ()


def test_a_new_address_renews_the_server_certificate_only(folder: Path) -> None:
    first = ensure(folder, NAMES)
    second = ensure(folder, [*NAMES, "10.0.0.7"])
    assert (second.serial != first.serial, second.fingerprint) == (True, first.fingerprint)
    assert shake_hands(server_context(second), phone(first), "10.0.0.7") == second.serial


def test_a_public_address_known_from_the_start_is_covered_and_a_later_one_reported(folder: Path) -> None:
    names = [*NAMES, "press-4.plant.example", "192.0.2.2", "2001:db8:1:2:3:4:5:6"]
    made = ensure(folder, names)
    for name in names:
        assert shake_hands(server_context(made), phone(made), name) == made.serial
    again = ensure(folder, [*names, "2001:db8:1:2::99", "198.51.100.7", "shop.example"])
    assert len(again.warnings) == 1
    assert "may not vouch for 198.51.100.7, shop.example, new on this machine" in again.warnings[0]
    assert shake_hands(server_context(again), phone(made), "2001:db8:1:2::99") == again.serial


CLOCKS = {
    "1970": datetime(1970, 1, 1, tzinfo=UTC),
    "2038": datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    "a day beyond it": NOW + timedelta(days=3653),
    "9999": datetime(9999, 12, 31, tzinfo=UTC),
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_whatever_the_clock_shows_phones_keep_trusting_the_same_authority(folder: Path, clock: str) -> None:
    first = ensure(folder, NAMES)
    wrong = ensure(folder, NAMES, now=CLOCKS[clock])
    assert wrong.fingerprint == first.fingerprint
    assert wrong.serial == first.serial, "the phones' clocks are right"
    (warning,) = wrong.warnings
    assert f"clock shows {CLOCKS[clock]:%Y-%m-%d}" in warning and "set this machine's clock" in warning
    assert f"delete {folder} and restart" in warning
    other = ensure(folder, [*NAMES, "10.0.0.7"], now=CLOCKS[clock])
    assert shake_hands(server_context(other), phone(first), "10.0.0.7") == other.serial
    assert ensure(folder, NAMES) == replace(other, warnings=())
    assert {path.name for path in folder.iterdir()} == {"authority.pem", "authority.crt", "server.pem"}


@pytest.mark.parametrize("clock", CLOCKS)
def test_an_authority_made_under_a_wrong_clock_is_good_when_that_is_put_right(folder: Path, clock: str) -> None:
    first = ensure(folder, NAMES, now=CLOCKS[clock])
    right = ensure(folder, NAMES, now=NOW)
    assert (right.fingerprint, right.warnings) == (first.fingerprint, ())
    assert shake_hands(server_context(right), phone(first), "press-4") == right.serial
    assert ensure(folder, NAMES, now=NOW + timedelta(days=3000)).fingerprint == first.fingerprint


def test_an_authority_of_an_older_version_that_ended_in_1980_is_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made under a clock of 1970, it never was valid for any phone."""
    monkeypatch.setattr(authority, "EARLIEST", datetime(1970, 1, 2, tzinfo=UTC))
    first = ensure(folder, NAMES, now=datetime(1970, 1, 3, tzinfo=UTC))
    monkeypatch.undo()
    second = ensure(folder, NAMES)
    assert second.fingerprint != first.fingerprint
    assert "made by a clock that was wrong" in second.warnings[0] and "install it again" in second.warnings[0]
    assert shake_hands(server_context(second), phone(second), "press-4") == second.serial


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", ["authority.pem", "server.pem"])
def test_every_flipped_bit_is_found_and_told(folder: Path, name: str) -> None:
    """Before, a third of them ended the start with a traceback, and half were kept unnoticed."""
    first = ensure(folder, NAMES)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    for bit in range(0, 8 * len(whole[name]), 89):
        for path in folder.iterdir():
            path.unlink()
        for other, data in whole.items():
            (folder / other).write_bytes(data)
            (folder / other).chmod(0o600)
        (folder / name).write_bytes(flipped(whole[name], bit))
        made = ensure(folder, NAMES)
        assert len(made.warnings) == 1 and f"{folder / name} was damaged" in made.warnings[0], bit
        assert "\n" not in made.warnings[0]
        lost = "install it again" in made.warnings[0]
        assert (made.fingerprint != first.fingerprint) == lost
        assert not lost or (name == "authority.pem" and bit // 8 < whole[name].index(b"-----BEGIN CERTIFICATE-----"))
        assert ensure(folder, NAMES) == replace(made, warnings=())


def test_an_authority_whose_certificate_is_damaged_takes_it_from_its_public_copy(folder: Path) -> None:
    first = ensure(folder, NAMES)
    pem = (folder / "authority.pem").read_bytes()
    (folder / "authority.pem").write_bytes(pem[:-200])
    mended = ensure(folder, NAMES)
    assert (mended.fingerprint, mended.serial) == (first.fingerprint, first.serial)
    assert "phones notice nothing" in mended.warnings[0] and "install it again" not in mended.warnings[0]
    assert (folder / "authority.pem").read_bytes() == pem
    assert (folder / "authority.pem.damaged-1").read_bytes() == pem[:-200]


def test_an_authority_that_did_not_sign_itself_is_damage(folder: Path) -> None:
    """As it is where a bit of its name constraints has flipped: phones would refuse it, or trust it for too much."""
    ensure(folder, NAMES)
    pair = pair_file.load((folder / "authority.pem").read_bytes())
    forged = authority.issue(pair, authority.parse_names(["press-4"]), NOW)
    for path in ("authority.pem", "authority.crt"):
        (folder / path).write_bytes(pair_file.dump(forged))
    assert "its certificate is not signed by itself" in ensure(folder, NAMES).warnings[0]


def test_files_without_end_are_not_read_to_it(folder: Path) -> None:
    ensure(folder, NAMES)
    for name in ("authority.pem", "server.pem", "authority.crt"):
        with (folder / name).open("r+b") as file:
            file.truncate(1 << 32)
    made = ensure(folder, NAMES)
    assert "larger than 64 kB" in made.warnings[0]
    assert shake_hands(server_context(made), phone(made), "press-4") == made.serial


def test_the_end_of_the_authority_is_announced_and_causes_no_renewal_at_every_start(folder: Path) -> None:
    ensure(folder, NAMES)
    late = NOW + timedelta(days=3652 - 20)
    first = ensure(folder, NAMES, now=late)
    assert "authority expires on" in first.warnings[0]
    assert ensure(folder, NAMES, now=late + timedelta(days=1)).serial == first.serial


def test_a_clock_before_the_authority_is_reported_and_does_not_harm(folder: Path) -> None:
    first = ensure(folder, NAMES)
    reset = datetime(1970, 1, 2, tzinfo=UTC)
    second = ensure(folder, [*NAMES, "10.0.0.7"], now=reset)
    assert "set this machine's clock" in second.warnings[0]
    assert shake_hands(server_context(second), phone(first), "10.0.0.7") == second.serial


@pytest.mark.parametrize("damage", [b"", b"not a certificate", b"\x00" * 600])
@pytest.mark.parametrize("name", ["authority.pem", "server.pem"])
def test_a_damaged_file_is_set_aside_and_made_anew(folder: Path, name: str, damage: bytes) -> None:
    first = ensure(folder, NAMES)
    (folder / name).write_bytes(damage)
    second = ensure(folder, NAMES)
    assert [path.read_bytes() for path in folder.glob(f"{name}.damaged-*")] == [damage]
    assert f"{folder / name} was damaged" in second.warnings[0]
    assert ("install it again" in second.warnings[0]) == (name == "authority.pem")
    assert (second.fingerprint == first.fingerprint) == (name == "server.pem")
    assert shake_hands(server_context(second), phone(second), "localhost") == second.serial
    assert ensure(folder, NAMES).warnings == ()


def test_a_key_that_belongs_to_another_certificate_is_damage(folder: Path, tmp_path: Path) -> None:
    ensure(folder, NAMES)
    ensure(tmp_path / "other", NAMES)
    own, other = (folder / "server.pem").read_text(), (tmp_path / "other" / "server.pem").read_text()
    cut = "-----BEGIN CERTIFICATE-----"
    (folder / "server.pem").write_text(own[: own.index(cut)] + other[other.index(cut) :])
    assert "do not belong together" in ensure(folder, NAMES).warnings[0]


def test_a_lost_public_copy_is_written_again(folder: Path) -> None:
    first = ensure(folder, NAMES)
    assert first.ca_path is not None
    first.ca_path.write_bytes(b"?")
    assert ensure(folder, NAMES) == first
    assert ca_der(first.ca_path)


def test_a_write_that_fails_keeps_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ensure(folder, NAMES)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CertificateError, match="No space left on device"):
        ensure(folder, [*NAMES, "10.0.0.7"])
    monkeypatch.undo()
    assert ensure(folder, NAMES) == first
    assert not list(folder.glob(".*")), "nothing half-written is left"


def test_a_folder_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CertificateError, match="set DATA_DIR"):
        ensure(tmp_path / "file" / "certificates", NAMES)


def test_no_usable_name_is_an_error(folder: Path) -> None:
    with pytest.raises(CertificateError, match="give at least one"):
        ensure(folder, ["", "no spaces please", "ünicode"])


@given(st.lists(st.text(max_size=80), max_size=5))
def test_any_text_makes_names_a_certificate_can_hold(names: list[str]) -> None:
    for name in authority.parse_names([*names, "localhost"]):
        assert str(name.value).isascii()


# --- while the server runs


async def test_a_running_certificate_is_renewed_which_is_told_reports_once_and_survives_errors(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = ensure(folder, NAMES)
    context = server_context(first)
    answers: list[Callable[[], Certificates]] = []
    done = asyncio.Event()

    def unwritable() -> Certificates:
        raise CertificateError("cannot keep certificates")

    def renew() -> Certificates:
        if not answers:
            done.set()
            return ensure(folder, [*NAMES, "10.0.0.7"])
        return answers.pop(0)()

    answers += [unwritable, unwritable, lambda: ensure(folder, [*NAMES, "10.0.0.7", "shop.example"])]
    caplog.set_level("INFO", "defectvision.https")
    task = asyncio.create_task(Fresh(context, InService(first), renew, every_s=0.001).keep())
    await asyncio.wait_for(done.wait(), 10)
    task.cancel()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3, lines
    assert "still serving the certificate that expires on" in lines[0]
    assert "new server certificate is in use" in lines[1]
    assert "may not vouch for shop.example" in lines[2]
    assert await asyncio.to_thread(shake_hands, context, phone(first), "10.0.0.7") != first.serial


async def test_a_certificate_that_expires_while_it_is_in_use_is_said_until_it_is_renewed(folder: Path) -> None:
    first = ensure(folder, NAMES)
    now = [first.expires - timedelta(days=1)]
    answers: list[Callable[[], Certificates]] = []
    fresh = Fresh(server_context(first), InService(first), lambda: answers[0](), clock=lambda: now[0])
    assert fresh.warning is None

    def unwritable() -> Certificates:
        raise CertificateError("cannot keep certificates: make room")

    answers[:] = [unwritable]
    await fresh.look()
    assert fresh.warning is not None and "cannot keep certificates" in fresh.warning
    now[0] = first.expires + timedelta(seconds=1)
    assert "expired on" in fresh.warning and "browsers refuse" in fresh.warning
    answers[:] = [lambda: replace(first, serial=first.serial + 1, expires=first.expires + timedelta(days=100))]
    await fresh.look()
    assert fresh.warning is None


# --- the operator's own certificate


def write_pair(
    cert_path: Path,
    key_path: Path,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    cert: x509.Certificate,
) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if cert_path == key_path:
        cert_path.write_bytes(pem + cert.public_bytes(serialization.Encoding.PEM))
    else:
        key_path.write_bytes(pem)
        cert_path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))


@contextmanager
def own(tmp_path: Path) -> Iterator[tuple[Path, Path, authority.Pair]]:
    ca = authority.make(authority.parse_names(["line.plant.example"]), NOW)
    pair = authority.issue(ca, authority.parse_names(["line.plant.example"]), NOW)
    cert, key = tmp_path / "own.crt", tmp_path / "own.key"
    write_pair(cert, key, pair.key, pair.certificate)
    yield cert, key, pair


def test_own_certificates_that_are_good(tmp_path: Path) -> None:
    with own(tmp_path) as (cert, key, pair):
        made = check_own(cert, key)
        assert (made.cert_path, made.key_path, made.ca_path, made.warnings) == (cert, key, None, ())
        assert made.serial == pair.certificate.serial_number
        assert "renew it soon" in check_own(cert, key, now=made.expires - timedelta(days=5)).warnings[0]


def test_own_certificates_that_are_not(tmp_path: Path) -> None:
    with own(tmp_path) as (cert, key, pair):
        with pytest.raises(CertificateError, match=r"nothing\.crt does not exist"):
            check_own(tmp_path / "nothing.crt", key)
        with pytest.raises(CertificateError, match="cannot be read"):
            check_own(tmp_path, key)
        with pytest.raises(CertificateError, match="expired on"):
            check_own(cert, key, now=NOW + timedelta(days=400))
        with pytest.raises(CertificateError, match="not valid before"):
            check_own(cert, key, now=NOW - timedelta(days=2))
        with pytest.raises(CertificateError, match="give an open PEM file"):
            check_own(key, key)
        other = ec.generate_private_key(ec.SECP256R1())
        write_pair(tmp_path / "x.crt", tmp_path / "x.key", other, pair.certificate)
        with pytest.raises(CertificateError, match="is not the private key of"):
            check_own(cert, tmp_path / "x.key")
        locked = pair.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        key.write_bytes(locked)
        with pytest.raises(CertificateError, match="it has a password; remove it with: openssl"):
            check_own(cert, key)


def test_an_own_certificate_with_a_weak_key_or_without_names(tmp_path: Path) -> None:
    cert, key = tmp_path / "weak.crt", tmp_path / "weak.key"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old.plant.example")])
    for bits, expected in ((1024, "TLS cannot use"), (2048, None)):
        weak = rsa.generate_private_key(65537, bits)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(weak.public_key())
            .serial_number(7)
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=90))
            .sign(weak, hashes.SHA256())
        )
        write_pair(cert, key, weak, certificate)
        if expected:
            with pytest.raises(CertificateError, match=expected):
                check_own(cert, key)
        else:
            assert "no subject alternative names" in check_own(cert, key).warnings[0]
