"""What could not be written while the database was away, on disk, in the order it came."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from detector.files import sync_folder
from server.records.entry import Event

MOST_BYTES = 256_000_000
"""About 400,000 parts; the oldest are lost beyond that."""
SEGMENT_BYTES = 4_000_000
LONGEST_LINE = 1_000_000
KEPT_DAMAGED = 5
"""Files that hold lines which could not be read, for somebody to look at."""
_DAMAGED = ".damaged"

log = logging.getLogger("defectvision.history")

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


@dataclass
class Segment:
    """One file of it. ``events``: those that were not taken yet; ``read``: bytes that were."""

    path: Path
    size: int
    events: int
    read: int = 0
    open: bool = False
    damaged: bool = False


class Backlog:
    """Files of one event a line. Every method works on the disk: for threads.

    Attributes:
        events: in it; ``size``: bytes that they take.
        lost: events that its bound took since the start; ``damaged``: lines that could not be read.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder, self._most, self._segment = folder, most_bytes, segment_bytes
        self._segments: list[Segment] = []
        self._number = 0
        self._lock = threading.Lock()  # a shutdown does not wait for a disk that hangs
        self.lost = self.damaged = 0
        self._unreadable = 0
        """Of what was read last, which is read again until it is stored."""

    @property
    def events(self) -> int:
        return sum(segment.events for segment in self._segments)

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self._segments)

    def open(self) -> None:
        """Find what an earlier run left. Nothing is appended to its files: the last may end in half a line.

        Raises:
            OSError: it is there and cannot be read.
        """
        with self._lock:
            self._segments = []
            if not self._folder.is_dir():
                return
            for path in sorted(self._folder.glob("[0-9]*.jsonl")):
                if not path.stem.isdecimal() or not path.is_file():
                    continue
                self._number = max(self._number, int(path.stem))
                with path.open("rb") as file:
                    events = 0
                    while piece := file.read(1 << 20):
                        events += piece.count(b"\n")
                self._segments.append(Segment(path, path.stat().st_size, events))
            self._hold_bound()

    def append(self, events: Sequence[Event]) -> None:
        """Put events behind those that are there; on disk when it returns.

        Raises:
            OSError: none of them is in it then.
        """
        with self._lock:
            lines = b"".join(_encoder.encode(event) + b"\n" for event in events)
            last = self._segments[-1] if self._segments and self._segments[-1].open else None
            if last is None or last.size + len(lines) > self._segment:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._number += 1
                while self._path.exists():  # which could not be read at the start
                    self._number += 1
                last = Segment(self._path, 0, 0, open=True)
                try:
                    self._write(last, lines)
                except OSError:
                    last.path.unlink(missing_ok=True)  # a full disk would be littered with empty ones
                    raise
                sync_folder(self._folder)
                self._segments.append(last)
            else:
                self._write(last, lines)
            last.size += len(lines)
            last.events += len(events)
            self._hold_bound()

    def oldest(self, most: int) -> tuple[list[Event], int]:
        """The first events and how many bytes they take, to be given to :meth:`taken`.

        Raises:
            OSError: they cannot be read.
        """
        with self._lock:
            while self._segments and not self._segments[0].path.exists():  # somebody made room
                self.lost += self._segments.pop(0).events
            if not self._segments:
                return [], 0
            segment, found, read, self._unreadable = self._segments[0], [], 0, 0
            with segment.path.open("rb") as file:
                file.seek(segment.read)
                for _ in range(most):
                    line = file.readline(LONGEST_LINE)
                    if not line:
                        break
                    read += len(line)
                    try:
                        found.append(_decoder.decode(line))
                    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                        self._unreadable += 1
                        if not segment.damaged:
                            log.warning("history backlog=%s has lines that cannot be read", segment.path.name)
                        segment.damaged = True
            return found, read

    def taken(self, read: int) -> None:
        """The first so many bytes are stored."""
        with self._lock:
            if not self._segments:
                return
            segment = self._segments[0]
            with segment.path.open("rb") as file:
                file.seek(segment.read)
                segment.events -= file.read(read).count(b"\n")
            segment.read += read
            self.damaged, self._unreadable = self.damaged + self._unreadable, 0
            if segment.read >= segment.size or read == 0:
                if segment.damaged:
                    self._put_aside(segment.path)
                else:
                    segment.path.unlink(missing_ok=True)
                self._segments.pop(0)

    def _put_aside(self, path: Path) -> None:
        path.replace(path.with_name(path.name + _DAMAGED))
        for older in sorted(self._folder.glob(f"*{_DAMAGED}"))[:-KEPT_DAMAGED]:
            older.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._number:010}.jsonl"

    def _hold_bound(self) -> None:
        while len(self._segments) > 1 and self.size > self._most:
            segment = self._segments.pop(0)
            self.lost += segment.events
            segment.path.unlink(missing_ok=True)

    @staticmethod
    def _write(segment: Segment, lines: bytes) -> None:
        descriptor = os.open(segment.path, os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            try:
                os.lseek(descriptor, segment.size, os.SEEK_SET)
                left = memoryview(lines)
                while left:
                    left = left[os.write(descriptor, left) :]
                os.ftruncate(descriptor, segment.size + len(lines))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, segment.size)
                raise
        finally:
            os.close(descriptor)
