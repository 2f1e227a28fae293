"""Small files that are expensive pictures."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

from detector.images import encode_jpeg

CASES = {
    "animated PNG": "animated_broken.png",
    "JPEG of two sizes": "two_sizes.jpg",
    "JPEG of many scans": "many_scans.jpg",
}
"""Files that are looked for in ``../shared/cases`` or the folder in ``CASES``, and made nowhere."""


def megapixels_64() -> bytes:
    """A grey JPEG of 8000×8000 pixels."""
    return encode_jpeg(np.full((8000, 8000, 3), 128, np.uint8), quality=50)[0]


def deep_png() -> bytes:
    """A PNG of 8000×8000 pixels with 16 bits for each of red, green, blue and alpha: 512 MB in a few hundred kB."""
    row = bytes(1 + 8000 * 8)
    pack = zlib.compressobj(9)
    data = b"".join(pack.compress(row) for _ in range(8000)) + pack.flush()
    header = struct.pack(">IIBBBBB", 8000, 8000, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def part(number: int) -> bytes:
    """A well-behaved frame: 640×480, some texture."""
    noise = np.random.default_rng(number).integers(90, 160, (48, 64, 3), np.uint8)
    return encode_jpeg(np.asarray(cv2.resize(noise, (640, 480)), np.uint8), quality=85)[0]
