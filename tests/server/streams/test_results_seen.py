"""What came true of a calibration."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from detector.thresholds import Promise
from server.inspection.calibration_file import StoredCalibration
from server.inspection.inspected import NO_RECIPE, Inspected
from server.inspection.threshold import Threshold
from server.recipes import Recipe, Regions
from server.streams import results_seen
from server.streams.in_force import InForce
from server.streams.results_seen import RECENT, ResultsSeen
from tests.server.inspection.test_calibrations import stored

PROMISE = Promise(0.004, 0.018, 0.95, 20, 20.0)


def in_force(calibration: StoredCalibration) -> Threshold:
    return Threshold(calibration.threshold, "calibration", calibration.mean, calibration)


PROMISED = in_force(stored(promise=PROMISE))
RANDOM = np.random.default_rng(1)


def inspected(
    raw_score: float, threshold: Threshold = PROMISED, model: str = "hash", recipe: Recipe = NO_RECIPE
) -> Inspected:
    return Inspected(raw_score, threshold, np.zeros((1, 1), np.uint8), (1, 1), (model, "openvino"), recipe=recipe)


def by(threshold: Threshold, recipe: Recipe = NO_RECIPE) -> InForce:
    return InForce(recipe, ("hash", "openvino"), threshold)


def seen(*results: Inspected) -> ResultsSeen:
    made = ResultsSeen()
    for one in results:
        made.count(one)
    return made


def good(count: int) -> list[Inspected]:
    return [inspected(float(score)) for score in RANDOM.normal(10, 0.5, count).clip(8, 12.4)]


def bad(count: int) -> list[Inspected]:
    return [inspected(float(score)) for score in RANDOM.normal(20, 1, count)]


def mixed(good_: int, bad_: int) -> ResultsSeen:
    results = np.array([*good(good_), *bad(bad_)], object)
    RANDOM.shuffle(results)
    return seen(*results)


def test_within_the_promise() -> None:
    found = mixed(400, 2).since(by(PROMISED))
    assert found is not None
    assert (found.accepted, found.rejected, found.promise_at_most, found.kept) == (400, 2, 0.018, True)
    assert "2 of 402 frames rejected since (0.5 %)" in found.sentence and "within it" in found.sentence


def test_beyond_the_promise() -> None:
    found = mixed(300, 30).since(by(PROMISED))
    assert found is not None and found.kept is False and "calibrate again" in found.sentence


def test_frames_of_one_part_do_not_count_as_many_parts() -> None:
    """Thirty frames of one part, rejected each, are one part rejected: no reason to doubt the promise."""
    one_part = [inspected(20.0 + 0.001 * number) for number in range(30)]
    others = [inspected(score + 0.01 * number) for score in (9.0, 11.0, 10.0, 12.0) for number in range(30)]
    found = seen(*others, *one_part).since(by(PROMISED))
    assert found is not None and found.rejected == 30 and found.kept is not False
    assert "frames" in found.sentence


def test_too_few_to_say() -> None:
    found = mixed(5, 1).since(by(PROMISED))
    assert found is not None and found.kept is None


def test_without_a_promise_nothing_is_compared() -> None:
    bare = in_force(stored(promise=None, no_promise="too few"))
    found = seen(*(inspected(10.0, bare) for _ in range(50))).since(by(bare))
    assert found is not None and (found.promise_at_most, found.kept, found.accepted) == (None, None, 50)


def test_another_calibration_begins_anew_and_another_model_forgets_the_scores() -> None:
    made = mixed(50, 0)
    newer = in_force(stored(promise=PROMISE, created="later"))
    assert made.since(by(newer)) is None, "no frame was judged by it yet"
    made.count(inspected(10.0, newer))
    found = made.since(by(newer))
    assert found is not None and found.accepted == 1 and len(made.scores) == 51
    made.count(inspected(3.0, newer, model="another"))
    assert made.scores == (3.0,)


CORNER = Regions(ignore=(((0.0, 0.0), (0.3, 0.0), (0.3, 0.3)),))


@pytest.mark.parametrize(
    "other",
    [msgspec.structs.replace(NO_RECIPE, id="another"), msgspec.structs.replace(NO_RECIPE, version=2, regions=CORNER)],
    ids=["recipe", "regions"],
)
def test_another_recipe_of_the_same_model_and_other_regions_begin_anew(other: Recipe) -> None:
    made = mixed(50, 0)
    assert made.since(by(PROMISED, other)) is None, "no frame was scored by it yet"
    made.count(inspected(3.0, recipe=other))
    found = made.since(by(PROMISED, other))
    assert found is not None and (found.accepted, made.scores) == (1, (3.0,))


def test_another_version_that_scores_alike_goes_on() -> None:
    made, renamed = mixed(50, 0), msgspec.structs.replace(NO_RECIPE, version=2, name="bottle", regions=Regions())
    made.count(inspected(10.0, recipe=renamed))
    found = made.since(by(PROMISED, renamed))
    assert found is not None and (found.accepted, len(made.scores)) == (51, 51)


def test_without_a_calibration_there_is_nothing_to_come_true() -> None:
    default = Threshold(12.5, "model")
    assert seen(*(inspected(10.0, default) for _ in range(3))).since(by(default)) is None


def test_the_scores_are_bounded() -> None:
    made = seen(*good(RECENT + 50))
    assert len(made.scores) == RECENT


def test_it_can_be_sent() -> None:
    found = mixed(30, 1).since(by(PROMISED))
    assert msgspec.json.decode(msgspec.json.encode(found))["rejected"] == 1


def test_months_of_results_are_weighed_as_quickly_as_a_day_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    weighed: list[int] = []

    def kept(promise: Promise, accepted: int, rejected: int) -> bool:
        weighed.append(accepted + rejected)
        return False

    monkeypatch.setattr(results_seen, "kept", kept)
    made = mixed(300, 30)
    made._accepted, made._rejected = 90_000_000, 10_000_000
    found = made.since(by(PROMISED))
    assert found is not None and found.rejected == 10_000_000
    assert weighed == [results_seen.MOST_WEIGHED]
