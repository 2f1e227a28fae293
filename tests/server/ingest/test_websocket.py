"""The WebSocket protocol, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import resource
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import cv2
import httpx
import msgspec
import numpy as np
import pytest
from msgspec import UNSET
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from server.ingest import websocket
from server.logs import Collapse
from server.streams.hub import Subscription
from server.streams.pool import Source
from server.streams.turns import Account, Turns
from server.words.messages import Error, Heartbeat, Heatmap, Picture, Result
from tests.running import Running
from tests.server.fakes import (
    BAD,
    BROKEN,
    GOOD,
    THRESHOLD,
    WAIT_S,
    FakeModel,
    close_code,
    listed,
    listed_when,
    picture,
    read_all,
    receive,
    receive_result,
    send_all,
    serving,
    status,
    stuck_listener,
)


@pytest.fixture
async def server(model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(model, tmp_path) as server:
        yield server


def resident_mb() -> float:
    """Memory of this process now, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


# --- sending ---


async def test_every_frame_is_accounted_for_and_the_newest_is_inspected(server: Running, model: FakeModel) -> None:
    model.seconds = 0.005
    frames, answers = 200, list[Result]()
    async with connect(f"{server.ws}/ws/stream?name=press-1") as socket:
        sending = asyncio.create_task(send_all(socket, [GOOD] * (frames - 1) + [BAD]))
        while not answers or answers[-1].seq < frames - 1:
            answers.append(await receive_result(socket))
        await sending
    last = answers[-1]
    assert last.is_anomaly, "the last frame sent is the newest and must be inspected"
    assert (last.received, last.failed) == (frames, 0)
    assert last.received == last.inspected + last.dropped + last.failed
    assert last.dropped > 0, "the test is too slow a sender to show anything"
    assert last.inspected == len(answers) == model.detected
    for earlier, later in pairwise(answers):
        assert later.seq > earlier.seq
        assert later.inspected == earlier.inspected + 1
        assert later.received >= earlier.received and later.dropped >= earlier.dropped
        assert later.seq < later.received


async def test_a_result_says_everything(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press-1") as socket:
        await socket.send(GOOD)
        good = await receive_result(socket)
        await socket.send(BAD)
        bad = await receive_result(socket)
    assert (good.stream, good.seq, good.verdict, good.is_anomaly) == ("press-1", 0, "NORMAL", False)
    assert (bad.seq, bad.verdict, bad.is_anomaly, bad.anomalies) == (1, "ANOMALY", True, 1)
    assert (good.raw_score, good.score) == (50, pytest.approx(0.1))
    assert (bad.raw_score, bad.score) == (150, pytest.approx(0.9))
    assert (bad.threshold, bad.threshold_source) == (THRESHOLD, "model")
    assert 0 < bad.latency_ms < WAIT_S * 1000
    assert isinstance(good.heatmap, Heatmap)
    heat = np.frombuffer(base64.b64decode(good.heatmap.data), np.uint8)
    assert heat.size == good.heatmap.width * good.heatmap.height == 64
    assert set(heat.tolist()) == {64}, "half the threshold is half of 128, whatever the rest of the picture holds"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
async def test_frames_may_be(server: Running, suffix: str) -> None:
    async with connect(f"{server.ws}/ws/stream") as socket:
        await socket.send(picture(70, suffix=suffix))
        assert (await receive_result(socket)).raw_score == pytest.approx(70, abs=2)


@pytest.mark.parametrize(
    "broken", [BROKEN, b"", GOOD[:-20], b"\x89PNG\r\n\x1a\n"], ids=["text", "empty", "cut", "head"]
)
async def test_a_broken_frame_is_answered_with_its_number_and_the_stream_goes_on(
    server: Running, broken: bytes
) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press-1") as socket:
        await socket.send(GOOD)
        await receive_result(socket)
        await socket.send(broken)
        error = await receive(socket)
        assert isinstance(error, Error)
        assert (error.stream, error.seq) == ("press-1", 1)
        assert (error.received, error.inspected, error.dropped, error.failed) == (2, 1, 0, 1)
        assert "picture" in error.error
        await socket.send(GOOD)
        assert (await receive_result(socket)).seq == 2


async def test_a_fragmented_message_is_one_frame(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream") as socket:
        await socket.send([BAD[:30], BAD[30:60], BAD[60:]])
        assert (await receive_result(socket)).raw_score == 150


ABSURD = (
    "hello",
    "",
    '{"part": 7}',
    '{"parts": "A"}',
    '{"part": "A", "and": 1}',
    '{"part": ""}',
    '{"part": "a\\nb"}',
    "[" * 900,
    '{"part": "%s"}' % ("x" * 129),
    '{"part": "%s"}' % ("x" * 5_000_000),
)


@pytest.mark.parametrize("text", ABSURD, ids=lambda text: text[:16])
async def test_other_text_than_a_part_is_refused(server: Running, text: str) -> None:
    async with connect(f"{server.ws}/ws/stream") as socket:
        await socket.send(text)
        assert await close_code(socket) == 1008
        assert socket.close_reason and ("binary" in socket.close_reason or "characters" in socket.close_reason)


async def test_a_flood_of_parts_is_closed_and_costs_others_nothing(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=calm") as calm:
        async with connect(f"{server.ws}/ws/stream") as socket:
            with contextlib.suppress(ConnectionClosed):
                for number in range(3000):
                    await socket.send(f'{{"part": "{number}"}}')
            assert await close_code(socket) == 1008
        await calm.send(GOOD)
        assert (await receive_result(calm)).verdict == "NORMAL"


async def test_frames_are_of_the_part_that_was_said_last(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press-1") as socket:
        parts = []
        for text in (None, '{"part": "A-1"}', '{"part": "B \u00e9"}', '{"part": null}'):
            if text is not None:
                await socket.send(text)
            await socket.send(GOOD)
            parts.append((await receive_result(socket)).part)
        assert parts == [UNSET, "A-1", "B é", UNSET]


async def test_a_frame_over_the_limit_is_refused(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path, max_upload_mb=0.1) as server:
        async with connect(f"{server.ws}/ws/stream") as socket:
            await socket.send(GOOD + bytes(90_000))
            await receive_result(socket)
            with contextlib.suppress(ConnectionClosed):
                await socket.send(GOOD + bytes(100_000))
            assert await close_code(socket) == 1009
        await listed_when(server, "camera-1", lambda stream: stream is None)


async def test_a_frame_has_fewer_pixels_than_an_upload_may_have(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path, max_frame_megapixels=0.01) as server:
        async with connect(f"{server.ws}/ws/stream") as socket:
            await socket.send(picture(50, suffix=".jpg", width=200, height=100))
            error = await receive(socket)
            assert isinstance(error, Error) and "200×100" in error.error and "0.01 megapixels" in error.error
            await socket.send(picture(50, suffix=".jpg", width=100, height=100))
            assert (await receive_result(socket)).inspected == 1
        async with httpx.AsyncClient(timeout=WAIT_S) as client:
            whole = picture(50, suffix=".jpg", width=200, height=100)
            assert (await client.post(f"{server.http}/predict", files={"file": whole})).status_code == 200


async def test_a_name_or_rate_that_cannot_be_is_refused_with_the_reason(server: Running) -> None:
    names = ["a%20b", "x" * 65, "..%2Fx", "%C3%A9", "a%0A"]
    rates = ["0", "-1", "fast", "nan", "inf"]
    for query in [f"name={name}" for name in names] + [f"max_fps={rate}" for rate in rates]:
        async with connect(f"{server.ws}/ws/stream?{query}") as socket:
            assert await close_code(socket) == 1008, query
            assert socket.close_reason and query.split("=")[0] in socket.close_reason


async def test_a_name_is_made_up_where_there_is_none(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream") as one, connect(f"{server.ws}/ws/stream?name=") as other:
        await one.send(GOOD)
        await other.send(GOOD)
        assert (await receive_result(one)).stream != (await receive_result(other)).stream


async def test_a_newer_sender_takes_the_name_over(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press-1") as old:
        await old.send(GOOD)
        await receive_result(old)
        async with connect(f"{server.ws}/ws/stream?name=press-1") as new:
            assert await close_code(old) == 4001
            await new.send(GOOD)
            result = await receive_result(new)
            assert (result.seq, result.received) == (0, 1), "counters are those of this connection"
            stream = await listed(server, "press-1")
            assert stream is not None and stream["received"] == 1
    await listed_when(server, "press-1", lambda stream: stream is None)


async def test_a_sender_that_does_not_read_still_learns_that_it_was_replaced(server: Running, model: FakeModel) -> None:
    model.cells = 600  # makes an answer of half a MB
    async with connect(f"{server.ws}/ws/stream?name=press-1") as old:
        old.transport.pause_reading()
        inspected = 0
        while (stream := await listed(server, "press-1")) is None or inspected < 40:
            inspected = stream["inspected"] if stream else 0
            await send_all(old, [GOOD] * 20)
        async with connect(f"{server.ws}/ws/stream?name=press-1") as new:
            await new.send(GOOD)
            await receive_result(new)
            before = model.detected
            await send_all(old, [GOOD] * 20)
            await new.send(GOOD)
            await receive_result(new)
            assert model.detected == before + 1, "nothing is computed for a sender that was replaced"
            old.transport.resume_reading()
            assert await close_code(old) == 4001


async def test_max_fps_drops_what_is_over_it(server: Running, model: FakeModel) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press-1&max_fps=0.01") as socket:
        await send_all(socket, [GOOD] * 10)
        first = await receive_result(socket)
        assert (first.seq, first.inspected) == (0, 1)
        stream = await listed_when(server, "press-1", lambda stream: stream is not None and stream["received"] == 10)
        assert stream is not None and (stream["inspected"], stream["dropped"]) == (1, 9)
        assert model.detected == 1


async def test_a_stream_is_listed_while_it_is_open(server: Running) -> None:
    async with (
        connect(f"{server.ws}/ws/stream?name=press-1") as socket,
        connect(f"{server.ws}/ws/live/press-1") as viewer,
    ):
        await receive(viewer)
        await socket.send(BAD)
        await receive_result(socket)
        stream = await listed(server, "press-1")
    assert stream is not None
    counts = {"received": 1, "inspected": 1, "dropped": 0, "failed": 0, "anomalies": 1, "viewers": 1}
    assert stream | counts == stream
    assert stream | {"transport": "websocket", "simulated": False, "last_verdict": "ANOMALY"} == stream
    assert stream["latency_ms"] > 0 and stream["received_per_s"] > 0
    await listed_when(server, "press-1", lambda stream: stream is None)


# --- listening ---


async def test_listeners_hear_the_camera_come_and_go(server: Running) -> None:
    async with connect(f"{server.ws}/ws/live/press-1") as viewer:
        assert await receive(viewer) == status("press-1", "waiting"), "an HMI may be there before the camera"
        async with connect(f"{server.ws}/ws/stream?name=press-1") as sender:
            assert await receive(viewer) == status("press-1", "live")
            await sender.send(BAD)
            assert await receive(viewer) == await receive(sender)
            await sender.send(BROKEN)
            assert await receive(viewer) == await receive(sender)
            async with connect(f"{server.ws}/ws/live/press-1") as late:
                assert await receive(late) == status("press-1", "live")
        assert await receive(viewer) == status("press-1", "waiting")


async def test_listeners_hear_only_their_stream(server: Running) -> None:
    async with (
        connect(f"{server.ws}/ws/live/press-1") as viewer,
        connect(f"{server.ws}/ws/stream?name=press-2") as other,
        connect(f"{server.ws}/ws/stream?name=press-1") as sender,
    ):
        await other.send(GOOD)
        await receive_result(other)
        await sender.send(GOOD)
        heard = [await receive(viewer) for _ in range(3)]
        assert {message.stream for message in heard} == {"press-1"}


async def test_a_picture_comes_only_to_those_who_ask(server: Running) -> None:
    async with (
        connect(f"{server.ws}/ws/live/press-1?picture=1") as screen,
        connect(f"{server.ws}/ws/live/press-1") as plain,
        connect(f"{server.ws}/ws/stream?name=press-1") as sender,
    ):
        for viewer in (screen, plain):
            await receive(viewer), await receive(viewer)
        await sender.send(picture(90, width=1000, height=500))
        with_picture, without = await receive_result(screen), await receive_result(plain)
        assert without.picture is UNSET
        assert without == await receive_result(sender)
        sent = with_picture.picture
        assert isinstance(sent, Picture)
        image = cv2.imdecode(np.frombuffer(base64.b64decode(sent.data), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and image.shape == (320, 640, 3) == (sent.height, sent.width, 3)
        assert abs(float(image.mean()) - 90) < 3


async def test_heat_maps_are_left_out_where_they_are_not_wanted(server: Running) -> None:
    async with (
        connect(f"{server.ws}/ws/live/press-1?heatmap=0") as bare,
        connect(f"{server.ws}/ws/live/press-1") as plain,
        connect(f"{server.ws}/ws/stream?name=press-1&heatmap=0") as sender,
    ):
        for viewer in (bare, plain):
            await receive(viewer), await receive(viewer)
        await sender.send(GOOD)
        heard = [await receive_result(one) for one in (bare, plain, sender)]
        assert [one.heatmap is UNSET for one in heard] == [True, False, True]
        assert heard[0] == heard[2] == msgspec.structs.replace(heard[1], heatmap=UNSET)


async def test_who_comes_late_hears_the_last_result_marked_as_repeated(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press-1") as sender:
        await sender.send(BAD)
        result = await receive_result(sender)
        async with connect(f"{server.ws}/ws/live/press-1") as late:
            await receive(late)
            assert await receive(late) == msgspec.structs.replace(result, repeated=True)
    async with connect(f"{server.ws}/ws/live/press-1?heartbeat=1") as later:
        assert await receive(later) == status("press-1", "waiting")
        heartbeat = await receive(later)
        assert isinstance(heartbeat, Heartbeat), "nothing is repeated of a sender that is gone"
        assert (heartbeat.state, heartbeat.last_verdict, heartbeat.age_s) == ("waiting", None, None)


async def test_a_heartbeat_says_how_old_the_last_verdict_is(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press-1") as sender:
        await sender.send(BAD)
        result = await receive_result(sender)
        async with connect(f"{server.ws}/ws/live/press-1?heartbeat=1") as viewer:
            heard = [await receive(viewer) for _ in range(3)]
    heartbeat = heard[-1]
    assert isinstance(heartbeat, Heartbeat)
    assert (heartbeat.state, heartbeat.last_verdict, heartbeat.last_verdict_at) == ("live", "ANOMALY", result.at)
    assert heartbeat.age_s is not None and heartbeat.age_s > 0.5


@pytest.mark.parametrize("seconds", ["0.5", "61", "-1", "nan", "often", "1" * 400])
async def test_a_heartbeat_that_cannot_be_is_refused(server: Running, seconds: str) -> None:
    async with connect(f"{server.ws}/ws/live/press-1?heartbeat={seconds}") as viewer:
        assert await close_code(viewer) == 1008
        assert viewer.close_reason and "heartbeat" in viewer.close_reason


async def test_a_listener_with_a_bad_name_is_refused(server: Running) -> None:
    async with connect(f"{server.ws}/ws/live/a%20b") as viewer:
        assert await close_code(viewer) == 1008


async def test_what_a_listener_sends_is_ignored(server: Running) -> None:
    async with (
        connect(f"{server.ws}/ws/live/press-1") as viewer,
        connect(f"{server.ws}/ws/stream?name=press-1") as sender,
    ):
        await viewer.send("hello")
        await viewer.send(GOOD)
        await sender.send(BAD)
        heard = [await receive(viewer) for _ in range(3)]
        assert isinstance(heard[-1], Result) and heard[-1].received == 1


# --- load ---


async def test_memory_stays_flat_when_frames_come_faster_than_they_go(server: Running, model: FakeModel) -> None:
    """180 MB into a detector that stands still, with a listener that never reads."""
    model.gate.clear()
    frame = GOOD + bytes(300_000 - len(GOOD))
    with await stuck_listener(server, "press-1"):
        async with connect(f"{server.ws}/ws/stream?name=press-1") as sender:
            await send_all(sender, [frame] * 20)
            await listed_when(server, "press-1", lambda stream: stream is not None and stream["received"] == 20)
            before = resident_mb()
            await send_all(sender, [frame] * 600)
            stream = await listed_when(
                server, "press-1", lambda stream: stream is not None and stream["received"] == 620
            )
            assert resident_mb() - before < 30
            assert stream is not None and stream["dropped"] == 618, "one in work, one waiting, the others dropped"
            model.gate.set()


async def test_a_listener_that_stops_reading_loses_old_results_and_slows_nobody(
    server: Running, model: FakeModel
) -> None:
    """Its pipe is full after some MB; what comes then overwrites what waits."""
    model.cells = 240  # makes a message of 77 kB
    rounds = 300
    async with connect(f"{server.ws}/ws/stream?name=press-1") as sender:
        with await stuck_listener(server, "press-1") as slow:
            before = resident_mb()
            for _ in range(rounds):
                await sender.send(GOOD)
                last = await receive_result(sender)
            assert (last.inspected, last.dropped) == (rounds, 0)
            assert resident_mb() - before < 30
            heard = [m["seq"] for m in await read_all(slow, rounds - 1) if m["type"] == "result"]
    assert heard == sorted(heard)
    assert len(heard) < rounds, "it was not slow at all"
    assert heard[-1] == rounds - 1, "the newest result is never the one that is lost"


async def test_a_listener_whose_cable_is_cut_slows_nobody(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press-1") as sender:
        cut = await stuck_listener(server, "press-1")
        cut.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        cut.close()  # a reset, with nothing said
        for _ in range(50):
            await sender.send(GOOD)
            await receive_result(sender)
        await listed_when(server, "press-1", lambda stream: stream is not None and stream["viewers"] == 0)


async def test_streams_get_equal_service(server: Running, model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight streams share one worker; the first sends ten times as fast as the others.

    Equal in the workers' time (``turns``), not in frames: the system stops a job for a tenth of a second now and then,
    and its stream has had that.
    """
    model.seconds = 0.004
    done, all_there = asyncio.Event(), asyncio.Barrier(8)
    jobs: dict[str, list[float]] = defaultdict(list)

    def noted(turns: Turns[Source], source: Source, account: Account, seconds: float) -> None:
        jobs[source.name].append(seconds)
        end(turns, source, account, seconds)

    end = Turns.end
    monkeypatch.setattr(Turns, "end", noted)

    async def send(name: str, pause_s: float) -> None:
        async with connect(f"{server.ws}/ws/stream?name={name}") as socket:
            await all_there.wait()  # who came late has had less

            async def flood() -> None:
                while not done.is_set():
                    await socket.send(GOOD)
                    await asyncio.sleep(pause_s)

            flooding = asyncio.create_task(flood())
            while not done.is_set():
                if (await receive_result(socket)).inspected == 40:
                    done.set()
            await flooding

    names = [f"press-{number}" for number in range(8)]
    await asyncio.gather(*(send(name, 0.001 if name == names[0] else 0.01) for name in names))
    spent = [sum(jobs[name]) for name in names]
    dearest = max(max(jobs[name]) for name in names)  # a job that has begun is not taken off
    assert max(spent) - dearest <= 1.5 * min(spent), jobs


async def test_garbage_does_not_fill_the_log(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(collapse := Collapse())
    caplog.set_level(logging.INFO, "defectvision")
    try:
        async with connect(f"{server.ws}/ws/stream?name=press-1") as socket:
            await send_all(socket, [BROKEN] * 1000)
            while (message := await receive(socket)).seq != 999:  # type: ignore[union-attr]
                assert isinstance(message, Error)
        for _ in range(100):
            async with connect(f"{server.ws}/ws/stream") as socket:
                await socket.send(BROKEN)
                await receive(socket)
    finally:
        caplog.handler.removeFilter(collapse)
    assert len(caplog.records) < 80


async def test_an_inspection_that_fails_is_logged_and_answered(
    server: Running, model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    model.fails = RuntimeError("out of memory")
    async with connect(f"{server.ws}/ws/stream?name=press-1") as socket:
        await socket.send(GOOD)
        error = await receive(socket)
        assert isinstance(error, Error) and "log" in error.error and "out of memory" not in error.error
        assert "out of memory" in caplog.text
        model.fails = None
        await socket.send(GOOD)
        assert (await receive_result(socket)).failed == 1


async def test_a_peer_that_uvicorn_has_given_up_is_no_error() -> None:
    class GivenUp:
        async def send_text(self, text: str) -> None:
            raise RuntimeError("Unexpected ASGI message 'websocket.send', after sending 'websocket.close'.")

    messages = Subscription()
    messages.push("a result")
    await asyncio.wait_for(websocket._send(GivenUp(), messages), WAIT_S)  # type: ignore[arg-type]


async def test_a_listener_that_takes_nothing_any_more_is_let_go(
    server: Running, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "UNREAD_S", 0.1)
    model.cells = 256  # large messages: they fill what waits for the listener
    with await stuck_listener(server, "a"):
        async with connect(f"{server.ws}/ws/stream?name=a") as sender, asyncio.timeout(WAIT_S):
            while (stream := await listed(server, "a")) is None or stream["viewers"]:
                await sender.send(GOOD)
                await receive_result(sender)
