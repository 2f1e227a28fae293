from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detector import Detection
from training.data.datasets import DataSetError, TestPicture
from training.measure.evaluate import Evaluation, evaluate


class Brightness:
    """A model whose image score is the picture's brightness, so that a test can write the scores down."""

    threshold = 100.0

    def __init__(self) -> None:
        self.detected = 0

    def detect(self, frame: NDArray[np.uint8]) -> Detection:
        self.detected += 1
        grey = frame[::8, ::8, 0].astype(np.float32)
        return Detection(float(frame.max()), grey)


@pytest.fixture
def picture(tmp_path: Path, write: Any) -> Callable[[str, int], TestPicture]:
    def make(defect: str, score: int) -> TestPicture:
        frame = np.full((32, 32, 3), score, np.uint8)
        return TestPicture(write(tmp_path / f"{defect}-{score}.png", frame), defect)

    return make


def test_figures_by_hand(picture: Any) -> None:
    scores = {"good": [20, 60, 120], "dent": [90, 130], "scratch": [140, 150]}
    done: list[int] = []
    model = Brightness()
    evaluation = evaluate(
        model, [picture(kind, score) for kind in scores for score in scores[kind]], progress=done.append
    )
    assert (evaluation.good, evaluation.defective, evaluation.threshold) == (3, 4, 100.0)
    assert evaluation.image_auroc == pytest.approx(11 / 12)
    assert (evaluation.false_rejects, evaluation.escapes) == (1, 1)
    assert evaluation.false_reject_rate == pytest.approx(1 / 3)
    assert evaluation.escape_rate == 1 / 4
    assert evaluation.f1 == pytest.approx(6 / 8)
    assert evaluation.best_f1 == pytest.approx(8 / 9)
    assert evaluation.best_f1_threshold == 75
    good, dent, scratch = evaluation.by_type
    assert (good.defect, good.pictures, good.wrong, good.image_auroc) == ("good", 3, 1, None)
    assert (dent.defect, dent.pictures, dent.wrong, dent.wrong_rate) == ("dent", 2, 1, 0.5)
    assert dent.image_auroc == pytest.approx(5 / 6)
    assert (scratch.wrong, scratch.image_auroc) == (0, 1.0)
    assert [picture.is_anomaly for picture in evaluation.pictures] == [
        False,
        False,
        True,
        False,
        True,
        True,
        True,
    ]
    assert evaluation.pixel_auroc is evaluation.aupro is None
    assert evaluation.by_lighting == ()
    assert evaluation.notes == ("There are no masks, so pixel AUROC and AUPRO are unknown.",)
    assert done == [1, 2, 3, 4, 5, 6, 7]
    assert model.detected == 8  # once more, to warm up
    assert 0 < evaluation.latency_median_ms <= evaluation.latency_p95_ms


def test_another_threshold(picture: Any) -> None:
    pictures = [picture("good", 20), picture("dent", 90)]
    assert evaluate(Brightness(), pictures).escapes == 1
    assert evaluate(Brightness(), pictures, threshold=50).escapes == 0


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan, math.inf])
def test_a_threshold_must_be_a_distance(picture: Any, threshold: float) -> None:
    with pytest.raises(DataSetError, match="not a positive number"):
        evaluate(Brightness(), [picture("good", 20)], threshold=threshold)


def test_only_good_pictures(picture: Any) -> None:
    evaluation = evaluate(Brightness(), [picture("good", 20), picture("good", 120)])
    assert (evaluation.false_rejects, evaluation.false_reject_rate) == (1, 0.5)
    unknown = (evaluation.image_auroc, evaluation.f1, evaluation.escape_rate, evaluation.best_f1)
    assert unknown == (None, None, None, None)
    assert evaluation.notes == (
        "There are no defective pictures, so AUROC, F1 and escapes are unknown: add test/TYPE.",
    )


def test_only_defective_pictures(picture: Any) -> None:
    evaluation = evaluate(Brightness(), [picture("dent", 20), picture("dent", 120)])
    assert (evaluation.escapes, evaluation.escape_rate) == (1, 0.5)
    assert evaluation.image_auroc is evaluation.f1 is evaluation.false_reject_rate is None
    assert "no good pictures" in evaluation.notes[0]
    json.dumps(evaluation.as_json(), allow_nan=False)


def with_mask(picture: TestPicture, write: Any, mask: NDArray[np.uint8]) -> TestPicture:
    return replace(picture, mask=write(picture.path.with_name(f"{picture.path.stem}_mask.png"), mask))


def test_masks_count_pixels_and_good_pictures_are_empty_masks(tmp_path: Path, picture: Any, write: Any) -> None:
    frame = np.full((32, 32, 3), 10, np.uint8)
    frame[:, 16:] = 200
    half = np.zeros((32, 32), np.uint8)
    half[:, 16:] = 255
    defect = with_mask(TestPicture(write(tmp_path / "d.png", frame), "dent"), write, half)

    def pixel_auroc(*others: TestPicture) -> Evaluation:
        return evaluate(Brightness(), [defect, *others])

    assert pixel_auroc().pixel_auroc == pytest.approx(1.0, abs=0.02)
    assert pixel_auroc().aupro == pytest.approx(1.0, abs=0.1)
    bright_good = pixel_auroc(picture("good", 250))  # twice as many good pixels, all above the defective ones
    assert bright_good.pixel_auroc == pytest.approx(1 / 3, abs=0.02)
    without_mask = pixel_auroc(picture("dent", 250))  # nobody knows where its defect is
    assert without_mask.pixel_auroc == pixel_auroc().pixel_auroc
    assert without_mask.masks == 1
    assert without_mask.notes[-1] == "Without a mask: 1 defective pictures, left out of pixel AUROC and AUPRO."


def test_an_empty_mask_says_nothing(picture: Any, write: Any) -> None:
    empty = with_mask(picture("dent", 120), write, np.zeros((32, 32), np.uint8))
    evaluation = evaluate(Brightness(), [picture("good", 20), empty])
    assert evaluation.pixel_auroc is evaluation.aupro is None
    assert "mark no pixel" in evaluation.notes[0]


def test_a_mask_of_another_shape_stops_it(picture: Any, write: Any) -> None:
    wide = with_mask(picture("dent", 120), write, np.zeros((32, 64), np.uint8))
    with pytest.raises(DataSetError, match="64×32 pixels, its picture 32×32: not the same shape"):
        evaluate(Brightness(), [wide])


def test_a_mask_of_another_size_is_used(tmp_path: Path, write: Any) -> None:
    frame = np.full((32, 64, 3), 10, np.uint8)
    frame[:, 32:] = 200
    mask = np.zeros((64, 128), np.uint8)
    mask[:, 64:] = 1
    dent = with_mask(TestPicture(write(tmp_path / "d.png", frame), "dent"), write, mask)
    assert evaluate(Brightness(), [dent]).pixel_auroc == pytest.approx(1.0, abs=0.02)


def test_a_broken_picture_stops_it(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    with pytest.raises(DataSetError, match=r"x\.png"):
        evaluate(Brightness(), [TestPicture(tmp_path / "x.png", "good")])


def test_figures_by_lighting(picture: Any) -> None:
    lit = [
        replace(picture(defect, score), lighting=lighting)
        for defect, score, lighting in (
            ("good", 20, "regular"),
            ("good", 30, "regular"),
            ("bad", 140, "regular"),
            ("good", 120, "dark"),
            ("bad", 60, "dark"),
            ("bad", 130, "dark"),
            ("bad", 110, "bright"),
        )
    ]
    evaluation = evaluate(Brightness(), lit)
    bright, dark, regular = evaluation.by_lighting
    assert (bright.lighting, bright.good, bright.defective) == ("bright", 0, 1)
    assert bright.image_auroc is bright.false_reject_rate is None
    assert (dark.image_auroc, dark.false_rejects, dark.escapes, dark.escape_rate) == (0.5, 1, 1, 0.5)
    assert (regular.image_auroc, regular.false_rejects, regular.escapes) == (1.0, 0, 0)
    assert evaluation.pictures[0].lighting == "regular"
    json.dumps(evaluation.as_json(), allow_nan=False)
