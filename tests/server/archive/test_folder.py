"""The archive on disk: its limits hold, a full disk and a clock that jumps lose nothing newer, ids stay inside."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.archive import Damaged, Folder, Limits, kept_frame
from server.archive.folder import NoRoom
from server.archive.pictured import pack, unpack
from tests.server.archive.pictures import one

PLENTY = Limits(bytes=1 << 40, days=90, free=0)
SIZE = len(pack(one("x", size=100_000)))


class Clock:
    def __init__(self) -> None:
        self.day, self.now = date(2026, 11, 26), 0.0

    def folder(self, root: Path, limits: Limits = PLENTY, *, counted: bool = True, free: int = 1 << 40) -> Folder:
        folder = Folder(root, limits, today=lambda: self.day, clock=lambda: self.now, free=lambda _: free)
        if counted:
            folder.count()
        return folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ids(root: Path) -> set[str]:
    return {path.stem for path in root.glob("*/*.zip")}


def test_a_picture_comes_back_as_the_frame_that_was_kept(tmp_path: Path, clock: Clock) -> None:
    folder = clock.folder(tmp_path)
    archived = one("p1")
    folder.write(archived)
    again = folder.read("p1")
    assert again == archived
    frame = kept_frame(again)
    assert (frame.id, frame.stream, frame.part, frame.verdict, frame.kind) == ("p1", "press", "P-7", "ANOMALY", "alarm")
    assert frame.kept.input == archived.input and frame.kept.moved == ((1.0, 0.0, 0.1), (0.0, 1.0, 0.0))
    assert frame.inspected.threshold.typical == 4.0 and frame.inspected.recipe.id == "bottle-1"
    assert frame.inspected.heatmap.shape == (6, 8)
    assert folder.read("p2") is None


def test_it_is_a_zip_that_other_programs_open(tmp_path: Path, clock: Clock) -> None:
    clock.folder(tmp_path).write(one("p1"))
    shutil.unpack_archive(tmp_path / "2026-11-26" / "p1.zip", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"picture.jpg", "input.png", "facts.json"}


def test_the_size_holds_and_the_oldest_go(tmp_path: Path, clock: Clock) -> None:
    folder = clock.folder(tmp_path, Limits(bytes=5 * SIZE + 100, days=90, free=0))
    for number in range(12):
        folder.write(one(f"p{number:02}", size=100_000))
        if number == 6:
            clock.day += timedelta(days=1)
    assert ids(tmp_path) == {f"p{number:02}" for number in range(7, 12)}
    assert not (tmp_path / "2026-11-26").exists()
    assert folder.held.bytes == sum(path.stat().st_size for path in tmp_path.glob("*/*.zip"))
    assert folder.held.removed == 7 and folder.take_gone() == [f"p{number:02}" for number in range(7)]


def test_the_age_holds(tmp_path: Path, clock: Clock) -> None:
    folder = clock.folder(tmp_path, Limits(bytes=1 << 40, days=3, free=0))
    for number in range(6):
        folder.write(one(f"p{number}"))
        clock.day += timedelta(days=1)
    folder.hold_limits()
    assert ids(tmp_path) == {"p3", "p4", "p5"} and folder.held.oldest == "2026-11-29"


def test_a_clock_that_runs_ahead_makes_no_picture_old(tmp_path: Path, clock: Clock) -> None:
    calendar = date(2026, 11, 26)
    folder = Folder(tmp_path, PLENTY, today=lambda: clock.day, aged_by=lambda: calendar, clock=lambda: clock.now)
    folder.count()
    folder.write(one("p0"))
    clock.day += timedelta(days=1000)
    for _ in range(3):
        folder.hold_limits()
    folder.write(one("p1"))
    assert ids(tmp_path) == {"p0", "p1"} and folder.held.removed == 0


def test_what_was_there_is_counted_and_leftovers_go(tmp_path: Path, clock: Clock) -> None:
    folder = clock.folder(tmp_path)
    for number in range(4):
        folder.write(one(f"p{number}"))
    leftover = tmp_path / "2026-11-26" / ".p9.zip.0123abcd.tmp"
    leftover.write_bytes(b"half")
    (tmp_path / "2026-11-26" / "notes.txt").write_text("an operator's")
    again = clock.folder(tmp_path, Limits(bytes=2 * SIZE, days=90, free=0), counted=False)
    again.write(one("p4"))  # while it is counted
    assert again.held.counted is False
    again.count()
    assert (again.held.files, again.held.bytes) == (5, sum(path.stat().st_size for path in tmp_path.glob("*/*.zip")))
    assert not leftover.exists()


def test_the_free_space_holds_and_then_nothing_is_written(tmp_path: Path, clock: Clock) -> None:
    left = {"free": 10 * SIZE + 2000}
    limits = Limits(bytes=1 << 40, days=90, free=2 * SIZE)

    def free(_: Path) -> int:
        return left["free"] - sum(path.stat().st_size for path in tmp_path.glob("*/*.zip"))

    folder = Folder(tmp_path, limits, today=lambda: clock.day, clock=lambda: clock.now, free=free)
    folder.count()
    shortened = []
    for number in range(12):
        clock.now += 60
        shortened.append(folder.write(one(f"p{number:02}", size=100_000)))
    assert free(tmp_path) >= limits.free and shortened[0] is False and shortened[-1] is True
    assert ids(tmp_path) == {f"p{number:02}" for number in range(4, 12)}
    left["free"] = SIZE  # somebody else took the rest
    clock.now += 60
    with pytest.raises(NoRoom):
        folder.write(one("p99", size=100_000))
    assert ids(tmp_path) == set()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here: it takes root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


def test_a_full_disk_loses_the_oldest(small_disk: Path) -> None:
    folder = Folder(small_disk / "archive", Limits(bytes=1 << 40, days=90, free=0))
    folder.count()
    shortened = [folder.write(one(f"p{number:03}", size=100_000)) for number in range(60)]
    assert not any(shortened[:10]) and any(shortened[20:])
    there = ids(small_disk / "archive")
    assert 10 < len(there) < 21 and there == {f"p{number:03}" for number in range(60 - len(there), 60)}
    for id in there:
        assert folder.read(id) is not None
    assert not [*small_disk.rglob("*.tmp")]


def test_a_disk_full_of_something_else_says_so(small_disk: Path) -> None:
    folder = Folder(small_disk / "archive", Limits(bytes=1 << 40, days=90, free=0))
    folder.count()
    with (small_disk / "other").open("wb", buffering=0) as other, pytest.raises(OSError):
        while other.write(bytes(4096)):
            pass
    with pytest.raises(NoRoom):
        folder.write(one("p1", size=100_000))
    (small_disk / "other").unlink()
    folder.write(one("p2", size=100_000))
    assert ids(small_disk / "archive") == {"p2"}


def test_the_clock_jumps_back_and_what_is_newest_stays(tmp_path: Path, clock: Clock) -> None:
    folder = clock.folder(tmp_path, Limits(bytes=4 * SIZE + 100, days=90, free=0))
    for number in range(4):
        folder.write(one(f"before{number}", size=100_000))
    clock.day = date(1970, 1, 1)
    for number in range(3):
        folder.write(one(f"after{number}", size=100_000))
    assert ids(tmp_path) == {"before3", "after0", "after1", "after2"}
    clock.day = date(2026, 11, 27)
    folder.hold_limits()  # none is 57 years old
    assert "after0" in ids(tmp_path)


class Calendar(Clock):
    """A clock, and the calendar that follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached: date | None = self.day

    def folder(self, root: Path, limits: Limits = PLENTY, *, counted: bool = True, free: int = 1 << 40) -> Folder:
        folder = Folder(
            root,
            limits,
            today=lambda: self.day,
            aged_by=lambda: min(self.day, self.reached or self.day),
            reached=lambda: self.reached,
            clock=lambda: self.now,
            free=lambda _: free,
        )
        if counted:
            folder.count()
        return folder

    def passes(self, days: int) -> None:
        self.day += timedelta(days=days)
        if self.reached is not None:
            self.reached += timedelta(days=days)


def days_of(root: Path) -> dict[str, str]:
    return {path.stem: path.parent.name for path in root.glob("*/*.zip")}


def test_a_night_of_a_clock_that_ran_ahead_keeps_nothing_for_ever(tmp_path: Path) -> None:
    clock = Calendar()
    folder = clock.folder(tmp_path, Limits(bytes=1 << 40, days=3, free=0))
    folder.write(one("before"))
    clock.day += timedelta(days=3000)
    folder.write(one("ahead"))
    clock.day -= timedelta(days=3000)
    folder.write(one("after"))
    assert days_of(tmp_path) == {"before": "2026-11-26", "ahead": "2026-11-29", "after": "2026-11-29"}
    for _ in range(7):
        folder.hold_limits()
        clock.passes(1)
    folder.write(one("later"))
    folder.hold_limits()
    assert days_of(tmp_path) == {"later": "2026-12-03"}


def test_a_day_that_is_not_yet_becomes_the_newest_that_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As older versions wrote them."""
    clock = Calendar()
    clock.reached, clock.day = None, date(2035, 1, 1)
    folder = clock.folder(tmp_path, Limits(bytes=8 * SIZE + 100, days=90, free=0))
    for number in range(3):
        folder.write(one(f"far{number}", size=100_000))
        clock.day += timedelta(days=1)
    clock.day = date(2026, 11, 26)
    folder.write(one("since", size=100_000))
    assert set(days_of(tmp_path).values()) == {"2035-01-01", "2035-01-02", "2035-01-03"}
    clock.reached = clock.day
    folder = clock.folder(tmp_path, Limits(bytes=4 * SIZE + 100, days=90, free=0))
    assert set(days_of(tmp_path).values()) == {"2026-11-26"} and len(ids(tmp_path)) == 4
    assert folder.held.files == 4 and folder.held.oldest == "2026-11-26" and len(caplog.records) == 3
    for number in range(2):
        folder.write(one(f"new{number}", size=100_000))
    assert ids(tmp_path) == {"far2", "since", "new0", "new1"}, "in the order in which they came"
    assert folder.read("far2") is not None
    assert folder.held.bytes == sum(path.stat().st_size for path in tmp_path.glob("*/*.zip"))


def test_one_that_cannot_be_moved_takes_no_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Calendar()
    (tmp_path / "2035-01-01").mkdir()
    (tmp_path / "2035-01-01" / "stuck.zip").write_bytes(pack(one("stuck")))

    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "rename", refuse)
    folder = clock.folder(tmp_path)
    folder.write(one("new"))
    assert days_of(tmp_path) == {"stuck": "2035-01-01", "new": "2026-11-26"}


def test_before_its_clock_is_set_a_machine_writes_to_the_newest_day(tmp_path: Path) -> None:
    clock = Calendar()
    clock.day = date(1970, 1, 1)
    folder = clock.folder(tmp_path)
    folder.write(one("early"))
    clock.day = date(2026, 11, 26)
    folder.hold_limits()
    assert days_of(tmp_path) == {"early": "2026-11-26"}


def test_after_a_long_time_off_what_is_new_is_kept_for_as_long(tmp_path: Path) -> None:
    """The calendar catches up twice as fast as time passes."""
    clock = Calendar()
    for off in (2, 3, 4, 30):
        assert clock.reached is not None
        clock.day += timedelta(days=off)
        limits = Limits(bytes=1 << 40, days=3, free=0)
        folder = clock.folder(tmp_path / str(off), limits)
        folder.write(one("new"))
        for _ in range(3):
            folder.hold_limits()
            assert ids(tmp_path / str(off)) == {"new"}
            clock.day += timedelta(days=1)
            clock.reached = min(clock.day, clock.reached + timedelta(days=2))
        clock.day = clock.reached


def test_within_a_day_too(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = clock.folder(tmp_path, Limits(bytes=3 * SIZE + 100, days=90, free=0))
    now = time.time_ns()
    for number, back in enumerate((0, 3600, 7200, 1800, 1)):
        monkeypatch.setattr(time, "time_ns", lambda back=back: now - back * 1_000_000_000)
        folder.write(one(f"p{number}", size=100_000))
    assert ids(tmp_path) == {"p2", "p3", "p4"}


def test_an_alarm_that_becomes_worse_is_one_file_also_over_midnight(tmp_path: Path, clock: Clock) -> None:
    folder = clock.folder(tmp_path)
    folder.write(one("alarm", kind="alarm"))
    folder.write(one("alarm", kind="alarm", size=5_000))
    assert folder.held.files == 1
    clock.day += timedelta(days=1)
    folder.write(one("alarm", kind="alarm", size=6_000))
    assert folder.held.files == 1 and [path.parent.name for path in tmp_path.glob("*/*.zip")] == ["2026-11-27"]
    found = folder.read("alarm")
    assert found is not None and found.input is not None and len(found.input) == 6_000


def test_what_is_said_of_a_picture_is_kept_with_it_and_makes_it_no_younger(tmp_path: Path, clock: Clock) -> None:
    folder = clock.folder(tmp_path)
    folder.write(one("p1"))
    before = next(tmp_path.glob("*/p1.zip")).stat().st_mtime_ns
    clock.day += timedelta(days=3)
    assert folder.say("p1", "good", "c1") and not folder.say("p2", "good", None)
    found = folder.read("p1")
    assert found is not None and (found.facts.disposition, found.facts.correction) == ("good", "c1")
    path = next(tmp_path.glob("*/p1.zip"))
    assert (path.parent.name, path.stat().st_mtime_ns) == ("2026-11-26", before)
    assert folder.held.bytes == path.stat().st_size


@pytest.mark.parametrize("id", ["../../etc/passwd", "a/b", "", "a" * 129, "a\0b", "ü"])
def test_an_id_stays_inside(tmp_path: Path, clock: Clock, id: str) -> None:
    folder = clock.folder(tmp_path / "archive")
    with pytest.raises(OSError):
        folder.write(msgspec.structs.replace(one("x"), facts=msgspec.structs.replace(one("x").facts, id=id)))
    assert folder.read(id) is None
    assert ids(tmp_path) == set()


@pytest.mark.parametrize("id", ["..", ".cam-1790000000000-1"])
def test_a_dot_in_front_is_a_name_like_others(tmp_path: Path, clock: Clock, id: str) -> None:
    folder = clock.folder(tmp_path / "archive")
    folder.write(msgspec.structs.replace(one("x"), facts=msgspec.structs.replace(one("x").facts, id=id)))
    assert folder.read(id) is not None
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{id}.zip"]


def test_what_cannot_be_removed_stops_nothing(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = clock.folder(tmp_path, Limits(bytes=2 * SIZE + 100, days=90, free=0))
    folder.write(one("stuck", size=100_000))
    clock.day += timedelta(days=1)
    unlink = Path.unlink

    def refusing(path: Path, missing_ok: bool = False) -> None:
        if path.name == "stuck.zip":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refusing)
    for number in range(5):
        folder.write(one(f"p{number}", size=100_000))
    assert ids(tmp_path) == {"stuck", "p4"}


@pytest.mark.parametrize("how", ["it cannot be removed", "somebody took it away"])
def test_an_old_day_costs_no_picture_that_is_not_old(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    folder = clock.folder(tmp_path, Limits(bytes=1 << 40, days=3, free=0))
    for number in range(5):
        folder.write(one(f"p{number}"))
        clock.day += timedelta(days=1)
    old = tmp_path / "2026-11-26"
    if how == "somebody took it away":
        shutil.rmtree(old)
    else:
        unlink = Path.unlink

        def refusing(path: Path, missing_ok: bool = False) -> None:
            if path.parent == old:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", refusing)
    for _ in range(3):
        folder.hold_limits()
    assert ids(tmp_path) - {"p0"} == {"p2", "p3", "p4"}, "and what is too old beside it goes"
    assert folder.take_gone() == ["p1"] and folder.held.removed == 1


def test_a_damaged_file_says_so(tmp_path: Path, clock: Clock) -> None:
    folder = clock.folder(tmp_path)
    folder.write(one("p1"))
    path = tmp_path / "2026-11-26" / "p1.zip"
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(Damaged, match="damaged"):
        folder.read("p1")
    path.write_bytes(b"")
    with pytest.raises(Damaged, match="damaged"):
        folder.read("p1")


@given(st.binary(max_size=300), st.integers(0, 4000), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_no_bytes_do_more_than_say_that_they_are_damaged(junk: bytes, at: int, value: int) -> None:
    whole = bytearray(pack(one("p1", size=200)))
    whole[at % len(whole)] = value
    for data in (bytes(whole), junk):
        try:
            unpack(data)
        except Damaged as error:
            assert "archived picture" in str(error)


@pytest.mark.parametrize(
    "odd",
    [
        {"frame": "a\r\nset-cookie: x"},
        {"frame": 'a"b'},
        {"frame": "é"},
        {"id": "\u202e"},
        {"stream": "a\n"},
        {"part": "x" * 1000},
        {"recipe_name": "\0"},
        {"at": "yesterday"},
        {"threshold": 0.0},
        {"threshold": -1.0},
        {"raw_score": 1e300},
        {"typical": 1e300},
        {"size": (0, 48)},
        {"picture": (64, 10**9)},
        {"moved": ((1e300, 0.0, 0.0), (0.0, 1.0, 0.0))},
    ],
    ids=str,
)
def test_facts_that_cannot_be_are_damage(odd: dict[str, Any]) -> None:
    good = one("a-1")
    assert unpack(pack(good)) == good
    with pytest.raises(Damaged, match="is damaged"):
        unpack(pack(msgspec.structs.replace(good, facts=msgspec.structs.replace(good.facts, **odd))))


@pytest.mark.parametrize("odd", [{"picture": b"nonsense"}, {"picture": b""}, {"input": b"<script>"}])
def test_what_is_no_picture_is_damage(odd: dict[str, Any]) -> None:
    with pytest.raises(Damaged, match="no pictures"):
        unpack(pack(msgspec.structs.replace(one("a-1"), **odd)))
