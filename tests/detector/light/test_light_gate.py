from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

import detector
from detector import ModelError, TaughtModel, model_folder
from detector.heads import MemoryBanks
from detector.images import BGRImage
from detector.input_size import square
from detector.light.light_gate import LightGated, blind_ratio
from detector.light.relighting import Light, relit
from detector.model_folder import MANIFEST
from detector.runtimes.runtime import runtime
from tests.detector.parts import draw_part, draw_parts

Tensors = dict[str, NDArray[Any]]


def dim(number: int, *, defect: bool = False) -> BGRImage:
    light = Light(colour=(0.4, 0.4, 0.4), gradient=0.3)
    return relit(draw_part(number, defect=defect), light, np.random.default_rng(number))


@pytest.fixture(scope="module")
def gated() -> TaughtModel:
    """Taught on the parts of ``model``, in the same way but for the second head."""
    return detector.fit(
        draw_parts(12), image_size=128, coreset_size=200, category="disc", fingerprint="drawn", light_blind=True
    )


@pytest.fixture(scope="module")
def padim() -> TaughtModel:
    return detector.fit(draw_parts(12), image_size=64, method="padim", light_blind=True)


def heads(model: TaughtModel) -> LightGated:
    assert isinstance(model.head, LightGated)
    return model.head


def test_in_known_light_nothing_changes(model: TaughtModel, gated: TaughtModel) -> None:
    assert gated.threshold == model.threshold
    assert gated.manifest.held_out_scores == model.manifest.held_out_scores
    assert gated.manifest.coreset_size == model.manifest.coreset_size
    assert gated.hash != model.hash and "blind to light" in gated.manifest.projection
    for frame in (draw_part(3), draw_part(30), draw_part(31)):
        assert not heads(gated).known.is_new(gated.manifest.region.to_input(frame, square(128)))
        assert np.array_equal(gated.detect(frame).anomaly_map, model.detect(frame).anomaly_map)
    assert np.array_equal(gated.patches(draw_part(3)).fine, model.patches(draw_part(3)).fine)


def test_in_new_light_good_parts_are_less_odd_and_defects_are_found(model: TaughtModel, gated: TaughtModel) -> None:
    good = [gated.detect(dim(number)).score for number in range(40, 46)]
    bad = [gated.detect(dim(number, defect=True)).score for number in range(40, 46)]
    assert np.mean(good) < 0.9 * np.mean([model.detect(dim(number)).score for number in range(40, 46)])
    assert max(good) < min(bad) and min(bad) > gated.threshold


def test_new_light_is_scored_in_shares_of_one_threshold(gated: TaughtModel) -> None:
    head, frame = heads(gated), dim(41, defect=True)
    alone = TaughtModel(gated.manifest, head.blind, gated.backbone, runtime("openvino")).detect(frame).score
    assert gated.detect(frame).score == pytest.approx(alone * head.ratio[0], rel=1e-5)
    assert isinstance(head.blind, MemoryBanks) and isinstance(head.ordinary, MemoryBanks)
    assert head.blind.fine.projection.shape[1] < head.ordinary.fine.projection.shape[1], "some directions are dropped"


@pytest.mark.parametrize("method", ["gated", "padim"])
def test_saved_and_loaded_it_scores_the_same(method: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    model: TaughtModel = request.getfixturevalue(method)
    model.save(tmp_path / "disc")
    assert len(list((tmp_path / "disc").iterdir())) == 2
    loaded = detector.load_taught(tmp_path / "disc")
    assert loaded.hash == model.hash
    for frame in (draw_part(50), dim(50, defect=True)):
        assert np.array_equal(loaded.detect(frame).anomaly_map, model.detect(frame).anomaly_map)


@pytest.mark.parametrize("method", ["gated", "padim"])
def test_a_model_scores_the_same_on_both_runtimes(method: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("torch", reason="torch is an extra and not installed")
    model: TaughtModel = request.getfixturevalue(method)
    other = model.on(runtime("torch"))
    for frame in (draw_part(50), draw_part(50, defect=True), dim(50), dim(50, defect=True)):
        assert model.detect(frame).score == pytest.approx(other.detect(frame).score, rel=1e-3)


def test_the_blind_scores_are_brought_to_the_ordinary_ones_mean() -> None:
    assert blind_ratio([3, 5], [1, 3]) == 2


def test_the_same_pictures_and_seed_give_the_same_model(gated: TaughtModel) -> None:
    options: dict[str, Any] = {"image_size": 64, "coreset_size": 50, "light_blind": True}
    first, again, other = (detector.fit(draw_parts(8), **options, seed=seed) for seed in (0, 0, 1))
    assert first.hash == again.hash != other.hash


def test_it_neither_forgives_nor_remembers(gated: TaughtModel) -> None:
    small = gated.input_of(draw_part(0))
    for correct in (gated.good_of, partial(gated.bad_of, threshold=1.0), lambda _: gated.corrected()):
        with pytest.raises(ModelError, match="teach without --light-blind"):
            correct(small)


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {other: array for other, array in tensors.items() if other != name}


def instead(name: str, array: NDArray[Any]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: array}


def with_drawn_in_new_light(tensors: Tensors) -> Tensors:
    return tensors | {f"new_light.drawn.{name}": tensors[f"drawn.{name}"] for name in ("weights", "offset")}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("new_light.memory_bank"), "is damaged: in what is for new light, memory_bank is missing"),
        (without("new_light.limit"), "is damaged: new_light.limit is missing"),
        (without("memory_bank"), "is damaged: memory_bank is missing"),
        (instead("new_light.mean", np.zeros(3, np.float32)), "for new light, .* wrong shape: mean"),
        (instead("new_light.lights", np.zeros((12, 5), np.float32)), "wrong shape: new_light.lights"),
        (instead("new_light.lights", np.zeros((0, 6), np.float32)), "wrong shape: new_light.lights"),
        (instead("new_light.lights", np.ones((), np.float32)), "wrong shape: new_light.lights"),
        (
            instead("new_light.lights", np.zeros((501, 6), np.float32)),
            "new_light.lights is 501 long, .* 500 at the most",
        ),
        (instead("new_light.ratio", np.ones(1, np.float64)), "wrong shape: new_light.ratio"),
        (instead("new_light.ratio", np.zeros(1, np.float32)), "must be above 0"),
        (instead("new_light.spread", np.full(6, np.nan, np.float32)), "new_light.spread holds numbers that are not"),
        (instead("new_light.limit", np.full(1, 3e38, np.float32)), "new_light.limit holds numbers no model has"),
        (instead("new_light.ratio", np.full(1, 1e5, np.float32)), "distances are 100000 times the other's"),
        (instead("new_light.ratio", np.full(1, 1e-30, np.float32)), "distances are 1e-30 times the other's"),
        (with_drawn_in_new_light, "what drawn defects taught goes with the light"),
        (instead("new_light.odd", np.zeros(1, np.float32)), "no 'odd'"),
        (instead("odd", np.zeros(1, np.float32)), "no 'odd'"),
    ],
)
def test_every_damage_is_one_clear_error(
    damage: Callable[[Tensors], Tensors], message: str, gated: TaughtModel, tmp_path: Path
) -> None:
    gated.save(tmp_path / "disc")
    (file,) = (tmp_path / "disc").glob("*.safetensors")
    data = save({name: np.asarray(array) for name, array in damage(load(file.read_bytes())).items()})
    manifest = msgspec.structs.replace(gated.manifest, tensors_sha256=hashlib.sha256(data).hexdigest())
    (tmp_path / "disc" / manifest.tensors_file).write_bytes(data)
    (tmp_path / "disc" / MANIFEST).write_bytes(model_folder.to_json(manifest))
    with pytest.raises(ModelError, match=message) as raised:
        detector.load(tmp_path / "disc")
    assert "\n" not in str(raised.value)
