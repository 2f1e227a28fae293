"""A backup of a data directory, also while a server works in it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

from detector import VERSION
from detector.files import remove_leftovers, sync_folder, temporary_beside, temporary_folder
from server.backup.contents import (
    FORMAT,
    MANIFEST,
    BackupError,
    Kept,
    Manifest,
    files_of,
    is_database,
    is_name,
)
from server.ground import checksum

TRIES = 5
"""Recipes that are changed while they are copied are copied again."""
PIECE = 1 << 20
PATIENCE_S = 30.0
"""For a database that somebody has locked."""
ROOM = 200_000_000
"""Bytes of the data directory's disk that stay free while a backup lies there to be fetched."""
UNFINISHED = "defectvision-backup"
ABANDONED_S = 12 * 3600.0
"""No backup takes as long; what was left that long ago by one that was killed goes before the next into its folder."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class GivenUp(BackupError):
    """Nobody waits for it any more."""


@dataclass(frozen=True)
class Made:
    """A backup. ``size``: its own bytes; ``left_out``: names of files that it cannot hold, for the operator."""

    path: Path
    files: int
    size: int
    left_out: tuple[str, ...]


def back_up(data: Path, target: Path, *, pictures: bool = False) -> Made:
    """Copy a data directory into one file, which only this user may read: it holds keys and passwords.

    What was accepted before is in it, and nothing that was half done: small files are written whole by whoever writes
    them, databases are copied by SQLite, and models never change under their names.

    Args:
        target: not there yet; ``pictures``: whether archived pictures, and those handed to other machines, are in it.

    Raises:
        BackupError: it cannot be made.
    """
    if target.exists():
        raise BackupError(f"{target} is there already: give another name, or remove it")
    if not target.parent.is_dir():
        raise BackupError(f"there is no folder {target.absolute().parent}: make it, or give another place")
    _require(data)
    if data.resolve() in target.resolve().parents:
        raise BackupError(f"{target} lies in the data directory itself: give a place outside of it")
    remove_leftovers(target.parent, of=UNFINISHED, older_than_s=ABANDONED_S)
    with _in_words(target):
        return _made(data, target, pictures, lambda: True)


@contextlib.contextmanager
def to_be_fetched(data: Path, go_on: Callable[[], bool]) -> Iterator[Path]:
    """A folder of the data directory with a backup in it, ``backup.zip``, without pictures; gone afterwards. A crash
    leaves what the next start removes.

    Args:
        go_on: asked again and again while it is made.

    Raises:
        BackupError: it cannot be made: there is no room, too.
        GivenUp: it need not be made any more.
    """
    _require(data)
    with contextlib.ExitStack() as held:
        with _in_words(data):
            _require_room(data)
            folder = held.enter_context(temporary_folder(data / "backup"))
            _made(data, folder / "backup.zip", False, go_on)
        yield folder


def _require(data: Path) -> None:
    if not data.is_dir():
        raise BackupError(f"{data.absolute()} is no data directory: set DATA_DIR, or start the command where it lies")


def _require_room(data: Path) -> None:
    """The copy of a database stands beside the backup that it goes into, for a while."""
    sizes, databases = 0, 0
    for _, path in _all_of(data, pictures=False):
        with contextlib.suppress(FileNotFoundError), _reading(path):
            size = path.stat().st_size
            sizes += size
            databases = max(databases, size if is_database(path) else 0)
    free, needed = shutil.disk_usage(data).free, sizes + databases
    if free < needed + ROOM:
        raise BackupError(
            f"there is no room for a backup on the disk of {data.absolute()}: it may take {needed / 1e6:,.0f} MB, "
            f"{free / 1e6:,.0f} MB are free. `defectvision backup FILE` writes it to another disk"
        )


@contextlib.contextmanager
def _in_words(place: Path) -> Iterator[None]:
    """What databases and disks raise, as one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise BackupError(
            f"a database cannot be copied ({error}): is it whole? `defectvision doctor` says more"
        ) from error
    except OSError as error:
        then = "make room, or give another place" if error.errno in _FULL else "give another place"
        raise BackupError(f"{error.filename or place}: {error.strerror or error}: {then}") from error


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What is wrong with a file of the data directory, as one sentence; that it went, as FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _FULL:  # of the backup's disk
            raise
        what = f"{path} cannot be read ({error.strerror or error})"
        if path.is_symlink():
            what += ", it is a link"
        is_closed = error.errno in (errno.EACCES, errno.EPERM)
        then = "give it to the server's user, or run this as that" if is_closed else "mend its disk, or move it away"
        raise BackupError(f"{what}: {then}") from error


def _made(data: Path, target: Path, pictures: bool, go_on: Callable[[], bool]) -> Made:
    temporary = temporary_beside(target.parent / UNFINISHED)
    try:
        for _ in range(TRIES):
            made = _try(data, temporary, target, pictures, go_on)
            if made is not None:
                return made
    finally:
        temporary.unlink(missing_ok=True)
    raise BackupError("the data directory changed all the while: try again when nobody teaches or changes recipes")


def _try(data: Path, temporary: Path, target: Path, pictures: bool, go_on: Callable[[], bool]) -> Made | None:
    """One attempt; None where something changed in the middle of it."""
    kept: list[Kept] = []
    left_out: list[str] = []
    changing: dict[Path, tuple[int, int]] = {}
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "w+b") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True, compresslevel=1) as archive:
            for name, path in _all_of(data, pictures=pictures):
                _require_wanted(go_on)
                if not is_name(name):
                    left_out.append(name)
                    continue
                if is_database(path):
                    kept.append(_add_database(archive, name, path, target.parent, go_on))
                    continue
                try:
                    if "/" not in name:
                        changing[path] = _stamp(path)
                    kept.append(_add(archive, name, path, go_on))
                except FileNotFoundError:
                    if name.startswith("models/"):
                        return None  # recipes that were copied before may name it
            made = datetime.now(UTC).isoformat(timespec="seconds")
            manifest = Manifest(FORMAT, VERSION, made, pictures, checksum(tuple(kept)), tuple(kept))
            archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        file.flush()
        os.fsync(file.fileno())
        size = file.seek(0, os.SEEK_END)
    for path, stamp in changing.items():
        with contextlib.suppress(FileNotFoundError):
            if _stamp(path) != stamp:
                return None
    temporary.rename(target)
    sync_folder(target.parent)
    return Made(target, len(kept), size, tuple(left_out))


def _all_of(data: Path, *, pictures: bool) -> Iterator[tuple[str, Path]]:
    files = files_of(data, pictures=pictures)
    while True:
        try:
            found = next(files, None)
        except OSError as error:
            with _reading(Path(error.filename or data)):
                raise
        if found is None:
            return
        yield found


def _require_wanted(go_on: Callable[[], bool]) -> None:
    if not go_on():
        raise GivenUp("it was given up")


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _add(archive: zipfile.ZipFile, name: str, path: Path, go_on: Callable[[], bool]) -> Kept:
    def read(most: int) -> bytes:
        with _reading(path):
            return source.read(most)

    with contextlib.ExitStack() as stack:
        with _reading(path):
            source = stack.enter_context(path.open("rb"))
            about = os.fstat(source.fileno())
            # Somebody may be in the middle of its last line.
            until = _end_of_lines(source) if name.endswith(".jsonl") else None
        return _write(archive, name, read, about, go_on, until)


def _add_database(archive: zipfile.ZipFile, name: str, path: Path, beside: Path, go_on: Callable[[], bool]) -> Kept:
    """As it was at one moment, whoever writes."""
    with temporary_folder(beside / UNFINISHED) as folder:
        copy = folder / "copy"
        with (
            contextlib.closing(
                sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE_S)
            ) as source,
            contextlib.closing(sqlite3.connect(copy)) as there,
        ):
            source.backup(there)  # in one step: one that is interrupted by writing begins anew
            there.execute("PRAGMA journal_mode=DELETE")
        with copy.open("rb") as file:
            return _write(archive, name, file.read, path.stat(), go_on)


def _write(
    archive: zipfile.ZipFile,
    name: str,
    read: Callable[[int], bytes],
    about: os.stat_result,
    go_on: Callable[[], bool],
    until: int | None = None,
) -> Kept:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = (
        zipfile.ZIP_STORED if name.endswith((".safetensors", ".zip", ".jpg")) else zipfile.ZIP_DEFLATED
    )
    entry.external_attr = 0o600 << 16
    digest, size = hashlib.sha256(), 0
    left = -1 if until is None else until
    with archive.open(entry, "w", force_zip64=True) as there:
        while piece := read(PIECE if left < 0 else min(PIECE, left)):
            _require_wanted(go_on)
            there.write(piece)
            digest.update(piece)
            size += len(piece)
            left -= len(piece) if until is not None else 0
    return Kept(name, size, digest.hexdigest(), about.st_mode & 0o777)


def _end_of_lines(source: IO[bytes]) -> int:
    end = source.read().rfind(b"\n") + 1
    source.seek(0)
    return end
