"""HTTP from strangers, over real sockets: what they send is bounded, and they are told why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from server.web import bounded_http, connections, pace
from tests.running import Running
from tests.server.fakes import GOOD, WAIT_S, FakeModel, http, picture, serving, until
from tests.server.web.peers import CHUNKED, GET, MULTIPART, Peer, post


@pytest.fixture
async def server(model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(model, tmp_path, max_upload_mb=0.2) as server:
        yield server


@pytest.fixture(autouse=True)
def swept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SWEEP_S", 0.02)


# --- requests sent ahead ---


async def test_many_requests_sent_ahead_end_the_connection(server: Running) -> None:
    async with Peer(server) as peer:
        await peer.send(GET * 10_000)
        assert (await peer.rest()).count(b"HTTP/1.1 200 OK") <= bounded_http.MAX_PIPELINE
    async with http(server) as client:
        assert (await client.get("/health")).status_code == 200


async def test_a_few_requests_sent_ahead_are_all_answered(server: Running) -> None:
    async with Peer(server) as peer:
        await peer.send(GET * 9 + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (await peer.rest()).count(b"HTTP/1.1 200 OK") == 10


UPGRADE = (
    b"GET /ws/live/a HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def test_no_answer_is_written_into_a_websocket(server: Running, model: FakeModel) -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + GOOD + b"\r\n--b--\r\n"
    model.gate.clear()
    async with Peer(server) as peer:
        await peer.send(post("/predict", MULTIPART, f"Content-Length: {len(form)}") + form + UPGRADE + b"\r\n")
        assert b"101 Switching Protocols" not in await peer.rest(), "the picture is not judged yet"
    model.gate.set()
    async with Peer(server) as peer:
        await peer.send(GET)
        await peer.reader.readuntil(b"}")
        await peer.send(UPGRADE + b"\r\n")
        assert b" 101 " in await peer.reader.readuntil(b"\r\n")


@pytest.mark.parametrize("head", [UPGRADE, UPGRADE.replace(b"GET", b"POST")])
async def test_what_is_nearly_a_handshake_is_answered(server: Running, head: bytes) -> None:
    async with Peer(server) as peer:
        await peer.send(head + b"Content-Length: 3\r\n\r\nabc")
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 400 ") and b"no WebSocket handshake" in answer


# --- heads ---


async def test_a_head_must_come_in_time(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_S", 0.2)
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    async with Peer(server) as silent, Peer(server) as begun, Peer(server) as second:
        await begun.send(GET[:-2])
        await second.send(GET + GET[:9])
        assert await silent.rest() == b""
        assert (await begun.rest()).startswith(b"HTTP/1.1 408 ")
        answers = await second.rest()
        assert answers.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 408 " in answers


async def test_a_connection_that_is_kept_may_be_silent_between_its_requests(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_S", 0.2)
    async with Peer(server) as peer:
        for _ in range(2):
            await peer.send(GET)
            async with asyncio.timeout(WAIT_S):
                head = await peer.reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await peer.reader.readexactly(int(length))
            assert head.startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.5)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\na: " + b"b" * 1_000_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200_000, 431),
        (b"GET /" + b"a" * 100_000, 414),
    ],
)
async def test_a_head_without_an_end_is_refused(server: Running, head: bytes, status: int) -> None:
    async with Peer(server) as peer:
        await peer.send(head)
        assert (await peer.rest()).startswith(b"HTTP/1.1 %d " % status)


async def test_what_is_not_http_is_told_so(server: Running) -> None:
    async with Peer(server) as peer:
        await peer.send(b"\x16\x03\x01 hello \r\n\r\n")
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 400 ") and b'{"error": "this is not HTTP"}' in answer


# --- bodies ---


async def test_dripping_uploads_take_no_place_and_are_let_go(
    server: Running, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = [Peer(server) for _ in range(44)]
    for number, peer in enumerate(peers):
        await peer.__aenter__()
        await peer.send(post("/predict" if number < 40 else "/calibrate", MULTIPART, "Content-Length: 90000") + b"--b")
    async with http(server) as client:
        answer = await client.post("/predict", files={"file": GOOD})
        assert answer.status_code == 200
        files = [("files", picture(brightness)) for brightness in (40, 50, 60)]
        assert (await client.post("/calibrate?dry_run=true", files=files)).status_code == 200
    monkeypatch.setattr(pace, "MAX_LAG_S", 0.1)
    for peer in peers:
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 408 ") and b"slower than 4 kB a second" in answer
        await peer.__aexit__(None, None, None)


async def test_an_offer_and_the_form_of_the_code_may_not_drip_either(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "MAX_LAG_S", 0.2)
    async with Peer(server) as peer:
        await peer.send(post("/webrtc/offer", "Content-Type: application/json", "Content-Length: 5000") + b"{")
        assert (await peer.rest()).startswith(b"HTTP/1.1 408 ")


async def test_an_upload_that_is_slow_but_steady_arrives(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MAX_LAG_S", 2.0)
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = part + GOOD + bytes(40_000) + b"\r\n--b--\r\n"
    async with Peer(server) as peer:
        await peer.send(post("/predict", MULTIPART, f"Content-Length: {len(body)}", "Connection: close"))
        for at in range(0, len(body), 1000):  # 20 kB a second
            assert await peer.send(body[at : at + 1000])
            await asyncio.sleep(0.05)
        assert (await peer.rest()).startswith(b"HTTP/1.1 200 ")


async def test_a_body_in_crumbs_is_refused(server: Running) -> None:
    async with Peer(server) as peer:
        await peer.send(post("/predict", MULTIPART, CHUNKED) + b"1\r\na\r\n" * 20_000)
        answer = await peer.rest()
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 422 "))


async def test_a_body_behind_its_answer_is_not_read_for_ever(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "LINGER_BYTES", 500_000)
    async with Peer(server) as peer:
        await peer.send(post("/nothing", CHUNKED))
        chunk, sent = b"10000\r\n" + bytes(65536) + b"\r\n", 0
        while await peer.send(chunk):
            sent += len(chunk)
            assert sent < 100_000_000


async def test_a_short_body_behind_its_answer_does_not_cost_the_connection(server: Running) -> None:
    async with Peer(server) as peer:
        await peer.send(post("/nothing", "Content-Length: 5000") + bytes(2000))
        async with asyncio.timeout(WAIT_S):
            assert (await peer.reader.readuntil(b"}")).startswith(b"HTTP/1.1 404 ")
        await peer.send(bytes(3000) + GET)
        async with asyncio.timeout(WAIT_S):
            assert (await peer.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_leaves_in_the_middle_is_no_fault_of_the_server(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/predict", "/calibrate", "/webrtc/offer"):
        async with Peer(server) as peer:
            await peer.send(post(path, MULTIPART, "Content-Length: 90000") + b"--b\r\n")
    async with http(server) as client:
        assert (await client.get("/health")).status_code == 200
    connected = server.server.config.connections  # type: ignore[attr-defined]
    await until(lambda: len(connected) <= 1)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# --- the sentence arrives ---


def _ask(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    """As urllib3, requests and most others do it: the whole request is written before the answer is looked at."""
    connection = HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("POST", path, body, {"Content-Type": "multipart/form-data; boundary=b"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "status"), [("/predict", 413), ("/calibrate", 413), ("/webrtc/offer", 413), ("/nothing", 404)]
)
async def test_a_client_that_writes_first_sees_why_it_was_refused(server: Running, path: str, status: int) -> None:
    for _ in range(3):
        told, body = await asyncio.to_thread(_ask, server.port, path, bytes(12_000_000))
        assert told == status and b"error" in body


async def test_a_client_that_sends_by_chunks_sees_why_it_was_refused(server: Running) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(100):
            yield bytes(100_000)

    async with http(server) as client:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer: httpx.Response = await client.post("/predict", content=body(), headers=headers)
    assert answer.status_code == 413 and "MAX_UPLOAD_MB" in answer.json()["error"]


async def test_lingering_has_an_end(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LINGER_BYTES", 500_000)
    async with Peer(server) as peer:
        await peer.send(post("/predict", MULTIPART, "Content-Length: 1000000000000"))
        sent = 0
        while await peer.send(bytes(65536)):
            sent += 65536
            assert sent < 100_000_000


# --- answers that nobody reads ---


async def test_a_peer_that_reads_nothing_is_let_go(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.2)
    connected = server.server.config.connections  # type: ignore[attr-defined]
    async with Peer(server) as peer:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        page = GET.replace(b"/health", b"/")
        while await peer.send(page):  # until buffers are full, and longer
            await asyncio.sleep(0.001)
            if not len(connected):
                break
        await until(lambda: not len(connected))


# --- redirects ---


async def test_a_path_with_another_slash_leads_nowhere_else(server: Running) -> None:
    async with http(server) as client:
        for method, path in (("POST", "/predict/"), ("GET", "/health/"), ("GET", "/static")):
            answer = await client.request(method, path, headers={"Host": "localhost"})
            assert answer.status_code == 404 and "location" not in answer.headers
