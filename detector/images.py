"""Pictures in: bytes to BGR uint8 arrays, refusing what is broken before it costs anything."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import imagesize
import numpy as np
from numpy.typing import NDArray

from detector.errors import ImageError

# What OpenCV would print of a client's broken pictures must not flood the operator's log: an ImageError says it all.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

FORMATS = ("JPEG", "PNG", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FILE_FORMATS = (*FORMATS, "BMP", "TIFF")
_SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II\x2a\x00|MM\x00\x2a"),
}
MAX_SIDE = 16_384
MAX_PIXELS = 64_000_000
MIN_SIDE = 16

# TIFF 6.0, section 18: the tag that says what a fourth channel is, and two of its values.
_EXTRA_SAMPLES, _PREMULTIPLIED_ALPHA, _ALPHA = 338, 1, 2

BGRImage = NDArray[np.uint8]
"""A picture: H×W×3, uint8, blue-green-red."""


def decode(data: bytes | memoryview, *, formats: tuple[str, ...] = FORMATS) -> BGRImage:
    """Decode a picture, turned upright as its EXIF orientation says.

    Grey becomes three equal channels. 16 bits become 8 by v / 257, rounded: the same for every picture, so a dark
    one stays dark. Alpha is left out and the colours stay as they are stored: cameras write none, programs mostly an
    opaque one, and a background mixed in would be one that nobody photographed. CMYK JPEGs are taken as Adobe
    writes them (inverted), which is how browsers take them too.

    Args:
        data: a complete JPEG, PNG or WebP file.
        formats: of :data:`FILE_FORMATS`, those taken.

    Returns:
        H×W×3 uint8, BGR.

    Raises:
        ImageError: not a picture of these formats, incomplete, with values that are neither 8 nor 16 bits, or with
            sides below 16 or above 16384 or more than 64 megapixels (found in the header, before anything is decoded).
    """
    values = decode_values(data, formats=formats)
    if values.dtype == np.uint16:
        return np.asarray(cv2.convertScaleAbs(values, alpha=1 / 257), np.uint8)
    if values.dtype != np.uint8:
        raise ImageError(
            f"the picture holds {values.dtype} values, which do not say where white is: save it with 8 or 16 bits a "
            "channel"
        )
    return np.asarray(values, np.uint8)


def decode_values(data: bytes | memoryview, *, formats: tuple[str, ...] = FORMATS) -> NDArray[Any]:
    """The same as :func:`decode`, but with the values as they are stored: H×W×3 BGR of any type."""
    data = bytes(data)
    if not data:
        raise ImageError("the picture is empty: 0 bytes")
    name, (width, height) = _header(data, formats)
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageError(
            f"the picture says it is {width}×{height} pixels; sides of {MIN_SIDE} to {MAX_SIDE} "
            f"and at most {MAX_PIXELS // 1_000_000} megapixels are taken"
        )
    if not _is_complete(data, name):
        raise ImageError(f"the {name} picture is incomplete or damaged: send the whole file")
    if name == "TIFF":
        data = _with_alpha_called_premultiplied(data)
    try:
        # Any depth, because asked for 8 bits OpenCV cuts the lower byte of some 16-bit formats off and rounds others.
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise ImageError(f"the {name} picture cannot be decoded: {error.err}") from error
    if values is None:
        hint = ", or not of 8 or 16 bits a channel" if name == "TIFF" else ""
        raise ImageError(f"the {name} picture is damaged{hint} and cannot be decoded")
    return values


def read(path: Path) -> BGRImage:
    """Read a picture file (JPEG, PNG, WebP, BMP or TIFF) as H×W×3 uint8, BGR; see :func:`decode`.

    Raises:
        ImageError: naming the file and what is wrong with it.
    """
    return _read(path, decode)


def read_values(path: Path) -> NDArray[Any]:
    """The same as :func:`read`, but with the values as they are stored: H×W×3 BGR of any type."""
    return _read(path, decode_values)


def _read(path: Path, decoder: Callable[..., NDArray[Any]]) -> NDArray[Any]:
    try:
        return decoder(path.read_bytes(), formats=FILE_FORMATS)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def encode_jpeg(image: BGRImage, *, quality: int = 80, longest_side: int | None = None) -> tuple[bytes, int, int]:
    """JPEG file of a picture, made smaller first if it is larger than ``longest_side``.

    Returns:
        the file, its width and its height in pixels.
    """
    height, width = image.shape[:2]
    if longest_side is not None and max(height, width) > longest_side:
        scale = longest_side / max(height, width)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes(), width, height


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """PNG file of a grey (H×W) or BGR (H×W×3) picture."""
    _, data = cv2.imencode(".png", image)
    return data.tobytes()


def _header(data: bytes, formats: tuple[str, ...]) -> tuple[str, tuple[int, int]]:
    name = next((name for name in formats if _SIGNATURES[name].match(data)), None)
    if name is None:
        raise ImageError(f"not a {' or '.join((', '.join(formats[:-1]), formats[-1]))} picture")
    try:
        width, height = imagesize.get(io.BytesIO(data))
    except Exception as error:  # a hostile header can make a parser fail in any way there is
        raise ImageError(f"the {name} picture's header is damaged") from error
    if width < 0 or height < 0:
        raise ImageError(f"the {name} picture's header is damaged")
    return name, (int(width), int(height))


def _with_alpha_called_premultiplied(tiff: bytes) -> bytes:
    """OpenCV multiplies the colours of an 8-bit TIFF by its alpha, unlike those of any other format, unless the file
    says that this is done."""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    directory = int.from_bytes(tiff[4:8], order)
    entries = int.from_bytes(tiff[directory : directory + 2], order)
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        if int.from_bytes(tiff[entry : entry + 2], order) == _EXTRA_SAMPLES:
            if int.from_bytes(tiff[entry + 8 : entry + 10], order) == _ALPHA:
                return tiff[: entry + 8] + _PREMULTIPLIED_ALPHA.to_bytes(2, order) + tiff[entry + 10 :]
            break
    return tiff


def _is_complete(data: bytes, name: str) -> bool:
    """Whether the file runs to its end mark. OpenCV fills what is missing with grey and says nothing,
    and a half-grey frame would be a false reject, or spoil a calibration."""
    if name == "JPEG":
        scan = _start_of_scan(data)
        # Entropy-coded data never holds FF D9 (FF is always stuffed), so behind the scan's start it is the end.
        return scan >= 0 and data.find(b"\xff\xd9", scan) >= 0
    if name == "PNG":
        return _has_every_chunk(data)
    if name == "WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return True


def _has_every_chunk(data: bytes) -> bool:
    position, view = 8, memoryview(data)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return False
        if data[position + 4 : position + 8] == b"IEND":
            return True
        position = end
    return False


def _start_of_scan(data: bytes) -> int:
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker == 0xDA:
            return position
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return -1
