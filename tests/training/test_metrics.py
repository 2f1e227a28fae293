from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from training.metrics import Decisions, PixelScores, auroc, best_f1, decide

SCORES = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
DEFECTIVE = np.array([False, False, True, False, True, True])

labelled = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        arrays.arrays(np.float64, n, elements=st.integers(0, 12).map(float)),
        arrays.arrays(np.bool_, n).filter(lambda labels: bool(labels.any() and not labels.all())),
    )
)


def pairs_in_order(good: NDArray[np.floating], defective: NDArray[np.floating]) -> float:
    """AUROC by its definition: the share of pairs in the right order, ties counting half."""
    above = (defective[:, None] > good[None]).mean() + (defective[:, None] == good[None]).mean() / 2
    return float(above)


def test_decisions_by_hand() -> None:
    decisions = decide(SCORES, DEFECTIVE, 3.5)
    assert decisions == Decisions(good=3, defective=3, false_rejects=1, escapes=1)
    assert decisions.false_reject_rate == decisions.escape_rate == pytest.approx(1 / 3)
    assert decisions.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))


def test_a_score_at_the_threshold_is_normal() -> None:
    assert decide(SCORES, DEFECTIVE, 5.0).escapes == 2
    assert decide(SCORES, DEFECTIVE, 4.0).false_rejects == 0


def test_auroc_by_hand() -> None:
    assert auroc(SCORES, DEFECTIVE) == pytest.approx(8 / 9)


def test_best_f1_by_hand() -> None:
    # Above 2.5 all three defects and the good 4: precision 3/4, recall 1. Above 4.5: precision 1, recall 2/3.
    assert best_f1(SCORES, DEFECTIVE) == pytest.approx((2.5, 6 / 7))


def test_best_f1_between_neighbouring_floats() -> None:
    low = 1.0
    high = float(np.nextafter(low, 2))
    best = best_f1(np.array([low, high]), np.array([False, True]))
    assert best == (low, 1.0)


@pytest.mark.parametrize("all_defective", [False, True])
def test_one_sided_sets_say_what_they_can(all_defective: bool) -> None:
    labels = np.full(6, all_defective)
    decisions = decide(SCORES, labels, 3.5)
    assert auroc(SCORES, labels) is None
    assert best_f1(SCORES, labels) is None
    assert decisions.f1 is None
    assert decisions.false_reject_rate == (None if all_defective else 0.5)
    assert decisions.escape_rate == (0.5 if all_defective else None)


@given(labelled)
def test_auroc_is_the_share_of_pairs_in_order(case: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
    scores, defective = case
    assert auroc(scores, defective) == pytest.approx(pairs_in_order(scores[~defective], scores[defective]))


@given(labelled)
def test_no_threshold_beats_the_best_f1(case: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
    scores, defective = case
    best = best_f1(scores, defective)
    assert best is not None
    threshold, f1 = best
    assert decide(scores, defective, threshold).f1 == pytest.approx(f1)
    candidates = [decide(scores, defective, cut - 0.5).f1 or 0.0 for cut in range(14)]
    assert f1 == pytest.approx(max(candidates))


def test_pixel_auroc_by_hand() -> None:
    pixels = PixelScores()
    pixels.add(np.array([[1, 2], [3, 4]], np.float32), np.array([[False, True], [False, True]]))
    assert pixels.auroc() == pytest.approx(3 / 4)
    pixels.add(np.array([[0.5, -0.0], [0.25, -1]], np.float32), np.zeros((2, 2), np.bool_))
    assert pixels.auroc() == pytest.approx(11 / 12)


def test_maps_are_enlarged_to_the_mask() -> None:
    pixels = PixelScores()
    mask = np.zeros((64, 48), np.bool_)
    mask[:32] = True
    pixels.add(np.array([[9, 9], [1, 1]], np.float32), mask)
    assert pixels.auroc() == 1.0


def test_pixels_of_one_kind_have_no_auroc() -> None:
    pixels = PixelScores()
    assert pixels.auroc() is None
    pixels.add(np.ones((4, 4), np.float32), np.zeros((4, 4), np.bool_))
    assert pixels.auroc() is None


@given(
    arrays.arrays(np.float32, (6, 6), elements=st.floats(0, 50, width=32)),
    arrays.arrays(np.bool_, (6, 6)).filter(lambda mask: bool(mask.any() and not mask.all())),
)
def test_bins_cost_next_to_nothing(anomaly_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    pixels = PixelScores()
    rounded = np.round(anomaly_map, 1)  # further apart than a bin is wide
    pixels.add(rounded, mask)
    assert pixels.auroc() == pytest.approx(pairs_in_order(rounded[~mask], rounded[mask]))
