"""A backup put back: checked whole before anything is touched, and what was there is kept aside."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from detector.files import give_to_owner, sync_folder, temporary_folder, write_atomically
from server.backup.aside import made_aside
from server.backup.contents import (
    LARGEST_ENTRY,
    LARGEST_MANIFEST,
    MANIFEST,
    MOST_FILES,
    BackupError,
    Kept,
    Manifest,
    is_database,
    read_manifest,
    tops_of,
)
from server.ground import RESTORING, DataDirectoryError, data_directory

PIECE = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What zipfile raises of bytes that are none of its own."""
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How files of a backup are packed. Others fail in ways of their own, and may ask for gigabytes to be unpacked."""
ROOM = 50_000_000
"""Bytes that stay free on the disk."""


@dataclass(frozen=True)
class Restored:
    """What was done. ``aside``: where what was there before lies now; nothing where there was nothing."""

    files: int
    made: str
    software: str
    aside: Path | None


def restore(source: Path, data: Path) -> Restored:
    """Put a backup in the place of what a data directory holds; no server may be using it.

    Everything is unpacked beside, and each file compared with its checksum, before the first one is moved. Pictures
    that are not in the backup stay.

    Raises:
        BackupError: it is damaged, newer, no backup, or cannot be put back; nothing was changed then.
    """
    try:
        with data_directory(data, "where a backup is put back", to_restore=True) as lock:
            if lock is None:
                raise BackupError(f"{data} cannot be written: nothing can be restored there")
            with zipfile.ZipFile(source) as archive:
                manifest = _checked(archive)
                _require_room(manifest, data)
                _require_movable(data, tops_of(data, pictures=manifest.pictures))
                with temporary_folder(data / "restore") as unpacked:
                    for kept in manifest.files:
                        _unpack(archive, kept, unpacked)
                    _check_databases(manifest, unpacked)
                    give_to_owner(data, *unpacked.rglob("*"))
                    aside = _exchange(unpacked, data, pictures=manifest.pictures)
    except DataDirectoryError as error:
        raise BackupError(f"{error} (systemctl stop defectvision)") from error
    except FileNotFoundError as error:
        raise BackupError(f"{error.filename or source} is not there: give the path of a backup") from error
    except _DAMAGED as error:
        raise BackupError(f"{source} is no backup of DefectVision, or damaged ({error})") from error
    except OSError as error:
        raise BackupError(f"{error.filename or source}: {error.strerror or error}") from error
    return Restored(len(manifest.files), manifest.made, manifest.software, aside)


def _checked(archive: zipfile.ZipFile) -> Manifest:
    """The manifest, once the archive holds exactly what it says, as plain files."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES + 1:
        raise BackupError(f"it holds more than {MOST_FILES:,} files: it is no backup of DefectVision")
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if (
            entry.filename in found
            or entry.is_dir()
            or kind not in (0, stat.S_IFREG)
            or entry.flag_bits & 1
            or entry.compress_type not in _PACKED
        ):
            raise BackupError("it holds something that is no plain file: it is no backup of DefectVision")
        found[entry.filename] = entry
    about = found.pop(MANIFEST, None)
    if about is None or about.file_size > min(LARGEST_MANIFEST, LARGEST_ENTRY * (len(entries) + 100)):
        raise BackupError(f"it is no backup of DefectVision, or cut off: it has no {MANIFEST}")
    with archive.open(about) as file:
        manifest = read_manifest(file.read(about.file_size + 1))
    if {kept.name: kept.size for kept in manifest.files} != {name: one.file_size for name, one in found.items()}:
        raise BackupError(f"it is damaged: it does not hold the files that its {MANIFEST} lists")
    return manifest


def _require_room(manifest: Manifest, data: Path) -> None:
    needed = sum(kept.size for kept in manifest.files)
    if (free := shutil.disk_usage(data).free) < needed + ROOM:
        raise BackupError(
            f"there is no room in {data.absolute()}: it takes {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free"
        )


def _unpack(archive: zipfile.ZipFile, kept: Kept, folder: Path) -> None:
    path = folder / kept.name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as there, archive.open(kept.name) as packed:
        while piece := packed.read(PIECE):
            size += len(piece)
            if size > kept.size:
                break
            digest.update(piece)
            there.write(piece)
        there.flush()
        os.fsync(there.fileno())
    if size != kept.size or digest.hexdigest() != kept.sha256:
        raise BackupError(f"it is damaged: {kept.name} is not what its {MANIFEST} says; take another backup")
    path.chmod(0o600 | kept.mode & 0o044)


def _check_databases(manifest: Manifest, folder: Path) -> None:
    for kept in manifest.files:
        path = folder / kept.name
        if "/" in kept.name or not is_database(path):
            continue
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as database:
            try:
                whole = database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            except sqlite3.Error:
                whole = False
        if not whole:
            raise BackupError(
                f"the database {kept.name} in it was damaged already when it was made: take another backup"
            )


def _exchange(unpacked: Path, data: Path, *, pictures: bool) -> Path | None:
    """Move what is there aside, and what was unpacked in its place: renames alone, which are taken back if one fails,
    and a mark while they go on, without which a crash in the middle would leave a server that knows half of everything.
    """
    before = tops_of(data, pictures=pictures)
    mark = data / RESTORING
    was_cut_off = mark.exists()  # and is half of one already
    aside: Path | None = None
    moved: list[tuple[Path, Path]] = []
    try:
        write_atomically(mark, b"a backup is being put back\n")
        if before:
            aside = made_aside(data, "restore")
            for name in before:
                _move(data / name, aside / name, moved)
        for entry in sorted(unpacked.iterdir()):
            _move(entry, data / entry.name, moved)
    except OSError as error:
        for now, then in reversed(moved):
            then.rename(now)
        if not was_cut_off:
            mark.unlink(missing_ok=True)
        if aside is not None:
            with contextlib.suppress(OSError):
                aside.rmdir()
        sync_folder(data)
        if error.errno == errno.EBUSY and error.filename is not None:  # a folder of the same disk that is mounted there
            raise BackupError(_mounted(error.filename)) from error
        raise
    for folder in (unpacked, data, *([aside] if aside else [])):
        sync_folder(folder)
    mark.unlink()
    sync_folder(data)
    return aside


def _move(path: Path, to: Path, moved: list[tuple[Path, Path]]) -> None:
    path.rename(to)
    moved.append((path, to))


def _require_movable(data: Path, names: list[str]) -> None:
    for name in names:
        if (data / name).is_mount():
            raise BackupError(_mounted(data / name))


def _mounted(path: Path | str) -> str:
    return (
        f"{path} is a mount point, which cannot be moved aside: unmount it, or put the backup into another --data-dir"
    )
