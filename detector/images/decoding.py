"""The only way from bytes to pixels, for frames, uploads, folders and cameras alike."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import ImageError
from detector.files import read_whole
from detector.images.jpeg import decode_jpeg, walk
from detector.images.orientation import orientation
from detector.images.pixels import MAX_PIXELS, BGRImage
from detector.images.wall import decode_behind_wall

FORMATS = ("JPEG", "PNG", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")
FILE_FORMATS = (*FORMATS, "BMP", "TIFF")
_SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]"),
}


def is_jpeg(data: bytes | memoryview) -> bool:
    """Whether bytes begin as a JPEG does."""
    return _SIGNATURES["JPEG"].match(data) is not None


def decode(data: bytes | memoryview, *, formats: tuple[str, ...] = FORMATS, max_pixels: int = MAX_PIXELS) -> BGRImage:
    """Decode a picture, turned upright as its EXIF orientation says.

    Grey becomes three equal channels. 16 bits become 8 by v / 257, rounded: the same for every picture, so a dark
    one stays dark. Alpha is left out and the colours stay as they are stored: cameras write none, programs mostly an
    opaque one, and a background mixed in would be one that nobody photographed. CMYK JPEGs are taken as Adobe
    writes them (inverted), which is how browsers take them too.

    JPEG is decoded here, all else in another process: whatever the bytes are, this one goes on.

    Args:
        data: a complete JPEG, PNG or WebP file.
        formats: of :data:`FILE_FORMATS`, those taken.
        max_pixels: at most :data:`MAX_PIXELS`; they bound the memory and the time it may take.

    Returns:
        H×W×3 uint8, BGR.

    Raises:
        ImageError: not a picture of these formats; damaged, by the word of what decodes it; animated; with values that
            are neither 8 nor 16 bits, or all nearly black in 16; or with sides below 16 or above 16384 or too many
            pixels (found in the header, before anything is decoded).
    """
    return np.asarray(_decode(data, formats, max_pixels, values=False), np.uint8)


def decode_values(data: bytes | memoryview, *, formats: tuple[str, ...] = FORMATS) -> NDArray[Any]:
    """The same as :func:`decode`, but with the values as they are stored: H×W×3 BGR of any type, or H×W×4 with the
    alpha channel of a PNG or WebP."""
    return _decode(data, formats, MAX_PIXELS, values=True)


def read(path: Path) -> BGRImage:
    """Read a picture file (JPEG, PNG, WebP, BMP or TIFF) as H×W×3 uint8, BGR; see :func:`decode`.

    Raises:
        ImageError: naming the file and what is wrong with it.
    """
    return np.asarray(_read(path, values=False), np.uint8)


def read_values(path: Path) -> NDArray[Any]:
    """The same as :func:`read`, but with the values as they are stored; see :func:`decode_values`."""
    return _read(path, values=True)


def stored_orientation(path: Path) -> int:
    """The EXIF orientation of a file, 1 to 8, by which :func:`read` turned it upright; 1 where it tells none.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        data = read_whole(path)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        turned = walk(data).orientation if _SIGNATURES["JPEG"].match(data) else orientation(_exif(data))
    except ValueError:
        return 1
    return turned if 1 <= turned <= 8 else 1


def _exif(data: bytes) -> bytes:
    """The TIFF header and directory that a PNG or WebP carries, or a TIFF is; nothing if there is none."""
    if _SIGNATURES["TIFF"].match(data):
        return data
    png = bool(_SIGNATURES["PNG"].match(data))
    if not png and not _SIGNATURES["WEBP"].match(data):
        return b""
    position = 8 if png else 12
    while position + 8 <= len(data):
        words = data[position : position + 4], data[position + 4 : position + 8]
        kind, length = (words[1], int.from_bytes(words[0])) if png else (words[0], int.from_bytes(words[1], "little"))
        if kind in (b"eXIf", b"EXIF"):
            return data[position + 8 : position + 8 + length].removeprefix(b"Exif\0\0")
        position += 8 + length + (4 if png else length % 2)
    return b""


def _read(path: Path, *, values: bool) -> NDArray[Any]:
    try:
        return _decode(read_whole(path), FILE_FORMATS, MAX_PIXELS, values=values)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from error  # nothing is wrong with the file
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _decode(data: bytes | memoryview, formats: tuple[str, ...], max_pixels: int, *, values: bool) -> NDArray[Any]:
    data = bytes(data)
    if not data:
        raise ImageError("the picture is empty: 0 bytes")
    name = next((name for name in formats if _SIGNATURES[name].match(data)), None)
    if name is None:
        raise ImageError(f"not a {' or '.join((', '.join(formats[:-1]), formats[-1]))} picture")
    if name == "JPEG":
        return decode_jpeg(data, max_pixels)
    return decode_behind_wall(name, data, max_pixels, values=values)
