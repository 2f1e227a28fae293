from __future__ import annotations

import numpy as np
import pytest

from detector.thresholds import OneIn, Promise, calibrate, kept


def good_parts(count: int, seed: int) -> list[float]:
    """Scores skewed to the right, as those of real parts are."""
    return np.exp(np.random.default_rng(seed).gumbel(2.2, 0.05, count)).tolist()


def test_what_is_expected_comes_true_and_the_bound_holds() -> None:
    """A hundred calibrations on 20 parts each, judged by 2000 others."""
    later = np.array(good_parts(2000, 1000))
    found = [calibrate(good_parts(20, seed), OneIn(50), independent=20) for seed in range(100)]
    realised = np.array([(later > one.threshold).mean() for one in found])
    bounds = np.array([one.promise.at_most for one in found if one.promise])
    assert 0.01 < realised.mean() < 0.04
    assert (realised <= bounds).mean() >= 0.93


def test_a_quiet_odd_part_moves_nothing() -> None:
    """Only the upper half of the scores says what the highest will be."""
    scores = good_parts(40, 3)
    changed = scores.copy()
    changed[int(np.argmin(scores))] *= 0.7
    assert calibrate(changed, OneIn(100)).threshold == pytest.approx(calibrate(scores, OneIn(100)).threshold, rel=0.02)


def test_scores_below_zero_have_a_threshold_too() -> None:
    """Of other people's models: only the scale is another."""
    scores = (np.array(good_parts(40, 3)) - 10).tolist()
    found = calibrate(scores, OneIn(50))
    assert min(scores) < 0 < found.threshold and found.promise is not None
    assert np.quantile(scores, 0.9) < found.threshold < max(scores) + 3 * found.std


PROMISE = Promise(0.01, 0.05, 0.95, 30, 30.0)


@pytest.mark.parametrize(
    ("accepted", "rejected", "expected"),
    [(0, 0, None), (100, 5, True), (1000, 0, True), (90, 10, False), (19, 1, True), (9, 1, None), (0, 2, False)],
)
def test_a_promise_is_broken_when_chance_does_not_explain_it(
    accepted: int, rejected: int, expected: bool | None
) -> None:
    """10 of 100 come once in 35 times where 5 % is true, 1 of 10 nearly every other time."""
    assert kept(PROMISE, accepted, rejected) is expected


@pytest.mark.parametrize(("at_most", "bound", "parts"), [(0.09, "5.0", 59), (0.05, "2.0", 149), (0.011, "0.5", 598)])
def test_a_stronger_promise_says_what_it_takes(at_most: float, bound: str, parts: int) -> None:
    """59 parts for 5 %, 299 for 1 %: so many without a reject show it with 95 % confidence, by counting alone."""
    promise = Promise(0.001, at_most, 0.95, 30, 30.0)
    assert promise.stronger == f"at most {bound} % takes {parts} independent parts, none of them above the threshold"
    assert (1 - float(bound) / 100) ** parts <= 0.05 < (1 - float(bound) / 100) ** (parts - 1)


def test_small_shares_are_said_with_enough_digits() -> None:
    sentence = Promise(0.0005, 0.0123, 0.95, 300, 300.0).sentence
    assert sentence == "good parts rejected: about 0.05 %, at most 1.2 % (95 % sure), from 300 parts"
