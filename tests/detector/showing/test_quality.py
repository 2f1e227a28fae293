from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.showing import Quality, fault_of, quality_of
from tests.detector.parts import draw_part

Picture = NDArray[np.uint8]
WIDTH, HEIGHT = 640, 480


def good(number: int = 0) -> Picture:
    return draw_part(number, width=WIDTH, height=HEIGHT)


def blurred(picture: Picture, by: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), by), np.uint8)


def noisy(picture: NDArray[np.float64], noise: float = 2.0) -> Picture:
    random = np.random.default_rng(1)
    return np.clip(picture + random.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


OTHERS = [quality_of(good(number)) for number in range(5)]


def test_good_pictures_have_no_fault() -> None:
    for number in range(5, 10):
        quality = quality_of(good(number))
        assert fault_of(quality, []) is None
        assert fault_of(quality, OTHERS) is None


@pytest.mark.parametrize("others", [[], OTHERS])
@pytest.mark.parametrize(
    ("picture", "begins"),
    [
        (np.zeros((HEIGHT, WIDTH, 3), np.uint8), "it is black"),
        (noisy(np.full((HEIGHT, WIDTH, 3), 6.0)), "it is black"),
        (np.clip(good() * 3.0 + 200, 0, 255).astype(np.uint8), "it is saturated"),
        (noisy(np.full((HEIGHT, WIDTH, 3), 120.0), 1.0), "it is blank"),
        (blurred(good(), 16), "it is blurred"),
    ],
)
def test_a_fault_is_said_in_one_clause(picture: Picture, begins: str, others: list[Quality]) -> None:
    fault = fault_of(quality_of(picture), others)
    assert fault is not None
    assert fault.startswith(begins)
    assert ": " in fault  # what to do about it
    assert "." not in fault


def test_a_picture_is_compared_with_the_others() -> None:
    """What is no fault by itself may be one beside sharp, well lit pictures."""
    soft, dark = blurred(good(), 4), (good() * 0.25).astype(np.uint8)
    motion = np.asarray(cv2.blur(good(), (13, 1)), np.uint8)
    grainy = noisy(blurred(good(), 16).astype(np.float64), 4.0)  # noise counts as sharp
    cases = (
        (soft, "it is blurred, the others"),
        (dark, "it is far darker"),
        (motion, "it is blurred"),
        (grainy, "it is blurred"),
    )
    for picture, begins in cases:
        assert fault_of(quality_of(picture), OTHERS[:2]) is None
        assert str(fault_of(quality_of(picture), OTHERS)).startswith(begins)
    assert fault_of(quality_of(soft), [quality_of(blurred(good(number), 4)) for number in range(3)]) is None


def test_black_and_white_stripes_are_neither_saturated_nor_blurred() -> None:
    """Though half of them is clipped, and there is no edge at all in one direction."""
    stripes = np.where(np.arange(WIDTH) // 40 % 2, 255, 0).astype(np.uint8)
    assert fault_of(quality_of(np.broadcast_to(stripes[None, :, None], (HEIGHT, WIDTH, 3))), []) is None


@given(st.integers(1, 40), st.integers(1, 700), st.integers(0, 255), st.booleans())
def test_a_frame_of_any_shape_has_a_quality(height: int, width: int, grey: int, random: bool) -> None:
    frame = np.full((height, width, 3), grey, np.uint8)
    if random:
        frame = np.random.default_rng(grey).integers(0, 256, frame.shape).astype(np.uint8)
    quality = quality_of(frame)
    assert np.isfinite([*vars(quality).values()]).all()
    assert quality.sharpness > 0
    fault_of(quality, [quality] * 3)
