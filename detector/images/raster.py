"""PNG, WebP and BMP: looked over, then decoded by OpenCV. Meant for a process that may die of it."""

from __future__ import annotations

import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import ImageError
from detector.images.pixels import TakeSize

MAX_CHUNKS = 100_000
"""Programs write 8 kB of pixels in a chunk."""

_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"})
"""The chunks of a PNG that pixels and their orientation come from. All others stay outside of the decoder."""

_ANIMATED_PNG = frozenset({b"acTL", b"fcTL", b"fdAT"})
_ANIMATED_WEBP = frozenset({b"ANIM", b"ANMF"})
_UNCOMPRESSED, _BIT_FIELDS = 0, 3


def read_png(data: bytes, take: TakeSize, *, alpha: bool = False) -> NDArray[Any]:
    """The values of a PNG, H×W×3 BGR, uint8 or uint16; H×W×4 if alpha is asked for and there is one."""
    kept, (width, height) = _chunks(data)
    take(width, height)
    return _decoded("PNG", kept, (width, height), alpha)


def read_webp(data: bytes, take: TakeSize, *, alpha: bool = False) -> NDArray[Any]:
    """The values of a WebP, H×W×3 BGR uint8; H×W×4 if alpha is asked for and there is one."""
    sizes = _webp_sizes(data)
    for size in sizes:
        take(*size)
    return _decoded("WebP", data, sizes[-1], alpha)


def read_bmp(data: bytes, take: TakeSize) -> NDArray[Any]:
    """The values of an uncompressed BMP, H×W×3 BGR uint8."""
    if len(data) < 54 or (header := int.from_bytes(data[14:18], "little")) < 40:
        raise ImageError("the BMP picture's header is damaged, or older than Windows: save it as PNG")
    width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
    take(width, abs(height))  # a negative height is that of a picture stored from the top
    bits, compression = int.from_bytes(data[28:30], "little"), int.from_bytes(data[30:34], "little")
    if compression not in (_UNCOMPRESSED, _BIT_FIELDS):
        raise ImageError("the BMP picture is compressed: save it as PNG")
    pixels = int.from_bytes(data[10:14], "little")
    if pixels < 14 + header or len(data) < pixels + (width * bits + 31) // 32 * 4 * abs(height):
        raise ImageError("the BMP picture is incomplete or damaged: send the whole file")
    return _decoded("BMP", data, (width, abs(height)))


def opencv(data: bytes) -> NDArray[Any] | None:
    """What OpenCV makes of a file: H×W×3 BGR of the depth that is stored, upright; None when it can make nothing."""
    try:
        # Any depth, because asked for 8 bits OpenCV cuts the lower byte of some 16-bit formats off and rounds others.
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        return None
    return values if values is None or values.ndim == 3 else None


def _decoded(name: str, data: bytes, size: tuple[int, int], alpha: bool = False) -> NDArray[Any]:
    values = _with_alpha(data) if alpha else None
    values = opencv(data) if values is None else values
    if values is None or sorted(values.shape[:2]) != sorted(size):
        raise ImageError(f"the {name} picture is damaged and cannot be decoded")
    return values


def _with_alpha(data: bytes) -> NDArray[Any] | None:
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    return values if values is not None and values.ndim == 3 and values.shape[2] == 4 else None


def _chunks(data: bytes) -> tuple[bytes, tuple[int, int]]:
    """A PNG with nothing but what pixels come from, and its width and height."""
    kept, position, view = [data[:8]], 8, memoryview(data)
    for _ in range(MAX_CHUNKS):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind, sum_ = data[position + 4 : position + 8], data[end - 4 : end]
        if end > len(data) or zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(sum_, "big"):
            break
        if (kind == b"IHDR") != (position == 8) or (kind == b"IHDR" and end - position != 25):
            break
        if kind in _ANIMATED_PNG:
            raise ImageError("the PNG picture is animated: send a still one")
        if kind in _KEPT:
            kept.append(data[position:end])
        if kind == b"IEND":
            return b"".join(kept), (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
        position = end
    raise ImageError("the PNG picture is incomplete or damaged: send the whole file")


def _webp_sizes(data: bytes) -> list[tuple[int, int]]:
    """Of the canvas, if there is one, and of the picture, from where libwebp reads them; the file is all there."""
    position, sizes = 12, []
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    for _ in range(MAX_CHUNKS):
        kind, start = data[position : position + 4], position + 8
        length = int.from_bytes(data[position + 4 : start], "little")
        chunk, position = data[start : start + min(length, 10)], start + length + length % 2
        if start + length > end:
            break
        if kind in _ANIMATED_WEBP:
            raise ImageError("the WebP picture is animated: send a still one")
        if kind == b"VP8X" and start == 20:
            sizes.append((int.from_bytes(chunk[4:7], "little") + 1, int.from_bytes(chunk[7:10], "little") + 1))
        if kind in (b"VP8 ", b"VP8L"):
            return [*sizes, _lossy_size(chunk) if kind == b"VP8 " else _lossless_size(chunk)]
    raise ImageError("the WebP picture is incomplete or damaged: send the whole file")


def _lossy_size(frame: bytes) -> tuple[int, int]:
    return int.from_bytes(frame[6:8], "little") & 0x3FFF, int.from_bytes(frame[8:10], "little") & 0x3FFF


def _lossless_size(frame: bytes) -> tuple[int, int]:
    bits = int.from_bytes(frame[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
