"""The heart: a frame comes in, a verdict goes out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import ImageError
from detector.files import write_atomically
from detector.images import decode
from server.inspection import calibrations
from server.inspection.calibrations import Calibrations
from server.inspection.inspection import Inspected, Inspection, NoModel, Threshold
from tests.server.fakes import BAD, BROKEN, GOOD, THRESHOLD, WAIT_S, FakeModel


def inspection(folder: Path, model: FakeModel | None = None, **settings: Any) -> Inspection:
    made = Inspection(Calibrations(folder), **settings)
    if model is not None:
        made.use(model)  # type: ignore[arg-type]
    return made


def test_without_a_model_the_reason_is_given(tmp_path: Path) -> None:
    made = inspection(tmp_path)
    made.why_no_model = "it is being taught"
    assert not made.ready
    with pytest.raises(NoModel, match="being taught"):
        made.inspect(partial(decode, GOOD))


def test_a_frame_gets_its_verdict(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    good, bad = made.inspect(partial(decode, GOOD)), made.inspect(partial(decode, BAD))
    assert (good.verdict, good.raw_score, good.score) == ("NORMAL", 50, pytest.approx(0.1))
    assert (bad.verdict, bad.raw_score, bad.score) == ("ANOMALY", 150, pytest.approx(0.9))
    assert good.threshold == Threshold(THRESHOLD, "model")
    assert set(good.heatmap.ravel()) == {64} and set(bad.heatmap.ravel()) == {192}
    assert good.picture is None


def test_at_the_threshold_is_still_normal(tmp_path: Path, model: FakeModel) -> None:
    at = inspection(tmp_path, model).inspect_frame(np.full((32, 32, 3), 100, np.uint8))
    assert (at.raw_score, at.verdict, at.score) == (THRESHOLD, "NORMAL", 0.5)


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6))
def test_the_score_for_display_agrees_with_the_verdict(raw_score: float, threshold: float) -> None:
    inspected = Inspected(raw_score, Threshold(threshold, "model"), np.zeros((1, 1), np.uint8), (1, 1))
    assert 0 <= inspected.score <= 1
    assert inspected.is_anomaly or inspected.score <= 0.5
    assert not inspected.is_anomaly or inspected.score >= 0.5


def test_a_picture_is_made_only_on_demand(tmp_path: Path, model: FakeModel) -> None:
    frame = np.zeros((400, 1280, 3), np.uint8)
    picture = inspection(tmp_path, model).inspect_frame(frame, picture=True).picture
    assert picture is not None
    data, width, height = picture
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None and decoded.shape == (200, 640, 3) == (height, width, 3)


def test_a_broken_frame_is_an_image_error(tmp_path: Path, model: FakeModel) -> None:
    with pytest.raises(ImageError):
        inspection(tmp_path, model).inspect(partial(decode, BROKEN))


def test_the_environment_comes_before_the_calibration_and_that_before_the_model(
    tmp_path: Path, model: FakeModel
) -> None:
    made = inspection(tmp_path, model)
    assert made.threshold == Threshold(THRESHOLD, "model")
    made.calibrate(model, [10, 12, 14], k=1)  # type: ignore[arg-type]
    assert made.threshold == Threshold(14, "calibration")
    strict = inspection(tmp_path, model, threshold=7.5)
    assert strict.threshold == Threshold(7.5, "environment")
    assert strict.calibration is not None and strict.calibration.threshold == 14
    strict.forget_calibration()
    assert strict.threshold == Threshold(7.5, "environment")
    assert inspection(tmp_path, model).threshold == Threshold(THRESHOLD, "model")


def test_a_calibration_is_kept_over_a_restart_and_never_applied_to_another_model(
    tmp_path: Path, model: FakeModel
) -> None:
    inspection(tmp_path, model).calibrate(model, [10, 12, 14], k=1)  # type: ignore[arg-type]
    assert inspection(tmp_path, FakeModel()).threshold.source == "calibration"
    assert inspection(tmp_path, FakeModel(hash="b" * 64)).threshold.source == "model"
    assert inspection(tmp_path, FakeModel(runtime="torch")).threshold.source == "model"


def test_another_model_brings_its_own_threshold(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    made.calibrate(model, [10, 12, 14], k=1)  # type: ignore[arg-type]
    made.use(FakeModel(hash="b" * 64, threshold=33))  # type: ignore[arg-type]
    assert made.threshold == Threshold(33, "model")
    assert made.calibration is None
    made.use(model)  # type: ignore[arg-type]
    assert made.threshold == Threshold(14, "calibration")


@pytest.mark.parametrize("none", [float("nan"), float("inf"), 0.0])
def test_a_model_without_a_threshold_passes_nothing_until_it_is_calibrated(tmp_path: Path, none: float) -> None:
    model = FakeModel(threshold=none)
    made = inspection(tmp_path, model)
    assert made.threshold == Threshold(0.0, "uncalibrated")
    assert made.warning is not None and "calibrate" in made.warning
    for brightness in (0, 50, 150):
        inspected = made.inspect_frame(np.full((32, 32, 3), brightness, np.uint8))
        assert (inspected.verdict, inspected.score, inspected.raw_score) == ("ANOMALY", 1.0, brightness)
        assert not inspected.heatmap.any()
    made.calibrate(model, [48, 50, 52], k=3)  # type: ignore[arg-type]
    assert made.threshold == Threshold(56, "calibration") and made.warning is None
    assert made.inspect(partial(decode, GOOD)).verdict == "NORMAL"
    made.forget_calibration()
    assert made.threshold.source == "uncalibrated"
    assert inspection(tmp_path, model, threshold=7.5).threshold == Threshold(7.5, "environment")


def test_without_a_model_there_is_nothing_to_warn_of(tmp_path: Path, model: FakeModel) -> None:
    assert inspection(tmp_path).warning is None
    assert inspection(tmp_path, model).warning is None


@pytest.mark.parametrize(("cells", "shown"), [(8, 8), (64, 64), (65, 64), (320, 64)])
def test_a_heat_map_stays_small_however_large_the_anomaly_map_is(
    tmp_path: Path, model: FakeModel, cells: int, shown: int
) -> None:
    model.cells = cells
    heatmap = inspection(tmp_path, model).inspect_frame(np.full((400, 400, 3), 100, np.uint8)).heatmap
    assert heatmap.shape == (shown, shown) and set(heatmap.ravel()) == {128}


@pytest.mark.parametrize("scores", [[], [1.0], [1.0, float("nan")], [0.0, 0.0]])
def test_a_calibration_that_cannot_be_changes_nothing(tmp_path: Path, model: FakeModel, scores: list[float]) -> None:
    made = inspection(tmp_path, model)
    with pytest.raises(ValueError, match=r".+"):
        made.calibrate(model, scores, k=3)  # type: ignore[arg-type]
    assert made.threshold == Threshold(THRESHOLD, "model")
    assert list(tmp_path.iterdir()) == []


def test_of_two_who_calibrate_at_once_the_one_in_force_is_the_one_on_disk(
    tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = inspection(tmp_path, model)
    wrote, overtaken = threading.Event(), threading.Event()
    write = write_atomically

    def write_and_dawdle(path: Path, data: bytes) -> None:
        write(path, data)
        if not wrote.is_set():
            wrote.set()
            overtaken.wait(0.2)  # the other one would come through here, were the two not kept apart

    monkeypatch.setattr(calibrations, "write_atomically", write_and_dawdle)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(made.calibrate, model, [10, 12], 1)  # type: ignore[arg-type]
        assert wrote.wait(WAIT_S)
        made.calibrate(model, [20, 22], 1)  # type: ignore[arg-type]
        overtaken.set()
        first.result()
    assert made.threshold == inspection(tmp_path, model).threshold


def test_the_category_may_be_set(tmp_path: Path, model: FakeModel) -> None:
    assert inspection(tmp_path, model).category == "fake part"
    assert inspection(tmp_path, model, category="bottle").category == "bottle"
