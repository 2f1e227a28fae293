"""Connections: whole frames whatever the pieces, and bounds on everything a peer can do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.sinks import SinkError
from server.sinks.modbus import connections as module
from server.sinks.modbus.connections import Connections, Peer
from tests.server.fakes import until
from tests.server.sinks.modbus.fakes import own_loop
from tests.server.sinks.modbus.test_pdu import Ten


class Listening:
    """Connections whose unit 1 has ten words."""

    def __init__(self, **bounds: object) -> None:
        self.registers, self.lost = Ten(), list[str]()
        self.connections = Connections(
            "plc",
            lambda unit, peer: self.registers if unit == 1 else None,
            lambda peer: self.lost.append(str(peer)),
            **bounds,  # type: ignore[arg-type]
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.connections.port)

    async def is_refused(self) -> bool:
        reader, _ = await self.connect()
        try:
            return await asyncio.wait_for(reader.read(1), 20) == b""
        except ConnectionError:
            return True


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    listening = Listening()
    await listening.connections.listen("127.0.0.1", 0)
    yield listening
    await listening.connections.close()


def frame(pdu: str = "03 0000 0001", transaction: int = 7, unit: int = 1) -> bytes:
    data = bytes.fromhex(pdu)
    return struct.pack(">HHHB", transaction, 0, len(data) + 1, unit) + data


ANSWER = "0007 0000 0005 01 03 02 0000"


async def read(reader: asyncio.StreamReader, size: int) -> str:
    return (await asyncio.wait_for(reader.readexactly(size), 20)).hex()


async def test_a_request_in_pieces_and_many_in_one(listening: Listening) -> None:
    reader, writer = await listening.connect()
    for byte in frame():
        writer.write(bytes([byte]))
        await writer.drain()
    assert await read(reader, 11) == bytes.fromhex(ANSWER).hex()
    writer.write(b"".join(frame(transaction=number) for number in range(60)))
    for number in range(60):
        assert int((await read(reader, 11))[:4], 16) == number
    assert len(listening.connections.peers) == 1


async def test_another_unit_is_no_target(listening: Listening) -> None:
    reader, writer = await listening.connect()
    writer.write(frame(unit=2))
    assert (await read(reader, 9))[12:] == "02830b"


async def test_a_fault_of_ours_is_answered_and_logged_once(
    listening: Listening, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening.registers, "words", lambda *_: 1 / 0)
    reader, writer = await listening.connect()
    for _ in range(3):
        writer.write(frame())
        assert (await read(reader, 9))[12:] == "018304"
    assert sum("a fault of this software" in one.getMessage() for one in caplog.records) == 1


@pytest.mark.parametrize(
    "bytes_",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0\1\0\1\0\6\1\3\0\0\0\1", b"\0\1\0\0\0\1\1\3", b"\0\1\0\0\xff\xff\1\3", b"\0" * 9],
)
async def test_what_is_not_modbus_ends_the_connection(
    listening: Listening, bytes_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        reader, writer = await listening.connect()
        writer.write(bytes_)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 20) == b""
    await until(lambda: not listening.connections.peers)
    assert sum("not Modbus TCP" in one.getMessage() for one in caplog.records) == 1
    assert listening.lost == ["127.0.0.1"] * 3


async def test_a_silent_connection_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    listening = Listening(silent_s=0.1)
    await listening.connections.listen("127.0.0.1", 0)
    reader, writer = await listening.connect()
    writer.write(frame()[:5])  # and never the rest
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 20) == b""
    await until(lambda: listening.lost == ["127.0.0.1"])
    assert "no whole request in 0.1 s" in caplog.text
    await listening.connections.close()


async def test_only_so_many_but_one_that_is_silent_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = Listening(most=2)
    await listening.connections.listen("127.0.0.1", 0)
    held = [await listening.connect() for _ in range(2)]
    for reader, writer in held:
        writer.write(frame())
        await read(reader, 11)
    assert await listening.is_refused() and listening.connections.refused == 1
    monkeypatch.setattr(module, "MAY_BE_PUSHED_OUT_S", 0.0)
    reader, writer = await listening.connect()
    writer.write(frame())
    assert await read(reader, 11) == bytes.fromhex(ANSWER).hex()
    assert len(listening.connections.peers) == 2 and len(listening.lost) == 1
    await listening.connections.close()


async def test_only_from_where_it_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    listening = Listening(allowed=(ip_network("10.0.0.0/24"),))
    await listening.connections.listen("127.0.0.1", 0)
    assert [await listening.is_refused() for _ in range(5)] == [True] * 5
    assert listening.connections.refused == 5 and not listening.connections.peers
    assert sum("not allowed was refused" in one.getMessage() for one in caplog.records) == 1
    await listening.connections.close()


async def test_a_connection_has_its_pace(monkeypatch: pytest.MonkeyPatch, listening: Listening) -> None:
    monkeypatch.setattr(module, "REQUESTS_PER_S", 20.0)
    monkeypatch.setattr(module, "BURST", 2)
    reader, writer = await listening.connect()
    began = time.monotonic()
    writer.write(frame() * 8)
    await read(reader, 11 * 8)
    assert time.monotonic() - began >= 0.2


async def test_a_peer_that_reads_nothing_costs_nothing(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUESTS_PER_S", 1e6)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    deaf.connect(("127.0.0.1", listening.connections.port))
    deaf.setblocking(False)
    await until(lambda: bool(listening.connections.peers))
    (peer,) = listening.connections.peers
    transport = peer.writer.transport
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    loop = asyncio.get_running_loop()
    sending = asyncio.create_task(loop.sock_sendall(deaf, frame("01 0000 0008") * 100_000))
    await until(lambda: transport.get_write_buffer_size() > 0)
    largest = 0
    for _ in range(100):
        await asyncio.sleep(0)
        largest = max(largest, transport.get_write_buffer_size())
    sending.cancel()
    assert largest <= 2048
    deaf.close()


@pytest.mark.parametrize(
    ("address", "port", "words"),
    [("127.0.0.1", None, "is taken by another program"), ("203.0.113.7", 0, "this machine has no address")],
)
async def test_where_it_cannot_listen_it_says_why(
    listening: Listening, address: str, port: int | None, words: str
) -> None:
    other = Listening()
    with pytest.raises(SinkError, match=words):
        await other.connections.listen(address, listening.connections.port if port is None else port)
    await other.connections.close()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Listening]:
    with own_loop() as loop:

        async def begin() -> Listening:
            listening = Listening()
            await listening.connections.listen("127.0.0.1", 0)
            return listening

        listening = asyncio.run_coroutine_threadsafe(begin(), loop).result(20)
        yield listening
        asyncio.run_coroutine_threadsafe(listening.connections.close(), loop).result(20)


frames = st.builds(
    lambda transaction, protocol, pdu, off, unit: (
        struct.pack(">HHHB", transaction, protocol, (len(pdu) + 1 + off) & 0xFFFF, unit) + pdu
    ),
    st.integers(0, 0xFFFF),
    st.sampled_from([0, 0, 0, 0, 1]),
    st.binary(min_size=1, max_size=260),
    st.sampled_from([0, 0, 0, 1, -1, 1000]),
    st.sampled_from([1, 1, 1, 0, 255]),
)


@given(st.lists(st.one_of(frames, st.binary(max_size=300)), max_size=12))
def test_hostile_bytes_end_a_connection_at_the_most(elsewhere: Listening, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", elsewhere.connections.port), 20) as hostile:
        said = b""
        try:
            for piece in pieces:
                hostile.sendall(piece)
            hostile.shutdown(socket.SHUT_WR)
            while piece := hostile.recv(65536):
                said += piece
        except OSError:
            said = b""  # reset in the middle
    while len(said) >= 7:
        _, protocol, length, _ = struct.unpack(">HHHB", said[:7])
        assert protocol == 0 and 2 < length <= 254 and len(said) >= 6 + length
        said = said[6 + length :]
    assert not said
    with socket.create_connection(("127.0.0.1", elsewhere.connections.port), 20) as good:
        good.sendall(frame("03 0000 0002"))
        assert good.recv(100).hex().startswith("00070000000701030 4".replace(" ", ""))
    assert all(isinstance(peer, Peer) for peer in [*elsewhere.connections.peers])
