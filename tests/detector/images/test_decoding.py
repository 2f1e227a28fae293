from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from detector import ImageError, images

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
"""Pillow warns of damaged files, which are what these tests are about."""

WIDTH, HEIGHT = 48, 40


@cache
def picture() -> images.BGRImage:
    """Nowhere grey and nowhere repeating, so that a part filled in by a decoder is seen; red more than blue."""
    noise = np.random.default_rng(0).normal(0, 60, (HEIGHT, WIDTH, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 4) * 6 + np.array([40, 90, 200])
    return np.asarray(np.clip(smooth, 0, 255), np.uint8)


def encoded(format_: str, bgr: images.BGRImage | None = None, **options: Any) -> bytes:
    bgr = picture() if bgr is None else bgr
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(bgr[..., ::-1])).save(file, format_, **options)
    return file.getvalue()


@cache
def files() -> dict[str, bytes]:
    other = Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "\xff\xd9 in the description"
    return {
        "baseline JPEG": encoded("JPEG", quality=95, subsampling=0),
        "progressive JPEG": encoded("JPEG", quality=95, subsampling=0, progressive=True),
        "JPEG with restart markers": encoded("JPEG", quality=95, subsampling=0, restart_marker_blocks=2),
        "JPEG with an end mark in its EXIF": encoded("JPEG", quality=95, subsampling=0, exif=thumbnail.tobytes()),
        "JPEG with a second picture": encoded("MPO", save_all=True, append_images=[other], quality=95, subsampling=0),
        "PNG": encoded("PNG"),
        "lossy WebP": encoded("WEBP", quality=95),
        "lossless WebP": encoded("WEBP", lossless=True),
    }


@pytest.mark.parametrize("name", files())
def test_decodes_every_format_as_bgr(name: str) -> None:
    decoded = images.decode(files()[name])
    assert decoded.shape == (HEIGHT, WIDTH, 3) and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - picture()).mean() < 4


@pytest.mark.parametrize("name", files())
def test_a_memoryview_is_as_good_as_bytes(name: str) -> None:
    data = files()[name]
    assert np.array_equal(images.decode(memoryview(data)), images.decode(data))


@settings(deadline=None, max_examples=300)
@given(name=st.sampled_from(sorted(files())), share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused_or_whole(name: str, share: float) -> None:
    data = files()[name]
    try:
        decoded = images.decode(data[: int(share * len(data))])
    except ImageError:
        return
    assert np.array_equal(decoded, images.decode(data))


@settings(deadline=None)
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_png_with_a_flipped_bit_is_refused_or_whole(position: int, bit: int) -> None:
    data = bytearray(files()["PNG"])
    data[position % len(data)] ^= 1 << bit
    try:
        decoded = images.decode(bytes(data))
    except ImageError:
        return
    assert np.array_equal(decoded, picture())


@settings(deadline=None)
@given(name=st.sampled_from(sorted(files())), data=st.data())
def test_a_damaged_file_raises_nothing_else(name: str, data: st.DataObject) -> None:
    damaged = bytearray(files()[name])
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = images.decode(bytes(damaged))
    except ImageError:
        return
    assert decoded.ndim == 3 and decoded.dtype == np.uint8


SIGNATURES = (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBPVP8 ", b"BM", b"II*\0", b"GIF89a")


@settings(deadline=None, max_examples=300)
@given(start=st.sampled_from(SIGNATURES), rest=st.binary(max_size=300))
def test_garbage_raises_only_image_errors(start: bytes, rest: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about the garbage
        for formats in (images.FORMATS, images.FILE_FORMATS):
            try:
                images.decode(start + rest, formats=formats)
            except ImageError as error:
                assert str(error)


def jpeg_of_size(width: int, height: int) -> bytes:
    data = files()["baseline JPEG"]
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


def png_of_size(width: int, height: int) -> bytes:
    data = files()["PNG"]
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def webp_of_size(width: int, height: int) -> bytes:
    """An extended WebP whose canvas says so."""
    canvas = b"\0" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas + files()["lossy WebP"][12:]
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


@pytest.mark.parametrize("of_size", [jpeg_of_size, png_of_size, webp_of_size])
@pytest.mark.parametrize("size", [(16_385, 64), (64, 16_385), (10_000, 10_000), (15, 64), (64, 1)])
def test_absurd_dimensions_are_refused_before_decoding(
    of_size: Callable[[int, int], bytes], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", never)
    with warnings.catch_warnings(), pytest.raises(ImageError, match=rf"{size[0]}×{size[1]} pixels|header is damaged"):
        warnings.simplefilter("ignore")
        images.decode(of_size(*size))


@pytest.mark.parametrize("of_size", [jpeg_of_size, png_of_size])
def test_a_decompression_bomb_is_refused(of_size: Callable[[int, int], bytes]) -> None:
    with pytest.raises(ImageError, match="60000×60000 pixels"):
        images.decode(of_size(60_000, 60_000))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format_: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    options = quality.get(format_, {})
    decoded = images.decode(encoded(format_, exif=exif, **options), formats=images.FILE_FORMATS)
    expected = {
        1: picture(),
        2: picture()[:, ::-1],
        3: picture()[::-1, ::-1],
        4: picture()[::-1],
        5: picture().transpose(1, 0, 2),
        6: np.rot90(picture(), -1),
        7: picture().transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(picture()),
    }[orientation]
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).mean() < 4


def test_grey_becomes_three_equal_channels() -> None:
    grey = picture()[..., 0]
    for suffix in (".png", ".jpg"):
        decoded = images.decode(cv2.imencode(suffix, grey)[1].tobytes())
        assert decoded.shape == (HEIGHT, WIDTH, 3)
        assert (decoded == decoded[..., :1]).all()


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("colour", [True, False])
def test_16_bits_become_8_by_rounding_and_the_same_for_every_picture(suffix: str, colour: bool) -> None:
    every_value = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    array = np.dstack([every_value, every_value[::-1], every_value.T]) if colour else every_value
    decoded = images.decode(cv2.imencode(suffix, array)[1].tobytes(), formats=images.FILE_FORMATS)
    expected = np.rint(array / 257) if colour else np.rint(array / 257)[..., None].repeat(3, 2)
    assert np.array_equal(decoded, expected)
    dark = every_value % 5000  # a picture is never stretched to its own range
    assert images.decode(cv2.imencode(suffix, dark)[1].tobytes(), formats=images.FILE_FORMATS).max() == 19


@pytest.mark.parametrize("type_", [np.float32, np.float64, np.int8, np.int16, np.int32, np.uint32])
@pytest.mark.parametrize("colour", [True, False])
def test_a_tiff_without_a_white_of_its_own_is_refused(type_: type, colour: bool) -> None:
    array = (picture() // 2 if colour else picture()[..., 0] // 2).astype(type_)
    tifffile.imwrite(written := io.BytesIO(), array, photometric="rgb" if colour else "minisblack")
    with pytest.raises(ImageError, match="8 or 16 bits a channel"):
        images.decode(written.getvalue(), formats=images.FILE_FORMATS)


def rgba(alpha: int) -> Image.Image:
    return Image.fromarray(np.dstack((picture()[..., ::-1], np.full((HEIGHT, WIDTH), alpha, np.uint8))))


@pytest.mark.parametrize("alpha", [0, 1, 128, 255])
@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True, "exact": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_lzw", "big_tiff": False, "tiffinfo": {270: "a part"}}),
    ],
)
def test_alpha_is_left_out_and_colours_stay(format_: str, options: dict[str, Any], alpha: int) -> None:
    """A TIFF's colours are multiplied by alpha if OpenCV is left to itself."""
    file = io.BytesIO()
    rgba(alpha).save(file, format_, **options)
    assert np.array_equal(images.decode(file.getvalue(), formats=images.FILE_FORMATS), picture())


def test_alpha_of_16_bits_and_of_grey_pictures_is_left_out() -> None:
    deep = np.dstack((picture(), picture()[..., :1])).astype(np.uint16) * 257
    for suffix in (".png", ".tiff"):
        data = cv2.imencode(suffix, deep)[1].tobytes()
        assert np.array_equal(images.decode(data, formats=images.FILE_FORMATS), picture())
    grey = Image.fromarray(picture()[..., 0])
    for format_ in ("PNG", "TIFF"):
        file = io.BytesIO()
        Image.merge("LA", [grey, Image.new("L", grey.size, 7)]).save(file, format_)
        decoded = images.decode(file.getvalue(), formats=images.FILE_FORMATS)
        assert np.array_equal(decoded, picture()[..., :1].repeat(3, 2))


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "BMP"])
def test_palettes_are_looked_up(format_: str) -> None:
    palette = Image.fromarray(np.ascontiguousarray(picture()[..., ::-1])).quantize(64)
    expected = np.asarray(palette.convert("RGB"))[..., ::-1]
    for options in ({}, {"transparency": 0}):
        file = io.BytesIO()
        palette.save(file, format_, **options)
        assert np.array_equal(images.decode(file.getvalue(), formats=images.FILE_FORMATS), expected)


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_cmyk_has_the_right_colours(format_: str) -> None:
    """Adobe, and Pillow after it, stores the inks of a JPEG inverted."""
    inks = np.dstack([picture(), picture()[..., :1] // 3])
    cmyk = Image.fromarray(inks, "CMYK")
    file = io.BytesIO()
    cmyk.save(file, format_, **({"quality": 95, "subsampling": 0} if format_ == "JPEG" else {}))
    expected = np.asarray(cmyk.convert("RGB"))[..., ::-1].astype(int)
    decoded = images.decode(file.getvalue(), formats=images.FILE_FORMATS)
    assert np.abs(decoded - expected).mean() < 2
    assert np.ptp(expected.mean(axis=(0, 1))) > 50  # grey would prove nothing


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_16_bit_pictures_are_turned_upright(format_: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(picture()[..., 0].astype(np.uint16) * 257).save(file, format_, exif=exif)
    decoded = images.decode(file.getvalue(), formats=images.FILE_FORMATS)
    assert np.array_equal(decoded[..., 0], np.rot90(picture()[..., 0], -1))


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_damaged_tiff_raises_nothing_else(data: st.DataObject) -> None:
    file = io.BytesIO()
    rgba(128).save(file, "TIFF", compression=data.draw(st.sampled_from(["raw", "tiff_lzw", "tiff_adobe_deflate"])))
    damaged = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = images.decode(bytes(damaged), formats=images.FILE_FORMATS)
    except ImageError:
        return
    assert decoded.ndim == 3 and decoded.dtype == np.uint8


def test_values_may_be_had_as_they_are_stored(tmp_path: Path) -> None:
    deep = picture()[..., 0].astype(np.uint16) + 1000
    path = tmp_path / "deep.png"
    path.write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    assert np.array_equal(images.read_values(path), deep[..., None].repeat(3, 2))
    with pytest.raises(ImageError, match=r"none\.png: cannot be read"):
        images.read_values(tmp_path / "none.png")


@pytest.mark.parametrize("format_", ["BMP", "TIFF"])
def test_bmp_and_tiff_come_only_from_files(format_: str, tmp_path: Path) -> None:
    data = encoded(format_)
    with pytest.raises(ImageError, match="not a JPEG, PNG or WEBP picture"):
        images.decode(data)
    path = tmp_path / "part"
    path.write_bytes(data)
    assert np.array_equal(images.read(path), picture())
    for cut in range(0, len(data), 97):
        path.write_bytes(data[:cut])
        with pytest.raises(ImageError, match="part: "):
            images.read(path)


def test_read_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png: cannot be read: No such file"):
        images.read(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot be read"):
        images.read(tmp_path)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageError, match=r"text\.png: not a JPEG"):
        images.read(tmp_path / "text.png")


def test_encode_jpeg_shrinks_only_what_is_larger() -> None:
    data, width, height = images.encode_jpeg(picture())
    assert (width, height) == (WIDTH, HEIGHT) and images.decode(data).shape == (HEIGHT, WIDTH, 3)
    data, width, height = images.encode_jpeg(picture(), longest_side=24)
    assert (width, height) == (24, 20) and images.decode(data).shape == (20, 24, 3)
    assert images.encode_jpeg(picture(), longest_side=1000)[1:] == (WIDTH, HEIGHT)
    assert images.encode_jpeg(np.zeros((1, 500, 3), np.uint8), longest_side=100)[1:] == (100, 1)


def test_encode_png_loses_nothing() -> None:
    assert np.array_equal(images.decode(images.encode_png(picture())), picture())
    grey = picture()[..., 0]
    assert np.array_equal(images.decode(images.encode_png(grey))[..., 0], grey)


def test_broken_pictures_do_not_fill_the_operators_log(capfd: pytest.CaptureFixture[str]) -> None:
    for data in (files()["PNG"][:-200], encoded("BMP")[:200], files()["lossy WebP"][:-9] + b"9" * 9):
        with contextlib.suppress(ImageError):
            images.decode(data, formats=images.FILE_FORMATS)
    assert capfd.readouterr().err == ""
