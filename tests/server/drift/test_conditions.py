"""How pictures are taken, against the baseline: six figures in both directions."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import drift as measured
from server.drift.conditions import MATTERS, OF, WANTED, Conditions
from server.inspection import NAMES, Span

SPREAD = MATTERS / 4


def taught(random: np.random.Generator) -> Conditions:
    test = Conditions()
    while not test.stands:
        assert not test.see(random.standard_normal(6) * SPREAD)
    return test


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("number", range(6))
def test_what_changed_is_named_within_a_minute(number: int, sign: int) -> None:
    """Of parts every two seconds, a while after the calibration."""
    random = np.random.default_rng(number)
    test = taught(random)
    for _ in range(200):
        assert not test.see(random.standard_normal(6) * SPREAD)
    shift = np.zeros(6)
    shift[number] = 2.5 * sign * MATTERS[number]
    took = next(count for count in range(1, 100) if test.see(random.standard_normal(6) * SPREAD + shift))
    assert took <= 30 and test.whats == {OF[number]} and test.out[number] == sign
    assert test.off[number] == pytest.approx(shift[number], rel=0.3)
    back = next(count for count in range(1, 200) if test.see(random.standard_normal(6) * SPREAD))
    assert not test.whats and back < 100


def test_a_calibration_s_spans_are_compared_with_at_once() -> None:
    spans = {name: Span(-0.01, 0.0, 0.01) for name in NAMES}
    test = Conditions(spans, 50)
    assert test.stands
    shift = np.array([-0.5, 0, 0, 0, 0, 0])
    assert next(count for count in range(1, 60) if test.see(shift)) <= 30
    assert test.whats == {"light"}
    assert not Conditions(spans, WANTED - 1).stands
    assert Conditions({"light": spans["light"]}, 50).worth == 0, "what lacks a figure is no baseline"


def test_parts_that_differ_and_daylight_are_no_news() -> None:
    assert measured.warned_of_pictures(0, runs=20, parts=2000) == 0
    assert measured.warned_of_pictures(0.1, runs=20, parts=2000) == 0


def test_one_odd_part_in_five_is_no_news() -> None:
    random = np.random.default_rng(0)
    test = taught(random)
    for number in range(1000):
        assert not test.see(random.standard_normal(6) * SPREAD + (number % 5 == 0) * 3 * MATTERS)
