"""What of a data directory belongs into a backup, under which names, and what a backup says of itself."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from detector import VERSION
from detector.folder_lock import FILE as LOCK
from server.ground import RESTORING, checksum

MANIFEST = "manifest.json"
FORMAT = 1

MOST_FILES = 2_000_000
LARGEST_MANIFEST = 500_000_000
"""Bytes; a file's entry is about 150."""
LARGEST_ENTRY = 5_000
"""Bytes of one at the most, its name all of signs that take four: a manifest of more says more than there is."""
LONGEST_NAME, LONGEST_PATH, DEEPEST = 200, 800, 12

PICTURES = ("archive", "out")
"""Folders of pictures, which are many: only in a backup that is asked for them."""
_NOT_IN_IT = re.compile(r"teaching|before-[a-z]+-.*|\..*\.tmp|.*\.damaged-[0-9]+(-wal|-shm)?|.*\.before-[0-9TZ]+")
"""Of the top: what a teaching needs while it goes on, what was kept aside, what was never finished."""
_OF_A_DISK = re.compile(r"lost\+found|\.snapshots?|\.Trash.*|\$RECYCLE\.BIN|System Volume Information")
"""What file systems and desktops keep at the root of a disk; often root's alone."""
_SQLITE = b"SQLite format 3\0"


class BackupError(Exception):
    """A backup that cannot be made or put back; one sentence that says why, and what to do."""


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup. ``name``: below the data directory, with slashes; ``mode``: its rights; ``size``: bytes."""

    name: str
    size: int
    sha256: str
    mode: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup says of itself. ``software``: the version that made it; ``made``: when, ISO 8601; ``pictures``:
    whether archived pictures are in it; ``sha256``: of ``files``."""

    format: int
    software: str
    made: str
    pictures: bool
    sha256: str
    files: tuple[Kept, ...]


class _Format(msgspec.Struct):
    format: int
    software: str = ""


def read_manifest(data: bytes) -> Manifest:
    """The manifest of a backup, checked.

    Raises:
        BackupError: it is damaged, or of newer software.
    """
    try:
        first = msgspec.json.decode(data, type=_Format)
        if first.format > FORMAT or _numbers(first.software) > _numbers(VERSION):
            raise BackupError(
                f"it was made by a newer DefectVision ({first.software[:40]}; this is {VERSION}): install that one, "
                "then restore"
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BackupError(f"it is no backup of DefectVision, or damaged: its {MANIFEST} cannot be read") from error
    if manifest.sha256 != checksum(manifest.files):
        raise BackupError(f"it is damaged: the checksum in its {MANIFEST} is not that of its list of files")
    if len(manifest.files) > MOST_FILES:
        raise BackupError(f"it holds more than {MOST_FILES:,} files: it is no backup of DefectVision")
    seen: set[str] = set()
    for kept in manifest.files:
        if not is_name(kept.name) or kept.size < 0 or not 0 <= kept.mode <= 0o777:
            raise BackupError("it names a file that no data directory has: it is no backup of DefectVision")
        if kept.name in seen:
            raise BackupError("it names a file twice: it is no backup of DefectVision")
        seen.add(kept.name)
    folders = {"/".join(parts[:end]) for name in seen for parts in [name.split("/")] for end in range(1, len(parts))}
    if folders & seen:
        raise BackupError("it names a file and a folder alike: it is no backup of DefectVision")
    return manifest


def _numbers(text: str) -> tuple[int, ...]:
    """``1.2.0rc1`` as (1, 2, 0)."""
    found = re.match(r"[0-9]{1,6}(\.[0-9]{1,6}){0,4}", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def is_name(name: str) -> bool:
    """Whether a file of a backup may be called so: below the data directory, and one that belongs there."""
    parts = name.split("/")
    return (
        len(name) <= LONGEST_PATH
        and len(parts) <= DEEPEST
        and belongs(parts[0], pictures=True)
        and all(
            part not in ("", ".", "..")
            and len(part.encode(errors="surrogateescape")) <= LONGEST_NAME
            and part.isprintable()
            and not set(part) & set('\\:*?"<>|')
            for part in parts
        )
    )


def belongs(top: str, *, pictures: bool) -> bool:
    """Whether what lies under this name at the top of a data directory belongs into a backup."""
    return top not in (LOCK, RESTORING) and not _NOT_IN_IT.fullmatch(top) and (pictures or top not in PICTURES)


def is_of_a_disk(name: str) -> bool:
    """Whether a file or folder of this name is none of ours: it is neither read nor moved."""
    return _OF_A_DISK.fullmatch(name) is not None


def tops_of(data: Path, *, pictures: bool) -> list[str]:
    """Names at the top of a data directory that belong into a backup, in order.

    Raises:
        OSError: it cannot be read.
    """
    names = sorted(entry.name for entry in data.iterdir())
    return [name for name in names if belongs(name, pictures=pictures) and not is_of_a_disk(name)]


def files_of(data: Path, *, pictures: bool) -> Iterator[tuple[str, Path]]:
    """The files of a data directory by their names in a backup; small ones of the top first, databases last.

    A link below the top leads out of it, and is not followed.

    Raises:
        BackupError: a link at the top leads nowhere: what it stands for would be missing.
        OSError: it cannot be read.
    """
    tops = tops_of(data, pictures=pictures)
    for path in (data / name for name in tops):
        if path.is_symlink() and not path.exists():
            raise BackupError(f"{path} is a link that leads nowhere: mount what it leads to, or remove it")
    files = [name for name in tops if (data / name).is_file()]
    databases = [name for name in files if is_database(data / name)]
    beside = {f"{name}{ending}" for name in databases for ending in ("-wal", "-shm", "-journal")}
    yield from ((name, data / name) for name in files if name not in databases and name not in beside)
    for name in tops:
        if (data / name).is_dir():
            yield from _below(data / name, name)
    yield from ((name, data / name) for name in databases)


def _below(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return  # it went meanwhile
    for entry in entries:
        if (entry.name.startswith(".") and entry.name.endswith(".tmp")) or is_of_a_disk(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path), f"{name}/{entry.name}")
        elif entry.is_file(follow_symlinks=False):
            yield f"{name}/{entry.name}", Path(entry.path)


def is_database(path: Path) -> bool:
    """Whether a file is one of SQLite's, which is copied by SQLite alone."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False
