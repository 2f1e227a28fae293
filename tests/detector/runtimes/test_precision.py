"""A model of each precision is a model of its own: nothing of it comes from another."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import detector
from detector import ModelError, TaughtModel
from detector.backbones.efficientnet_lite import GraphBackbone, load_backbone
from detector.backbones.quantisation import quantise
from detector.runtimes.runtime import PRECISIONS, Precision, runtime
from detector.thresholds import calibrate
from tests.detector.parts import draw_part, draw_parts


@cache
def teach(precision: Precision, **options: object) -> TaughtModel:
    if precision == "int8":
        pytest.importorskip("nncf", reason="nncf is an extra and not installed")
    if precision == "bfloat16":
        try:
            runtime("openvino", precision=precision)
        except ModelError as error:
            pytest.skip(str(error))
    sizes = {"image_size": 128, "coreset_size": 200, "inspect": "full"}
    return detector.fit(draw_parts(12), precision=precision, **(sizes | options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def int8() -> TaughtModel:
    return teach("int8")


def test_the_threshold_of_an_int8_model_comes_from_int8_scores(int8: TaughtModel) -> None:
    """They are those of a model taught with the quantised backbone from the start, and not those of float32."""
    quantised = quantise(load_backbone(), draw_parts(12))
    of_it, of_float32 = teach("float32", backbone=quantised), teach("float32")
    assert int8.backbone == quantised
    assert int8.manifest.held_out_scores == of_it.manifest.held_out_scores
    assert int8.threshold == calibrate(int8.manifest.held_out_scores).threshold == of_it.threshold
    pairs = zip(int8.manifest.held_out_scores, of_float32.manifest.held_out_scores, strict=True)
    assert all(one != other for one, other in pairs)
    assert int8.threshold != of_float32.threshold


def test_a_calibration_of_one_precision_is_none_of_another(int8: TaughtModel) -> None:
    """Calibrations belong to the hash."""
    assert int8.manifest.precision == "int8"
    assert len({int8.hash, teach("float32").hash, teach("bfloat16").hash}) == 3


def test_the_same_images_give_the_same_int8_model_from_an_iterator_too(int8: TaughtModel) -> None:
    again = detector.fit(
        iter(draw_parts(12)),
        precision="int8",
        image_size=128,
        coreset_size=200,
        inspect="full",
        runtime_name="openvino",
    )
    assert again.hash == int8.hash


@pytest.mark.parametrize("precision", PRECISIONS)
def test_models_of_each_precision_forgive_and_remember(precision: Precision) -> None:
    model, frame = teach(precision), draw_part(50, defect=True)
    small = model.input_of(frame)
    assert model.detect(frame).score > model.threshold
    good, bad = model.good_of(small), model.bad_of(small, model.threshold)
    assert model.corrected([good]).detect(frame).score < model.threshold
    assert model.corrected([good], [bad]).detect(frame).score > 1.2 * model.threshold


@pytest.mark.parametrize("method", ["patchcore", "padim"])
def test_an_int8_model_survives_the_way_to_disk_and_back(method: str, tmp_path: Path) -> None:
    model = teach("int8", method=method)
    model.save(tmp_path / "part")
    loaded = detector.load_taught(tmp_path / "part")
    assert loaded.hash == model.hash and loaded.threshold == model.threshold
    assert isinstance(loaded.backbone, GraphBackbone) and loaded.manifest.backbone == "efficientnet-lite0, int8"
    assert "nncf" in loaded.manifest.software
    for defect in (False, True):
        frame = draw_part(60, defect=defect)
        assert loaded.detect(frame).score == model.detect(frame).score
        assert np.array_equal(loaded.detect(frame).anomaly_map, model.detect(frame).anomaly_map)


def test_a_damaged_graph_is_refused(int8: TaughtModel, tmp_path: Path) -> None:
    int8.save(tmp_path / "part")
    (weights,) = (tmp_path / "part").glob("backbone-*.bin")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match=r"backbone-.*\.bin is damaged"):
        detector.load(tmp_path / "part")


def test_a_float32_model_in_its_place_leaves_no_graph_behind(int8: TaughtModel, tmp_path: Path) -> None:
    int8.save(tmp_path / "part")
    teach("float32").save(tmp_path / "part")
    assert not list((tmp_path / "part").glob("backbone-*"))
    assert detector.load_taught(tmp_path / "part").manifest.precision == "float32"


def test_torch_has_no_int8(int8: TaughtModel, tmp_path: Path) -> None:
    int8.save(tmp_path / "part")
    with pytest.raises(ModelError, match="a int8 model runs on RUNTIME=openvino only"):
        detector.load(tmp_path / "part", runtime_name="torch")
