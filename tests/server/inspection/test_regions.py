from __future__ import annotations

import math

import numpy as np
import pytest

from detector import Detection
from detector.score import LARGEST, finite
from server.inspection.regions import within
from server.recipes import Regions

LEFT = Regions(ignore=(((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)),))


def test_what_lies_outside_is_left_out() -> None:
    found = within(Detection(9.0, np.array([[9, 1], [9, 2]], np.float32)), LEFT)
    assert found.score == 2 and found.anomaly_map[:, 0].max() == 0


@pytest.mark.parametrize("score", [math.nan, 3.0])
def test_a_frame_without_a_number_is_an_anomaly_wherever_it_has_none(score: float) -> None:
    """A place without a number that is to be ignored took the score with it, and what was left was NORMAL."""
    assert within(finite(score, np.array([[math.nan, 1], [1, 1]], np.float32)), LEFT).score == LARGEST
