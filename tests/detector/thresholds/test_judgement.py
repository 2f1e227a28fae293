from __future__ import annotations

import cv2
import numpy as np
import pytest

from detector import near_copies
from detector.thresholds import KSigma, OneIn, independent_parts, judge
from tests.detector.parts import draw_part


def drawn(count: int, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).normal(8, 0.5, count).tolist()


def correlated(count: int, rho: float, seed: int = 0) -> list[float]:
    random = np.random.default_rng(seed)
    values = [random.normal()]
    for _ in range(count - 1):
        values.append(rho * values[-1] + np.sqrt(1 - rho**2) * random.normal())
    return [8 + 0.5 * value for value in values]


def test_independent_parts_all_count() -> None:
    found = [independent_parts(drawn(20, seed)) / 20 for seed in range(100)]
    assert np.median(found) == 1 and np.mean(found) > 0.9


def test_frames_in_a_row_are_worth_fewer_parts() -> None:
    """About n·(1 − ρ)/(1 + ρ): 1 of 20, 11 of 200."""
    assert np.median([independent_parts(correlated(20, 0.9, seed)) for seed in range(50)]) < 4
    assert 5 < np.median([independent_parts(correlated(200, 0.9, seed)) for seed in range(50)]) < 20


def test_one_score_again_and_again_is_one_part() -> None:
    assert independent_parts([8.0] * 20) == 1


def test_a_clean_capture_is_judged_clean() -> None:
    found = judge(drawn(30), OneIn(100), in_force=11.0, taught=drawn(30, 1), recent=[7, 8, 9.6, 12])
    assert found.refused is None and not found.suspects and not found.warnings
    assert found.calibration is not None and found.calibration.promise is not None
    assert found.without_suspects is None and found.margin is None
    assert (found.now_rejected, found.of) == (1, 4)
    assert found.then_rejected == sum(score > found.calibration.threshold for score in [7, 8, 9.6, 12])
    assert sum(found.histogram.captured) == sum(found.histogram.taught) == 30
    assert len(found.histogram.edges) == len(found.histogram.captured) + 1


@pytest.mark.parametrize(
    ("in_force", "lowest", "taught"), [(None, 14, []), (20.0, 14, []), (9.8, 9.9, []), (9.8, 9.9, drawn(30, 1))]
)
def test_eight_defects_among_21_frames_are_named(in_force: float | None, lowest: float, taught: list[float]) -> None:
    """By the capture alone where they stand apart; near the good ones by the threshold in force."""
    scores = np.array(drawn(21))
    bad = [1, 4, 5, 9, 12, 15, 16, 20]
    scores[bad] = np.random.default_rng(1).uniform(lowest, 19, len(bad))
    found = judge(scores.tolist(), KSigma(3), in_force=in_force, taught=taught)
    assert [suspect.index for suspect in found.suspects] == bad
    assert found.without_suspects is not None and found.calibration is not None
    assert found.without_suspects.threshold < 11 < found.calibration.threshold
    assert found.warnings and "8 frames look like defects" in found.warnings[0]


def test_one_good_part_in_a_few_dozen_may_lie_a_little_above_the_threshold() -> None:
    scores, taught = drawn(30), drawn(40, 1)
    scores[7] = 9.3
    assert not judge(scores, KSigma(3), in_force=9.2, taught=taught).suspects
    assert [one.index for one in judge(scores, KSigma(3), in_force=9.2).suspects] == [7], "nothing says how many do"
    scores[7] = 12.0
    assert [one.index for one in judge(scores, KSigma(3), in_force=9.2, taught=taught).suspects] == [7]


def test_where_most_lie_above_the_threshold_it_is_the_place_that_differs() -> None:
    found = judge(drawn(20), KSigma(3), in_force=7.0, taught=drawn(30, 1))
    assert not found.suspects and found.warnings and "most of the frames lie above" in found.warnings[0]


def looks(pictures: list[np.ndarray]) -> list[near_copies.Look]:  # type: ignore[type-arg]
    return [near_copies.look_of(picture) for picture in pictures]


def test_one_part_lying_still_is_refused() -> None:
    random = np.random.default_rng(3)
    part = draw_part(0, width=320, height=320).astype(float)
    still = [np.clip(part + random.normal(0, 4, part.shape), 0, 255).astype(np.uint8) for _ in range(20)]
    drift = [np.clip(part * light + random.normal(0, 4, part.shape), 0, 255).astype(np.uint8) for light in np.linspace(1, 1.1, 20)]  # fmt: skip  # noqa: E501
    for pictures in (still, drift):
        found = judge(drawn(20), KSigma(3), in_force=10, looks=looks(pictures))
        assert found.refused is not None and "one part lying still" in found.refused


def test_frames_of_the_same_part_count_once() -> None:
    random = np.random.default_rng(3)
    parts = [random.normal(120, 40, (12, 12, 3)) for _ in range(3)]
    whole = [cv2.resize(part, (320, 320), interpolation=cv2.INTER_CUBIC) for part in parts]
    noisy = [whole[n % 3] + random.normal(0, 4, whole[0].shape) for n in range(21)]
    pictures = looks([np.clip(one, 0, 255).astype(np.uint8) for one in noisy])
    found = judge(drawn(21), KSigma(3), in_force=10, looks=pictures)
    assert found.refused is None and found.calibration is not None and found.calibration.n_images == 3
    assert found.warnings == (
        "the 21 frames show only 3 different parts: let more of them pass, or the threshold fits to these alone",
    )
    assert judge(drawn(21), OneIn(100), in_force=10, looks=pictures).refused is not None


def test_frames_that_show_nothing_are_refused() -> None:
    random = np.random.default_rng(3)
    for grey in (3, 250):
        blank = [np.clip(random.normal(grey, 4, (320, 320, 3)), 0, 255).astype(np.uint8) for _ in range(20)]
        found = judge(drawn(20), KSigma(3), in_force=10, looks=looks(blank))
        assert found.refused is not None and "show nothing" in found.refused


def test_one_score_again_and_again_is_refused() -> None:
    found = judge([8.0] * 20, KSigma(3), in_force=10)
    assert found.refused is not None and "lying still" in found.refused


def test_a_target_needs_parts() -> None:
    assert judge(drawn(9), OneIn(100), in_force=10).refused is not None
    assert judge(drawn(9), KSigma(3), in_force=10).refused is None


def test_known_defects_show_the_margin() -> None:
    found = judge(drawn(20), KSigma(3), in_force=10, defects=[14.0, 12.0])
    assert found.margin is not None and found.margin.lowest_defect == 12 and found.margin.highest_good < 10


@pytest.mark.parametrize("scores", [[], [8.0]])
def test_too_few_frames_are_refused(scores: list[float]) -> None:
    assert judge(scores, KSigma(3), in_force=None).refused is not None


def test_scores_that_are_no_numbers_raise() -> None:
    with pytest.raises(ValueError, match="finite"):
        judge([1.0, np.nan], KSigma(3), in_force=None)


def test_defects_one_after_the_other_are_named_and_not_taken_for_one_part_lying_still() -> None:
    good = drawn(13)
    run = [*good[:6], *(3 * max(good) + number for number in range(8)), *good[6:]]
    for rule in (KSigma(3), OneIn(100)):
        found = judge(run, rule, in_force=None)
        assert found.refused is None and [one.index for one in found.suspects] == list(range(6, 14))


def test_a_threshold_far_above_the_one_in_force_is_questioned() -> None:
    found = judge([5, 6, 7, 8, 9.0] * 3, KSigma(10), in_force=10.0)
    assert not found.suspects and any("2.2 times the one in force" in words for words in found.warnings)


def test_teaching_that_scored_nothing_says_nothing_of_how_much_higher_a_capture_is() -> None:
    """Taught on pictures that are all alike: their held-out scores are 0."""
    found = judge(drawn(20), KSigma(3), in_force=100.0, taught=[0.0] * 10)
    assert found.calibration is not None and not found.warnings and found.refused is None


def test_scores_beyond_every_order_of_size_still_make_a_threshold() -> None:
    found = judge([1.0, 1e-300], OneIn(100_000), in_force=1.0)
    assert found.calibration is not None and 0 < found.calibration.threshold < np.inf
