from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from detector.showing import Stillness
from tests.detector.parts import draw_part

RATE = 15.0
WIDTH, HEIGHT = 320, 240


def part(number: int = 0, *, right: float = 0.0, noise: float = 5.0) -> NDArray[np.uint8]:
    """A frame: a part so many pixels to the right, with a camera's noise of its own."""
    move = np.array([[1, 0, right], [0, 1, 0]], np.float64)
    still = cv2.GaussianBlur(draw_part(0, width=WIDTH, height=HEIGHT), (0, 0), 1)
    moved = cv2.warpAffine(still, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    noisy = moved + np.random.default_rng(number).normal(0, noise, moved.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def seen(frame: Callable[[int], NDArray[np.uint8]], frames: int = 12, rate: float = RATE) -> list[bool]:
    stillness = Stillness()
    return [stillness.see(frame(number), 100 + number / rate) for number in range(frames)]


@pytest.mark.parametrize("noise", [0.0, 5.0, 12.0])
def test_a_part_that_lies_is_at_rest_after_a_third_of_a_second(noise: float) -> None:
    assert seen(lambda number: part(number, noise=noise)) == [False] * 5 + [True] * 7


def test_a_slow_camera_takes_three_frames() -> None:
    assert seen(lambda number: part(number), 4, rate=1) == [False, False, True, True]


def test_mains_flicker_is_no_movement() -> None:
    def flickering(number: int) -> NDArray[np.uint8]:
        bands = 1 + 0.12 * np.sin(2 * np.pi * (np.arange(HEIGHT) / 120 + 0.37 * number))
        return np.clip(part(number) * bands[:, None, None], 0, 255).astype(np.uint8)

    assert seen(flickering)[5:] == [True] * 7


@pytest.mark.parametrize("pixels", [2.0, 6.0, 30.0])
def test_what_moves_is_not_at_rest(pixels: float) -> None:
    assert not any(seen(lambda number: part(number, right=pixels * number - 60)))


def test_what_creeps_is_not_at_rest_for_long() -> None:
    """Each frame is like the one before, but not like the first."""
    found = seen(lambda number: part(number, right=0.6 * number - 20), 60)
    assert sum(found) < 40
    assert not all(found[20:])


def test_a_small_part_that_moves_in_a_large_frame_is_seen() -> None:
    def moving(number: int) -> NDArray[np.uint8]:
        frame = part(number)
        cv2.circle(frame, (40 + 8 * number, 200), 8, (20, 20, 200), -1)
        return frame

    assert not any(seen(moving))


def test_rest_ends_when_something_moves_and_comes_again() -> None:
    found = seen(lambda number: part(number, right=40 * (number == 8)), 20)
    assert found[7]
    assert not any(found[8:14])
    assert found[-1]


def test_a_clock_that_goes_back_starts_anew() -> None:
    stillness = Stillness()
    for number in range(8):
        rests = stillness.see(part(number), number / RATE)
    assert rests
    assert not stillness.see(part(9), 0.1)


def test_frames_may_change_their_size() -> None:
    stillness = Stillness()
    for number, side in enumerate((1, 2, 500, 37)):
        stillness.see(np.full((side, 2 * side, 3), 128, np.uint8), number / RATE)
