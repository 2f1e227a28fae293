"""What streams promise, whoever looks at the frames: this process, or replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from detector.images import decode
from server.inspection import Calibrations, Encoded, Inspection
from server.replicas import Replicas, ReplicasWanted
from server.streams import Hub, InferencePool, OpenStream, Streams
from server.words.messages import Error, Result
from tests.server.fakes import BAD, BROKEN, GOOD, FakeModel, picture, read, until
from tests.server.replicas.stand_in import StandIn, Version, pack

good, bad, broken = (Encoded(data, 10_000_000) for data in (GOOD, BAD, BROKEN))


@dataclass
class Line:
    """Streams, and what they are inspected by."""

    streams: Streams
    inspection: Inspection
    pool: InferencePool
    replicas: Replicas | None


@pytest.fixture(params=["threads", "replicas"])
async def line(request: pytest.FixtureRequest, model: FakeModel, tmp_path: Path) -> AsyncIterator[Line]:
    inspection = Inspection(Calibrations(tmp_path))
    inspection.use(model)  # type: ignore[arg-type]
    replicas = None
    if request.param == "replicas":
        wanted = ReplicasWanted(2, 2)
        replicas = Replicas(
            StandIn(),
            wanted,
            lambda: inspection.models,
            silent_s=60,
            call_s=60,
            pack=pack,
            share_of=lambda model: model,
        )
        inspection.looker = replicas
    pool = InferencePool(2 if replicas is None else 0, hung_after_s=60, supply=replicas)
    if replicas is not None:
        replicas.start(pool.employ, lambda: pool.waiting)
    pool.start()
    yield Line(Streams(pool, Hub(), inspection), inspection, pool, replicas)
    model.gate.set()
    pool.close()
    if replicas is not None:
        await replicas.stop()


def settled(opened: OpenStream) -> bool:
    counted = opened.stream.counters
    return counted.received == counted.inspected + counted.dropped + counted.failed


async def told(opened: OpenStream) -> list[Result | Error]:
    """What the sender was told; ends its stream."""
    opened.end()
    said = [read(text) async for text in opened.results()]
    return [one for one in said if isinstance(one, Result | Error)]


async def test_every_frame_is_counted_once(line: Line) -> None:
    opened = line.streams.open("a", "websocket")
    for load in (good, broken, bad, partial(decode, GOOD)):
        opened.offer(load)
        await until(lambda: settled(opened))
    first, error, second, third = await told(opened)
    assert isinstance(first, Result) and first.verdict == "NORMAL" and first.raw_score == 50
    assert isinstance(error, Error) and error.failed == 1
    assert isinstance(second, Result) and second.verdict == "ANOMALY" and second.raw_score == 150
    assert isinstance(third, Result) and (third.received, third.inspected) == (4, 3)


async def test_one_frame_of_a_stream_is_in_work_and_the_newest_waits(line: Line, model: FakeModel) -> None:
    model.gate.clear()
    opened = line.streams.open("a", "websocket")
    opened.offer(good)
    await until(lambda: model.detected == 1)
    for brightness in range(10, 20):
        opened.offer(Encoded(picture(brightness), 10_000_000))
    model.gate.set()
    await until(lambda: settled(opened))
    assert [one.seq for one in await told(opened)] == [0, 10]
    assert (opened.stream.dropped, model.detected) == (9, 2)


async def test_streams_are_inspected_at_once(line: Line, model: FakeModel) -> None:
    model.gate.clear()
    opened = [line.streams.open(name, "websocket") for name in "abc"]
    for one in opened:
        one.offer(good)
    await until(lambda: model.detected == 2)
    assert sum(one.stream.has_waiting for one in opened) == 1, "as many as there are workers"
    model.gate.set()
    await until(lambda: all(settled(one) for one in opened))
    assert [one.stream.inspected for one in opened] == [1, 1, 1]


async def test_nobody_is_served_twice_before_the_other_once(line: Line) -> None:
    opened = [line.streams.open(name, "websocket") for name in "abcd"]
    for _ in range(40):
        for one in opened:
            one.offer(good)
        await asyncio.sleep(0)
    await until(lambda: all(settled(one) for one in opened))
    assert all(one.stream.inspected >= 1 for one in opened)
    assert all(one.stream.received == 40 for one in opened)


async def test_a_result_is_of_one_version_whenever_another_comes_into_force(line: Line) -> None:
    opened, results = line.streams.open("a", "websocket"), line.streams.open("b", "websocket")
    recipe = line.inspection.recipe_on("a")
    for number in range(1, 9):
        opened.offer(good)
        results.offer(good)
        version = Version(number)
        if line.replicas is not None:
            await line.replicas.spread(version)  # type: ignore[arg-type]
        line.inspection.use(version, recipe)  # type: ignore[arg-type]
        opened.offer(good)
        await until(lambda: settled(opened) and settled(results))
    for one in (*await told(opened), *await told(results)):
        assert isinstance(one, Result), one
        number = 0 if one.model == "a" * 64 else int(one.model, 16)
        assert one.raw_score == 50 + 1000 * number, "the score is of the model that the result names"


async def test_a_change_holds_from_the_next_frame_on(line: Line) -> None:
    opened = line.streams.open("a", "websocket")
    version = Version(1)
    if line.replicas is not None:
        await line.replicas.spread(version)  # type: ignore[arg-type]
    line.inspection.use(version, line.inspection.recipe_on("a"))  # type: ignore[arg-type]
    opened.offer(good)
    await until(lambda: settled(opened))
    (result,) = await told(opened)
    assert isinstance(result, Result) and result.raw_score == 1050


async def test_what_viewers_calibrations_and_corrections_ask_for_comes_with_it(line: Line) -> None:
    keep = [False, True]
    for wanted in keep:
        inspected = await line.pool.run(
            lambda wanted=wanted: line.inspection.inspect(
                good,
                stream="a",
                picture=True,
                sample=True,
                scene=True,
                keep=lambda score, is_anomaly: wanted and (score > 0),
            )
        )
        assert inspected.picture is not None and inspected.picture[1:] == (64, 48)
        assert inspected.sample is not None and inspected.scene is not None and inspected.condition is not None
        assert (inspected.kept is not None) == wanted, "also where it is wanted only once the score is known"


async def test_a_single_picture_takes_its_turn(line: Line) -> None:
    assert (await line.pool.run(lambda: line.inspection.inspect_frame(decode(BAD)))).raw_score == 150
