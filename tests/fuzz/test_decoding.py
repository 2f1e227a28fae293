"""Pictures with wrong bytes: refused or decoded, and the process goes on, in bounded time and memory."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.detector.images.test_damage import ANIMATED_PNG, TWO_SIZES, jpeg, png, with_scans
from tests.fuzz.fuzzing import fuzz

SMALL = np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)

JPEG_TOKENS = [
    bytes((0xFF, marker)) for marker in (0, 0xC0, 0xC2, 0xC3, 0xC4, 0xC9, 0xD0, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE1)
]
CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT", b"tRNS", b"eXIf", b"iCCP")
RIFF_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF")


def saved(format_: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(SMALL).convert(mode).save(file, format_, **options)
    return file.getvalue()


def tiff(**options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, SMALL.astype(np.uint16) << 8, photometric="rgb", **options)
    return file.getvalue()


def test_jpegs() -> None:
    seeds = [jpeg(), jpeg(progressive=True), jpeg(restart_marker_blocks=2), saved("JPEG", "CMYK"), saved("JPEG", "L")]
    assert fuzz(
        "tests.fuzz.targets:network_picture", [*seeds, TWO_SIZES, with_scans(99, progressive=True)], tokens=JPEG_TOKENS
    )


@pytest.mark.parametrize("format_", ["PNG", "WebP", "BMP", "TIFF"])
def test_other_formats(format_: str) -> None:
    seeds = {
        "PNG": [png(), ANIMATED_PNG, saved("PNG", "P"), saved("PNG", "RGBA"), saved("PNG", "1")],
        "WebP": [saved("WEBP"), saved("WEBP", lossless=True), saved("WEBP", "RGBA", exif=b"Exif\0\0II*\0")],
        "BMP": [saved("BMP"), saved("BMP", "P"), saved("BMP", "1"), saved("BMP", "RGBA")],
        "TIFF": [
            tiff(),
            tiff(compression="zlib"),
            saved("TIFF", compression="tiff_lzw"),
            saved("TIFF", "P"),
            tiff(bigtiff=True),
        ],
    }[format_]
    tokens = {"PNG": CHUNKS, "WebP": RIFF_CHUNKS}.get(format_, ())
    assert fuzz("tests.fuzz.targets:file_picture", seeds, tokens=tokens, seconds=5)


def test_pngs_whose_sums_are_right() -> None:
    """Nearly all wrong bytes end at a chunk's sum: these come behind it."""
    assert fuzz(
        "tests.fuzz.targets:png_with_right_sums", [png(), ANIMATED_PNG, saved("PNG", "P")], tokens=CHUNKS, seconds=5
    )
