"""Brokers that refuse, are something else, or hostile: what an operator reads then."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.sinks import SinkError
from server.sinks.mqtt import broker as broker_module
from server.sinks.mqtt import sink as sink_module
from server.sinks.mqtt.broker import connected
from server.sinks.mqtt.settings import MqttSettings
from server.sinks.mqtt.sink import MqttSink
from tests.server.sinks.mqtt.mosquitto import Mosquitto, free_port, listening, needs_mosquitto
from tests.server.sinks.mqtt.plant import FakeLine, around, running


def settings(port: int, **other: Any) -> MqttSettings:
    return MqttSettings(**({"host": "127.0.0.1", "port": port, "node": "line4"} | other))


def sink(port: int, **other: Any) -> MqttSink:
    return MqttSink(settings(port, **other), around(FakeLine()))


async def why_not(port: int, **other: Any) -> str:
    with pytest.raises(SinkError) as refusal:
        async with connected(settings(port, **other), "tester"):
            raise AssertionError("it is connected")
    return str(refusal.value)


# brokers as they are


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Asks for a password; what guests may do is little."""
    folder = tmp_path_factory.mktemp("guarded")
    passwords, rights = folder / "passwords", folder / "rights"
    passwords.touch(0o600)
    for user in ("line", "guest", "deaf"):
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, f"secret of {user}"], check=True)
    rights.write_text("user line\ntopic #\nuser guest\ntopic read #\nuser deaf\ntopic write #\n")
    rights.chmod(0o600)
    lines = ["allow_anonymous false", f"password_file {passwords}", f"acl_file {rights}"]
    broker = Mosquitto(folder, lines).start()
    yield broker
    broker.kill()


@needs_mosquitto
async def test_the_right_password_enters(guarded: Mosquitto) -> None:
    said = await sink(guarded.port, username="line", password="secret of line").test()
    assert said == f"A message to defectvision/line4/test went to the broker 127.0.0.1:{guarded.port} and came back."


@needs_mosquitto
@pytest.mark.parametrize("login", [{}, {"username": "line", "password": "wrong"}, {"username": "nobody"}])
async def test_a_broker_that_refuses_the_login(guarded: Mosquitto, login: dict[str, str]) -> None:
    said = await why_not(guarded.port, **login)
    assert said.startswith(f"the broker 127.0.0.1:{guarded.port} refuses the login: check user and password")
    assert "wrong" not in said


@needs_mosquitto
async def test_a_message_that_the_broker_refuses_is_not_taken_for_delivered(guarded: Mosquitto) -> None:
    guest = {"username": "guest", "password": "secret of guest"}
    with pytest.raises(SinkError, match=r"refuses messages to defectvision/line4/test \(not authorized\): allow the"):
        await sink(guarded.port, **guest).test()


@needs_mosquitto
async def test_whoever_may_not_hear_is_told(guarded: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "TEST_S", 0.3)
    with pytest.raises(SinkError, match=r"did not hand it back within 0 s: allow the user to hear it"):
        await sink(guarded.port, username="deaf", password="secret of deaf").test()


@needs_mosquitto
async def test_a_second_server_of_the_same_name_is_named(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    try:
        async with running(lambda: sink(broker.port)) as life, listening(broker.port, identifier="defectvision-line4"):
            await life.until(lambda: bool(life.errors))
        # This broker does not say why.
        assert "is lost; where this happens again and again, another client may have the id defe" in life.errors[0]
    finally:
        broker.kill()


@dataclass
class Pair:
    authority: str
    certificate: Path
    key: Path


def certified(folder: Path, name: str) -> Pair:
    """An authority, and what it signed for ``name``."""
    now = datetime.datetime.now(datetime.UTC)

    def sign(subject: str, key: Any, issuer: str, by: Any, *extensions: Any) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(by, hashes.SHA256())

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    identity = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    root = sign("plant", root_key, "plant", root_key, x509.BasicConstraints(ca=True, path_length=0), identity)
    host: x509.GeneralName
    try:
        host = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        host = x509.DNSName(name)
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    own = sign("broker", key, "plant", root_key, x509.SubjectAlternativeName([host]), issued_by)
    pem = serialization.Encoding.PEM
    pair = Pair(root.public_bytes(pem).decode(), folder / "broker.crt", folder / "broker.key")
    pair.certificate.write_bytes(own.public_bytes(pem))
    form, without = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pair.key.write_bytes(key.private_bytes(pem, form, without))
    return pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return certified(tmp_path_factory.mktemp("pair"), "127.0.0.1")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path_factory.mktemp("tls"), [f"certfile {pair.certificate}", f"keyfile {pair.key}"]).start()
    yield broker
    broker.kill()


@needs_mosquitto
async def test_tls_with_an_authority_of_the_plants_own(tls: Mosquitto, pair: Pair) -> None:
    assert "came back" in await sink(tls.port, tls=True, ca=pair.authority).test()


@needs_mosquitto
async def test_a_certificate_that_nobody_vouches_for(tls: Mosquitto, tmp_path: Path) -> None:
    for authority in ("", certified(tmp_path, "127.0.0.1").authority):
        said = await why_not(tls.port, tls=True, ca=authority)
        assert "has a certificate that is not trusted" in said and "paste the certificate of its authority" in said


@needs_mosquitto
async def test_a_certificate_of_another_name(tmp_path: Path) -> None:
    pair = certified(tmp_path, "elsewhere.example")
    broker = Mosquitto(tmp_path, [f"certfile {pair.certificate}", f"keyfile {pair.key}"]).start()
    try:
        assert "127.0.0.1" in (said := await why_not(broker.port, tls=True, ca=pair.authority))
        assert "name the broker as the certificate does" in said
    finally:
        broker.kill()


@needs_mosquitto
async def test_tls_on_one_side_only(tls: Mosquitto, guarded: Mosquitto) -> None:
    assert "closed the connection without an answer: check the port, and whether it wants TLS" in await why_not(
        tls.port
    )
    assert "speaks no TLS on this port" in await why_not(guarded.port, tls=True)


async def test_an_authority_that_is_none() -> None:
    ca = "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----"
    assert (await why_not(1, tls=True, ca=ca)).startswith("the authority's certificate cannot be read")


async def test_nobody_there() -> None:
    assert "cannot be reached" in (said := await why_not(free_port())) and "check address and port" in said
    assert "cannot be reached" in await why_not(1883, host="no-such-host.invalid")
    assert "cannot be reached" in await why_not(1883, host="." * 70)


# brokers as they should not be

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def peer(behave: Behave) -> AsyncIterator[int]:
    """Somebody on a port; what they do with a connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await behave(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def answering(answer: bytes) -> Behave:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(answer)
        await writer.drain()
        await reader.read()

    return behave


ACCEPTED = b"\x20\x03\x00\x00\x00"


async def test_a_broker_of_version_3_only() -> None:
    async with peer(answering(b"\x20\x02\x00\x01")) as port:
        assert "does not speak MQTT 5, only an older version: MQTT 5 is needed" in await why_not(port)


async def test_something_else_than_a_broker() -> None:
    async with peer(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)) as port:
        said = await why_not(port)
        assert said.startswith(f"the broker 127.0.0.1:{port} "), said


async def test_one_that_closes_at_once() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with peer(behave) as port:
        assert "closed the connection without an answer" in await why_not(port)


async def test_one_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "ANSWER_S", 0.2)
    async with peer(answering(b"")) as port:
        assert "does not answer within" in await why_not(port)


async def test_one_that_confirms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "ANSWER_S", 0.2)
    async with peer(answering(ACCEPTED)) as port:
        with pytest.raises(SinkError, match=r"does not answer|not confirmed"):
            await sink(port).test()


async def test_one_that_says_why_it_ends() -> None:
    for packet, words in (
        (b"\xe0\x02\x8e\x00", "another client with the id tester, which took our place: give each server a name"),
        (b"\xe0\x02\x8b\x00", "is lost: it says server shutting down"),
    ):
        async with peer(answering(ACCEPTED + packet)) as port:
            with pytest.raises(SinkError) as end:
                async with connected(settings(port), "tester") as broker:
                    async for _ in broker.arrivals():
                        pass
            assert words in str(end.value)


@pytest.mark.parametrize("before", [b"", ACCEPTED], ids=["before it accepts", "after"])
async def test_a_packet_that_is_too_large_ends_the_connection(before: bytes) -> None:
    async with peer(answering(before + b"\x30\xff\xff\xff\x7f" + b"\0" * 100_000)) as port:
        with pytest.raises(SinkError, match=r"without an answer|268435455 bytes, 16384 are the most|is lost"):
            async with connected(settings(port), "tester") as broker:
                async for _ in broker.arrivals():
                    pass


@pytest.mark.parametrize(
    "packet",
    [
        b"\x30\x02\x00\x09",  # a message whose topic is longer than it
        b"\x40\x03\x00\x07\xee",  # a confirmation of nothing, for no reason there is
        b"\x90\x00",
        b"\xe0\x01\x42",
        b"\x20\x03\x00\xee\x00",
        b"\x00\x00",
        b"\xff\xff\xff\xff\xff\xff",
        b"\x30\x0a\x00\x03\xff\xfe\x00\x00abcd",  # a topic that is no text
    ],
)
async def test_nonsense_ends_the_connection_in_words(packet: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "ANSWER_S", 0.3)
    async with peer(answering(ACCEPTED + packet)) as port:
        with pytest.raises(SinkError):
            await sink(port).test()
