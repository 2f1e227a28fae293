"""Models that anomalib exported: real exports of tiny models, and graphs made by hand for what is rare."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from detector import ImageError, ModelError, calibrate
from detector.anomalib.export import SIDECAR, is_anomalib_export, load, to_input, write_sidecar
from detector.model import Detector

# isort: split
import detector.quiet_openvino

# isort: split
import openvino as ov
import openvino.opset13 as ops

SIDE = 64


def frames() -> list[NDArray[np.uint8]]:
    """Drawn pictures, none of the model's size, from nearly empty to full of contrast."""
    random = np.random.default_rng(1)
    drawn = [random.integers(0, limit, (80, 100, 3), np.uint8, endpoint=True) for limit in (20, 90, 255)]
    cv2.circle(drawn[0], (50, 40), 20, (20, 240, 250), -1)
    return drawn


# Real exports


@dataclass(frozen=True)
class Export:
    """What anomalib wrote, and the module it wrote it from."""

    module: Any
    folder: Path
    side: int

    def raw(self, frame: NDArray[np.uint8]) -> tuple[float, NDArray[np.float32]]:
        """The torch model's score and map, before any post-processing."""
        import torch

        with torch.no_grad():
            result = self.module.model(self.module.pre_processor(torch.from_numpy(to_input(frame, self.side))))
        return float(result.pred_score.max()), result.anomaly_map.numpy()[0, 0]


@pytest.fixture(scope="module")
def patchcore(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """PatchCore with everything as anomalib has it: its Engine, thresholds found on defects, its own export."""
    pytest.importorskip("anomalib")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from anomalib.data import ImageBatch, ImageItem
        from anomalib.engine import Engine
        from anomalib.models import Patchcore

    def loader(defective: int) -> Any:
        random = np.random.default_rng(0)
        items = []
        for number in range(6):
            image = random.normal(0.5, 0.1, (3, SIDE, SIDE)).clip(0, 1).astype(np.float32)
            image[:, 20:40, 20:40] += 0.5 * (number < defective)
            label = torch.tensor(int(number < defective))
            items.append(ImageItem(image=torch.from_numpy(image.clip(0, 1)), gt_label=label, image_path=str(number)))
        return torch.utils.data.DataLoader(items, 2, collate_fn=ImageBatch.collate)

    root = tmp_path_factory.mktemp("engine")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        module = Patchcore(
            "tf_efficientnet_lite0",
            ("blocks.0", "blocks.1"),
            pre_trained=False,
            coreset_sampling_ratio=0.02,
            pre_processor=Patchcore.configure_pre_processor((SIDE, SIDE)),
            visualizer=False,
        )
        engine = Engine(default_root_dir=root, logger=False, accelerator="cpu", enable_progress_bar=False)
        engine.fit(module, loader(0), loader(3))
        engine.export(module, "openvino", export_root=root / "export", input_size=(SIDE, SIDE))
    return Export(module.eval(), root / "export", SIDE)


@pytest.fixture(scope="module", params=["Padim", "EfficientAd"])
def one_picture_export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """PaDiM and EfficientAD exported for one picture, their thresholds set by hand."""
    pytest.importorskip("anomalib")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from anomalib.models import EfficientAd, Padim

        torch.manual_seed(0)
        module: Any
        if request.param == "Padim":
            side, preprocessing = SIDE, Padim.configure_pre_processor((SIDE, SIDE))
            module = Padim(
                "tf_efficientnet_lite0",
                ["blocks.0", "blocks.1"],
                pre_trained=False,
                n_features=8,
                pre_processor=preprocessing,
            )
            module.model.train()
            for _ in range(4):
                module.model(preprocessing.transform(torch.rand(2, 3, SIDE, SIDE)))
            module.model.fit()
        else:
            side = 256
            module = EfficientAd()
            for name, value in {"qa_st": 0.1, "qb_st": 0.4, "qa_ae": 0.2, "qb_ae": 0.9}.items():
                module.model.quantiles[name].data.fill_(value)
        values = {"_image_threshold": 3.0, "image_min": 1.0, "image_max": 4.0, "pixel_min": 0.5, "pixel_max": 2.0}
        for name, value in values.items():
            getattr(module.post_processor, name).fill_(value)
        module.eval()
        folder = tmp_path_factory.mktemp("export")
        kwargs = {"opset_version": 18, "dynamic_shapes": None, "verbose": False}
        module.to_openvino(folder, input_size=(side, side), onnx_kwargs=kwargs)
    return Export(module, folder, side)


def test_a_stock_export_of_patchcore_scores_as_the_torch_model(patchcore: Export) -> None:
    model: Detector = load(patchcore.folder)
    assert (model.image_size, model.runtime, len(model.hash)) == (SIDE, "anomalib-openvino", 64)
    scores = []
    for frame in frames():
        score, anomaly_map = patchcore.raw(frame)
        detection = model.detect(frame)
        assert detection.score == pytest.approx(score, rel=1e-3)
        assert detection.anomaly_map.shape == (SIDE, SIDE) and detection.anomaly_map.dtype == np.float32
        np.testing.assert_allclose(detection.anomaly_map, anomaly_map, rtol=1e-3, atol=1e-3 * anomaly_map.max())
        scores.append(score)
    # What anomalib itself answers is cut off at 0 and 1, and tells nothing of how good or bad a part is.
    stock = ov.Core().compile_model(patchcore.folder / "weights" / "openvino" / "model.xml", "CPU")
    answers = [stock(np.repeat(to_input(frame, SIDE), 2, 0))["pred_score"].max() for frame in frames()]
    assert set(answers) <= {0.0, 1.0} and len(set(scores)) == len(scores)


def test_the_export_of_patchcore_that_takes_only_two_pictures_at_once_serves_single_ones(patchcore: Export) -> None:
    model = ov.Core().read_model(patchcore.folder / "weights" / "openvino" / "model.xml")
    assert list(model.inputs[0].shape) == [2, 3, SIDE, SIDE], "anomalib no longer keeps the batch: simplify"
    single = load(patchcore.folder)
    assert single.detect(frames()[0]).score == single.detect(frames()[0]).score


def test_padim_and_efficientad_score_as_the_torch_models(one_picture_export: Export) -> None:
    model = load(one_picture_export.folder)
    assert model.image_size == one_picture_export.side
    for frame in frames()[:2]:
        score, anomaly_map = one_picture_export.raw(frame)
        detection = model.detect(frame)
        assert detection.score == pytest.approx(score, rel=1e-3)
        np.testing.assert_allclose(detection.anomaly_map, anomaly_map, rtol=1e-3, atol=1e-3 * np.abs(anomaly_map).max())


def test_threads_do_not_mix_their_frames(patchcore: Export) -> None:
    model = load(patchcore.folder, workers=2)
    expected = [model.detect(frame).score for frame in frames()]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda frame: model.detect(frame).score, frames() * 6)) == expected * 6


# Graphs made by hand: the raw score is the picture's mean, the raw map its channels' mean

Graph = Callable[[Any], Any]


def normalised(raw: Any, *, threshold: float = 0.3, width: float = 0.1) -> Any:
    shifted = ops.divide(ops.subtract(raw, np.float32(threshold)), np.float32(width))
    return ops.clamp(ops.add(shifted, np.float32(0.5)), 0.0, 1.0)


def fused(raw: Any) -> Any:
    return ops.clamp(ops.add(ops.multiply(raw, np.float32(10)), np.float32(-2.5)), 0.0, 1.0)


def by_a_range_of_one(raw: Any) -> Any:
    return ops.clamp(ops.add(raw, np.float32(0.2)), 0.0, 1.0)


def in_half_precision(raw: Any) -> Any:
    factor, offset = (ops.convert(ops.constant(np.float16(value)), "f32") for value in (10, -2.5))
    return ops.clamp(ops.add(ops.multiply(raw, factor), offset), 0.0, 1.0)


def chosen(raw: Any) -> Any:
    """As anomalib 2.7 leaves it with dynamic shapes: normalised where there is a range, else as it is."""
    degenerate = ops.select(ops.greater(raw, np.float32(0.3)), np.float32(1), np.float32(0))
    inner = ops.select(ops.constant(False), degenerate, normalised(raw))
    return ops.select(ops.constant(True), inner, raw)


def half_chosen(raw: Any) -> Any:
    degenerate = ops.select(ops.greater(raw, np.float32(0.3)), np.float32(1), np.float32(0))
    return ops.select(ops.constant(False), degenerate, fused(raw))


def untouched(raw: Any) -> Any:
    return raw


def own_clamp(raw: Any) -> Any:
    return ops.clamp(raw, 0.0, 1.0)


def write(
    folder: Path,
    post: Graph = untouched,
    *,
    shape: Any = (1, 3, SIDE, SIDE),
    score: bool = True,
    anomaly_map: bool = True,
    resized_to: int | None = None,
) -> Path:
    picture = ops.parameter(ov.PartialShape(list(shape)), np.float32, name="input")
    if resized_to is None:
        inside = picture
    else:
        size, axes = ops.constant(np.array([resized_to, resized_to])), ops.constant(np.array([2, 3]))
        inside = ops.interpolate(picture, size, "linear", "sizes", axes=axes)
    raw_map = ops.reduce_mean(inside, ops.constant(np.array([1])), True)
    raw_score = ops.reduce_mean(inside, ops.constant(np.array([1, 2, 3])), False)
    results = []
    for wanted, raw, name in ((score, raw_score, "pred_score"), (anomaly_map, raw_map, "anomaly_map")):
        if wanted:
            result = ops.result(post(raw))
            result.output(0).get_tensor().set_names({name})
            results.append(result)
    if not results:
        results = [ops.result(ops.relu(picture))]
        results[0].output(0).get_tensor().set_names({"logits"})
    ov.save_model(ov.Model(results, [picture], "made by hand"), folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


@pytest.mark.parametrize(
    "post",
    [untouched, normalised, fused, by_a_range_of_one, in_half_precision, chosen, half_chosen, own_clamp],
    ids=lambda f: f.__name__,
)
def test_the_raw_score_is_found_whatever_is_built_upon_it(tmp_path: Path, post: Graph) -> None:
    model = load(write(tmp_path, post))
    for frame in frames():
        picture = to_input(frame, SIDE)
        detection = model.detect(frame)
        assert detection.score == pytest.approx(picture.mean(), rel=1e-5)
        np.testing.assert_allclose(detection.anomaly_map, picture[0].mean(0), rtol=1e-5)


def blurred(weights: NDArray[np.float32]) -> Graph:
    """A map that ends with a convolution, normalised by a factor that is in the weights already, and an offset."""

    def post(raw: Any) -> Any:
        padded = ops.pad(raw, np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), "reflect")
        kernel = ops.constant((10 * weights)[None, None].astype(np.float32))
        convolved = ops.convolution(padded, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
        return ops.clamp(ops.add(convolved, np.float32(-2.5)), 0.0, 1.0)

    return post


def test_a_factor_that_openvino_moved_into_the_blur_is_taken_out_again(tmp_path: Path) -> None:
    gaussian = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]).astype(np.float32)
    model = load(write(tmp_path, blurred(gaussian), score=False))
    for frame in frames():
        raw = to_input(frame, SIDE)[0].mean(0)
        expected = cv2.filter2D(raw, -1, gaussian, borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(model.detect(frame).anomaly_map, expected, rtol=1e-4)


def test_a_factor_that_cannot_be_told_from_the_weights_is_refused(tmp_path: Path) -> None:
    edges = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32)
    with pytest.raises(ModelError, match="raw score cannot be found"):
        load(write(tmp_path, blurred(edges), score=False))


def test_a_score_that_was_turned_round_is_refused(tmp_path: Path) -> None:
    """``1 - similarity``, then normalised, may have become one operation: the raw score is gone."""
    xml = write(tmp_path, lambda raw: ops.clamp(ops.add(ops.multiply(raw, np.float32(-5)), np.float32(2)), 0.0, 1.0))
    with pytest.raises(ModelError, match=r"raw score cannot be found.*post_processor = None"):
        load(xml)


@pytest.mark.parametrize("shape", [(-1, 3, SIDE, SIDE), (2, 3, SIDE, SIDE), (1, 3, SIDE, SIDE)])
def test_any_batch_serves_single_pictures(tmp_path: Path, shape: tuple[int, ...]) -> None:
    model = load(write(tmp_path, fused, shape=shape))
    assert model.detect(frames()[1]).score == pytest.approx(to_input(frames()[1], SIDE).mean(), rel=1e-5)


def test_a_graph_that_takes_any_size_is_given_the_size_it_resizes_to(tmp_path: Path) -> None:
    assert load(write(tmp_path, fused, shape=(-1, 3, -1, -1), resized_to=96)).image_size == 96


def test_a_model_without_a_score_is_scored_by_its_map_and_one_without_a_map_by_its_score(tmp_path: Path) -> None:
    frame, picture = frames()[1], to_input(frames()[1], SIDE)
    only_map = load(write(tmp_path, fused, score=False)).detect(frame)
    assert only_map.score == pytest.approx(picture[0].mean(0).max(), rel=1e-5)
    only_score = load(write(tmp_path, fused, anomaly_map=False)).detect(frame)
    assert only_score.anomaly_map.tolist() == [[only_score.score]]
    assert only_score.score == pytest.approx(picture.mean(), rel=1e-5)


def test_the_hash_is_of_both_files_and_the_sizes_of_frames_do_not_matter(tmp_path: Path) -> None:
    xml = write(tmp_path, fused)
    model = load(xml)
    assert model.hash == hashlib.sha256(xml.read_bytes() + xml.with_suffix(".bin").read_bytes()).hexdigest()
    assert model.detect(np.full((20, 30, 3), 51, np.uint8)).score == pytest.approx(0.2, rel=1e-5)
    with pytest.raises(ImageError):
        model.detect(np.zeros((20, 30), np.uint8))


def test_the_colours_are_in_anomalibs_order() -> None:
    blue = np.zeros((16, 16, 3), np.uint8)
    blue[..., 0] = 255
    assert to_input(blue, 16)[0, :, 0, 0].tolist() == [0, 0, 1]


# Where it lies, and what is wrong with it


@pytest.mark.parametrize("place", ["", "openvino", "weights/openvino"])
def test_it_is_found_where_anomalib_puts_it(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    xml = write(tmp_path / place)
    assert is_anomalib_export(tmp_path) and is_anomalib_export(xml)
    assert load(tmp_path).hash == load(xml).hash


def test_other_folders_are_none(tmp_path: Path) -> None:
    assert not is_anomalib_export(tmp_path) and not is_anomalib_export(tmp_path / "missing")
    with pytest.raises(ModelError, match=r"no model\.xml"):
        load(tmp_path)
    write(tmp_path)
    (tmp_path / "manifest.json").touch()
    assert not is_anomalib_export(tmp_path)


def test_of_several_models_one_has_to_be_named(tmp_path: Path) -> None:
    write(tmp_path).rename(tmp_path / "other.xml")
    write(tmp_path)
    with pytest.raises(ModelError, match="holds 2 models"):
        load(tmp_path)


def test_both_files_are_needed(tmp_path: Path) -> None:
    write(tmp_path).with_suffix(".bin").unlink()
    with pytest.raises(ModelError, match=r"model\.bin is missing"):
        load(tmp_path)


def test_other_runtimes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="RUNTIME=openvino"):
        load(write(tmp_path), runtime_name="torch")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    write(tmp_path).write_text("<annotation/>")
    with pytest.raises(ModelError, match="cannot be read by OpenVINO"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"score": False, "anomaly_map": False}, "neither anomaly_map nor pred_score, but logits"),
        ({"shape": (1, 3, SIDE, 96)}, "square"),
        ({"shape": (1, 1, SIDE, SIDE)}, "square RGB"),
        ({"shape": (1, 3, 40_000, 40_000)}, "pictures of 40,000 × 40,000 pixels: .* input_size of 2,048 at the most"),
        ({"shape": (-1, 3, -1, -1), "resized_to": 2049}, "pictures of 2,049 × 2,049 pixels"),
        ({"shape": (65, 3, SIDE, SIDE)}, "made for 65 pictures at once: export it for one or two"),
    ],
)
def test_graphs_that_cannot_serve_are_refused(tmp_path: Path, made: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load(write(tmp_path, **made))


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no numbers"):
        load(write(tmp_path, lambda raw: ops.log(ops.multiply(raw, np.float32(-1)))))


# The threshold


def test_without_held_out_scores_there_is_no_threshold(tmp_path: Path) -> None:
    assert math.isnan(load(write(tmp_path, fused)).threshold)


def test_held_out_scores_beside_it_give_the_default_threshold(tmp_path: Path) -> None:
    xml = write(tmp_path, fused)
    write_sidecar(load(xml), xml, [0.2, 0.3, 0.25], "bolt")
    model = load(tmp_path)
    assert (model.category, model.threshold) == ("bolt", calibrate([0.2, 0.3, 0.25]).threshold)
    assert sorted(path.name for path in tmp_path.iterdir()) == [SIDECAR, "model.bin", "model.xml"]


def test_held_out_scores_of_another_model_are_refused(tmp_path: Path) -> None:
    xml = write(tmp_path, fused)
    write_sidecar(load(xml), xml, [0.2, 0.3], "")
    write(tmp_path, normalised)
    with pytest.raises(ModelError, match="belongs to another model"):
        load(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", '{"model": "a", "category": "", "held_out_scores": [1]}'])
def test_damaged_held_out_scores_are_refused(tmp_path: Path, content: str) -> None:
    write(tmp_path).with_name(SIDECAR).write_text(content)
    with pytest.raises(ModelError, match="is damaged"):
        load(tmp_path)


def test_scores_that_make_no_threshold_are_not_written(tmp_path: Path) -> None:
    xml = write(tmp_path)
    with pytest.raises(ValueError, match="too few"):
        write_sidecar(load(xml), xml, [0.2], "")
    assert not xml.with_name(SIDECAR).exists()


def test_a_model_folder_that_lost_its_manifest_is_none(tmp_path: Path) -> None:
    for name in ("backbone-0123.xml", "backbone-0123.bin", "memory_bank-0123.safetensors"):
        (tmp_path / name).write_bytes(b"")
    assert not is_anomalib_export(tmp_path)
    with pytest.raises(ModelError, match=r"not a complete model folder: it has no manifest\.json"):
        detector.load(tmp_path)
