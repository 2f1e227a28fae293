"""From a camera's bytes to BGR: the pixel formats of GenICam (PFNC) that are understood. Arithmetic only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server.cameras.framing import Image

Bytes = NDArray[np.uint8]

BAYER = {
    "RG": cv2.COLOR_BayerRGGB2BGR,
    "GR": cv2.COLOR_BayerGRBG2BGR,
    "GB": cv2.COLOR_BayerGBRG2BGR,
    "BG": cv2.COLOR_BayerBGGR2BGR,
}
"""By the first two pixels of the first row, as GenICam names them; OpenCV's older names are those of another corner."""


@dataclass(frozen=True)
class PixelFormat:
    """One way of a camera to say a picture.

    Attributes:
        name: in GenICam.
        code: its number there; bits 16 to 23 are the bits that a pixel takes.
        planes: bytes of a pixel once each value has 8 bits.
        to_8_bits: the upper 8 bits of each value, of a flat array of bytes.
        to_bgr: of H×W or H×W×planes.
        older_name: of cameras older than the list of names.
    """

    name: str
    code: int
    planes: int
    to_8_bits: Callable[[Bytes], Bytes]
    to_bgr: Callable[[Bytes], Image]
    older_name: str | None = None

    @property
    def bits(self) -> int:
        return self.code >> 16 & 0xFF

    def size(self, width: int, height: int) -> int:
        """Bytes of a picture without padding."""
        return (width * height * self.bits + 7) // 8

    def image(self, data: bytes | bytearray | memoryview, width: int, height: int, padding: int = 0) -> Image:
        """A picture as BGR uint8 H×W×3.

        Args:
            data: what the camera sent; more than the picture is left out.
            width, height: pixels.
            padding: bytes behind each row.

        Raises:
            ValueError: it is shorter than such a picture, or its rows do not end where a byte does.
        """
        flat = np.frombuffer(data, np.uint8)
        if padding:
            if width * self.bits % 8:
                raise ValueError("rows that are padded must end where a byte does")
            row = width * self.bits // 8
            flat = flat[: height * (row + padding)]
            if flat.size < height * (row + padding) - padding:
                raise ValueError("it is shorter than a picture of its size")
            flat = np.pad(flat, (0, height * (row + padding) - flat.size))
            flat = np.ascontiguousarray(flat.reshape(height, row + padding)[:, :row]).reshape(-1)
        elif flat.size < self.size(width, height):
            raise ValueError("it is shorter than a picture of its size")
        values = self.to_8_bits(flat[: self.size(width, height)])[: width * height * self.planes]
        shape = (height, width) if self.planes == 1 else (height, width, self.planes)
        return np.ascontiguousarray(self.to_bgr(values.reshape(shape)))


def _as_they_are(flat: Bytes) -> Bytes:
    return flat


def _shifted(by: int) -> Callable[[Bytes], Bytes]:
    """Values in the lower bits of two bytes each, the lower byte first."""
    return lambda flat: (flat.view("<u2") >> by).astype(np.uint8)


def _packed(flat: Bytes) -> Bytes:
    """Two values in three bytes as GigE Vision 1 packs them: the upper bits of both in the outer ones."""
    return _groups(flat, 3)[:, ::2].reshape(-1)


def _12p(flat: Bytes) -> Bytes:
    """Two values of 12 bits in three bytes, the lowest bit first."""
    first, second, third = _groups(flat, 3).T
    values = np.empty((first.size, 2), np.uint8)
    values[:, 0], values[:, 1] = first >> 4 | second << 4, third
    return values.reshape(-1)


def _10p(flat: Bytes) -> Bytes:
    """Four values of 10 bits in five bytes, the lowest bit first."""
    a, b, c, d, e = _groups(flat, 5).T
    values = np.empty((a.size, 4), np.uint8)
    values[:, 0], values[:, 1] = a >> 2 | b << 6, b >> 4 | c << 4
    values[:, 2], values[:, 3] = c >> 6 | d << 2, e
    return values.reshape(-1)


def _groups(flat: Bytes, count: int) -> Bytes:
    missing = -flat.size % count
    return (np.pad(flat, (0, missing)) if missing else flat).reshape(-1, count)


def _by_opencv(code: int) -> Callable[[Bytes], Image]:
    return lambda values: np.asarray(cv2.cvtColor(values, code), np.uint8)


def _bgr(values: Bytes) -> Image:
    return values.copy()


_GREY = _by_opencv(cv2.COLOR_GRAY2BGR)
_BAYER = {order: _by_opencv(code) for order, code in BAYER.items()}


def _bayer(bits: str, to_8_bits: Callable[[Bytes], Bytes], **codes: int) -> list[PixelFormat]:
    return [PixelFormat(f"Bayer{order}{bits}", code, 1, to_8_bits, _BAYER[order]) for order, code in codes.items()]


FORMATS: tuple[PixelFormat, ...] = (
    *_bayer("8", _as_they_are, RG=0x01080009, GR=0x01080008, GB=0x0108000A, BG=0x0108000B),
    PixelFormat("BGR8", 0x02180015, 3, _as_they_are, _bgr, "BGR8Packed"),
    PixelFormat("RGB8", 0x02180014, 3, _as_they_are, _by_opencv(cv2.COLOR_RGB2BGR), "RGB8Packed"),
    PixelFormat("YUV422_8", 0x02100032, 2, _as_they_are, _by_opencv(cv2.COLOR_YUV2BGR_YUY2), "YUYVPacked"),
    PixelFormat("YUV422_8_UYVY", 0x0210001F, 2, _as_they_are, _by_opencv(cv2.COLOR_YUV2BGR_UYVY), "YUV422Packed"),
    PixelFormat("Mono8", 0x01080001, 1, _as_they_are, _GREY),
    *_bayer("12p", _12p, RG=0x010C0059, GR=0x010C0057, GB=0x010C0055, BG=0x010C0053),
    *_bayer("12Packed", _packed, RG=0x010C002B, GR=0x010C002A, GB=0x010C002C, BG=0x010C002D),
    *_bayer("12", _shifted(4), RG=0x01100011, GR=0x01100010, GB=0x01100012, BG=0x01100013),
    *_bayer("10p", _10p, RG=0x010A0058, GR=0x010A0056, GB=0x010A0054, BG=0x010A0052),
    *_bayer("10Packed", _packed, RG=0x010C0027, GR=0x010C0026, GB=0x010C0028, BG=0x010C0029),
    *_bayer("10", _shifted(2), RG=0x0110000D, GR=0x0110000C, GB=0x0110000E, BG=0x0110000F),
    PixelFormat("Mono12p", 0x010C0047, 1, _12p, _GREY),
    PixelFormat("Mono12Packed", 0x010C0006, 1, _packed, _GREY),
    PixelFormat("Mono12", 0x01100005, 1, _shifted(4), _GREY),
    PixelFormat("Mono10p", 0x010A0046, 1, _10p, _GREY),
    PixelFormat("Mono10Packed", 0x010C0004, 1, _packed, _GREY),
    PixelFormat("Mono10", 0x01100003, 1, _shifted(2), _GREY),
    PixelFormat("Mono16", 0x01100007, 1, _shifted(8), _GREY),
)
"""Those that are understood; the first that a camera has is chosen where its own is none of them."""

NAMES = tuple(form.name for form in FORMATS)
BY_CODE = {form.code: form for form in FORMATS}
