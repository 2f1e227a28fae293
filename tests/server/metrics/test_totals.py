"""Counters by name that a reconnect does not set back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from detector.images import decode
from server.inspection import Calibrations, Inspection
from server.metrics import OfStreams, Totals, totals
from server.streams import Hub, InferencePool, OpenStream, Streams, Told
from server.words import PartResult, Status
from tests.server.fakes import BAD, GOOD, FakeModel, until

good, bad = (partial(decode, data) for data in (GOOD, BAD))


@pytest.fixture
async def running(model: FakeModel, tmp_path: Path) -> AsyncIterator[tuple[Streams, Totals]]:
    inspection, pool, hub = Inspection(Calibrations(tmp_path)), InferencePool(1), Hub()
    inspection.use(model)  # type: ignore[arg-type]
    pool.start()
    streams = Streams(pool, hub, inspection)
    yield streams, Totals(hub, OfStreams(streams, pool, inspection))
    pool.close()


def frames(of: Totals, stream: str) -> dict[str, float]:
    return {
        figure.name: figure.value
        for figure in of.figures()
        if figure.labels["stream"] == stream and figure.name.startswith("frames_")
    }


async def show(opened: OpenStream, *loads: partial[object]) -> None:
    for load in loads:
        before = opened.stream.inspected
        opened.offer(load)  # type: ignore[arg-type]
        await until(lambda before=before: opened.stream.inspected > before)  # type: ignore[misc]


async def test_reconnects_and_takeovers_add_up(running: tuple[Streams, Totals]) -> None:
    streams, of = running
    first = streams.open("press", "websocket")
    await show(first, good, bad)
    assert frames(of, "press")["frames_inspected"] == 2 and frames(of, "press")["frames_anomalous"] == 1
    second = streams.open("press", "websocket")  # takes it over
    assert frames(of, "press")["frames_inspected"] == 2
    await show(second, good)
    second.fail("it came damaged", 3)
    second.close()
    assert frames(of, "press") == {
        "frames_received": 6,
        "frames_inspected": 3,
        "frames_dropped": 0,
        "frames_failed": 3,
        "frames_anomalous": 1,
    }
    third = streams.open("press", "websocket")
    await show(third, good)
    assert frames(of, "press")["frames_received"] == 7
    assert sum(of.latencies["press"].counts) == 4 and of.latencies["press"].total > 0


async def test_a_frame_that_is_in_work_when_its_connection_ends_was_dropped(
    running: tuple[Streams, Totals], model: FakeModel
) -> None:
    streams, of = running
    model.gate.clear()
    first = streams.open("press", "websocket")
    first.offer(good)
    await until(lambda: model.detected == 1)
    for _ in range(2):
        streams.open("press", "websocket")
        found = frames(of, "press")
        assert (found["frames_received"], found["frames_inspected"], found["frames_dropped"]) == (1, 0, 1)
    model.gate.set()
    await until(lambda: streams.pool.finished == 1)
    assert frames(of, "press") == found


async def test_names_are_bounded(running: tuple[Streams, Totals], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MOST", 5)
    streams, of = running
    for number in range(20):
        streams.open(f"s{number}", "websocket").close()
    assert {figure.labels["stream"] for figure in of.figures()} == {f"s{number}" for number in range(15, 20)}


async def test_who_only_listens_makes_no_name(running: tuple[Streams, Totals]) -> None:
    _, of = running
    of.hear(Told(Status("nobody", "waiting")))
    assert not [*of.figures()]


async def test_parts_by_verdict(running: tuple[Streams, Totals]) -> None:
    _, of = running
    for verdict in ("NORMAL", "NORMAL", "ANOMALY", "FAILED"):
        of.hear(Told(part("press", verdict)))
    found = {figure.labels["verdict"]: figure.value for figure in of.figures() if figure.name == "parts"}
    assert found == {"NORMAL": 2, "ANOMALY": 1, "FAILED": 1}


def part(stream: str, verdict: str, id: str = "ab12") -> PartResult:
    fields: dict[str, object] = dict.fromkeys(PartResult.__struct_fields__)
    fields |= {"stream": stream, "id": id, "number": 1, "source": "trigger", "verdict": verdict, "frames": 1}
    fields |= {
        "anomalous": 0,
        "began_at": "",
        "at": "",
        "cycle_ms": 1.0,
        "overruns": 0,
        "simulated": False,
        "heatmap": msgspec.UNSET,
    }
    return PartResult(**fields)  # type: ignore[arg-type]
