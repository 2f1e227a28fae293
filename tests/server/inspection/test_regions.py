"""What is found where a recipe inspects."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.score import LARGEST, finite, to_detection
from server.inspection.regions import within
from server.recipes import Regions

LEFT = Regions(ignore=(((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)),))
ALL = Regions(include=(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),))


def test_what_is_ignored_raises_nothing_elsewhere() -> None:
    """The score is the largest distance and the most that drawn defects say, which may lie in two places."""
    distances = np.full((20, 20), 5, np.float32)
    distances[5:15, 2:7] = 30  # a label
    drawn = np.full((20, 20), -1, np.float32)
    drawn[9:12, 14:17] = 0.5  # next to nothing, on what is inspected
    whole = to_detection(distances, None, drawn)
    assert whole.score > 29
    assert 5 < within(whole, LEFT).score < 6


@given(st.integers(0, 1000))
def test_where_all_is_inspected_nothing_changes(seed: int) -> None:
    random = np.random.default_rng(seed)
    distances, coarse = (random.gamma(2, 2, (side, side)).astype(np.float32) for side in (16, 8))
    for drawn in (None, random.normal(0, 3, (16, 16)).astype(np.float32), np.full((16, 16), -1, np.float32)):
        whole = to_detection(distances, coarse, drawn)
        found = within(whole, ALL)
        assert found.score == pytest.approx(whole.score, rel=1e-6)
        assert found.anomaly_map == pytest.approx(whole.anomaly_map, rel=1e-6)


@pytest.mark.parametrize("score", [math.nan, 3.0])
def test_a_frame_without_a_number_is_an_anomaly_wherever_it_has_none(score: float) -> None:
    """A place without a number that is to be ignored took the score with it, and what was left was NORMAL."""
    assert within(finite(score, np.array([[math.nan, 1], [1, 1]], np.float32)), LEFT).score == LARGEST
