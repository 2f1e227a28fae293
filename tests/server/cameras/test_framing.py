"""Size, crop and rate of frames."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cameras.backoff import Backoff
from server.cameras.framing import Crop, Framing, Throttle

IMAGE = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)


def test_crop_is_in_pixels_from_the_top_left() -> None:
    part = Framing(crop=Crop.parse("10, 20,30,5")).of(IMAGE)
    assert np.array_equal(part, IMAGE[20:25, 10:40])
    assert part.base is None or part.flags.c_contiguous


def test_size_comes_before_crop() -> None:
    assert Framing(width=40, crop=Crop(0, 0, 40, 30)).of(IMAGE).shape == (30, 40, 3)


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [(40, None, (30, 40, 3)), (None, 30, (30, 40, 3)), (10, 50, (50, 10, 3)), (None, None, (60, 80, 3))],
)
def test_one_side_alone_keeps_the_aspect_ratio(
    width: int | None, height: int | None, shape: tuple[int, int, int]
) -> None:
    assert Framing(width, height).of(IMAGE).shape == shape


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1.5,0,3,3", "0,0,0,5", "-1,0,5,5", "0,0,5,-5"])
def test_a_bad_crop_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="crop"):
        Crop.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_crop_or_a_value_error(text: str) -> None:
    try:
        crop = Crop.parse(text)
    except ValueError:
        return
    assert Crop.parse(str(crop)) == crop


def test_a_crop_beyond_the_picture_names_both() -> None:
    with pytest.raises(ValueError, match="70,0,20,10 reaches beyond the picture of 80×60"):
        Framing(crop=Crop(70, 0, 20, 10)).of(IMAGE)
    with pytest.raises(ValueError, match="reaches beyond"):
        Framing(width=50, crop=Crop(45, 0, 20, 10))


def test_a_narrow_picture_that_would_become_absurdly_high_is_refused() -> None:
    with pytest.raises(ValueError, match="64×4096 would become 4096×262144: ask for less"):
        Framing(width=4096).of(np.zeros((4096, 64, 3), np.uint8))


@pytest.mark.parametrize("side", [0, -1, 100_000])
def test_an_absurd_size_is_refused(side: int) -> None:
    with pytest.raises(ValueError, match="width must be"):
        Framing(width=side)


@pytest.mark.parametrize("fps", [0, -1, 1000, float("nan"), float("inf")])
def test_an_absurd_rate_is_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="fps must be"):
        Throttle(fps)


@given(rate=st.sampled_from([15, 25, 30, 60]), fps=st.integers(1, 60), seed=st.integers())
def test_the_rate_is_held_on_average(rate: int, fps: int, seed: int) -> None:
    jitter = random.Random(seed)
    throttle = Throttle(fps)
    let_through = sum(throttle.admits(n / rate + jitter.uniform(-0.002, 0.002)) for n in range(600))
    assert let_through == pytest.approx(600 * min(1.0, fps / rate), rel=0.02, abs=2)


def test_waits_double_up_to_the_longest_and_start_again() -> None:
    backoff = Backoff()
    assert [backoff.next() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert [backoff.next() for _ in range(2000)][-1] == 30
    backoff.reset()
    assert backoff.next() == 1
