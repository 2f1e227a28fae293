from __future__ import annotations

import numpy as np
import pytest

from detector.showing.patches import UNITS, Smoothing, between
from detector.showing.unlike import FEWEST, MOST_OUT, Nearness, struck_out


@pytest.mark.parametrize(("parts", "out"), [(0, 0), (FEWEST - 1, 0), (FEWEST, 1), (30, 3), (60, 6), (300, MOST_OUT)])
def test_a_tenth_is_struck_out_the_most_unlike_first(parts: int, out: int) -> None:
    scores = np.random.default_rng(parts).permutation(parts).tolist()
    found = struck_out(scores, ())
    assert [scores[place] for place in found] == list(range(parts - 1, parts - 1 - out, -1))
    if found:
        assert struck_out(scores, {found[0]}) == found[1:]  # none takes the turn of one that was kept


def test_distances_are_those_of_the_definition() -> None:
    random = np.random.default_rng(0)
    one, *others = random.integers(-127, 128, (6, 12, 64)).astype(np.int8)
    there, back = between(one, others)
    for number, other in enumerate(others):
        apart = np.linalg.norm(one[:, None].astype(float) - other[None].astype(float), axis=2)
        np.testing.assert_array_equal(there[number], np.rint(apart.min(1) * UNITS))
        np.testing.assert_array_equal(back[number], np.rint(apart.min(0) * UNITS))


def test_a_picture_of_the_usual_kind_is_seldom_new_and_of_another_kind_always() -> None:
    random = np.random.default_rng(1)
    usual = random.normal(0, 20, (30, 12, 64))
    kinds = [*usual, random.normal(60, 20, (12, 64)), random.normal(60, 20, (12, 64))]
    signatures = [np.clip(np.rint(kind), -127, 127).astype(np.int8) for kind in kinds]
    nearness = Nearness(Smoothing((3, 4)), len(kinds), 12)
    new = [nearness.add(*between(own, signatures[:place])) for place, own in enumerate(signatures)]
    assert new[:2] == [True, True]
    assert sum(new[10:30]) <= 5
    assert new[30:] == [True, False]  # the second of its kind has a neighbour
    assert len(nearness.scores) == 32
