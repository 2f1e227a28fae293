"""Scores of accepted parts against the baseline's: claims of docs/benchmarks.md at a reduced size."""

from __future__ import annotations

from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks import drift as measured
from server.drift.scores import MOST, WANTED, Alike, Scores, ranks
from server.drift.sequential import ENOUGH


def parts_until_out(test: Scores, values: NDArray[np.float64]) -> int | None:
    return next((number for number, value in enumerate(values, 1) if test.see(float(value))), None)


def test_ranks_are_in_the_middle_of_equals() -> None:
    baseline = np.array([1.0, 2.0, 2.0, 3.0])
    assert ranks(baseline, np.array([0.0, 2.0, 2.5, 9.0])).tolist() == [0.0, 0.5, 0.75, 1.0]


def test_a_shift_of_one_deviation_is_found_within_200_parts() -> None:
    random, up, down = np.random.default_rng(0), [], []
    for shift, found in ((1.0, up), (-1.0, down)):
        for _ in range(9):
            values = random.standard_normal(1600)
            values[600:] += shift
            test = Scores(values[:100].tolist(), 100)
            took = parts_until_out(test, values[100:])
            found.append(2000 if took is None else took - 500)
            assert found[-1] > 0, "it was not there yet"
            assert took is None or test.out == shift
    assert median(up) <= 200 and median(down) <= 200


def test_a_shift_right_after_a_calibration_of_100_is_found() -> None:
    random = np.random.default_rng(0)
    test = Scores(random.standard_normal(100).tolist(), 100)
    assert (parts_until_out(test, random.standard_normal(400) + 1) or 400) <= 200


def test_in_control_nothing_is_said_however_skewed_or_alike() -> None:
    for draw in (measured.skewed, measured.heavy, measured.alike(0.9), measured.daylight(0.2)):
        assert measured.warned(draw, runs=3, parts=3000) == 0


def test_the_measurement_is_the_product_s_arithmetic() -> None:
    """The benchmark takes all parts at once after the baseline stands: the same parts one by one come to the same."""
    random = np.random.default_rng(3)
    values = random.standard_normal(1500)
    test = Scores(values[:50].tolist(), 50)
    number = 50
    while not test.stands:
        test.see(values[number])
        number += 1
    places = ranks(test.baseline, values[number:])
    before = test.baseline.copy()
    for value, place in zip(values[number:], places, strict=True):
        test.see(value)
        assert test._recent[-1] == place
    assert (test.baseline == before).all() and not test.out and test.evidence.max() < ENOUGH


def test_it_comes_back() -> None:
    random = np.random.default_rng(0)
    test = Scores()
    assert parts_until_out(test, random.standard_normal(700)) is None
    assert parts_until_out(test, random.standard_normal(400) + 1.5) is not None and test.out == 1
    baseline = len(test.baseline)
    assert parts_until_out(test, random.standard_normal(300)) is not None and test.out == 0
    assert len(test.baseline) == baseline
    assert parts_until_out(test, random.standard_normal(2000)) is None


def test_a_calibration_counts_no_more_than_it_is_worth_and_the_baseline_is_bounded() -> None:
    assert len(Scores([1.0] * 100, 7.6).baseline) == 8
    assert len(Scores([], 0.0).baseline) == len(Scores([1.0], 0.3).baseline) == 0
    test = Scores()
    for _ in range(MOST + 500):
        test.see(1.0)  # all equal: worth next to nothing
    assert len(test.baseline) == MOST and test.stands and not test.out


def test_the_baseline_grows_to_what_it_is_to_be_worth() -> None:
    random, test = np.random.default_rng(0), Scores()
    parts_until_out(test, random.standard_normal(1000))
    assert test.stands and WANTED <= test.worth < WANTED + 2


def test_how_alike_neighbours_are_survives_a_change() -> None:
    random, alike = np.random.default_rng(0), Alike()
    for value in np.concatenate([random.standard_normal(1000), random.standard_normal(1000) + 5]):
        alike.see(float(value))
    assert alike.worth is not None and alike.worth > 0.8
