from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import Calibration, calibrate

scores = st.lists(st.floats(0.01, 1000), min_size=2, max_size=60)


@given(scores, st.floats(0, 10))
def test_is_mean_plus_k_standard_deviations(values: list[float], k: float) -> None:
    mean, std = statistics.fmean(values), statistics.stdev(values)
    calibration = calibrate(values, k)
    assert calibration.mean == pytest.approx(mean)
    assert calibration.std == pytest.approx(std, abs=1e-9)
    assert calibration.threshold == pytest.approx(mean + k * std)
    assert (calibration.n_images, calibration.k) == (len(values), k)


def test_by_hand() -> None:
    assert calibrate([1, 2, 3], 2) == Calibration(threshold=4, mean=2, std=1, n_images=3, k=2)
    assert calibrate([1, 2, 3]).k == 3


@given(scores)
def test_k_of_0_is_the_mean(values: list[float]) -> None:
    assert calibrate(values, 0).threshold == pytest.approx(statistics.fmean(values))


@pytest.mark.parametrize("k", [-0.1, 100.1, 1e308, math.nan, math.inf, -math.inf])
def test_a_bad_k_is_refused(k: float) -> None:
    with pytest.raises(ValueError, match=r"k is .* must be a number from 0 to 100"):
        calibrate([1, 2], k)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=f"{len(values)} normal images are too few"):
        calibrate(values)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        calibrate([1.0, bad, 2.0])


def test_zeros_are_refused() -> None:
    with pytest.raises(ValueError, match="take new ones"):
        calibrate([0.0, 0.0, 0.0])


def test_a_threshold_beyond_every_number_is_refused() -> None:
    with pytest.raises(ValueError, match="no part could ever be above"):
        calibrate([1.0, 1.7e308], 100)
