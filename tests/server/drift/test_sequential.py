"""The bets: no gain in control, whatever the distribution, and the bounds of a baseline of few parts."""

from __future__ import annotations

import numpy as np
import pytest

from server.drift.sequential import ENOUGH, FALSE, PARTS, TESTS, Evidence, rank_limit, share_limit


@pytest.mark.parametrize("draw", ["uniform", "two values", "rare"])
def test_on_average_evidence_in_control_is_the_number_of_parts(draw: str) -> None:
    random, runs, parts, limit = np.random.default_rng(0), 20_000, 30, 0.3
    evidence = Evidence(runs, head=0)
    for _ in range(parts):
        drawn = random.random(runs)
        values = {"uniform": 0.6 * drawn, "two values": 1.0 * (drawn < limit), "rare": limit * (drawn < 1)}[draw]
        found = evidence.see(values, np.full(runs, limit))
    assert found.mean() <= parts * 1.1


def test_what_is_beyond_its_limit_is_found_and_what_was_forgotten_begins_anew() -> None:
    evidence, limits = Evidence(2, head=0), np.array([0.3, 0.3])
    for _ in range(60):
        evidence.see(np.array([1.0, 0.2]), limits)
    assert evidence.now[0] > ENOUGH > evidence.now[1]
    evidence.forget(np.array([True, False]))
    assert evidence.now[0] == 0 < evidence.now[1]


def test_evidence_of_days_does_not_overflow() -> None:
    evidence = Evidence(1)
    with np.errstate(over="raise"):
        for _ in range(3000):
            found = evidence.see(np.ones(1), np.full(1, 0.1))
    assert np.isfinite(found).all()


def test_neighbours_that_are_alike_say_less() -> None:
    alone, alike = Evidence(1, head=0), Evidence(1, head=0)
    for _ in range(40):
        alone.see(np.ones(1), np.full(1, 0.5), 1.0)
        alike.see(np.ones(1), np.full(1, 0.5), 0.1)
    assert alone.now[0] > 1000 * alike.now[0]


@pytest.mark.parametrize("worth", [20, 100, 400])
def test_a_baseline_strays_farther_than_its_limits_as_rarely_as_is_stated(worth: int) -> None:
    """One in 2800 by the limits; of 20,000 baselines 7 would be."""
    uniform = np.random.default_rng(1).random((20_000, worth))
    allowed = FALSE / 2 / TESTS
    assert (1 - uniform.mean(1) > 0.5 + rank_limit(worth)).mean() <= 2 * allowed
    assert (1 - uniform.max(1) > share_limit(worth)).mean() <= 3 * allowed


def test_the_threshold_is_that_of_doobs_inequality() -> None:
    assert ENOUGH >= 2 * PARTS * TESTS / FALSE
