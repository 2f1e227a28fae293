"""The audit log as it lies on disk: lines of JSON, each with the hash of the one before, in files that are only added
to.

``audit-000001.jsonl`` and so on, below a folder of their own. A line holds ``seq``, ``at``, what happened, ``prev``
(the hash of the line before; of the very first, 64 zeros) and ``hash``: sha256 of the line as JSON without ``hash``.
Where a file is full the next goes on with the chain; the oldest goes when there are too many. So a line that was
changed, taken out or put in breaks the chain, and where is said. What no chain shows: that the newest lines were cut
off, or that somebody with the rights of the server wrote all of it anew. Whoever needs that copies the log away now
and then; the server logs its last hash at each start.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from detector.files import give_to_owner, in_turn
from server.ground import private_file

LARGEST_FILE, MOST_FILES = 4_000_000, 25
LONGEST_FIELD = 500
BEGINNING = "0" * 64
FOLDER = "audit"

_FILE = re.compile(r"audit-([0-9]{6,9})\.jsonl")


class Entry(Struct, frozen=True):
    """One thing that happened.

    Attributes:
        at: when, ISO 8601 with milliseconds, UTC.
        who, how, role: by whom, how that one was known (``open``: the server asked nobody), and as what.
        address: it came from.
        what: one clause; ``detail``: more of it.
        method, path, status: of the request; empty where there was none.
    """

    seq: int
    at: str
    who: str
    how: str
    role: str
    address: str
    what: str
    detail: str
    method: str
    path: str
    status: int
    prev: str
    hash: str


class Happened(Struct, frozen=True):
    """An entry that has no place in the chain yet; see :class:`Entry`."""

    at: str
    who: str
    what: str
    how: str = ""
    role: str = ""
    address: str = ""
    detail: str = ""
    method: str = ""
    path: str = ""
    status: int = 0


@dataclass(frozen=True)
class Head:
    """Where the chain goes on: number and hash of its last line, and in which file, how long that is."""

    seq: int
    hash: str
    file: Path
    size: int


class Chain:
    """Adds lines to an audit log. Blocks; used from one thread at a time, and from several processes.

    Args:
        folder: of the log's files; made when something is first written.
        largest_file, most_files: bytes after which a new file is begun, and how many there are.
    """

    def __init__(self, folder: Path, *, largest_file: int = LARGEST_FILE, most_files: int = MOST_FILES) -> None:
        self.folder = folder
        self._largest_file, self._most_files = largest_file, most_files
        self._head: Head | None = None

    def add(self, happened: list[Happened]) -> None:
        """Add lines, on disk when it returns.

        Raises:
            OSError: not all could be added. What was added is whole, and stays: adding them again adds none twice.
        """
        private_file.make_folder(self.folder)
        with in_turn(self.folder):
            head = self._found()
            while happened:
                lines, seq, last, count = bytearray(), head.seq, head.hash, 0
                for one in happened:
                    if count and head.size + len(lines) > self._largest_file:
                        break
                    entry = chained(one, seq + 1, last)
                    lines += msgspec.json.encode(entry) + b"\n"
                    seq, last, count = entry.seq, entry.hash, count + 1
                _append(head.file, bytes(lines), head.size)
                head = self._head = Head(seq, last, head.file, head.size + len(lines))
                del happened[:count]
                if head.size >= self._largest_file:
                    head = self._head = self._next_file(head)

    def head(self) -> Head:
        """Where the log stands.

        Raises:
            OSError: it cannot be read.
        """
        if not files_of(self.folder):
            return self._found()
        with in_turn(self.folder):
            return self._found()

    def _found(self) -> Head:
        """Where to go on: as it was left, unless somebody else went on meanwhile."""
        head = self._head
        if head is not None:
            try:
                if head.file.stat().st_size == head.size:
                    return head
            except FileNotFoundError:
                if head.size == 0:
                    return head
        files = files_of(self.folder)
        if not files:
            return Head(0, BEGINNING, _file(self.folder, 1), 0)
        return self._read(files)

    def _read(self, files: list[Path]) -> Head:
        """The head after what is on disk; a line that a crash left unfinished is cut off: nobody was told it is
        there."""
        *before, newest = files
        data = newest.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(newest, len(whole))
        if not whole:
            if before:
                return Head(*_last(before[-1].read_bytes()), newest, 0)
            return Head(0, BEGINNING, newest, 0)
        return Head(*_last(whole), newest, len(whole))

    def _next_file(self, head: Head) -> Head:
        files = files_of(self.folder)
        number = _number(files[-1]) if files else 0
        for old in files[: max(0, len(files) - self._most_files + 1)]:
            old.unlink(missing_ok=True)
        return Head(head.seq, head.hash, _file(self.folder, number + 1), 0)


@dataclass(frozen=True)
class Verified:
    """What a look at all of a log found.

    Attributes:
        entries: lines that hold; ``first``, ``last``: their numbers.
        head: hash of the last.
        broken: where the chain is broken, one sentence each, twenty at the most.
    """

    entries: int
    first: int | None
    last: int | None
    head: str
    broken: tuple[str, ...]


def verify(folder: Path) -> Verified:
    """Look at every line of a log.

    Raises:
        OSError: a file cannot be read.
    """
    return _verified(files_of(folder))


def verify_file(path: Path) -> Verified:
    """Look at every line of a log that was downloaded.

    Raises:
        OSError: it cannot be read.
    """
    return _verified([path])


def _verified(files: list[Path]) -> Verified:
    broken: list[str] = []
    entries, first, last, head = 0, None, 0, BEGINNING
    for path in files:
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if not line:
                continue
            where = f"{path.name} line {number}"
            entry = _entry(line)
            # To the byte as it was written: another reader may go by a field that was put in, or by the first of two.
            if entry is None or entry.hash != _hash(entry) or line != msgspec.json.encode(entry):
                broken.append(f"{where} was changed: it does not have the hash that it says")
                if entry is None:
                    continue
            elif first is None:
                first = entry.seq
                if entry.seq == 1 and entry.prev != BEGINNING:
                    broken.append(f"{where} is not the beginning that it says it is")
            elif entry.seq != last + 1:
                broken.append(
                    f"{where} is number {entry.seq}, after {last}: lines between them are missing or were put in"
                )
            elif entry.prev != head:
                broken.append(f"{where} (number {entry.seq}) does not follow from the line before: that was changed")
            first = entry.seq if first is None else first
            entries, last, head = entries + 1, entry.seq, entry.hash
    return Verified(entries, first, last if entries else None, head, tuple(broken[:20]))


def newest(folder: Path, before: int | None, limit: int) -> list[Entry]:
    """Entries with smaller numbers than `before`, the newest first; files are read from the newest until there are
    enough.

    Raises:
        OSError: a file cannot be read.
    """
    found: list[Entry] = []
    for path in reversed(files_of(folder)):
        for line in reversed(path.read_bytes().split(b"\n")):
            entry = _entry(line) if line else None
            if entry is not None and (before is None or entry.seq < before):
                found.append(entry)
                if len(found) == limit:
                    return found
    return found


def files_of(folder: Path) -> list[Path]:
    """The files of a log, the oldest first."""
    try:
        found = [path for path in folder.iterdir() if _FILE.fullmatch(path.name)]
    except FileNotFoundError:
        return []
    return sorted(found, key=_number)


def chained(happened: Happened, seq: int, prev: str) -> Entry:
    """The entry of this number, after the one of this hash."""
    fields: dict[str, Any] = {name: getattr(happened, name) for name in happened.__struct_fields__}
    short: dict[str, Any] = {
        name: value[:LONGEST_FIELD] if isinstance(value, str) else value for name, value in fields.items()
    }
    entry = Entry(seq=seq, prev=prev, hash="", **short)
    return msgspec.structs.replace(entry, hash=_hash(entry))


def _hash(entry: Entry) -> str:
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__ if name != "hash"}
    return hashlib.sha256(msgspec.json.encode(fields)).hexdigest()


def _entry(line: bytes) -> Entry | None:
    try:
        return msgspec.json.decode(line, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _last(data: bytes) -> tuple[int, str]:
    """Number and hash of the last line. One that cannot be read breaks the chain, which goes on from what it was."""
    lines = [line for line in data.split(b"\n") if line]
    entry = _entry(lines[-1]) if lines else None
    if entry is not None:
        return entry.seq, entry.hash
    numbers = [one.seq for one in map(_entry, lines) if one is not None]
    return (max(numbers, default=0) + 1, hashlib.sha256(lines[-1]).hexdigest()) if lines else (0, BEGINNING)


def _append(path: Path, data: bytes, size: int) -> None:
    """Add to a file, all or nothing."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
    try:
        give_to_owner(path.parent, path)
        try:
            if os.write(descriptor, data) < len(data):
                raise OSError(28, "no space is left for the audit log")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _file(folder: Path, number: int) -> Path:
    return folder / f"audit-{number:06d}.jsonl"


def _number(path: Path) -> int:
    match = _FILE.fullmatch(path.name)
    assert match is not None
    return int(match[1])
