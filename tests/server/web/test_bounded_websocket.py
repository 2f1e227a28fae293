"""WebSockets from strangers, over real sockets: a flood ends with a reason, a good client notices nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from server.web import bounded_websocket, connections, pace
from server.web.pace import Rate
from tests.running import Running
from tests.server.fakes import (
    GOOD,
    WAIT_S,
    FakeModel,
    listed_when,
    receive_result,
    send_all,
    serving,
)
from tests.server.web.peers import BINARY, CONTINUATION, FIN, PING, PONG, TEXT, Peer, frame


@pytest.fixture
async def server(model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(model, tmp_path, max_upload_mb=1.0) as server:
        yield server


@pytest.fixture(autouse=True)
def swept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SWEEP_S", 0.02)


FLOODS = {
    "pings": frame(FIN | PING) * 5000,
    "pings that say something": frame(FIN | PING, b"a" * 125) * 5000,
    "pongs": frame(FIN | PONG) * 5000,
    "fragments of a byte": frame(BINARY, b"a") + frame(CONTINUATION, b"a") * 5000,
    "fragments": frame(BINARY, bytes(100)) + frame(CONTINUATION, bytes(100)) * 5000,
    "empty messages": frame(FIN | BINARY) * 5000,
    "messages of a byte": frame(FIN | BINARY, b"a") * 5000,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
@pytest.mark.parametrize("path", ["/ws/stream", "/ws/live/a"])
async def test_a_flood_is_closed_with_a_reason(server: Running, flood: bytes, path: str) -> None:
    async with Peer(server) as peer:
        await peer.upgrade(path)
        await peer.send(flood)
        code, reason = await peer.closing()
        assert (code == 1008 and "more than" in reason) or "fragments" in reason


async def test_a_flood_of_text_is_closed(server: Running) -> None:
    async with Peer(server) as peer:
        await peer.upgrade("/ws/live/a")
        await peer.send(frame(FIN | TEXT, b"hi") * 5000)
        assert (await peer.closing())[0] == 1008


async def test_a_library_shows_the_reason(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream") as socket:
        with pytest.raises(ConnectionClosed, match="control frames") as closed:
            for _ in range(5000):
                await socket.ping()
            await socket.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


async def test_pictures_at_once_pings_and_heartbeats_are_nobody_s_harm(server: Running) -> None:
    """A script that sends a folder as quickly as it can, a client that pings ten times a second, an HMI that says
    hello."""
    async with (
        connect(f"{server.ws}/ws/stream?name=a", max_queue=None) as camera,
        connect(f"{server.ws}/ws/live/a", max_queue=None) as hmi,
    ):
        for _ in range(100):
            await hmi.send("still here")
            await camera.ping()
        await send_all(camera, [GOOD] * 700)
        stream = await listed_when(server, "a", lambda stream: stream is not None and stream["received"] == 700)
        assert stream is not None
        async with asyncio.timeout(WAIT_S):
            await (await hmi.ping())
            await (await camera.ping())


async def test_large_frames_in_fragments_and_pings_between_them_arrive(server: Running) -> None:
    picture = GOOD + bytes(900_000)
    async with Peer(server) as peer:
        await peer.upgrade("/ws/stream?name=a")
        for _ in range(20):
            pieces = [picture[at : at + 16_384] for at in range(0, len(picture), 16_384)]
            await peer.send(frame(BINARY, pieces[0]) + frame(FIN | PING, b"between"))
            for piece in pieces[1:-1]:
                await peer.send(frame(CONTINUATION, piece))
            await peer.send(frame(FIN | CONTINUATION, pieces[-1]))
        stream = await listed_when(server, "a", lambda stream: stream is not None and stream["received"] == 20)
        assert stream is not None and stream["failed"] == 0


async def test_frames_arrive_whole_however_the_bytes_are_cut(server: Running) -> None:
    async with Peer(server) as peer:
        await peer.upgrade("/ws/stream?name=a")
        for byte in frame(FIN | BINARY, GOOD):
            await peer.send(bytes([byte]))
        stream = await listed_when(server, "a", lambda stream: stream is not None and stream["inspected"] == 1)
        assert stream is not None


async def test_unfinished_messages_hold_a_bounded_memory_and_the_oldest_goes_first(server: Running) -> None:
    peers = [Peer(server) for _ in range(8)]
    for peer in peers:
        await peer.__aenter__()
        await peer.upgrade("/ws/stream")
        assert await peer.send(frame(BINARY, bytes(900_000)))
    async with connect(f"{server.ws}/ws/stream?name=good") as good:
        for _ in range(5):
            await good.send(GOOD + bytes(500_000))
            assert not (await receive_result(good)).is_anomaly
    # 8 × 0.9 MB; from one address 4 times the largest message are held, and the good stream's
    for peer in peers[:4]:
        code, reason = await peer.closing()
        assert (code, reason) == (1013, "too many unfinished messages at once: try again")
    await peers[-1].send(frame(FIN | CONTINUATION, b"end"))
    async with asyncio.timeout(WAIT_S):
        assert b'"error"' in await peers[-1].reader.read(2000), "the newest goes on"
    for peer in peers:
        await peer.__aexit__(None, None, None)


async def test_a_message_that_drips_is_closed(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MAX_LAG_S", 0.2)
    async with Peer(server) as inside, Peer(server) as between, connect(f"{server.ws}/ws/stream") as silent:
        await inside.upgrade("/ws/stream")
        await between.upgrade("/ws/stream")
        await inside.send(frame(FIN | BINARY, bytes(5000))[:2000])
        await between.send(frame(BINARY, bytes(2000)) + b"\x00")
        for peer in (inside, between):
            code, reason = await peer.closing()
            assert code == 1008 and "slower" in reason
        await silent.send(GOOD)
        await receive_result(silent)


async def test_a_sender_of_too_large_a_message_sees_the_code(server: Running) -> None:
    socket = await connect(f"{server.ws}/ws/stream")  # not closed: websockets 17 stumbles over what is closed already
    with pytest.raises(ConnectionClosed) as closed:
        await socket.send(bytes(8_000_000))
        await socket.recv()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


async def test_others_get_their_turn_between_a_few_frames(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came at once is not read at once: between two turns of the event loop there are a few frames only."""
    loop, turn, read = asyncio.get_running_loop(), 0, dict[int, int]()

    def count() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(count)

    whole = bounded_websocket.BoundedWebSocket.handle_ping

    def handle_ping(self: bounded_websocket.BoundedWebSocket) -> None:
        read[turn] = read.get(turn, 0) + 1
        whole(self)

    monkeypatch.setattr(bounded_websocket.BoundedWebSocket, "handle_ping", handle_ping)
    async with Peer(server) as peer:
        await peer.upgrade("/ws/live/a")
        count()
        await peer.send(frame(FIN | PING) * 250 + frame(FIN | 8))
        await peer.rest()
    assert sum(read.values()) == 250
    assert max(read.values()) <= 2 * bounded_websocket.FRAMES_A_TURN


def test_a_rate_gives_so_many_at_once_and_so_many_a_second() -> None:
    rate = Rate(10, 3, now=100)
    assert [rate.take(100) for _ in range(3)] == [0, 0, 0]
    assert rate.take(100) == pytest.approx(0.1)
    assert rate.take(100.1001) == 0
    assert rate.take(100.1501) == pytest.approx(0.05, abs=0.001)
    assert [rate.take(200) for _ in range(3)] == [0, 0, 0] and rate.take(200) > 0


async def test_a_stop_at_the_moment_in_which_a_peer_closes_is_a_clean_one(server: Running) -> None:
    async with connect(f"{server.ws}/ws/live/a"), connect(f"{server.ws}/ws/live/a"):
        closing, failing = server.server.server_state.connections
        closing.conn.send_close(1000)  # what the answer to its own close leaves, until its socket is gone
        closing.shutdown()
        assert closing.transport.is_closing()

        def fails() -> None:
            raise ZeroDivisionError

        failing.shutdown = fails  # type: ignore[method-assign, union-attr]
        await server.stop()
        assert server.server.lifespan.shutdown_event.is_set(), (
            "what waits for the disk is written whatever connections do"
        )
