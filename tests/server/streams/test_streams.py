"""All streams of a server, without sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

import detector
from detector.images import decode
from server.inspection.calibrations import Calibrations
from server.inspection.inspection import Inspection
from server.streams.hub import Hub, Subscription
from server.streams.pool import InferencePool
from server.streams.slot import Counters
from server.streams.streams import OpenStream, Streams
from server.words.messages import Error, Message, Result, Simulated, Status
from tests.server.fakes import BAD, BROKEN, GOOD, WAIT_S, FakeModel, picture, read, status, until

good, bad, broken = (partial(decode, data) for data in (GOOD, BAD, BROKEN))


@pytest.fixture
async def streams(model: FakeModel, tmp_path: Path) -> AsyncIterator[Streams]:
    inspection, pool = Inspection(Calibrations(tmp_path)), InferencePool(1)
    inspection.use(model)  # type: ignore[arg-type]
    pool.start()
    yield Streams(pool, Hub(), inspection)
    pool.close()


async def answers(opened: OpenStream) -> list[Message]:
    """What waits for the sender; ends its stream."""
    opened.end()
    return [read(text) async for text in opened.results()]


def settled(opened: OpenStream) -> bool:
    counted = opened.stream.counters
    return counted.received == counted.inspected + counted.dropped + counted.failed


async def test_results_carry_the_counters_of_their_moment(streams: Streams) -> None:
    opened = streams.open("a", "websocket")
    for load in (good, broken, bad):
        opened.offer(load)
        await until(lambda: settled(opened))
    first, error, last = await answers(opened)
    assert isinstance(first, Result) and isinstance(error, Error) and isinstance(last, Result)
    assert (first.received, first.inspected, first.failed, first.anomalies) == (1, 1, 0, 0)
    assert (error.received, error.inspected, error.failed, error.seq) == (2, 1, 1, 1)
    assert (last.received, last.inspected, last.failed, last.anomalies, last.seq) == (3, 2, 1, 1, 2)


async def test_a_frame_that_came_damaged_counts_as_failed_and_displaces_no_whole_one(
    streams: Streams, model: FakeModel
) -> None:
    model.gate.clear()
    opened = streams.open("a", "webrtc")
    opened.offer(good)
    await until(lambda: not opened.stream.has_waiting)
    opened.offer(bad)
    opened.fail("packets were lost")
    model.gate.set()
    await until(lambda: settled(opened))
    messages = await answers(opened)
    error = next(message for message in messages if isinstance(message, Error))
    assert (error.error, error.seq, error.received, error.failed) == ("packets were lost", 2, 3, 1)
    assert [message.seq for message in messages if isinstance(message, Result)] == [0, 1]


async def test_a_simulated_frame_keeps_what_was_simulated(streams: Streams) -> None:
    opened = streams.open("a", "simulated")
    opened.offer(good, Simulated(7, "dent"))
    await until(lambda: settled(opened))
    assert streams.list()[0].simulated
    (result,) = await answers(opened)
    assert isinstance(result, Result) and result.simulated == Simulated(7, "dent")


async def test_a_frame_in_work_of_a_replaced_sender_is_counted_but_not_told(streams: Streams, model: FakeModel) -> None:
    model.gate.clear()
    old = streams.open("a", "websocket")
    listener = streams.hub.subscribe("a")
    for _ in range(3):
        old.offer(bad)
    new = streams.open("a", "webrtc")
    assert old.taken_over.is_set() and not new.taken_over.is_set()
    new.offer(good)
    model.gate.set()
    await until(lambda: settled(old) and settled(new))
    assert (old.stream.inspected, old.stream.dropped) == (1, 2)
    assert await answers(old) == []
    (result,) = await answers(new)
    assert isinstance(result, Result) and result.raw_score == 50
    listener.close()
    assert [read(text) async for text in listener] == [status("a", "live"), result]


async def test_the_late_end_of_a_replaced_sender_does_not_end_the_new_one(streams: Streams) -> None:
    old = streams.open("a", "websocket")
    new = streams.open("a", "websocket")
    old.close()
    assert [stream.name for stream in streams.list()] == ["a"]
    assert streams.status("a").state == "live"
    new.close()
    new.close()
    assert streams.list() == []
    assert streams.status("a").state == "waiting"


async def test_a_stream_that_ended_takes_no_more_frames(streams: Streams, model: FakeModel) -> None:
    replaced, closed = streams.open("a", "websocket"), streams.open("b", "websocket")
    current = streams.open("a", "websocket")
    closed.close()
    for opened in (replaced, closed, current):
        opened.offer(good)
    await until(lambda: settled(current))
    assert model.detected == 1


async def test_a_frame_that_waits_when_its_sender_goes_is_dropped(streams: Streams, model: FakeModel) -> None:
    model.gate.clear()
    opened = streams.open("a", "websocket")
    opened.offer(good)
    opened.offer(good)
    opened.close()
    model.gate.set()
    await until(lambda: settled(opened))
    assert (opened.stream.inspected, opened.stream.dropped) == (1, 1)


async def test_made_up_names_are_free_ones(streams: Streams) -> None:
    streams.open("camera-2", "websocket")
    names = [streams.open(None, "websocket").name for _ in range(3)]
    assert len({*names, "camera-2"}) == 4


async def test_a_name_or_rate_that_cannot_be_opens_nothing(streams: Streams) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        streams.open("a b", "websocket")
    with pytest.raises(ValueError, match="max_fps"):
        streams.open("a", "websocket", -1)
    assert streams.list() == []


async def test_frames_that_come_before_the_model_wait_one_a_stream(model: FakeModel, tmp_path: Path) -> None:
    inspection, pool = Inspection(Calibrations(tmp_path)), InferencePool(1)
    streams = Streams(pool, Hub(), inspection)
    opened = streams.open("a", "websocket")
    for _ in range(5):
        opened.offer(good)
    assert (opened.stream.received, opened.stream.dropped) == (5, 4)
    inspection.use(model)  # type: ignore[arg-type]
    pool.start()
    await until(lambda: opened.stream.inspected == 1, WAIT_S)
    pool.close()


# --- silent senders, late verdicts, hung workers, pictures of another shape ---


async def heard(listener: Subscription) -> list[Message]:
    listener.close()
    return [read(text) async for text in listener]


async def test_a_sender_that_freezes_is_silent_and_its_listeners_hear_it(
    streams: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    streams.silent_after_s = 0.1
    listener = streams.hub.subscribe("a")
    opened = streams.open("a", "websocket")
    opened.offer(good)
    await until(lambda: opened.is_silent)
    (info,) = streams.list()
    assert (info.state, info.last_verdict, streams.status("a").state) == ("silent", "NORMAL", "silent")
    assert info.last_verdict_at is not None
    assert abs((datetime.now(UTC) - datetime.fromisoformat(info.last_verdict_at)).total_seconds()) < WAIT_S
    opened.fail("lost packets")
    assert streams.list()[0].state == "live"
    await until(lambda: opened.is_silent)
    opened.close()
    states = [message.state for message in await heard(listener) if isinstance(message, Status)]
    assert states == ["live", "silent", "live", "silent", "waiting"]
    assert caplog.text.count("no frame for 0.1 s") == 1, "once, however often it falls silent"


async def test_a_stream_from_which_nothing_ever_came_is_silent_too(streams: Streams) -> None:
    streams.silent_after_s = 0.05
    opened = streams.open("a", "camera")
    await until(lambda: opened.is_silent)
    assert (streams.list()[0].last_verdict, streams.list()[0].last_verdict_at) == (None, None)


async def test_frames_that_are_broken_or_over_the_rate_are_a_sign_of_life(streams: Streams) -> None:
    streams.silent_after_s = 0.3
    opened = streams.open("a", "websocket", max_fps=0.001)
    start = time.perf_counter()
    while time.perf_counter() - start < 0.6:
        opened.offer(broken)
        opened.fail("lost packets")
        await asyncio.sleep(0.005)
        assert not opened.is_silent
    opened.end()


async def test_silence_can_be_nothing_to_speak_of(streams: Streams) -> None:
    """Cameras that are triggered by the part."""
    assert streams.silent_after_s is None
    opened = streams.open("a", "websocket")
    assert opened._listening is None


async def test_a_replaced_or_closed_sender_is_not_called_silent(streams: Streams) -> None:
    streams.silent_after_s = 0.05
    listener = streams.hub.subscribe("a")
    old = streams.open("a", "websocket")
    streams.silent_after_s = None
    streams.open("a", "websocket").close()
    await asyncio.sleep(0.1)
    assert not old.is_silent
    states = [message.state for message in await heard(listener) if isinstance(message, Status)]
    assert states == ["live", "live", "waiting"]


async def test_a_verdict_that_comes_too_late_is_dropped_and_said(model: FakeModel, tmp_path: Path) -> None:
    inspection, pool = Inspection(Calibrations(tmp_path)), InferencePool(1)
    inspection.use(model)  # type: ignore[arg-type]
    pool.start()
    streams = Streams(pool, Hub(), inspection, max_age_s=0.2)
    opened = streams.open("a", "websocket")
    model.gate.clear()
    opened.offer(bad)
    await until(lambda: model.detected == 1)
    await asyncio.sleep(0.3)
    model.gate.set()
    await until(lambda: settled(opened))
    assert opened.stream.counters == Counters(received=1, inspected=0, dropped=1, failed=0)
    (info,) = streams.list()
    assert info.last_verdict is None and "MAX_FRAME_AGE_MS" in info.warnings[0]
    opened.offer(good)
    await until(lambda: settled(opened))
    assert streams.list()[0].warnings == []
    (result,) = await answers(opened)
    assert isinstance(result, Result) and result.verdict == "NORMAL"
    pool.close()


async def test_a_frame_whose_inspection_hangs_has_failed_and_its_late_result_is_no_verdict(
    model: FakeModel, tmp_path: Path
) -> None:
    inspection, pool = Inspection(Calibrations(tmp_path)), InferencePool(1, hung_after_s=0.2)
    inspection.use(model)  # type: ignore[arg-type]
    pool.start()
    streams = Streams(pool, Hub(), inspection)
    opened, other = streams.open("a", "websocket"), streams.open("b", "websocket")
    model.gate.clear()
    opened.offer(bad)
    await until(lambda: settled(opened))
    assert opened.stream.counters == Counters(received=1, inspected=0, dropped=0, failed=1)
    model.gate.set()
    other.offer(good)
    await until(lambda: settled(other) and pool.warning is None)
    assert streams.list()[0].last_verdict is None
    (error,) = await answers(opened)
    assert isinstance(error, Error) and "given up" in error.error
    (result,) = await answers(other)
    assert isinstance(result, Result) and result.verdict == "NORMAL"
    pool.close()


async def test_a_picture_of_another_shape_is_said_in_the_list_and_once_in_the_log(
    streams: Streams, model_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    streams.inspection.use(detector.load(model_folder))
    sizes = {"1:1": (64, 64), "4:3": (64, 48)}
    frames = {name: partial(decode, picture(50, width=width, height=height)) for name, (width, height) in sizes.items()}
    opened = streams.open("a", "websocket")
    for name, expected in (("1:1", 0), ("4:3", 2), ("1:1", 0), ("4:3", 2)):
        opened.offer(frames[name])
        await until(lambda: settled(opened))
        assert len(streams.list()[0].warnings) == expected
    changed, taught = streams.list()[0].warnings
    assert "64×64, now 64×48" in changed and "taught were 1.00" in taught
    assert caplog.text.count("changed its shape") == caplog.text.count("taught were") == 1
