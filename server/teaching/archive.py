"""Pictures out of a ZIP, one at a time. Nothing is ever written under a name that stands in it."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from detector.images import SUFFIXES

MOST_DIRECTORY = 1_000_000
"""Bytes that the list of entries may take: some thousand."""
MOST_UNPACKED = 1_000_000_000
"""Bytes of all pictures."""
MOST_RATIO = 100
"""Unpacked to packed, of one picture: uncompressed pictures of flat colour reach 20."""
_SMALL = 100_000
"""Bytes below which no ratio is looked at."""
_CHUNK = 1 << 16
_LOCAL_HEADER = 30
_TAKEN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Flags: encrypted, strongly, or with an encrypted list of entries."""
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")
UNREADABLE = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OverflowError, ValueError, OSError, zlib.error,
    struct.error,
)  # fmt: skip
"""What reading a ZIP raises where it is damaged: by its lists, its names, or what is packed in it."""
SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
"""With and without entries."""


class ArchiveError(ValueError):
    """It cannot be taken; one sentence that says why."""


@dataclass(frozen=True)
class Packed:
    """One picture of a ZIP, whole in memory. ``name``: of the file, without folders, to be told and nothing else."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Brought:
    """Pictures of an upload, each made when it is asked for. ``len``: how many there are, ``of``."""

    of: int
    each: Iterable[Packed]

    def __len__(self) -> int:
        return self.of

    def __iter__(self) -> Iterator[Packed]:
        return iter(self.each)


def is_archive(data: bytes) -> bool:
    """Whether an upload is a ZIP."""
    return data.startswith(SIGNATURES)


def pictures_in(data: bytes, *, most: int, most_each: int) -> Brought:
    """The pictures of a ZIP, in the order of its list.

    Whatever has no name of a picture is passed over: folders, notes, what systems put beside pictures. The whole list
    is judged before the first is unpacked.

    Args:
        most: pictures that are taken.
        most_each: bytes of one of them, unpacked.

    Raises:
        ArchiveError: damaged, encrypted, with links or archives in it, with entries that overlap, with too many
            pictures or too large ones; all but damage is known before anything is unpacked.
    """
    try:
        archive = opened(data, "pack the pictures alone")
    except ArchiveError:
        raise
    except UNREADABLE as error:
        raise ArchiveError(_damaged(error)) from error
    entries = _judged(archive, most, most_each)
    if not entries:
        raise ArchiveError(f"there is no picture in the ZIP: put {', '.join(SUFFIXES)} files into it")
    return Brought(len(entries), (Packed(_name(entry), _unpacked(archive, entry, most_each)) for entry in entries))


def opened(data: bytes, then: str) -> zipfile.ZipFile:
    """A ZIP, of which no more is read at once, before anything of it is known, than a list of entries may take.

    Raises:
        ArchiveError: the list is longer than :data:`MOST_DIRECTORY`; says ``then``.
        zipfile.BadZipFile: or another of :data:`UNREADABLE`.
    """
    file = _Listed(data, then)
    archive = zipfile.ZipFile(file)
    file.is_listed = True
    return archive


class _Listed(io.BytesIO):
    """What zipfile reads the list of entries from, all at once: as much as it says. What is packed is read as whoever
    unpacks it wants."""

    def __init__(self, data: bytes, then: str) -> None:
        super().__init__(data)
        self._then, self.is_listed = then, False

    def read(self, size: int | None = -1) -> bytes:
        rest = max(0, self.getbuffer().nbytes - self.tell())
        if not self.is_listed and (rest if size is None or size < 0 else min(size, rest)) > MOST_DIRECTORY:
            raise ArchiveError(f"the ZIP's list of entries is too long: {self._then}")
        return super().read(size)


def _judged(archive: zipfile.ZipFile, most: int, most_each: int) -> list[zipfile.ZipInfo]:
    entries = archive.infolist()
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if entry.flag_bits & _ENCRYPTED:
            raise ArchiveError("the ZIP is encrypted: pack the pictures without a password")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError("there is a link in the ZIP, or something else that is no file: pack the pictures alone")
        if entry.filename.lower().endswith(_ARCHIVES):
            raise ArchiveError("there is another archive in the ZIP: pack the pictures themselves")
    _check_places(archive, entries)
    pictures = [entry for entry in entries if _is_picture(entry)]
    if len(pictures) > most:
        raise ArchiveError(f"there are {len(pictures)} pictures in the ZIP, at most {most} are taken: send fewer")
    for entry in pictures:
        if entry.compress_type not in _TAKEN:
            raise ArchiveError("the ZIP is packed in a way that is not taken: pack it as ordinary ZIP (deflate)")
        if entry.file_size > most_each:
            raise ArchiveError(f"{_name(entry)} in the ZIP is over {most_each / 1e6:g} MB: make it smaller")
        if entry.file_size > max(_SMALL, MOST_RATIO * entry.compress_size):
            raise ArchiveError(
                f"{_name(entry)} in the ZIP would unpack to more than {MOST_RATIO} times its size: it is no picture"
            )
    if sum(entry.file_size for entry in pictures) > MOST_UNPACKED:
        raise ArchiveError(f"the pictures in the ZIP are over {MOST_UNPACKED // 1_000_000} MB unpacked: send fewer")
    return pictures


def _check_places(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """No two entries share bytes: a few could be unpacked thousands of times otherwise."""
    places = sorted((entry.header_offset, entry.compress_size) for entry in entries)
    ends = [start + _LOCAL_HEADER + size for start, size in places]
    starts = [*(start for start, _ in places[1:]), archive.start_dir]
    if any(end > start for end, start in zip(ends, starts, strict=False)) or (places and places[0][0] < 0):
        raise ArchiveError("entries of the ZIP overlap: it is damaged, or made to do harm")


def _is_picture(entry: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(entry.filename)
    return not entry.filename.endswith("/") and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    data = bytearray()
    try:
        with archive.open(entry) as file:
            while chunk := file.read(_CHUNK):
                data += chunk
                if len(data) > most:
                    raise ArchiveError(f"{_name(entry)} in the ZIP is larger than its list says: it is damaged")
    except ArchiveError:
        raise
    except UNREADABLE as error:
        raise ArchiveError(_damaged(error)) from error
    return bytes(data)


def _name(entry: zipfile.ZipInfo) -> str:
    return PurePosixPath(entry.filename.replace("\\", "/")).name


def _damaged(error: Exception) -> str:
    words = "".join(sign for sign in str(error) if sign.isprintable())[:80]
    return f"the ZIP is incomplete or damaged ({words or type(error).__name__}): pack and send it again"
