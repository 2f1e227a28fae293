"""Places for connections: the oldest idle one makes room, streams keep theirs, and nobody is locked out silently."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from server import serve
from server.app import create_app
from server.ground import Refusals, raise_limit, source_of
from server.https import ensure
from server.serve import configuration
from server.settings import Settings
from server.web import Connections, connections, door
from server.web.connections import Connection
from server.web.held import Held
from server.web.pace import MAX_LAG_S, MIN_RATE, Lag
from tests.running import Running, running
from tests.server.fakes import GOOD, WAIT_S, FakeModel, healthy, http, receive_result, serving, until
from tests.server.web.peers import GET, MULTIPART, Peer, post


@pytest.fixture
async def server(model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(model, tmp_path, max_connections_per_address=12) as server:
        yield server


async def test_the_oldest_idle_connection_makes_room(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    async with connect(f"{server.ws}/ws/stream?name=a") as stream, connect(f"{server.ws}/ws/live/a") as hmi:
        idle = [Peer(server) for _ in range(30)]
        for peer in idle:
            await peer.__aenter__()
        for peer in idle[:20]:
            assert await peer.rest() == b"", "an old one was closed"
        await stream.send(GOOD)
        await receive_result(stream)
        await hmi.recv()
        await idle[-1].send(GET)
        async with asyncio.timeout(WAIT_S):
            assert b" 200 " in await idle[-1].reader.readline(), "a new one is served"
        for peer in idle:
            await peer.__aexit__(None, None, None)
    lines = [record.getMessage() for record in caplog.records if record.name == "defectvision.limits"]
    assert len(lines) == 1 and lines[0].startswith("too many connections from one address: the oldest idle one")


async def test_where_all_are_at_work_a_newcomer_is_told(server: Running) -> None:
    viewers = [await connect(f"{server.ws}/ws/live/a") for _ in range(12)]
    async with Peer(server) as late:
        answer = await late.rest()
        assert answer.startswith(b"HTTP/1.1 503 ") and b"too many connections" in answer
    await viewers[0].close()
    connected = server.server.config.connections  # type: ignore[attr-defined]
    await until(lambda: len(connected) < 12)
    async with http(server) as client:
        assert (await client.get("/health")).status_code == 200
    for viewer in viewers:
        await viewer.close()


async def test_strangers_who_send_slowly_make_room_and_who_is_in_does_not(model: FakeModel, tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path, host="0.0.0.0", max_connections_per_address=6)
    app = create_app(chosen, make_model=lambda: model)  # type: ignore[arg-type, return-value]
    async with running(app, chosen) as server, contextlib.AsyncExitStack() as stack:
        await healthy(server)
        _, secret = await app.state.access.add_token("mes", "operator", None, None, "boss")
        bearer = {"Authorization": f"Bearer {secret}"}
        stream = await stack.enter_async_context(connect(f"{server.ws}/ws/live/a", additional_headers=bearer))
        uploads, forms = [await stack.enter_async_context(Peer(server)) for _ in range(2)], list[Peer]()
        for peer in uploads:
            lines = (f"Authorization: Bearer {secret}", MULTIPART, "Content-Length: 100000")
            assert await peer.send(post("/predict", *lines))
        connected = server.server.config.connections  # type: ignore[attr-defined]
        await until(lambda: len(connected) == 3 and len(connected._all.idle) == 0)
        for _ in range(9):
            forms.append(await stack.enter_async_context(Peer(server)))
            assert await forms[-1].send(post("/enter", "Content-Length: 3000"))
            async with Peer(server) as another:
                assert await another.send(GET)
                async with asyncio.timeout(WAIT_S):
                    assert b" 200 " in await another.reader.readline(), "there is a place for whoever comes"
        assert await forms[0].rest() == b"", "the oldest stranger's made room"
        for peer in uploads:
            assert await peer.send(b"--b") and not peer.reader.at_eof()
        assert len(connected) <= 6 and (await stream.recv())


async def test_thirty_phones_and_browsers_behind_one_address_have_room(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server:
        phones = [await connect(f"{server.ws}/ws/stream?name=phone-{number}") for number in range(30)]
        kept = [Peer(server) for _ in range(30 * 6)]
        for peer in kept:
            await peer.__aenter__()
            await peer.send(GET)
        for peer in kept:
            async with asyncio.timeout(WAIT_S):
                assert b" 200 " in await peer.reader.readline()
            await peer.__aexit__(None, None, None)
        for phone in phones:
            await phone.send(GOOD)
            await receive_result(phone)
            await phone.close()


# --- TLS ---


@pytest.fixture
async def secure(model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(door, "HEAD_S", 0.5)
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    certificates = ensure(tmp_path / "certificates", ["localhost"])
    settings = Settings(data_dir=tmp_path, https=True, max_connections_per_address=12)
    app = create_app(settings, certificates=certificates, make_model=lambda: model)  # type: ignore[arg-type,return-value]
    async with running(app, settings, certificates) as server:
        yield server


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def test_a_tls_handshake_must_come_in_time(secure: Running) -> None:
    async with Peer(secure) as silent, Peer(secure) as half, Peer(secure) as other:
        await half.send(b"\x16\x03\x01\x02\x00\x01")
        await other.send(GET)
        for peer in (silent, half, other):
            await peer.rest()
    connected = secure.server.config.connections  # type: ignore[attr-defined]
    await until(lambda: not len(connected))


async def test_unfinished_tls_handshakes_lock_nobody_out(secure: Running) -> None:
    base = f"127.0.0.1:{secure.port}"
    strangers = [Peer(secure) for _ in range(40)]
    async with connect(f"wss://{base}/ws/stream", ssl=trusting()) as stream:
        for peer in strangers:
            await peer.__aenter__()
        async with httpx.AsyncClient(verify=trusting(), base_url=f"https://{base}", timeout=WAIT_S) as client:
            assert (await client.get("/health")).status_code == 200
            answer = await client.post("/predict", files={"file": bytes(12_000_000)})
            assert answer.status_code == 413 and "MAX_UPLOAD_MB" in answer.json()["error"]
        await stream.send(GOOD)
        await receive_result(stream)
    for peer in strangers:
        await peer.__aexit__(None, None, None)


async def test_a_shutdown_lets_go_of_those_that_said_nothing(server: Running) -> None:
    async with Peer(server) as peer:
        connected = server.server.config.connections  # type: ignore[attr-defined]
        await until(lambda: len(connected) == 1)
        await server.stop()
        assert await peer.rest() == b"" and not len(connected)


async def test_a_shutdown_does_not_wait_for_handshakes(secure: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HEAD_S", 60.0)
    async with Peer(secure), asyncio.timeout(WAIT_S):
        await secure.stop()


# --- the counting itself ---


async def test_places_are_counted_by_address_and_in_all() -> None:
    some, gone = Connections(3, 2, Refusals()), list[str]()

    def admit(address: str, name: str = "") -> Connection | None:
        return some.admit(address, lambda: gone.append(name))

    first, second = admit("10.0.0.1", "first"), admit("10.0.0.1", "second")
    assert first is not None and second is not None
    first.working()
    third = admit("10.0.0.1")
    assert third is not None and gone == ["second"], "the first is at work"
    third.working()
    assert admit("10.0.0.1") is None, "both are at work"
    other = admit("10.0.0.2", "other")
    assert other is not None and len(some) == 3
    other.working()
    assert admit("10.0.0.3") is None, "all places are at work"
    other.idle()
    assert admit("10.0.0.3") is not None and gone == ["second", "other"]
    for one in (first, third):
        one.lost()
    assert len(some) == 1


def test_a_host_of_ipv6_is_one_address() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") != source_of("2001:db8:0:1::1")
    assert source_of("::ffff:10.0.0.1") == source_of("10.0.0.1") == "10.0.0.1"


async def test_file_descriptors_are_kept_for_what_is_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    app = create_app(settings)
    assert configuration(app, settings).connections.limit == min(settings.max_connections, raise_limit() - 256)
    monkeypatch.setattr(serve, "raise_limit", lambda: 1024)
    assert configuration(app, settings).connections.limit == 768


# --- slowness, memory, lines ---


def test_lag_is_the_time_behind_the_pace() -> None:
    steady, silent = Lag(), Lag()
    for second in range(1000):
        steady.came(MIN_RATE)
        assert not steady.too_slow(second)
    silent.came(10_000_000)
    assert not silent.too_slow(0), "what came early"
    assert not silent.too_slow(MAX_LAG_S - 0.1)
    assert silent.too_slow(MAX_LAG_S + 0.1), "counts for nothing later"
    waiting = Lag()
    assert not waiting.too_slow(0) and not waiting.too_slow(1000, held_up=True)


def test_the_share_that_is_unfinished_for_longest_is_let_go() -> None:
    gone: list[str] = []
    held = Held(100, 60, "tests", Refusals())

    def share(name: str, source: str, size: int):  # type: ignore[no-untyped-def]
        one = held.share(source)
        one.let_go = lambda: gone.append(name)
        one.resize(size)
        return one

    old, new = share("old", "a", 30), share("new", "a", 20)
    whole = share("whole", "b", 40)
    whole.finish()
    new.resize(31)
    assert gone == ["old"] and not old.size, "over what one address may hold"
    old.resize(50)
    assert not old.size, "it stays gone"
    share("third", "c", 30)
    assert gone == ["old", "new"], "over what all may hold; the whole one is nobody's to take"
    share("fourth", "d", 40)
    assert gone == ["old", "new", "third"]
    share("larger than one address may hold", "e", 61)
    assert gone[3:] == ["larger than one address may hold"]
    with whole:
        pass
    share("fits again", "f", 60)
    assert gone[4:] == []


def test_a_kind_of_refusal_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    refusals = Refusals(lambda: now)
    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            refusals.note("too many of them", f"10.0.0.{number % 250}")
        refusals.note("another kind", "10.0.0.1")
        now = 61.0
        refusals.note("too many of them", "10.0.0.7")
    assert [record.getMessage() for record in caplog.records] == [
        "too many of them times=1 last=10.0.0.0",
        "another kind times=1 last=10.0.0.1",
        "too many of them times=1000 last=10.0.0.7",
    ]


async def test_an_answer_s_body_does_not_wait_for_its_head_to_be_confirmed(
    model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 ms for each request of a connection that is kept."""
    options: list[int] = []
    begin = door.Door._begin

    def noted(self: door.Door, peer: socket.socket, connection: Connection) -> None:
        options.append(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        begin(self, peer, connection)

    monkeypatch.setattr(door.Door, "_begin", noted)
    async with serving(model, tmp_path) as server, http(server) as client:
        await client.get("/health")
    assert options and all(options)
