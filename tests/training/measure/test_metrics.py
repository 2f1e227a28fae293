from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from training.measure.metrics import Decisions, PixelScores, auroc, best_f1, decide, recall_at

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
    assert best_f1(SCORES, labels) is recall_at(SCORES, labels) is None
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


def test_recall_by_hand() -> None:
    found = recall_at(SCORES, DEFECTIVE)
    assert found is not None
    # No good picture of three may be rejected, so the threshold lies at the highest, 4: of 3, 5 and 6 two are found.
    assert (found.recall, found.allowed, found.good, found.threshold) == (pytest.approx(2 / 3), 0, 3, 4.0)
    one_of_three = recall_at(SCORES, DEFECTIVE, 1 / 3)
    assert one_of_three is not None and (one_of_three.recall, one_of_three.threshold) == (1.0, 2.0)


@pytest.mark.parametrize(("good", "allowed"), [(20, 0), (99, 0), (100, 1), (299, 2), (700, 7)])
def test_few_good_pictures_may_not_be_rejected_at_all(good: int, allowed: int) -> None:
    scores = np.arange(good + 1, dtype=np.float64)
    found = recall_at(scores, scores == good)
    assert found is not None and (found.allowed, found.recall) == (allowed, 1.0)


@given(labelled, st.floats(0, 0.99))
def test_no_threshold_finds_more_at_so_few_false_rejects(
    case: tuple[NDArray[np.float64], NDArray[np.bool_]], rate: float
) -> None:
    scores, defective = case
    found = recall_at(scores, defective, rate)
    assert found is not None
    decisions = decide(scores, defective, found.threshold)
    assert decisions.false_rejects <= found.allowed <= rate * found.good + 1e-9
    assert found.recall == pytest.approx(1 - decisions.escapes / decisions.defective)
    for cut in np.arange(-0.5, 13):
        other = decide(scores, defective, cut)
        if other.false_rejects <= found.allowed:
            assert other.escapes >= decisions.escapes


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


Pictures = list[tuple[NDArray[np.float32], NDArray[np.bool_]]]


def exact_aupro(pictures: Pictures, fpr_limit: float) -> float:
    """AUPRO by its definition: at every value that occurs, the mean over regions of the share that is found."""
    good = np.concatenate([scores[~mask] for scores, mask in pictures])
    regions = []
    for scores, mask in pictures:
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        regions += [scores[labels == label] for label in range(1, count)]
    curve = [(0.0, 0.0)]
    for value in sorted({float(value) for scores, _ in pictures for value in scores.ravel()}, reverse=True):
        overlap = float(np.mean([(region >= value).mean() for region in regions]))
        curve.append((float((good >= value).mean()), overlap))
    area = 0.0
    for (start, low), (end, high) in itertools.pairwise(curve):
        if start < fpr_limit:
            cut = min(end, fpr_limit)
            at_cut = low + (high - low) * (cut - start) / (end - start) if end > start else high
            area += (cut - start) * (low + at_cut) / 2
    return area / fpr_limit


def drawn_pictures(seed: int, step: float) -> Pictures:
    """Blobs of all sizes, some of which the scores find; scores in steps, wider than a bin, so that ties occur."""
    random = np.random.default_rng(seed)
    pictures: Pictures = []
    for number in range(4):
        mask = cv2.GaussianBlur(random.normal(size=(40, 56)), (0, 0), 3) > (0.12 if number else 9)
        scores = random.gamma(2.0, 2.0, (40, 56)) + mask * random.uniform(0, 4)
        pictures.append((np.asarray(np.round(scores / step) * step, np.float32), np.asarray(mask, np.bool_)))
    return pictures


@pytest.mark.parametrize("fpr_limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("step", [0.01, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_aupro_is_what_its_definition_says(seed: int, step: float, fpr_limit: float) -> None:
    pictures = drawn_pictures(seed, step)
    pixels = PixelScores()
    for scores, mask in pictures:
        pixels.add(scores, mask)
    assert pixels.aupro(fpr_limit) == pytest.approx(exact_aupro(pictures, fpr_limit), abs=1e-9)


def test_bins_move_aupro_by_less_than_a_thousandth() -> None:
    pictures = drawn_pictures(7, 1e-6)
    pixels = PixelScores()
    for scores, mask in pictures:
        pixels.add(scores, mask)
    assert pixels.aupro() == pytest.approx(exact_aupro(pictures, 0.3), abs=1e-3)


def test_aupro_agrees_with_anomalib() -> None:
    torch = pytest.importorskip("torch")
    aupro = pytest.importorskip("anomalib.metrics.aupro")
    pictures = drawn_pictures(1, 0.1)
    pixels = PixelScores()
    theirs = aupro._AUPRO(fpr_limit=0.3)
    for scores, mask in pictures:
        pixels.add(scores, mask)
        theirs.update(torch.from_numpy(scores)[None], torch.from_numpy(mask.astype(np.int64))[None])
    assert pixels.aupro() == pytest.approx(float(theirs.compute()), abs=1e-4)


def test_every_region_counts_the_same_and_corners_touch() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[0, 0] = mask[1, 1] = True  # one region, found
    mask[5:9, 5:9] = True  # another, missed
    pixels = PixelScores()
    pixels.add(np.where(mask & (np.arange(10) < 3), 2, 0).astype(np.float32) + np.float32(1), mask)
    # All else is 1: from half of the overlap at no false positive straight to all at every one.
    assert pixels.aupro(0.3) == pytest.approx((0.5 + (0.5 + 0.5 * 0.3)) / 2)
    assert pixels.aupro(1.0) == pytest.approx(0.75)


def test_without_regions_or_without_good_pixels_there_is_no_aupro() -> None:
    for mask in (np.zeros((4, 4), np.bool_), np.ones((4, 4), np.bool_)):
        pixels = PixelScores()
        assert pixels.aupro() is None
        pixels.add(np.ones((4, 4), np.float32), mask)
        assert pixels.aupro() is None
