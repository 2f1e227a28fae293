"""The heart: a frame comes in, a verdict goes out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import ImageError
from detector.files import write_atomically
from detector.images import decode
from detector.near_copies import Look
from detector.thresholds import KSigma
from server.ground import kept_file
from server.inspection.calibrations import Calibrations
from server.inspection.captured import Captured
from server.inspection.inspected import Inspected
from server.inspection.inspection import Inspection, ModelReplaced, NoModel
from server.inspection.threshold import Threshold, other_regions, other_transport
from server.recipes import Regions, ThresholdRule
from server.words import Way
from tests.server.fakes import BAD, BROKEN, GOOD, THRESHOLD, WAIT_S, FakeModel


def inspection(folder: Path, model: FakeModel | None = None, **settings: Any) -> Inspection:
    made = Inspection(Calibrations(folder), **settings)
    if model is not None:
        made.use(model)  # type: ignore[arg-type]
    return made


def captured(
    scores: Sequence[float],
    *,
    stream: str | None = None,
    transport: Way = "pictures",
    model: tuple[str, str] = ("a" * 64, "openvino"),
    regions: Regions | None = None,
) -> Captured:
    """Frames with these scores, each unlike the others."""
    random = np.random.default_rng(0)
    looks = tuple(Look(random.uniform(0, 255, (64, 64)).astype(np.float16), 4 / 3) for _ in scores)
    pictures = (b"jpeg",) * len(scores)
    return Captured(model, stream, transport, tuple(map(float, scores)), looks, pictures, regions=regions)


def calibrate(made: Inspection, scores: Sequence[float], k: float, **options: Any) -> None:
    draft = made.judge(captured(scores, **options), KSigma(k))
    assert draft.judgement.calibration is not None and not draft.judgement.refused, draft.judgement
    made.set(draft, draft.judgement.calibration, who="me", why="a test")


def told(made: Inspection) -> tuple[float, str]:
    return made.threshold.value, made.threshold.source


def value(made: Inspection, stream: str, transport: Way) -> float:
    return made.threshold_on(stream, transport).value


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
    inspected = Inspected(raw_score, Threshold(threshold, "model"), np.zeros((1, 1), np.uint8), (1, 1), ("a", "b"))
    assert 0 <= inspected.score <= 1
    assert inspected.is_anomaly or inspected.score <= 0.5
    assert not inspected.is_anomaly or inspected.score >= 0.5


def test_a_picture_is_made_only_on_demand(tmp_path: Path, model: FakeModel) -> None:
    frame = np.zeros((400, 1280, 3), np.uint8)
    picture = inspection(tmp_path, model).inspect(lambda: frame, picture=True).picture
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
    assert told(made) == (THRESHOLD, "model")
    calibrate(made, [10, 12, 14], 1)
    assert told(made) == (14, "calibration")
    strict = inspection(tmp_path, model, threshold=7.5)
    assert told(strict) == (7.5, "environment")
    assert strict.calibration is not None and strict.calibration.threshold == 14
    strict.forget_calibration(who="me")
    assert told(strict) == (7.5, "environment")
    assert told(inspection(tmp_path, model)) == (THRESHOLD, "model")


def test_a_calibration_is_kept_over_a_restart_and_never_applied_to_another_model(
    tmp_path: Path, model: FakeModel
) -> None:
    calibrate(inspection(tmp_path, model), [10, 12, 14], 1)
    assert inspection(tmp_path, FakeModel()).threshold.source == "calibration"
    assert inspection(tmp_path, FakeModel(hash="b" * 64)).threshold.source == "model"
    assert inspection(tmp_path, FakeModel(runtime="torch")).threshold.source == "model"


def test_another_model_brings_its_own_threshold(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    calibrate(made, [10, 12, 14], 1)
    made.use(FakeModel(hash="b" * 64, threshold=33))  # type: ignore[arg-type]
    assert told(made) == (33, "model")
    assert made.calibration is None
    made.use(model)  # type: ignore[arg-type]
    assert told(made) == (14, "calibration")


@pytest.mark.parametrize("none", [float("nan"), float("inf"), 0.0])
def test_a_model_without_a_threshold_passes_nothing_until_it_is_calibrated(tmp_path: Path, none: float) -> None:
    model = FakeModel(threshold=none)
    made = inspection(tmp_path, model)
    assert told(made) == (0.0, "uncalibrated")
    assert made.warning is not None and "calibrate" in made.warning
    for brightness in (0, 50, 150):
        inspected = made.inspect_frame(np.full((32, 32, 3), brightness, np.uint8))
        assert (inspected.verdict, inspected.score, inspected.raw_score) == ("ANOMALY", 1.0, brightness)
        assert not inspected.heatmap.any()
    calibrate(made, [48, 50, 52], 3)
    assert told(made) == (56, "calibration") and made.warning is None
    assert made.inspect(partial(decode, GOOD)).verdict == "NORMAL"
    made.forget_calibration(who="me")
    assert made.threshold.source == "uncalibrated"
    assert told(inspection(tmp_path, model, threshold=7.5)) == (7.5, "environment")


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


@pytest.mark.parametrize("scores", [[], [1.0], [0.0, 0.0], [5.0, 5.0, 5.0]])
def test_what_no_threshold_can_be_made_from_is_refused_in_the_judgement(
    tmp_path: Path, model: FakeModel, scores: list[float]
) -> None:
    made = inspection(tmp_path, model)
    assert made.judge(captured(scores), KSigma(3)).judgement.refused
    assert told(made) == (THRESHOLD, "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scores", [[1.0, float("nan")], [1.0, float("inf"), 2.0]])
def test_a_score_that_is_no_number_changes_nothing(tmp_path: Path, model: FakeModel, scores: list[float]) -> None:
    made = inspection(tmp_path, model)
    with pytest.raises(ValueError, match="finite"):
        made.judge(captured(scores), KSigma(3))


def test_of_two_who_calibrate_at_once_the_one_in_force_is_the_one_on_disk(
    tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = inspection(tmp_path, model)
    wrote, overtaken = threading.Event(), threading.Event()
    write = write_atomically

    def write_and_dawdle(path: Path, data: bytes, *, mode: int) -> None:
        write(path, data, mode=mode)
        if not wrote.is_set():
            wrote.set()
            overtaken.wait(0.2)  # the other one would come through here, were the two not kept apart

    monkeypatch.setattr(kept_file, "write_atomically", write_and_dawdle)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(calibrate, made, [10, 12], 1)
        assert wrote.wait(WAIT_S)
        calibrate(made, [20, 22], 1)
        overtaken.set()
        first.result()
    assert made.threshold == inspection(tmp_path, model).threshold


def test_while_something_is_stored_or_read_nobody_waits_who_brings_a_model(
    tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those are called on the event loop, and a database may take long."""
    made = inspection(tmp_path, model)
    (recipe,) = made.recipes
    slow, goes_on = threading.Event(), threading.Event()
    write = write_atomically

    def hang(*said: Any, **named: Any) -> None:
        slow.set()
        assert goes_on.wait(WAIT_S)

    def write_slowly(path: Path, data: bytes, *, mode: int) -> None:
        hang()
        write(path, data, mode=mode)

    def change_models() -> None:
        made.expect("r2")
        made.drop("r2", "a test")
        made.choose({}, recipe.id)
        made.use(model, recipe)  # type: ignore[arg-type]

    with ThreadPoolExecutor(2) as threads:
        with monkeypatch.context() as patched:
            patched.setattr(kept_file, "write_atomically", write_slowly)
            setting = threads.submit(calibrate, made, [10, 12], 1)
            assert slow.wait(WAIT_S)
            threads.submit(change_models).result(WAIT_S / 2)
            assert made.threshold.source == "model", "not before it is stored"
            goes_on.set()
            setting.result()
        assert made.threshold == inspection(tmp_path, model).threshold and made.threshold.source == "calibration"
        slow.clear()
        goes_on.clear()
        monkeypatch.setattr(made._calibrations, "recover", hang)
        renewing = threads.submit(made.renew)
        assert slow.wait(WAIT_S)
        threads.submit(change_models).result(WAIT_S / 2)
        goes_on.set()
        assert not renewing.result()


def test_a_good_part_is_shown_at_a_tenth_and_the_threshold_at_a_half(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    calibrate(made, [38, 40, 42], 5)  # threshold 50
    at = {raw: made.inspect_frame(np.full((32, 32, 3), raw, np.uint8)).score for raw in (40, 50, 60)}
    assert at == {40: pytest.approx(0.1), 50: 0.5, 60: pytest.approx(0.9)}


def test_what_a_calibration_keeps_of_a_frame_is_small(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    noise = np.random.default_rng(0).integers(0, 255, (600, 1600, 3), np.uint8)
    assert made.inspect_frame(noise).sample is None
    sample = made.inspect_frame(noise, sample=True).sample
    assert sample is not None and sample.look.grey.shape == (64, 64)
    shown = cv2.imdecode(np.frombuffer(sample.picture, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None and shown.shape == (60, 160, 3)


# --- per stream and transport ---


def test_a_stream_has_the_calibration_of_its_transport_else_the_newest_of_another(
    tmp_path: Path, model: FakeModel
) -> None:
    made = inspection(tmp_path, model)
    calibrate(made, [10, 12, 14], 1, stream="press", transport="websocket")
    assert value(made, "press", "webrtc") == value(made, "other", "websocket") == 14
    calibrate(made, [20, 22, 24], 1, stream="press", transport="webrtc")
    assert (value(made, "press", "webrtc"), value(made, "press", "websocket")) == (24, 14)
    assert value(made, "press", "camera") == 24, "the newest"
    assert other_transport(made.threshold_on("press", "webrtc"), "webrtc") is None
    said = other_transport(made.threshold_on("press", "camera"), "camera")
    assert said is not None and "over WebRTC" in said and "from a pulled camera" in said


def test_a_calibration_made_in_other_regions_stays_in_force_and_says_so(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    whole, corner = Regions(), Regions(ignore=(((0.0, 0.0), (0.5, 0.0), (0.0, 0.5)),))
    recipe = made.recipe_on(None)

    def inspect_in(regions: Regions, of: Inspection = made) -> str | None:
        of.use(model, msgspec.structs.replace(recipe, regions=regions))  # type: ignore[arg-type]
        threshold = of.threshold_on("press", "websocket")
        assert threshold.source in ("model", "calibration") and threshold == of.threshold
        assert (of.regions_warning is None) == (other_regions(threshold) is None)
        return of.regions_warning

    assert inspect_in(corner) is None, "nothing is calibrated"
    inspect_in(whole)
    calibrate(made, [10, 12, 14], 1, regions=whole)
    said = inspect_in(corner)
    assert said is not None and recipe.name in said and "calibrate again" in said
    assert told(made) == (14, "calibration")
    again = inspection(tmp_path, model)
    assert inspect_in(corner, again) is not None and inspect_in(whole, again) is None, "after a restart too"
    calibrate(made, [20, 22, 24], 1, regions=corner)
    assert inspect_in(corner) is None and inspect_in(whole) is not None
    made.undo(who="me")
    assert inspect_in(whole) is None and inspect_in(corner) is not None
    by_hand = msgspec.structs.replace(recipe, regions=corner, rule=ThresholdRule(raw=30.0))
    made.use(model, by_hand)  # type: ignore[arg-type]
    assert made.regions_warning is None, "no calibration is in force"


def test_where_the_regions_of_a_calibration_are_not_known_nothing_is_said(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    calibrate(made, [10, 12, 14], 1)
    regions = Regions(ignore=(((0.0, 0.0), (0.5, 0.0), (0.0, 0.5)),))
    made.use(model, msgspec.structs.replace(made.recipe_on(None), regions=regions))  # type: ignore[arg-type]
    assert made.regions_warning is None


def test_per_stream_each_has_its_own_and_the_others_what_holds_for_all(tmp_path: Path, model: FakeModel) -> None:
    calibrate(inspection(tmp_path, model), [10, 12, 14], 1, stream="press", transport="websocket")
    made = inspection(tmp_path, model, per_stream=True)
    calibrate(made, [20, 22, 24], 1, stream="press", transport="websocket")
    calibrate(made, [30, 32, 34], 1, stream="saw", transport="websocket")
    assert [value(made, name, "websocket") for name in ("press", "saw", "lathe")] == [24, 34, 14]
    assert value(made, "press", "webrtc") == 24, "its own over another transport before one for all"
    recipe = str(made.default)
    there = [made.threshold_there(recipe, name, "unknown") for name in ("press", "lathe")]
    assert [one and one.value for one in there] == [24, 14], "and not what was calibrated last, on another one"
    assert value(inspection(tmp_path, model), "press", "websocket") == 14, "those of one stream wait"


def test_a_result_is_judged_by_what_holds_on_its_stream(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model, per_stream=True)
    calibrate(made, [10, 12, 14], 1, stream="press", transport="websocket")
    good = partial(decode, GOOD)
    assert made.inspect(good, stream="press", transport="websocket").verdict == "ANOMALY"
    assert made.inspect(good, stream="saw", transport="websocket").verdict == "NORMAL"


# --- history ---


def test_undo_goes_back_step_by_step_and_survives_a_restart(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    assert made.undo(who="me") is None
    calibrate(made, [10, 12, 14], 1)
    calibrate(made, [20, 22, 24], 1)
    made.forget_calibration(who="me")
    back = []
    for _ in range(4):
        made = inspection(tmp_path, model)
        undone = made.undo(who="you")
        back.append(undone and (undone.was.value, undone.became.value, undone.became.source))
    assert back == [(THRESHOLD, 24, "calibration"), (24, 14, "calibration"), (14, THRESHOLD, "model"), None]
    steps = inspection(tmp_path, model).history()
    assert [step.action for step in steps] == ["undo"] * 3 + ["forget", "set", "set"]
    assert [(step.was, step.became) for step in steps[3:]] == [(24, THRESHOLD), (14, 24), (THRESHOLD, 14)]
    assert {step.who for step in steps[:3]} == {"you"}


def test_of_two_who_undo_at_once_the_second_takes_back_nothing(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    calibrate(made, [10, 12, 14], 1)
    calibrate(made, [20, 22, 24], 1)
    newest = made.history()[0].when
    assert made.undo(who="me", when=newest) is not None
    assert made.undo(who="you", when=newest) is None and made.threshold.value == 14
    assert made.undo(who="you", when=made.history()[-1].when) is not None and made.threshold.value == THRESHOLD


def test_nothing_is_set_while_the_stored_ones_cannot_be_read(tmp_path: Path, model: FakeModel) -> None:
    file = tmp_path / "calibration.json"
    calibrate(inspection(tmp_path, model), [10, 12, 14], 1)
    data = file.read_bytes()
    file.unlink()
    file.mkdir()
    made = inspection(tmp_path, model)
    with pytest.raises(OSError, match="cannot be read"):
        calibrate(made, [20, 22, 24], 1)
    file.rmdir()
    file.write_bytes(data)
    made.undo(who="me")
    assert [step.action for step in made.history()] == ["undo", "set"] and made.threshold.value == THRESHOLD


def test_undo_leaves_other_transports_alone(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    calibrate(made, [10, 12, 14], 1, stream="press", transport="websocket")
    calibrate(made, [20, 22, 24], 1, stream="press", transport="webrtc")
    calibrate(made, [30, 32, 34], 1, stream="press", transport="websocket")
    undone = made.undo(who="me")
    assert undone is not None and undone.became.value == 14
    assert (value(made, "press", "websocket"), value(made, "press", "webrtc")) == (14, 24)


def test_after_an_undo_a_new_calibration_can_be_undone_again(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    calibrate(made, [10, 12, 14], 1)
    calibrate(made, [20, 22, 24], 1)
    made.undo(who="me")
    calibrate(made, [30, 32, 34], 1)
    made.undo(who="me")
    assert told(made) == (14, "calibration")
    made.undo(who="me")
    assert told(made) == (THRESHOLD, "model") and made.undo(who="me") is None


def test_a_draft_of_a_replaced_model_is_neither_judged_nor_set(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    draft = made.judge(captured([10, 12, 14]), KSigma(1))
    made.use(FakeModel(hash="b" * 64))  # type: ignore[arg-type]
    with pytest.raises(ModelReplaced, match="another model"):
        made.judge(draft.captured, KSigma(1))
    assert draft.judgement.calibration is not None
    with pytest.raises(ModelReplaced, match="another model"):
        made.set(draft, draft.judgement.calibration, who="me", why="")
    assert list(tmp_path.iterdir()) == []


def test_frames_left_out_do_not_count_and_the_others_keep_their_numbers(tmp_path: Path, model: FakeModel) -> None:
    made = inspection(tmp_path, model)
    scores = [10.0, 11, 150, 12, 10.5, 11.5, 160, 12.5, 10.2, 11.1, 12.1]
    draft = made.judge(captured(scores), KSigma(3))
    assert [one.index for one in draft.judgement.suspects] == [2, 6]
    again = made.judge(draft.captured, draft.rule, [2])
    assert [one.index for one in again.judgement.suspects] == [6]
    clean = made.judge(draft.captured, draft.rule, [2, 6])
    assert not clean.judgement.suspects and not clean.judgement.warnings
    assert clean.judgement.calibration is not None and clean.judgement.calibration.n_images == 9


def test_the_category_may_be_set(tmp_path: Path, model: FakeModel) -> None:
    assert inspection(tmp_path, model).category == "fake part"
    assert inspection(tmp_path, model, category="bottle").category == "bottle"
