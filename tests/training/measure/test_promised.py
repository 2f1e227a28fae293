from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import detector
from detector import TaughtModel
from tests.training.conftest import draw_part
from training.data import find_data_set
from training.measure import evaluate
from training.measure.promised import promised
from training.reports.reports import promise_in_words


@pytest.fixture(scope="module")
def taught() -> TaughtModel:
    return detector.fit([draw_part(number) for number in range(24)], image_size=64, coreset_size=40)


def test_the_promise_is_that_of_the_threshold_asked_for(taught: TaughtModel) -> None:
    own = promised(taught, taught.threshold, 100, 0)
    lower = promised(taught, float(np.median(taught.manifest.held_out_scores)), 100, 0)
    assert own is not None and lower is not None
    assert 0 < own.expected <= own.at_most < lower.at_most <= 1
    assert own.parts == len(taught.manifest.held_out_scores)


@pytest.mark.parametrize(
    ("good", "false_rejects", "seen", "kept", "words"),
    [
        (1000, 0, 0.0, True, "seen here 0.0%: kept"),
        (1000, 900, 0.9, False, "seen here 90.0%: NOT kept"),
        (3, 1, 1 / 3, None, "seen here 33.3%: more than that, but in so few pictures it may be chance"),
    ],
)
def test_what_came_is_held_against_it(
    taught: TaughtModel, good: int, false_rejects: int, seen: float, kept: bool | None, words: str
) -> None:
    # High enough that one of three is more than promised, and low enough that it may be chance.
    scores = taught.manifest.held_out_scores
    threshold = float(np.mean(scores) + 1.6 * np.std(scores))
    found = promised(taught, threshold, good, false_rejects)
    assert found is not None
    assert (found.seen, found.kept) == (pytest.approx(seen), kept)
    assert words in promise_in_words(found)


def test_without_good_pictures_nothing_can_have_come(taught: TaughtModel) -> None:
    found = promised(taught, taught.threshold, 0, 0)
    assert found is not None
    assert (found.seen, found.kept) == (None, None)
    assert promise_in_words(found) == found.sentence


def test_few_parts_promise_nothing_and_the_report_says_so(parts: Path) -> None:
    few = detector.fit([draw_part(number) for number in range(6)], image_size=64, coreset_size=40)
    evaluation = evaluate(few, find_data_set(parts).test)
    assert evaluation.promise is None
    assert "too few" in promise_in_words(evaluation.promise)
    assert evaluation.as_json()["promise"] is None
    assert evaluation.recall is not None and evaluation.recall.allowed == 0
