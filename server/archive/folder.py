"""The archive's folder: a folder a day, a file a picture, and limits by size, age and free space that hold.

For threads; blocks. Nothing is remembered of single files: a day's number and bytes are counted when the folder is
opened, and what is the oldest is looked up when something has to go. So a million pictures take no memory.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from detector.files import read_at_most, sync_folder, temporary_beside, write_atomically
from server.archive.pictured import MOST_BYTES, Damaged, Disposition, Pictured, pack, said_of, unpack

log = logging.getLogger("defectvision.archive")

FOLDER = "archive"
SUFFIX = ".zip"
MOST_COUNTED = 5_000_000
"""Files that are counted at the start; of more the archive is larger than it says."""
LOOK_EVERY_S = 30.0
"""How often age and free space are looked at while pictures are written."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAKE_ROOM_TRIES = 64
MOST_REMOVED = 2_000
"""Pictures that go before one is written, at the most: those that wait must not wait for long."""


MOST_GONE = 10_000
"""Ids of removed pictures that wait to be told; of more, the oldest are found out when somebody looks."""


def is_shared(mode: int) -> bool:
    """Whether a file is marked as one that is in the plant's store: nobody may write it. What is written in its place
    is another file, without the mark, so that no crash can leave a mark on what was not stored."""
    return not mode & 0o222


class NoRoom(OSError):
    """The disk is full, or less than what must stay free, and nothing of the archive is left that could go."""


@dataclass(frozen=True)
class Limits:
    """What the archive may take: bytes; days that a picture is kept; bytes that stay free on its disk."""

    bytes: int
    days: int
    free: int


@dataclass
class _Day:
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Held:
    """What is there. ``oldest``: its day, YYYY-MM-DD; ``free``: bytes on the disk, None where nobody knows;
    ``counted``: whether all was counted since the start."""

    files: int
    bytes: int
    oldest: str | None
    free: int | None
    removed: int
    counted: bool


class Folder:
    """The archived pictures on disk.

    Args:
        root: made when the first picture is written.
        today: the day by the clock, which may jump; ``aged_by``: the day that what is old is old by, None: the same.
        reached: the day that it is at least, whatever the clock says now, or None: what a clock that ran far ahead
            wrote into days to come is found by it.
        clock: seconds, monotonic.
        free: bytes that are free on the disk of a folder.
        has_store: whether what goes from here may still be in the plant's store.
    """

    def __init__(
        self,
        root: Path,
        limits: Limits,
        *,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
        aged_by: Callable[[], date] | None = None,
        reached: Callable[[], date | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        has_store: bool = False,
    ) -> None:
        self.limits, self.root = limits, root
        self._today, self._clock, self._free_on = today, clock, free
        self._aged_by, self._reached, self._has_store = aged_by or today, reached, has_store
        self._days: dict[str, _Day] = {}
        self._oldest: deque[str] = deque()
        self._oldest_of: str | None = None
        self._lock = threading.Lock()
        self._look_at = -1.0
        self._removed = 0
        self._gone: deque[str] = deque(maxlen=MOST_GONE)
        self._newest_ns = 0
        self._counted = self._is_full = False

    def count(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Count what is there, and remove what a crash left unfinished; once, before limits are held.

        Args:
            go_on: asked now and then; the server may be stopping.
        """
        left = MOST_COUNTED
        for name in self._day_names():
            with self._lock:
                counted = _Day()
                for entry in _entries(self.root / name):
                    if not go_on():
                        return
                    left -= 1
                    if left < 0:
                        break
                    if _TEMPORARY.fullmatch(entry.name):
                        with contextlib.suppress(OSError):
                            Path(entry.path).unlink()
                    elif entry.name.endswith(SUFFIX):
                        with contextlib.suppress(OSError):
                            found = entry.stat(follow_symlinks=False)
                            counted.files, counted.bytes = counted.files + 1, counted.bytes + found.st_size
                            self._newest_ns = max(self._newest_ns, found.st_mtime_ns)
                self._days[name] = counted
        with self._lock:
            self._counted = True
            self._hold_limits(0)

    def write(self, pictured: Pictured) -> bool:
        """Write a picture, in place of an older one of its id; whole or not at all. The oldest make room for it.

        Returns:
            whether older ones went because the disk is full, not because of the archive's own limits.

        Raises:
            NoRoom: the disk is full, and nothing is left that could go.
            OSError: the folder cannot be written.
        """
        data, id = pack(pictured), pictured.facts.id
        if not _ID.fullmatch(id) or len(data) > MOST_BYTES:
            raise OSError(errno.EINVAL, f"{id[:40]!r} with {len(data)} bytes is nothing that is archived")
        with self._lock:
            shortened = self._hold_limits(len(data))
            if self._is_full:
                raise NoRoom(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.root))
            for _ in range(_MAKE_ROOM_TRIES):
                try:
                    self._write(id, data)
                    return shortened
                except OSError as error:
                    if error.errno not in _NO_ROOM:
                        raise
                shortened, freed = True, 0
                while freed < 2 * len(data) and (gone := self._remove_oldest()) is not None:
                    freed += gone
                if freed == 0:
                    break
            raise NoRoom(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.root))

    def say(self, id: str, disposition: Disposition | None, correction: str | None) -> bool:
        """Note in a picture's file what was said of it; it stays as old as it is. Returns whether it is there.

        Raises:
            Damaged: it is not whole.
            OSError: it cannot be written; nothing changes.
        """
        with self._lock:
            path, pictured = self.find(id), self.read(id)
            if path is None or pictured is None:
                return False
            self._replace(path, said_of(pictured, disposition, correction))
            return True

    def replace(self, pictured: Pictured) -> Pictured:
        """Put another one in the place of the picture of its id, if that is here and nothing was said of it later; it
        stays as old as it is.

        Returns:
            the one of which something was said last.

        Raises:
            OSError: it cannot be written; nothing changes.
        """
        with self._lock:
            here = None
            with contextlib.suppress(Damaged):  # then it is mended by this
                here = self.read(pictured.facts.id)
            if here is not None and here.facts.said_at >= pictured.facts.said_at:
                return here
            if (path := self.find(pictured.facts.id)) is not None:
                self._replace(path, pictured)
            return pictured

    def read(self, id: str) -> Pictured | None:
        """A picture by its id; None where there is none, or not any more.

        Raises:
            Damaged: it is not whole.
        """
        for _ in range(2):  # it may be moved to another day in between
            if (found := self.find(id)) is None:
                return None
            try:
                data = read_at_most(found, MOST_BYTES + 1)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Damaged(f"the archived picture cannot be read ({error.strerror})") from error
            if len(data) > MOST_BYTES:
                raise Damaged("the archived picture is damaged (it is larger than any)")
            return unpack(data)
        return None

    def find(self, id: str) -> Path | None:
        """Where the file of a picture is; None where there is none."""
        if not _ID.fullmatch(id):
            return None
        for name in reversed(self._day_names()):
            path = self.root / name / (id + SUFFIX)
            if path.exists():
                return path
        return None

    def hold_limits(self) -> bool:
        """Remove what is too old or too much, and make room on the disk; to be called now and then. Returns whether any
        went because the disk is full."""
        with self._lock:
            self._look_at = -1.0
            return self._hold_limits(0)

    def unshared(self) -> Iterator[Path]:
        """Files of pictures that are not in the plant's store, the oldest first, as the days are looked through."""
        for name in self._day_names():
            for file in _by_age(self.root / name, lambda mode: not is_shared(mode)):
                yield self.root / name / file

    def take_gone(self) -> list[str]:
        """Ids of what was removed since this was asked last, and is in no plant's store. Without the lock: the event
        loop asks."""
        gone: list[str] = []
        with contextlib.suppress(IndexError):
            while True:
                gone.append(self._gone.popleft())
        return gone

    @property
    def held(self) -> Held:
        """What is there now."""
        days = {name: (day.files, day.bytes) for name, day in [*self._days.items()] if day.files}
        return Held(
            files=sum(files for files, _ in days.values()),
            bytes=sum(size for _, size in days.values()),
            oldest=min(days, default=None),
            free=self._free(),
            removed=self._removed,
            counted=self._counted,
        )

    @property
    def size(self) -> tuple[int, int]:
        """Pictures there, and their bytes, as far as they were counted; asks no disk."""
        days = [*self._days.values()]
        return sum(day.files for day in days), sum(day.bytes for day in days)

    # Below: with the lock.

    def _replace(self, path: Path, pictured: Pictured) -> None:
        before = path.stat()
        write_atomically(path, pack(pictured))
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
        if (day := self._days.get(path.parent.name)) is not None:
            day.bytes += path.stat().st_size - before.st_size

    def _write(self, id: str, data: bytes) -> None:
        name = self._day_to_write()
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (id + SUFFIX)
        before = self._size_of(path)
        temporary = temporary_beside(path)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._put_in_order(temporary)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(folder)
        day = self._days.setdefault(name, _Day())
        day.files += before is None
        day.bytes += len(data) - (before or 0)
        if before is None:
            self._forget_elsewhere(id, name)

    def _put_in_order(self, path: Path) -> None:
        """The newest file has the newest time, also where the clock jumped back."""
        self._newest_ns = max(time.time_ns(), self._newest_ns + 1_000_000)
        os.utime(path, ns=(self._newest_ns, self._newest_ns))

    def _forget_elsewhere(self, id: str, name: str) -> None:
        """An alarm that goes on over midnight is one file."""
        days = self._day_names()
        yesterday = max((day for day in days if day < name), default=None)
        if yesterday is not None:
            self._unlink(yesterday, id + SUFFIX)

    def _day_to_write(self) -> str:
        """Today; the newest day there is where the clock jumped back: what is written now is the newest, whatever the
        clock says, and must not go first. But none that a clock ran far ahead to: it would never become old."""
        today, reached = self._today(), self._reached()
        if reached is None:
            return max([today.isoformat(), *self._days])
        latest = self._latest(reached)
        written = max(reached, min(today, latest)).isoformat()
        return max([written, *(day for day in self._days if day <= latest.isoformat())])

    def _latest(self, reached: date) -> date:
        """The last day that is written, whatever later one the clock says. It may be right, after a long time off: then
        the calendar catches up at twice the speed of time, and from this day on nothing becomes old too soon."""
        return reached + timedelta(days=self.limits.days)

    def _hold_limits(self, coming: int) -> bool:
        """Until so many more bytes fit; what is the oldest goes. Returns whether any went for the disk's sake."""
        if not self._counted:
            return False
        left = MOST_REMOVED
        while self._bytes() + coming > self.limits.bytes and left > 0 and self._remove_oldest() is not None:
            left -= 1
        if self._clock() < self._look_at:
            return False
        left -= self._bring_back(left)
        eldest = (self._aged_by() - timedelta(days=self.limits.days)).isoformat()
        for name in sorted(day for day in self._days if day < eldest):
            # Of this day alone: where nothing of it can be removed, what is younger is not too old for that.
            while left > 0 and name in self._days and self._remove_oldest_of(name) is not None:
                left -= 1
        low = shortened = self._is_low(coming)
        while low and left > 0 and self._remove_oldest() is not None:
            left -= 1
            low = self._is_low(coming)
        self._is_full = low and left > 0
        if left > 0:
            self._look_at = self._clock() + LOOK_EVERY_S
        return shortened

    def _bring_back(self, most: int) -> int:
        """Put pictures of days that are not yet, of a clock that ran far ahead, into the day that is written: they
        would never become old, and stay while newer ones go. Returns how many were moved."""
        if (reached := self._reached()) is None:
            return 0
        latest, to, moved = self._latest(reached).isoformat(), self._day_to_write(), 0
        for name in sorted(day for day in self._days if day > latest):
            files = _by_age(self.root / name)
            with contextlib.suppress(OSError):  # somebody else's: it stays, and takes no new ones
                for file in files[: most - moved]:
                    self._move(file, name, to)
                    moved += 1
                if moved < most:
                    self._close(name)
                    log.warning("archive day=%s is not yet, its pictures are kept as of %s", name, to)
        return moved

    def _move(self, file: str, name: str, to: str) -> None:
        source, target = self.root / name / file, self.root / to / file
        size = self._size_of(source)
        if target.exists() or size is None:  # an alarm that went on, or somebody took it away
            self._unlink(name, file)
            return
        target.parent.mkdir(exist_ok=True)
        source.rename(target)
        was, day = self._days[name], self._days.setdefault(to, _Day())
        was.files, was.bytes = was.files - 1, was.bytes - size
        day.files, day.bytes = day.files + 1, day.bytes + size

    def _is_low(self, coming: int) -> bool:
        return (free := self._free()) is not None and free < self.limits.free + coming

    def _bytes(self) -> int:
        return sum(day.bytes for day in self._days.values())

    def _free(self) -> int | None:
        for folder in (self.root, self.root.parent):
            with contextlib.suppress(OSError):
                return self._free_on(folder)
        return None

    def _remove_oldest(self) -> int | None:
        """Remove the oldest picture; its bytes, or None where nothing can be removed."""
        for name in sorted(self._days):
            size = self._remove_oldest_of(name)
            if size is not None:
                return size
        return None

    def _remove_oldest_of(self, name: str) -> int | None:
        """Remove the oldest picture of a day; its bytes, or None where nothing of it can be removed."""
        for _ in range(2):  # what was listed earlier, then what came since
            if self._oldest_of != name or not self._oldest:
                self._oldest_of, self._oldest = name, deque(_by_age(self.root / name))
                if not self._oldest:
                    self._close(name)
                    return None
            while self._oldest:
                file = self._oldest.popleft()
                shared = self._is_shared(self.root / name / file)
                if (size := self._unlink(name, file)) is not None:
                    self._removed += 1
                    if not shared:
                        self._gone.append(file.removesuffix(SUFFIX))
                    if not self._oldest and not self._days[name].files:
                        self._close(name)
                    return size
        return None  # somebody else's, or a disk that can only be read

    def _close(self, name: str) -> None:
        del self._days[name]
        with contextlib.suppress(OSError):
            (self.root / name).rmdir()

    def _unlink(self, name: str, file: str) -> int | None:
        path = self.root / name / file
        size = self._size_of(path)
        try:
            path.unlink()
        except OSError:
            return None
        day = self._days.get(name)
        if day is not None and size is not None:
            day.files, day.bytes = max(0, day.files - 1), max(0, day.bytes - size)
        return size

    def _is_shared(self, path: Path) -> bool:
        try:
            return self._has_store and is_shared(path.stat().st_mode)
        except OSError:
            return False

    def _size_of(self, path: Path) -> int | None:
        try:
            return path.stat().st_size
        except OSError:
            return None

    def _day_names(self) -> list[str]:
        """From the oldest."""
        return sorted(entry.name for entry in _entries(self.root) if _DAY.fullmatch(entry.name))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return


def _by_age(folder: Path, wanted: Callable[[int], bool] = lambda mode: True) -> list[str]:
    """Names of the pictures of a day, the oldest first; of those alone whose file's mode is wanted."""
    found = []
    for entry in _entries(folder):
        if entry.name.endswith(SUFFIX):
            with contextlib.suppress(OSError):
                its = entry.stat(follow_symlinks=False)
                if wanted(its.st_mode):
                    found.append((its.st_mtime, entry.name))
    return [name for _, name in sorted(found)]


def day_of(seconds: float) -> date:
    """The day, by UTC, of a time in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).date()
