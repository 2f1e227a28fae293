"""The archive hears, and what it hears is on disk: alarms by their worst frame, some good parts, within its bounds."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.archive import Archive, Folder, Limits, Pictured
from server.archive.archive import FULL, MOST_WAITING, MOST_WAITING_BYTES
from server.archive.folder import NoRoom
from server.recipes import PartRule, Recipe
from server.records import frame_id
from server.streams import KeptFrames, Told
from server.words import PartResult, PartVerdict, Verdict
from tests.server.archive.pictures import RECIPE, inspected
from tests.server.fakes import RESULT

PLENTY = Limits(bytes=1 << 40, days=90, free=0)


def part(id: str, verdict: PartVerdict = "ANOMALY", stream: str = "press", *, kept: bool = True) -> PartResult:
    return PartResult(
        stream=stream,
        id=id,
        number=1,
        part="P-7",
        source="trigger",
        trigger=1,
        trigger_id=None,
        triggered_by="rest",
        verdict=verdict,
        why=None,
        score=0.7,
        raw_score=12.5,
        threshold=10.0,
        threshold_source="calibration",
        frames=1,
        anomalous=1,
        began_at="2026-11-26T09:30:05.200+00:00",
        at="2026-11-26T09:30:05.250+00:00",
        cycle_ms=50.0,
        inspection_ms=20.0,
        overruns=0,
        recipe="bottle-1",
        recipe_version=3,
        model="a" * 64,
        simulated=False,
        picture=f"api/history/{id}/picture" if kept else None,
    )


class Line:
    """Frames of a stream that runs freely, as the server tells of them."""

    def __init__(self, archive: Archive, *, told: str | None = None, recipe: Recipe = RECIPE) -> None:
        self.now, self.seq, self.archive, self.told, self.recipe = 0.0, 0, archive, told, recipe
        self.kept = KeptFrames(lambda: self.now)
        self.kept.on_kept = archive.keep

    def see(self, score: float, *, part: int = 1) -> str:
        """Inspect a frame; returns what the history calls it."""
        verdict: Verdict = "ANOMALY" if score > 10 else "NORMAL"
        found = replace(inspected(score), recipe=self.recipe)
        if not self.kept.wanted("press", part)(score, verdict == "ANOMALY"):
            found = replace(found, kept=None)
        self.now += 0.6
        self.seq += 1
        at = f"2026-11-26T09:30:{self.seq:02}.000+00:00"
        self.kept.see("press", found, verdict, at=at, part=part, told=self.told)
        result = msgspec.structs.replace(RESULT, stream="press", seq=self.seq, verdict=verdict, at=at)
        self.archive.hear(Told(result, found))
        return frame_id(result)


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    made = Archive(tmp_path, PLENTY)
    made.start()
    yield made
    await made.stop()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def files(archive: Archive) -> set[str]:
    return {path.stem for path in archive.folder.root.glob("*/*.zip")}


async def facts(archive: Archive, id: str) -> Any:
    found = await archive.read(id)
    assert found is not None
    return found.facts


async def test_a_rejected_part_is_archived_under_its_id(archive: Archive) -> None:
    archive.hear(Told(part("p1"), inspected()))
    assert (await facts(archive, "p1")).part == "P-7", "at once, before it is written"
    await until(lambda: files(archive) == {"p1"})
    assert (await facts(archive, "p1")).raw_score == 12.5
    assert await archive.read("p2") is None


async def test_what_has_no_picture_is_none(archive: Archive) -> None:
    archive.hear(Told(part("p1", "FAILED")))
    archive.hear(Told(part("p4", kept=False), inspected()))
    archive.hear(Told(part("p2"), inspected(kept=False)))
    archive.hear(Told(RESULT, inspected()))
    archive.hear(Told(part("p3"), inspected()))
    await until(lambda: files(archive) == {"p3"})


async def test_of_good_parts_one_a_minute_and_stream(tmp_path: Path) -> None:
    clock = {"now": 0.0}
    archive = Archive(tmp_path, PLENTY, normals_every_s=60, clock=lambda: clock["now"])
    archive.start()
    for number in range(13):
        for id, stream in ((f"a{number}", "press"), (f"b{number}", "gate")):
            kept = archive.keeps_part(stream, "NORMAL")
            archive.hear(Told(part(id, "NORMAL", stream, kept=kept), inspected(4)))
        assert archive.keeps_part("press", "ANOMALY")
        clock["now"] += 10
    await archive.stop()
    assert files(archive) == {"a0", "b0", "a6", "b6", "a12", "b12"}
    assert not Archive(tmp_path, PLENTY, normals_every_s=0).keeps_part("press", "NORMAL")
    off = Archive(tmp_path, Limits(0, 90, 0))
    assert not off.on and not off.keeps_part("press", "ANOMALY")


async def test_of_an_alarm_of_a_stream_that_runs_freely_its_worst_frame_in_the_end(tmp_path: Path) -> None:
    archive = Archive(tmp_path, PLENTY)
    archive.start()
    line = Line(archive)
    line.see(4)
    first = line.see(12)
    await until(lambda: first in files(archive))  # a crash from here on loses the improvement, nothing else
    for score in (14, 19, 15, 4, 4):
        line.see(score)
    second = line.see(11)
    assert (await facts(archive, first)).raw_score == 19, "also while it waits"
    await archive.stop()
    alarms = {id for id in files(archive) if id.startswith("press-")}
    assert alarms == {first, second}
    assert (await facts_on_disk(archive, first)).raw_score == 19
    assert (await facts_on_disk(archive, first)).kind == "alarm"
    assert archive.history_id((await facts_on_disk(archive, first)).frame) == first


async def facts_on_disk(archive: Archive, id: str) -> Any:
    found = await asyncio.to_thread(archive.folder.read, id)
    assert found is not None
    return found.facts


async def test_frames_of_parts_are_not_archived_twice(archive: Archive) -> None:
    line = Line(archive, told="P-7")
    line.see(12)
    line.see(4)
    by_gate = msgspec.structs.replace(RECIPE, parts=PartRule("gate", empty=(1,) * 256))
    line = Line(archive, recipe=by_gate)
    line.see(12)
    archive.hear(Told(part("p2"), inspected()))
    await until(lambda: "p2" in files(archive))
    assert files(archive) == {"p2"}


async def test_of_a_stream_that_runs_freely_a_good_frame_now_and_then(archive: Archive) -> None:
    kept = list[Pictured]()
    archive.on_kept = kept.append
    line = Line(archive)
    for _ in range(5):
        line.see(4)
    await until(lambda: len(kept) == 1)
    assert kept[0].facts.kind == "normal" and kept[0].facts.verdict == "NORMAL"


async def test_what_was_said_of_a_picture_stays_with_that_picture(archive: Archive) -> None:
    line = Line(archive)
    first = line.see(12)
    await until(lambda: first in files(archive))
    await archive.say(first, "good", "c1")
    line.see(19)
    archive.hear(Told(part("other", stream="gate"), inspected()))
    await until(lambda: "other" in files(archive))
    found = await facts(archive, first)
    assert (found.raw_score, found.disposition, found.correction) == (12, "good", "c1")


async def test_while_somebody_makes_up_what_to_say_of_a_picture_it_stays(archive: Archive) -> None:
    line = Line(archive)
    first = line.see(12)
    with archive.staying(first):
        line.see(15)
        with archive.staying(first):
            line.see(19)
        assert (await facts(archive, first)).raw_score == 12
    assert (await facts(archive, first)).raw_score == 19, "nothing was said: its worst frame after all"
    with archive.staying(first):
        line.see(21)
        await archive.say(first, "good", "c1")
    found = await facts(archive, first)
    assert (found.raw_score, found.disposition, found.correction) == (19, "good", "c1")


class SlowFolder(Folder):
    """A disk that hangs until it is let go, or that is full."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, PLENTY)
        self.gate = threading.Event()
        self.error: OSError | None = None

    def write(self, pictured: Pictured) -> bool:
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        return super().write(pictured)


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[tuple[Archive, SlowFolder]]:
    folder = SlowFolder(tmp_path / "archive")
    archive = Archive(tmp_path, PLENTY, folder=folder)
    archive.start()
    yield archive, folder
    folder.gate.set()
    await archive.stop()


async def test_a_disk_that_hangs_holds_up_nobody_and_what_is_lost_is_counted(
    slow: tuple[Archive, SlowFolder], caplog: pytest.LogCaptureFixture
) -> None:
    archive, folder = slow
    with caplog.at_level(logging.WARNING, "defectvision.archive"):
        for number in range(3 * MOST_WAITING):
            archive.hear(Told(part(f"p{number:03}"), inspected()))
        await asyncio.sleep(0)
        state = await archive.state()
        assert state.waiting >= MOST_WAITING - 1 and state.dropped >= 2 * MOST_WAITING - 1
    assert len(caplog.records) == 1
    folder.gate.set()
    await until(lambda: len(files(archive)) >= MOST_WAITING)
    assert {f"p{number:03}" for number in range(MOST_WAITING)} <= files(archive), "the oldest, in their order"


async def test_and_its_bytes_are_bounded(slow: tuple[Archive, SlowFolder]) -> None:
    archive, _ = slow
    size = MOST_WAITING_BYTES // 4
    for number in range(8):
        archive.hear(Told(part(f"p{number}"), inspected(size=size)))
    assert (await archive.state()).dropped >= 4


async def test_a_full_disk_is_said_once_and_that_it_is_over(
    slow: tuple[Archive, SlowFolder], caplog: pytest.LogCaptureFixture
) -> None:
    archive, folder = slow
    folder.gate.set()
    folder.error = NoRoom(errno.ENOSPC, "No space left on device")
    with caplog.at_level(logging.INFO, "defectvision.archive"):
        for number in range(5):
            archive.hear(Told(part(f"p{number}"), inspected()))
        await until(lambda: archive.warning == FULL)
        await until(lambda: archive.dropped == 5)
        folder.error = None
        archive.hear(Told(part("p9"), inspected()))
        await until(lambda: files(archive) == {"p9"})
        await until(lambda: archive.warning is None)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "the inspection goes on" in caplog.records[0].getMessage()


async def test_what_is_removed_is_told(tmp_path: Path) -> None:
    archive = Archive(tmp_path, Limits(bytes=300_000, days=90, free=0))
    kept, gone = list[str](), list[str]()
    archive.on_kept = lambda pictured: kept.append(pictured.facts.id)
    archive.on_gone = gone.extend
    archive.start()
    await until(lambda: archive.folder.held.counted)
    for number in range(5):
        archive.hear(Told(part(f"p{number}"), inspected(size=100_000)))
    await archive.stop()
    assert kept == [f"p{number}" for number in range(5)] and gone == ["p0", "p1", "p2"]


async def test_it_ends_although_the_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.archive.archive._SHUTDOWN_S", 0.05)
    folder = SlowFolder(tmp_path / "archive")
    archive = Archive(tmp_path, PLENTY, folder=folder)
    archive.start()
    archive.hear(Told(part("p1"), inspected()))
    with contextlib.suppress(asyncio.CancelledError):
        await archive.stop()
    folder.gate.set()
