"""TIFF, as instruments write it: read right, or refused by its own tags."""

from __future__ import annotations

import io
import itertools
import struct
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from detector import ImageError, images

WIDTH, HEIGHT = 80, 64


@cache
def rgb() -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(0, 60, (HEIGHT, WIDTH, 3))
    return np.asarray(np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 4 + (60, 120, 200), 0, 255), np.uint8)


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def decode(data: bytes) -> images.BGRImage:
    return images.decode(data, formats=images.FILE_FORMATS)


LAYOUTS = list(itertools.product((8, 16), ("rgb", "planar", "minisblack", "miniswhite"), (None, "zlib"), ("<", ">")))


@pytest.mark.parametrize(("bits", "kind", "compression", "byteorder"), LAYOUTS)
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"bigtiff": True}, {"rowsperstrip": 7}], ids=str)
def test_layouts_are_read_as_their_tags_say(
    bits: int, kind: str, compression: str | None, byteorder: str, options: dict[str, Any]
) -> None:
    values = rgb() if bits == 8 else rgb().astype(np.uint16) * 257
    expected = rgb()[..., ::-1]
    if kind == "rgb":
        options = options | {"photometric": "rgb", "predictor": 2 if compression else None}
    elif kind == "planar":
        values = np.moveaxis(values, -1, 0).copy()
        options = options | {"photometric": "rgb", "planarconfig": "separate"}
    else:
        values = values[..., 0].copy()
        expected = rgb()[..., :1].repeat(3, 2)
        expected = 255 - expected if kind == "miniswhite" else expected
        options = options | {"photometric": kind}
    assert np.array_equal(decode(tiff(values, compression=compression, byteorder=byteorder, **options)), expected)


def saved(mode: str, compression: str, **tags: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb()).convert(mode).save(file, "TIFF", compression=compression, tiffinfo=tags or {})
    return file.getvalue()


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
def test_what_libtiff_unpacks_is_read_too(compression: str) -> None:
    assert np.array_equal(decode(saved("RGB", compression)), rgb()[..., ::-1])
    grey = np.asarray(Image.fromarray(rgb()).convert("L"))[..., None].repeat(3, 2)
    assert np.array_equal(decode(saved("L", compression)), grey)


def packed(values: NDArray[np.uint16], bits: int, photometric: int) -> bytes:
    """Values without the bits between them, which only instruments write."""
    rows = "".join(f"{value:0{bits}b}" for value in values.ravel())
    data = int(rows, 2).to_bytes(len(rows) // 8, "big")
    entries = {
        256: WIDTH,
        257: HEIGHT,
        258: bits,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: HEIGHT,
        279: len(data),
    }
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries)) + directory + bytes(4)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("photometric", [0, 1])
def test_packed_bits_say_where_white_is(bits: int, photometric: int) -> None:
    values = rgb()[..., 0].astype(np.uint16) << bits - 8 | rgb()[..., 0] >> 16 - bits
    expected = rgb()[..., :1].astype(int)
    decoded = decode(packed(values, bits, photometric)).astype(int)
    assert np.abs(decoded - (expected if photometric else 255 - expected)).max() <= 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda: saved("RGB", "jpeg"), "compressed with JPEG, which is not read: save it uncompressed"),
        (lambda: saved("RGB", "zstd"), "compressed with ZSTD, which is not read: save it uncompressed"),
        (lambda: tiff(rgb().astype(np.float32), photometric="rgb"), "float32 values.*8 or 16 bits"),
        (lambda: tiff(np.zeros((64, 80, 6), np.uint8), photometric="minisblack", planarconfig="contig"), "6 channels"),
        (lambda: tiff(np.zeros((3, 64, 80), np.uint8), photometric="minisblack"), "holds 3 pictures"),
    ],
    ids=["jpeg", "zstd", "float", "channels", "pages"],
)
def test_what_is_not_read_is_refused_by_its_tags(data: Any, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        decode(data())


@pytest.mark.parametrize("first", ["thumbnail", "picture"])
@pytest.mark.parametrize("compression", ["zlib", None])
def test_a_thumbnail_is_never_taken_for_the_picture(first: str, compression: str | None) -> None:
    small = np.full((20, 24, 3), 7, np.uint8)
    pages = [(small, 1), (rgb(), 0)]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for values, kind in pages if first == "thumbnail" else pages[::-1]:
            writer.write(values, photometric="rgb", subfiletype=kind, compression=compression, metadata=None)
    assert np.array_equal(decode(file.getvalue()), rgb()[..., ::-1])


def test_a_thumbnail_before_what_libtiff_unpacks_is_not_taken_either() -> None:
    whole = saved("RGB", "tiff_lzw")
    (second,) = struct.unpack("<I", whole[4:8])
    small = struct.pack("<HHII", 254, 4, 1, 1) + struct.pack("<HHII", 256, 4, 1, 20)
    directory = struct.pack("<H", 2) + small + struct.pack("<I", second)
    data = whole[:4] + struct.pack("<I", len(whole)) + whole[8:] + directory
    assert np.array_equal(decode(data), rgb()[..., ::-1])


def test_what_a_directory_leaves_out_is_not_filled_in() -> None:
    whole = tiff(rgb(), photometric="rgb", rowsperstrip=8, metadata=None)
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        counts = file.pages.first.tags[279]
    for count in (0, 100, 2**31):
        changed = bytearray(whole)
        struct.pack_into("<I" if counts.dtype == 4 else "<H", changed, counts.valueoffset, count & 0xFFFF)
        with pytest.raises(ImageError, match="damaged"):
            decode(bytes(changed))


def test_directories_that_lead_in_circles_end() -> None:
    whole = bytearray(tiff(rgb(), photometric="rgb", metadata=None))
    (directory,) = struct.unpack("<I", whole[4:8])
    (entries,) = struct.unpack_from("<H", whole, directory)
    struct.pack_into("<I", whole, directory + 2 + 12 * entries, directory)
    try:
        assert np.array_equal(decode(bytes(whole)), rgb()[..., ::-1])
    except ImageError as error:
        assert "TIFF" in str(error)
