"""All streams of a server, without sockets."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import detector
from detector.images import decode
from server.inspection.calibrations import Calibrations
from server.inspection.inspection import Inspection
from server.parts import gate_look, packed
from server.parts.station import INSPECTION_S
from server.recipes import Decision, ModelVersion, PartRule, Recipe, StreamOptions, ThresholdRule
from server.streams.hub import Hub, Subscription
from server.streams.kept_frames import KeptFrame
from server.streams.pool import InferencePool
from server.streams.slot import Counters
from server.streams.streams import MOST_REMEMBERED, OpenStream, Streams
from server.words import TriggerSaid
from server.words.messages import Change, Error, Heartbeat, Message, PartResult, Result, Simulated, Status
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
    assert settled(old)
    new.offer(good)
    model.gate.set()
    await until(lambda: settled(new))
    assert (old.stream.inspected, old.stream.dropped) == (0, 3)
    assert await answers(old) == []
    (result,) = await answers(new)
    assert isinstance(result, Result) and result.raw_score == 50
    listener.close()
    assert [read(text) async for text in listener] == [status("a", "live"), result]


@pytest.mark.parametrize("part", ["P1", None])
async def test_a_frame_in_work_when_its_sender_goes_changes_nothing_of_the_name(
    streams: Streams, model: FakeModel, part: str | None
) -> None:
    opened = streams.open("a", "websocket")
    opened.say_part(part)
    await shown(streams, opened, good)
    kept = list[KeptFrame]()
    streams.kept.on_kept = lambda frame, alarm: kept.append(frame)
    model.gate.clear()
    opened.say_part(part and "P2")
    opened.offer(bad)
    await until(lambda: not opened.stream.has_waiting)
    opened.close()
    counted = opened.parts.parts, opened.parts.rejected, opened.parts.failed, opened.parts.number
    assert counted == ((2, 0, 1, 1) if part else (0, 0, 0, 1))
    model.gate.set()
    await until(lambda: streams.pool.finished == 2)
    assert (opened.parts.parts, opened.parts.rejected, opened.parts.failed, opened.parts.number) == counted
    assert (opened.stream.inspected, opened.stream.dropped, opened.stream.anomalies) == (1, 1, 0)
    assert kept == [] and len(opened.seen.scores) == 1


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


async def test_the_frames_that_wait_or_are_in_work_when_their_sender_goes_are_dropped(
    streams: Streams, model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    model.gate.clear()
    opened = streams.open("a", "websocket")
    opened.offer(good)
    opened.offer(good)
    await until(lambda: model.detected == 1)
    opened.close()
    assert "received=2 inspected=0 dropped=2 failed=0" in caplog.text, "and the one in work, of which nobody hears"
    model.gate.set()
    await until(lambda: streams.pool.finished == 1)
    assert opened.stream.counters == Counters(received=2, inspected=0, dropped=2, failed=0)


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


# --- decision rules, parts, changes, what is kept ---

RECIPE = Recipe("r1", "bottle", 1, ModelVersion("a" * 64))


def in_use(streams: Streams, model: FakeModel, recipe: Recipe) -> None:
    streams.inspection.use(model, recipe)  # type: ignore[arg-type]
    streams.inspection.choose({}, recipe.id)


async def shown(streams: Streams, opened: OpenStream, *loads: Callable[[], Any]) -> None:
    for load in loads:
        opened.offer(load)
        await until(lambda: settled(opened))


async def test_the_verdict_is_the_decision_rule_s_and_the_frame_keeps_its_own(
    streams: Streams, model: FakeModel
) -> None:
    in_use(streams, model, msgspec.structs.replace(RECIPE, decision=Decision("n_of_m", 2, 3)))
    opened = streams.open("a", "websocket")
    await shown(streams, opened, bad, good, bad, good, good)
    (info,) = streams.list()
    assert (info.anomalies, info.last_verdict) == (1, "NORMAL")
    results = [message for message in await answers(opened) if isinstance(message, Result)]
    assert [one.is_anomaly for one in results] == [True, False, True, False, False]
    assert [one.verdict == "ANOMALY" for one in results] == [False, False, True, False, False]
    assert {(one.recipe, one.recipe_version, one.model) for one in results} == {("r1", 1, "a" * 64)}


async def test_parts_that_are_named_are_counted_over_reconnects_until_a_reset(streams: Streams) -> None:
    opened = streams.open("a", "websocket")
    for part, load in (("A", good), ("A", bad), ("B", good)):
        opened.say_part(part)
        await shown(streams, opened, load)
    opened.close()
    again = streams.open("a", "webrtc")
    again.say_part("C")
    await shown(streams, again, good)
    (info,) = streams.list()
    assert (info.parts, info.parts_rejected, info.yield_) == (3, 1, pytest.approx(2 / 3))
    again.parts.reset()
    await shown(streams, again, bad)
    (info,) = streams.list()
    assert (info.parts, info.parts_rejected, info.yield_) == (1, 1, 0)


@pytest.mark.parametrize("frames", [0, 1])
async def test_a_frame_is_of_the_part_in_the_gate_as_long_as_that_lies_there(
    streams: Streams, model: FakeModel, frames: int
) -> None:
    """Also when it has its verdict; and the first one of the empty gate, which ends it, is not."""
    gate = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    belt, lying = np.full((48, 64, 3), 20, np.uint8), np.full((48, 64, 3), 20, np.uint8)
    lying[:, 20:40] = 150
    rule = PartRule(by="gate", gate=gate, empty=packed(gate_look(belt, gate)), frames=frames)
    in_use(streams, model, msgspec.structs.replace(RECIPE, parts=rule))
    opened, numbers = streams.open("a", "websocket"), []
    for image in (belt, lying, lying, lying, belt, lying):
        await shown(streams, opened, lambda image=image: image)
        numbers.append((opened.parts.number, opened.station.number))
    assert numbers == [(number, number) for number in (0, 1, 1, 1, 0, 2)]


async def test_a_triggered_part_waits_for_no_frame_that_the_server_drops(model: FakeModel, tmp_path: Path) -> None:
    inspection, pool = Inspection(Calibrations(tmp_path)), InferencePool(1)
    streams = Streams(pool, Hub(), inspection, max_age_s=0.1)
    in_use(streams, model, msgspec.structs.replace(RECIPE, parts=PartRule(by="trigger", within_ms=100)))
    pool.start()
    opened, other = streams.open("a", "websocket"), streams.open("b", "websocket")

    async def why_failed(*, is_worker_free: bool) -> str:
        """What is said of a part whose frame is too old before there is a result, if it is taken at all."""
        model.gate.clear()
        if not is_worker_free:
            other.offer(good)
        given = opened.station.hear(streams.trigger("a", TriggerSaid(None, None), "rest"))
        opened.offer(good)
        assert opened.stream.has_waiting != is_worker_free
        await until(lambda: opened.stream.silent_s > 0.1)
        model.gate.set()
        async with asyncio.timeout(INSPECTION_S):
            part = await given
        await until(lambda: settled(opened) and settled(other))
        assert part.verdict == "FAILED"
        return str(part.why)

    assert "old and dropped" in await why_failed(is_worker_free=False)
    opened.stream.limit(0.001)
    assert "old and dropped" in await why_failed(is_worker_free=True)
    assert "max_fps" in await why_failed(is_worker_free=True)
    pool.close()


async def test_frames_that_the_transport_dropped_are_counted_and_say_why_a_part_has_none(
    streams: Streams, model: FakeModel
) -> None:
    in_use(streams, model, msgspec.structs.replace(RECIPE, parts=PartRule(by="trigger", within_ms=100)))
    opened = streams.open("a", "camera")
    given = opened.station.hear(streams.trigger("a", TriggerSaid(None, None), "rest"))
    opened.drop("they came late", 3)
    async with asyncio.timeout(WAIT_S):
        part = await given
    assert (part.verdict, part.why) == ("FAILED", "they came late")
    assert opened.stream.counters == Counters(received=3, inspected=0, dropped=3, failed=0)


async def test_a_trigger_gets_no_frame_that_was_seen_before_it_however_late_that_comes(
    streams: Streams, model: FakeModel
) -> None:
    in_use(streams, model, msgspec.structs.replace(RECIPE, parts=PartRule(by="trigger", within_ms=5000)))
    opened = streams.open("a", "camera")
    await until(lambda: opened.stream.silent_s > 0.5)
    given = opened.station.hear(streams.trigger("a", TriggerSaid(None, None), "rest"))
    opened.offer(bad, late_s=0.4)  # it shows the part before
    await until(lambda: settled(opened))
    assert not given.done()
    opened.offer(good)
    async with asyncio.timeout(WAIT_S):
        part = await given
    assert (part.verdict, part.frames) == ("NORMAL", 1)
    late, _ = [one for one in await answers(opened) if isinstance(one, Result)]
    assert late.latency_ms >= 400 and late.part_number == 0


async def test_a_frame_that_comes_late_is_of_the_part_that_was_named_before_it_arrived(streams: Streams) -> None:
    opened = streams.open("a", "camera")
    opened.say_part("A")
    await shown(streams, opened, good)
    await until(lambda: opened.stream.silent_s > 0.5)
    opened.say_part("B")
    opened.offer(bad, late_s=0.4)
    await until(lambda: settled(opened))
    await shown(streams, opened, good)
    opened.close()
    said = [read(text) async for text in opened.results()]
    assert [one.part for one in said if isinstance(one, Result)] == ["A", "A", "B"]
    assert [(one.part, one.verdict) for one in said if isinstance(one, PartResult)][:1] == [("A", "ANOMALY")]


async def test_an_id_that_the_line_names_again_is_another_part(streams: Streams, model: FakeModel) -> None:
    """With nothing inspected between them."""
    in_use(streams, model, msgspec.structs.replace(RECIPE, decision=Decision("hysteresis", 1, 9, 0.9)))
    opened = streams.open("a", "websocket")
    for load in (bad, good, bad):
        opened.say_part(None)
        opened.say_part("A")
        await shown(streams, opened, load)
    (info,) = streams.list()
    assert (info.parts, info.parts_rejected) == (3, 2)
    assert len(streams.kept.list("a", "alarm")) == 2
    opened.say_part("B")
    await shown(streams, opened, good)
    messages = await answers(opened)
    assert [one.verdict for one in messages if isinstance(one, PartResult)] == ["ANOMALY", "NORMAL", "ANOMALY"]
    results = [one for one in messages if isinstance(one, Result)]
    assert [one.verdict for one in results] == ["ANOMALY", "NORMAL", "ANOMALY", "NORMAL"]
    assert [one.part_number for one in results] == [1, 2, 3, 4]


async def test_what_is_known_of_a_stream_is_not_forgotten_while_it_runs_nor_as_it_goes(streams: Streams) -> None:
    opened = streams.open("a", "websocket")
    for number in range(MOST_REMEMBERED + 1):
        streams.open(f"b{number}", "websocket").close()
    newer = streams.open("a", "websocket")
    for number in range(MOST_REMEMBERED):
        streams.open(f"c{number}", "websocket").close()
    newer.close()
    streams.open("more", "websocket").close()
    back = streams.open("a", "websocket")
    for again in (newer, back):
        assert again.parts is opened.parts and again.station is opened.station and again.seen is opened.seen
    back.close()
    for number in range(MOST_REMEMBERED):
        streams.open(f"d{number}", "websocket").close()
    assert streams.open("a", "websocket").parts is not opened.parts


async def test_a_verdict_that_is_held_ends_with_the_part_that_is_named(streams: Streams, model: FakeModel) -> None:
    in_use(streams, model, msgspec.structs.replace(RECIPE, decision=Decision("hysteresis", 1, 9, 0.9)))
    opened = streams.open("a", "websocket")
    for part, load in (("A", bad), ("A", good), ("B", good)):
        opened.say_part(part)
        await shown(streams, opened, load)
    results = [message for message in await answers(opened) if isinstance(message, Result)]
    assert [one.verdict for one in results] == ["ANOMALY", "ANOMALY", "NORMAL"]
    assert [one.part for one in results] == ["A", "A", "B"]


async def test_the_simulated_line_numbers_its_parts(streams: Streams) -> None:
    opened = streams.open("a", "simulated")
    opened.offer(good, Simulated(7, None))
    await until(lambda: settled(opened))
    (result,) = await answers(opened)
    assert isinstance(result, Result) and result.part == "7"


async def test_listeners_hear_what_changed_and_by_whom_before_the_first_result_by_it(
    streams: Streams, model: FakeModel
) -> None:
    in_use(streams, model, RECIPE)
    opened = streams.open("a", "websocket")
    listener = streams.hub.subscribe("a")
    await shown(streams, opened, good)
    newer = msgspec.structs.replace(RECIPE, version=2)
    in_use(streams, model, newer)
    streams.tell_changed("somebody")
    streams.tell_changed("nobody changed a thing")
    await shown(streams, opened, good)
    in_use(streams, FakeModel(hash="b" * 64), msgspec.structs.replace(newer, version=3))
    await shown(streams, opened, good)  # nobody said it: the result brings it out
    rule = ThresholdRule(raw=70.0)
    in_use(streams, FakeModel(hash="b" * 64), msgspec.structs.replace(newer, version=3, rule=rule))
    streams.tell_changed("x")
    in_use(streams, model, msgspec.structs.replace(RECIPE, id="r2", name="other"))
    streams.tell_changed("y")
    heard_ = [one for one in await heard(listener) if isinstance(one, Change | Result)]
    said = [
        (one.what, one.recipe_version, one.who) if isinstance(one, Change) else one.recipe_version for one in heard_
    ]
    assert said == [
        1,
        ("recipe", 2, "somebody"),
        2,
        ("model", 3, None),
        3,
        ("threshold", 3, "x"),
        ("recipe", 1, "y"),
    ]
    last = heard_[-1]
    assert isinstance(last, Change) and (last.recipe, last.recipe_name, last.model) == ("r2", "other", "a" * 64)


async def test_a_frame_that_was_in_work_while_something_newer_came_into_force_changes_nothing(
    streams: Streams, model: FakeModel
) -> None:
    in_use(streams, model, RECIPE)
    opened, listener = streams.open("a", "websocket"), streams.hub.subscribe("a")
    model.gate.clear()
    opened.offer(good)
    await until(lambda: model.detected == 1)
    in_use(streams, FakeModel(hash="b" * 64), msgspec.structs.replace(RECIPE, version=2))
    streams.tell_changed("somebody")
    model.gate.set()
    await until(lambda: settled(opened))
    changes = [one for one in await heard(listener) if isinstance(one, Change)]
    assert [(one.what, one.who) for one in changes] == [("model", "somebody")]


async def test_a_recipe_may_bound_the_rate(streams: Streams, model: FakeModel) -> None:
    opened = streams.open("a", "websocket")
    in_use(streams, model, msgspec.structs.replace(RECIPE, options=StreamOptions(max_fps=0.01)))
    streams.tell_changed()
    await shown(streams, opened, good, good, good)
    assert opened.stream.counters == Counters(received=3, inspected=1, dropped=2, failed=0)


async def test_alarms_and_the_latest_are_kept_by_name(streams: Streams) -> None:
    opened = streams.open("a", "websocket")
    await shown(streams, opened, bad)
    opened.close()
    (alarm,), (latest,) = streams.kept.list("a", "alarm"), streams.kept.list("a", "recent")
    assert alarm.verdict == "ANOMALY" and alarm.inspected.recipe.name == "fake part"
    assert decode(alarm.kept.picture[0]).shape == (48, 64, 3) and alarm.kept.input is None
    assert latest.at == alarm.at and streams.kept.get(latest.id) is latest


# --- frames shown to a teaching ---


class Teaching:
    """Sees the mean brightness of frames."""

    def __init__(self) -> None:
        self.saw: list[Any] = []
        self.why: list[str] = []

    def look(self, frame: Any) -> int:
        return round(float(frame.mean()))

    def seen(self, outcome: Any) -> None:
        self.saw.append(outcome)

    def gone(self, why: str) -> None:
        self.why.append(why)


async def test_a_stream_that_is_taught_is_not_inspected_and_says_so(streams: Streams, model: FakeModel) -> None:
    opened, listener, teaching = streams.open("a", "websocket"), streams.hub.subscribe("a"), Teaching()
    await shown(streams, opened, good)
    opened.watch(teaching)
    with pytest.raises(ValueError, match="already"):
        opened.watch(Teaching())
    await shown(streams, opened, bad, good, broken)
    assert teaching.saw[:2] == [150, 50] and isinstance(teaching.saw[2], detector.ImageError)
    assert opened.stream.counters == Counters(received=4, inspected=1, dropped=2, failed=1)
    (info,) = streams.list()
    beat = streams.heartbeat("a")
    assert info.is_taught and beat.state == "teaching" and beat.last_verdict == "NORMAL"
    late = streams.hub.subscribe("a")
    streams.repeat_last("a", late)
    assert await heard(late) == [], "what was found before is not repeated"
    opened.unwatch()
    opened.unwatch()
    await shown(streams, opened, bad)
    said = [one.state if isinstance(one, Status) else type(one).__name__ for one in await heard(listener)]
    assert said == ["Result", "teaching", "Error", "live", "Result"]
    assert model.detected == 2 and teaching.why == []


async def test_a_part_that_was_named_during_a_teaching_is_another_whatever_its_id(streams: Streams) -> None:
    opened = streams.open("a", "websocket")
    opened.say_part("A")
    await shown(streams, opened, good)
    for between in ([], ["A"], ["B", "A"]):
        opened.watch(Teaching())
        for part in between:
            opened.say_part(part)
        opened.unwatch()
        await shown(streams, opened, good)
    assert [one.part_number for one in await answers(opened) if isinstance(one, Result)] == [1, 1, 1, 2]


async def test_a_frame_in_work_when_the_teaching_begins_gets_no_verdict(streams: Streams, model: FakeModel) -> None:
    opened = streams.open("a", "websocket")
    model.gate.clear()
    opened.offer(bad)
    await until(lambda: model.detected == 1)
    opened.watch(Teaching())
    model.gate.set()
    await until(lambda: settled(opened))
    assert opened.stream.counters == Counters(received=1, inspected=0, dropped=1, failed=0)
    assert streams.kept.list("a", "alarm") == []


async def test_a_teaching_hears_that_its_stream_ended(streams: Streams) -> None:
    closed, replaced = Teaching(), Teaching()
    streams.open("a", "websocket").watch(closed)
    streams.get("a").close()  # type: ignore[union-attr]
    old = streams.open("b", "websocket")
    old.watch(replaced)
    streams.open("b", "webrtc")
    assert ("went away" in closed.why[0], "took b over" in replaced.why[0]) == (True, True)
    assert len(closed.why) == len(replaced.why) == 1 and not streams.info(streams._open["b"]).is_taught
    with pytest.raises(ValueError, match="went away"):
        old.watch(Teaching())


async def test_a_stream_can_be_taught_before_there_is_any_model(model: FakeModel, tmp_path: Path) -> None:
    inspection, pool = Inspection(Calibrations(tmp_path)), InferencePool(1)
    pool.start()
    streams = Streams(pool, Hub(), inspection)
    opened, other = streams.open("a", "websocket"), streams.open("b", "websocket")
    listener = streams.hub.subscribe("b")
    opened.offer(bad)
    other.offer(bad)
    await asyncio.sleep(0)
    assert opened.stream.has_waiting and other.stream.has_waiting, "frames wait for a model"
    teaching = Teaching()
    opened.watch(teaching)
    await until(lambda: teaching.saw == [150])
    inspection.use(model)  # type: ignore[arg-type]
    streams.tell_changed()
    await until(lambda: other.stream.inspected == 1)
    assert opened.stream.inspected == 0
    said = [one.recipe for one in await heard(listener) if isinstance(one, Status | Result)]
    assert said == ["given-aaaaaaaaaaaa"] * 2
    assert not any(isinstance(one, Change) for one in await heard(listener))
    pool.close()


async def test_a_stream_whose_recipe_cannot_be_used_says_why(streams: Streams, model: FakeModel) -> None:
    streams.inspection.use(model, RECIPE)  # type: ignore[arg-type]
    streams.inspection.choose({"a": "r1"}, streams.inspection.default or "")
    streams.inspection.drop("r1", "its model is damaged: choose another")
    opened, other = streams.open("a", "websocket"), streams.open("b", "websocket")
    await shown(streams, opened, good)
    await shown(streams, other, good)
    (error,) = await answers(opened)
    assert isinstance(error, Error) and "damaged" in error.error
    assert streams.list()[0].recipe is None and streams.list()[1].recipe is not None


async def test_what_a_correction_needs_of_an_alarm_is_kept_without_loss(streams: Streams, model_folder: Path) -> None:
    taught = detector.load(model_folder)
    streams.inspection.use(taught)
    opened = streams.open("a", "websocket")
    frame = np.random.default_rng(7).integers(0, 255, (64, 64, 3), np.uint8)
    await shown(streams, opened, lambda: frame)
    (alarm,) = streams.kept.list("a", "alarm")
    assert alarm.kept.taught == taught.hash and alarm.kept.input is not None
    looked_at = decode(alarm.kept.input)
    assert looked_at.shape == (*taught.input_size, 3) and np.array_equal(looked_at, frame)


class Watching:
    """Is shown the frames of a stream."""

    def __init__(self) -> None:
        self.outcomes: list[object] = []

    def look(self, frame: object) -> str:
        return "looked at"

    def seen(self, outcome: object) -> None:
        self.outcomes.append(outcome)

    def gone(self, why: str) -> None:
        self.outcomes.append(why)


async def test_what_is_taught_is_not_inspected_when_it_comes_back_either_and_its_sender_hears_something(
    streams: Streams,
) -> None:
    """A frame of each new connection was judged by whatever recipe was in force; and pages that heard nothing for eight
    seconds opened another one."""
    watching = Watching()
    streams.on_open = lambda opened: opened.watch(watching)
    older = streams.open("a", "websocket")
    newer = streams.open("a", "websocket")
    assert older.taken_over.is_set() and watching.outcomes == ["another camera took a over"]
    newer.offer(good)
    await until(lambda: watching.outcomes[1:] == ["looked at"])
    (beat,) = await answers(newer)
    assert isinstance(beat, Heartbeat) and beat.state == "teaching" and newer.stream.counters.inspected == 0
