from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import Calibration, calibrate
from detector.thresholds import KSigma, OneIn, Rule, fault

scores = st.lists(st.floats(0.01, 1000), min_size=2, max_size=60)


def drawn(count: int, seed: int = 0) -> list[float]:
    """Scores of good parts, as a Gaussian has them."""
    return np.random.default_rng(seed).normal(8, 0.5, count).tolist()


@given(scores, st.floats(1, 10))
def test_is_mean_plus_k_standard_deviations(values: list[float], k: float) -> None:
    mean, std = statistics.fmean(values), statistics.stdev(values)
    for calibration in (calibrate(values, k), calibrate(values, KSigma(k))):
        assert calibration.mean == pytest.approx(mean)
        assert calibration.std == pytest.approx(std, abs=1e-9)
        assert calibration.threshold == pytest.approx(mean + k * std)
        assert (calibration.n_images, calibration.k, calibration.one_in) == (len(values), k, None)


def test_by_hand() -> None:
    found = calibrate([1, 2, 3], 2)
    assert (found.threshold, found.mean, found.std, found.n_images, found.k) == (4, 2, 1, 3, 2)
    assert found.promise is None and found.no_promise == "3 good parts are too few for a promise: take 7 more"


def test_a_target_asks_for_more_the_rarer_rejects_shall_be() -> None:
    values = drawn(40)
    found = [calibrate(values, OneIn(one_in)) for one_in in (20, 100, 1000)]
    assert found[0].threshold < found[1].threshold < found[2].threshold
    for calibration, one_in in zip(found, (20, 100, 1000), strict=True):
        assert calibration.one_in == one_in and calibration.k is None
        assert calibration.promise is not None
        assert calibration.promise.expected == pytest.approx(1 / one_in, rel=0.01)
        assert calibration.promise.expected < calibration.promise.at_most < 1


def test_a_promise_of_more_parts_is_stronger() -> None:
    promises = [calibrate(drawn(count), OneIn(100)).promise for count in (10, 40, 160)]
    bounds = [one.at_most for one in promises if one is not None]
    assert len(bounds) == 3 and bounds == sorted(bounds, reverse=True)


def test_a_promise_says_its_numbers() -> None:
    found = calibrate(drawn(20), OneIn(200)).promise
    assert found is not None
    assert found.sentence.startswith("good parts rejected: about 0.5 %, at most ")
    assert found.sentence.endswith(" % (95 % sure), from 20 parts")


@pytest.mark.parametrize(
    ("rule", "message"),
    [(KSigma(k), r"k is .* must be a number from 1 to 10") for k in (0, 0.9, 10.1, 1000, math.nan, math.inf)]
    + [(OneIn(one_in), r"one_in is .* whole number from 5 to") for one_in in (-1, 0, 4, 10**9)],
)
def test_a_rule_that_cannot_be_is_refused(rule: Rule, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibrate([1, 2], rule)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=f"{len(values)} normal image(s are| is) too few"):
        calibrate(values)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        calibrate([1.0, bad, 2.0])


def test_zeros_are_refused() -> None:
    with pytest.raises(ValueError, match="take new ones"):
        calibrate([0.0, 0.0, 0.0])


def test_a_threshold_beyond_every_number_is_refused() -> None:
    for values in ([1.0, 1.7e308], [1e155, 3e155, 2e155], [1.7e308] * 3, [1e38, 3.3e38]):
        for rule in (KSigma(10), OneIn(30)):
            with pytest.raises(ValueError, match="no part could ever be above"):
                calibrate(values, rule)


def test_a_known_defect_above_all_good_parts_keeps_the_threshold_below_it() -> None:
    good = [7.0, 8.0, 9.0, 8.0] * 5
    assert calibrate(good, 6).threshold > 11
    found = calibrate(good, 6, defects=[11.0, 30.0])
    assert 9 < found.threshold < 11 and found.lowest_defect == 11
    assert calibrate(good, 6, defects=[8.5]).threshold == calibrate(good, 6).threshold, "there is no margin"
    assert calibrate(good, 2, defects=[11.0]).threshold == calibrate(good, 2).threshold, "the rule keeps below"


@pytest.mark.parametrize("highest", [9.0, 1e-3, 1e30])
def test_a_defect_next_to_the_highest_good_part_is_found_all_the_same(highest: float) -> None:
    """The middle of two neighbouring numbers is one of them, and the defect would be NORMAL."""
    defect = math.nextafter(highest, math.inf)
    found = calibrate([highest, highest * 0.5, highest * 0.7], 6, defects=[defect])
    assert highest <= found.threshold < defect
    assert fault_of(found) is None


rules = st.one_of(st.floats(1, 10).map(KSigma), st.integers(5, 100_000).map(OneIn))


@given(scores, rules, st.lists(st.floats(0.01, 5000), max_size=3))
def test_what_is_made_has_no_fault(values: list[float], rule: Rule, defects: list[float]) -> None:
    found = calibrate(values, rule, defects=defects)
    assert fault_of(found) is None
    assert found.threshold >= found.mean * (1 - 1e-9) or found.lowest_defect is not None
    assert (found.promise is None) != (found.no_promise is None)


@pytest.mark.parametrize(
    "changed",
    [
        {"threshold": 9.5},
        {"threshold": math.nan},
        {"threshold": 1e39, "mean": 1e39, "std": 0.0},
        {"mean": math.inf},
        {"std": -1.0},
        {"n_images": 1},
        {"k": 101.0},
        {"k": None},
        {"one_in": 100},
        {"k": None, "one_in": 1},
        {"k": None, "one_in": 100, "threshold": 7.0},
        {"lowest_defect": 9.0},
    ],
)
def test_a_fault_is_found(changed: dict[str, float | None]) -> None:
    sound: dict[str, float | None] = {"threshold": 9.0, "mean": 8.0, "std": 0.5, "n_images": 20, "k": 2.0}
    assert fault(**sound) is None  # type: ignore[arg-type]
    assert fault(**(sound | changed)) is not None  # type: ignore[arg-type]


def fault_of(one: Calibration) -> str | None:
    return fault(one.threshold, one.mean, one.std, one.n_images, one.k, one.one_in, one.lowest_defect)
