from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.score import LARGEST, Detection, display_score, finite, heat, overlay, smoothed, to_detection

positive = st.floats(1e-3, 1e3)


def test_the_image_score_is_the_maps_largest_value() -> None:
    distances = np.random.default_rng(0).random((40, 30), dtype=np.float32)
    detection = to_detection(distances)
    assert detection.score == detection.anomaly_map.max()
    assert detection.anomaly_map.shape == (40, 30) and detection.anomaly_map.dtype == np.float32


def test_a_group_of_patches_weighs_more_than_one() -> None:
    one, group = np.zeros((20, 20), np.float32), np.zeros((20, 20), np.float32)
    one[10, 10] = 5
    group[9:12, 9:12] = 5
    assert to_detection(one).score < 0.2 * 5
    assert to_detection(group).score > 2 * to_detection(one).score


@pytest.mark.parametrize("odd", [math.nan, math.inf, 3e38])
@pytest.mark.parametrize("which", ["distances", "coarse", "drawn"])
def test_a_score_that_is_not_finite_is_above_every_threshold(odd: float, which: str) -> None:
    """No number is above NaN, nor NaN above any: the frame would be NORMAL."""
    maps = {name: np.full((8, 8), 1, np.float32) for name in ("distances", "coarse", "drawn")}
    maps[which][4, 4] = odd
    detection = to_detection(**maps)
    assert np.isfinite(detection.anomaly_map).all() and detection.score == detection.anomaly_map.max()
    if which != "drawn" or math.isnan(odd):  # what drawn defects say counts for no more than the distance
        assert detection.score == LARGEST
    assert heat(detection.anomaly_map, 1.0).max() == (255 if detection.score > 2 else 128)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_map_that_is_not_finite_is_as_such_a_score(odd: float) -> None:
    """Cut to a recipe's regions, it would be no number, and NORMAL."""
    found = np.ones((4, 4), np.float32)
    found[1, 2] = odd
    detection = finite(1.0, found)
    assert detection.score == LARGEST and np.isfinite(detection.anomaly_map).all()


def test_an_even_map_keeps_its_value_up_to_the_corners() -> None:
    assert to_detection(np.full((8, 8), 3, np.float32)).anomaly_map == pytest.approx(3)


@given(positive, positive, positive, positive | st.just(math.nan))
def test_display_score_rises_with_the_raw_score_and_stays_between_0_and_1(
    a: float, b: float, threshold: float, typical: float
) -> None:
    low, high = sorted((a, b))
    assert 0 <= display_score(low, threshold, typical) <= display_score(high, threshold, typical) <= 1


@given(positive)
def test_display_score_is_a_half_at_the_threshold(threshold: float) -> None:
    for typical in (0.8 * threshold, 0.1 * threshold):
        assert display_score(typical, threshold, typical) == pytest.approx(0.1)
        assert display_score(threshold, threshold, typical) == 0.5
        assert display_score(2 * threshold - typical, threshold, typical) == pytest.approx(0.9)
    for unknown in (math.nan, threshold, 2 * threshold):
        assert display_score(0.5 * threshold, threshold, unknown) == pytest.approx(0.1)


@given(positive)
def test_the_heat_scale_is_absolute(threshold: float) -> None:
    values = np.array([[0, 0.5, 1, 1.5, 1.9, 2, 50]], np.float32) * np.float32(threshold)
    assert heat(values, threshold).tolist() == [[0, 64, 128, 192, 243, 255, 255]]
    assert heat(values, threshold, at_threshold=100).tolist() == [[0, 50, 100, 150, 190, 200, 255]]


def test_heat_of_one_frame_does_not_depend_on_its_range() -> None:
    good = np.array([[1.0, 2.0]], np.float32)
    assert heat(np.append(good, [[99]], 1).astype(np.float32), 10.0)[0, :2].tolist() == heat(good, 10.0)[0].tolist()


def test_an_overlay_leaves_what_is_cold_untouched() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    assert np.array_equal(overlay(frame, np.full((6, 8), 102, np.uint8)), frame)
    hot = np.zeros((6, 8), np.uint8)
    hot[:, 6:] = 255
    painted = overlay(frame, hot)
    assert painted.shape == frame.shape and painted.dtype == np.uint8
    assert np.array_equal(painted[:, :50], frame[:, :50])
    assert (painted[:, 70:] != frame[:, 70:]).any(2).mean() > 0.99
    red = painted[:, 70:].astype(int).mean((0, 1))
    assert red[2] > red[0] and red[2] > red[1]


def bump(at: tuple[int, int], height: float, side: int = 20) -> NDArray[np.float32]:
    patches = np.zeros((side, side), np.float32)
    patches[at[0] - 1 : at[0] + 2, at[1] - 1 : at[1] + 2] = height
    return patches


def test_scales_agree_or_the_larger_one_counts() -> None:
    fine = np.full((20, 20), 4, np.float32)
    alone = to_detection(fine).score
    assert to_detection(fine, np.full((10, 10), 1, np.float32)).score == pytest.approx(alone, rel=1e-2)
    assert to_detection(fine, np.full((10, 10), 4, np.float32)).score == pytest.approx(2**0.25 * alone)
    assert to_detection(fine, np.full((10, 10), 8, np.float32)).score > 8


def test_a_coarse_find_lies_where_it_is_in_the_frame() -> None:
    detection = to_detection(np.ones((20, 20), np.float32), bump((7, 2), 9, side=10))
    row, column = np.unravel_index(int(detection.anomaly_map.argmax()), (20, 20))
    assert row in (14, 15) and column in (4, 5)


def test_drawn_defects_add_to_the_score_and_show_where() -> None:
    distances = np.full((20, 20), 5, np.float32)
    detection = to_detection(distances, None, bump((4, 13), 3) - 1)
    assert 5 < detection.score <= 8
    assert detection.anomaly_map.max() == pytest.approx(detection.score)
    assert np.unravel_index(int(detection.anomaly_map.argmax()), (20, 20)) == (4, 13)
    assert detection.anomaly_map[15, 3] == pytest.approx(5)


def test_drawn_defects_never_take_away() -> None:
    distances = bump((10, 10), 6) + 1
    assert to_detection(distances, None, np.full((20, 20), -9, np.float32)).score == to_detection(distances).score


def test_drawn_defects_add_nothing_where_the_memory_bank_knows_the_patch() -> None:
    """Or nothing could be forgiven."""
    assert to_detection(np.zeros((20, 20), np.float32), None, bump((4, 13), 50)).score == 0


@given(st.integers(0, 1000))
def test_the_maps_largest_value_is_the_score(seed: int) -> None:
    random = np.random.default_rng(seed)
    maps = [random.gamma(2, 2, (side, side)).astype(np.float32) for side in (16, 8)]
    detection = to_detection(*maps, random.normal(0, 3, (16, 16)).astype(np.float32))
    assert detection.score >= to_detection(*maps).score
    assert detection.anomaly_map.max() == pytest.approx(detection.score, rel=1e-5)


@given(st.integers(0, 1000))
def test_the_score_is_the_largest_distance_and_the_most_that_is_added_wherever_they_are(seed: int) -> None:
    random = np.random.default_rng(seed)
    distances = random.gamma(2, 2, (16, 16)).astype(np.float32)
    drawn = random.normal(-1, 3, (16, 16)).astype(np.float32)
    smooth = smoothed(distances)
    added = np.clip(smoothed(drawn), 0, smooth)
    assert to_detection(distances, None, drawn).score == float(smooth.max() + added.max())


def label_and_part() -> tuple[Detection, NDArray[np.bool_]]:
    """A label that deviates most of all, a part of which drawn defects say a little; and where the part is."""
    distances, drawn = np.full((20, 20), 5, np.float32), np.zeros((20, 20), np.float32)
    distances[:6, :6] = 30
    drawn[14, 14] = 0.6
    part = np.ones((20, 20), np.bool_)
    part[:10, :10] = False
    return to_detection(distances, None, drawn), part


def test_nothing_of_what_is_cut_out_is_left_in_the_rest() -> None:
    detection, part = label_and_part()
    assert 30 < detection.score < 30.2
    for cut in (detection.only(part), detection.laid(np.array).only(part)):
        assert 5 < cut.score < 5.2 and cut.anomaly_map.max() == pytest.approx(cut.score)
        assert not cut.anomaly_map[~part].any()
    label = detection.only(~part)
    assert label.score == pytest.approx(30) and label.anomaly_map.max() == pytest.approx(30)


@given(st.integers(0, 1000), st.booleans())
def test_all_of_a_frame_scores_what_the_frame_does(seed: int, of_two: bool) -> None:
    random = np.random.default_rng(seed)
    distances = random.gamma(2, 2, (16, 16)).astype(np.float32)
    drawn = random.normal(0, 3, (16, 16)).astype(np.float32) if of_two else None
    detection = to_detection(distances, None, drawn)
    all_of_it = detection.only(np.ones((16, 16), np.bool_))
    assert all_of_it.score == detection.score and np.array_equal(all_of_it.anomaly_map, detection.anomaly_map)


def test_what_is_said_of_the_whole_frame_is_said_of_every_part_of_it() -> None:
    part = np.eye(4, dtype=np.bool_)
    assert Detection(LARGEST, np.ones((4, 4), np.float32)).only(part).score == pytest.approx(LARGEST)
    assert Detection(7.0, np.ones((4, 4), np.float32)).only(part).score == 7
