"""Captures of rendered and of real parts, judged by what a model says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import detector
from detector.near_copies import look_of
from detector.thresholds import Judgement, KSigma, OneIn, judge
from server.simulated_line import good_frames
from tests.detector.parts import draw_part
from training.data import datasets

Picture = NDArray[np.uint8]
PICTURES = Path(__file__).parents[4] / "shared" / "data"
SETS = ("bottle", "fabric_gray", "cubes")
"""Of those parts that look most alike, a texture, and a fixture."""


def judged(model: detector.TaughtModel, frames: Sequence[Picture]) -> Judgement:
    return judge(
        [model.detect(frame).score for frame in frames],
        KSigma(3),  # a target needs 10 parts, and of the 13 good discs some are equal
        in_force=model.threshold,
        taught=model.manifest.held_out_scores,
        looks=[look_of(frame) for frame in frames],
    )


def seen_again(picture: Picture, number: int, light: float = 1.0) -> Picture:
    """The same part a moment later: a camera's noise, and other light."""
    noise = np.random.default_rng(number).normal(0, 3, picture.shape)
    return np.asarray(np.clip(light * picture + noise, 0, 255), np.uint8)


def test_of_21_frames_the_8_defects_are_named(model: detector.TaughtModel) -> None:
    bad = {2, 3, 7, 8, 11, 15, 19, 20}
    found = judged(model, [draw_part(100 + number, defect=number in bad) for number in range(21)])
    assert {one.index for one in found.suspects} == bad and found.refused is None
    assert found.without_suspects is not None and 9 <= found.without_suspects.n_images <= 13
    lowest = min(one.score for one in found.suspects)
    assert found.without_suspects.threshold < lowest


def test_20_frames_of_one_part_and_20_of_nothing_are_refused(model: detector.TaughtModel) -> None:
    part = draw_part(100)
    for light in (0.0, 0.01):
        still = judged(model, [seen_again(part, number, 1 + light * number) for number in range(20)])
        assert still.refused is not None and "one part lying still" in still.refused
    for grey in (2, 128, 253):
        nothing = judged(model, [seen_again(np.full((128, 128, 3), grey, np.uint8), number) for number in range(20)])
        assert nothing.refused is not None and "show nothing" in nothing.refused


def test_good_parts_of_the_simulated_line_are_different_ones() -> None:
    frames = list(good_frames(20))
    scores = np.random.default_rng(0).normal(8, 0.5, 20).tolist()
    assert judge(scores, OneIn(100), in_force=12.0, looks=[look_of(frame) for frame in frames]).refused is None


@pytest.mark.parametrize("name", SETS)
def test_real_parts_are_told_from_one_that_lies_still(name: str) -> None:
    folder = PICTURES / name
    if not folder.is_dir():
        pytest.skip(f"no pictures in {folder}")
    scores = np.random.default_rng(0).normal(8, 0.5, 20).tolist()
    pictures = list(datasets.Pictures(datasets.find_data_set(folder).training[:20]))
    assert judge(scores, OneIn(20), in_force=12.0, looks=[look_of(one) for one in pictures]).refused is None
    still = [seen_again(pictures[0], number, 1 - 0.01 * number) for number in range(20)]
    found = judge(scores, OneIn(20), in_force=12.0, looks=[look_of(one) for one in still])
    assert found.refused is not None and "one part lying still" in found.refused
