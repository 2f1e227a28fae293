"""Pixel formats: each as a camera would send it, made here bit by bit, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cameras.genicam.pixels import BY_CODE, FORMATS, NAMES, PixelFormat

NAMED = {form.name: form for form in FORMATS}


def packed(values: list[int], name: str) -> bytes:
    """Values of 8, 10, 12 or 16 bits as the format lays them out; written from the standard, not from the reader."""
    if name.endswith("8"):
        return bytes(values)
    if name.endswith("p"):  # a stream of bits, the lowest first
        bits = int(name[-3:-1])
        whole = sum(value << number * bits for number, value in enumerate(values))
        return whole.to_bytes((len(values) * bits + 7) // 8, "little")
    if name.endswith("Packed"):  # upper 8 bits, both lower parts, upper 8 bits
        low = int(name[-8:-6]) - 8
        data = bytearray()
        for first, second in zip(values[::2], [*values[1::2], 0], strict=False):
            low_bits = (1 << low) - 1
            data += bytes((first >> low, first & low_bits | (second & low_bits) << 4, second >> low))
        return bytes(data[: (len(values) * 12 + 7) // 8])
    return b"".join(value.to_bytes(2, "little") for value in values)


def depth(name: str) -> int:
    return next(bits for bits in (16, 12, 10, 8) if str(bits) in name)


@given(st.data())
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("Mono")])
def test_every_grey_has_its_upper_8_bits(name: str, data: st.DataObject) -> None:
    width, height = data.draw(st.integers(2, 9)), data.draw(st.integers(2, 5))
    values = data.draw(st.lists(st.integers(0, 2 ** depth(name) - 1), min_size=width * height, max_size=width * height))
    image = NAMED[name].image(packed(values, name), width, height)
    expected = np.array(values).reshape(height, width) >> (depth(name) - 8)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    assert (image == expected[..., None]).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("Bayer")])
def test_a_red_a_green_and_a_blue_surface_are_that_colour(name: str) -> None:
    """As the standard says it: the two letters are the colours of the first two pixels."""
    order = name[5:7]
    rows = {"RG": "RGGB", "GR": "GRBG", "GB": "GBRG", "BG": "BGGR"}[order]
    for number, colour in enumerate("BGR"):
        full = 2 ** depth(name) - 1
        values = [full if rows[y % 2 * 2 + x % 2] == colour else 0 for y in range(8) for x in range(8)]
        image = NAMED[name].image(packed(values, name), 8, 8)
        expected = [0, 0, 0]
        expected[number] = 255
        assert image[2:6, 2:6].reshape(-1, 3).tolist() == [expected] * 16, (name, colour)


def test_colours_that_need_no_mosaic() -> None:
    assert NAMED["RGB8"].image(bytes((1, 2, 3) * 4), 2, 2)[0, 0].tolist() == [3, 2, 1]
    assert NAMED["BGR8"].image(bytes((1, 2, 3) * 4), 2, 2)[0, 0].tolist() == [1, 2, 3]
    grey = NAMED["YUV422_8"].image(bytes((200, 128, 50, 128) * 2), 2, 2)
    assert grey[0, 0].max() > grey[0, 1].max() and np.ptp(grey[0, 0].astype(int)) <= 2
    assert (grey == NAMED["YUV422_8_UYVY"].image(bytes((128, 200, 128, 50) * 2), 2, 2)).all()


def test_padded_rows_and_what_follows_a_picture_are_left_out() -> None:
    data = bytes((10, 20, 99, 30, 40, 99, 77))
    assert NAMED["Mono8"].image(data, 2, 2, padding=1)[..., 0].tolist() == [[10, 20], [30, 40]]
    assert NAMED["Mono8"].image(data[:5], 2, 2, padding=1)[..., 0].tolist() == [[10, 20], [30, 40]]
    with pytest.raises(ValueError, match="where a byte does"):
        NAMED["Mono10p"].image(bytes(100), 3, 3, padding=1)


@given(st.sampled_from(FORMATS), st.binary(max_size=64), st.integers(2, 64), st.integers(2, 64), st.integers(0, 9))
def test_any_bytes_are_a_picture_or_refused(
    form: PixelFormat, data: bytes, width: int, height: int, padding: int
) -> None:
    width += width % 2 if form.name.startswith("YUV") else 0
    try:
        image = form.image(data, width, height, padding)
    except ValueError as error:
        assert str(error)
    else:
        assert image.shape == (height, width, 3)


def test_each_format_is_there_once_with_the_bits_its_code_says() -> None:
    assert len(BY_CODE) == len(set(NAMES)) == len(FORMATS)
    for form in FORMATS:
        bits = 16 if form.planes == 2 else 24 if form.planes == 3 else depth(form.name)
        layout = 12 if form.name.endswith("Packed") else bits if form.name.endswith(("p", "8", "Y")) else 16
        assert form.bits == layout, form.name
