"""anomalib's own models, taught through its Engine on our pictures. Tiny drawn pictures; no network, no files left."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from detector import ModelError, calibrate
from detector.anomalib.export import SIDECAR, to_input
from detector.backbones.efficientnet_lite import Backbone, Convolution, load_backbone
from detector.extras import to_install
from detector.input_size import square
from detector.model import Detector
from detector.runtimes.runtime import runtime
from training.anomalib import models as anomalib_models
from training.data.datasets import TestPicture
from training.measure.evaluate import evaluate

torch = pytest.importorskip("torch")
pytest.importorskip("anomalib")

SIDE = 64


@pytest.fixture(autouse=True)
def offline_and_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing may connect anywhere, and nothing may be left in the folder of the start."""

    def refuse(*_: Any) -> None:
        raise AssertionError("something calls out")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    start = tmp_path / "start"
    start.mkdir()
    monkeypatch.chdir(start)
    yield
    assert not list(start.iterdir())


def draw(random: np.random.Generator, *, defect: bool = False) -> NDArray[np.uint8]:
    picture = np.clip(random.normal(120, 8, (70, 90, 3)), 0, 255).astype(np.uint8)
    if defect:
        cv2.rectangle(picture, (30, 20), (55, 45), (20, 240, 250), -1)
    return picture


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight drawn pictures of good parts."""
    folder, random = tmp_path_factory.mktemp("good"), np.random.default_rng(0)
    for number in range(8):
        cv2.imwrite(str(folder / f"{number}.png"), draw(random))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> list[TestPicture]:
    """Three good and three defective drawn pictures, the latter with masks."""
    folder, random = tmp_path_factory.mktemp("test"), np.random.default_rng(1)
    mask = np.zeros((70, 90), np.uint8)
    mask[20:46, 30:56] = 255
    cv2.imwrite(str(folder / "mask.png"), mask)
    pictures = []
    for number in range(6):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), draw(random, defect=number > 2))
        pictures.append(TestPicture(path, "blot", folder / "mask.png") if number > 2 else TestPicture(path, "good"))
    return pictures


@pytest.fixture(scope="module")
def patchcore(good: list[Path]) -> anomalib_models.AnomalibFit:
    return anomalib_models.fit_patchcore(good, image_size=SIDE, coreset_size=37, category="noise")


# The mapping of the weights


def test_every_tensor_of_timms_network_has_its_own_in_the_checkpoint() -> None:
    import timm

    from training.anomalib.backbone import NAME, name_in_checkpoint

    network = timm.create_model(NAME, pretrained=False, features_only=True)
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    mapped = [name_in_checkpoint(name) for name in names]
    assert len(names) == 240 == len(set(mapped))
    assert name_in_checkpoint("conv_stem.weight") == "_conv_stem.weight"
    assert name_in_checkpoint("blocks.0.0.conv_pw.weight") == "_blocks.0._project_conv.weight"
    assert name_in_checkpoint("blocks.4.2.bn3.running_var") == "_blocks.10._bn2.running_var"
    with pytest.raises(KeyError):
        name_in_checkpoint("blocks.1.0.se.weight")


def test_every_block_gives_the_same_features_as_the_detectors() -> None:
    """The detector's blocks in float64, as `detector/backbones/efficientnet_lite.py` describes them, beside timm's."""
    import timm

    from training.anomalib.backbone import NAME, load_into

    network = timm.create_model(NAME, pretrained=False, features_only=True, out_indices=(2, 3)).eval().double()
    load_into(network)
    theirs: list[Any] = []
    for stage in range(5):
        for block in network.blocks[stage]:
            block.register_forward_hook(lambda module, given, made: theirs.append(made))
    frame = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    with torch.no_grad():
        network((torch.from_numpy(frame[..., ::-1].transpose(2, 0, 1)[None].astype(np.float64)) - 127) / 128)
    ours = blocks(load_backbone(), frame)
    assert len(ours) == len(theirs) == 11
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one.shape == other.shape, number
        # The folded weights are float32, so a few parts in a million are lost.
        assert float((one - other).abs().max()) <= 2e-5 * float(other.abs().max()), number


def blocks(backbone: Backbone, frame: NDArray[np.uint8]) -> list[Any]:
    x = convolved(torch.from_numpy((frame.transpose(2, 0, 1)[None].astype(np.float64) - 127) / 128), backbone.stem)
    outputs = []
    for block in backbone.blocks:
        y = x
        for convolution in block.convolutions:
            y = convolved(y, convolution)
        x = x + y if block.residual else y
        outputs.append(x)
    return outputs


def convolved(x: Any, convolution: Convolution) -> Any:
    kernel, stride = convolution.weight.shape[-1], convolution.stride
    total = [max((-(-length // stride) - 1) * stride + kernel - length, 0) for length in x.shape[2:]]
    (height, width) = total
    x = torch.nn.functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
    x = torch.nn.functional.conv2d(
        x,
        torch.from_numpy(convolution.weight.astype(np.float64)),
        torch.from_numpy(convolution.bias.astype(np.float64)),
        stride,
        groups=len(convolution.weight) if convolution.depthwise else 1,
    )
    return x.clamp(0, 6) if convolution.relu6 else x


@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_anomalibs_patch_features_are_those_of_both_runtimes(name: str) -> None:
    from training.anomalib.backbone import two_layers
    from training.anomalib.modules import patchcore

    module = patchcore(SIDE, 1.0)
    module.model.train()
    frame = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    with torch.no_grad():
        theirs = module.model(module.pre_processor(torch.from_numpy(to_input(frame, SIDE)))).numpy()
    ours = runtime(name).features(two_layers(), square(SIDE))(frame)
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() <= 2e-5 * np.abs(ours).max()


def test_the_preprocessing_is_the_detectors() -> None:
    from training.anomalib.modules import patchcore

    frame = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    prepared = patchcore(SIDE, 1.0).pre_processor(torch.from_numpy(to_input(frame, SIDE))).numpy()[0]
    assert np.abs(prepared - (frame[..., ::-1].transpose(2, 0, 1).astype(np.float64) - 127) / 128).max() < 1e-6


# PatchCore and PaDiM


def test_patchcore_is_measured_as_ours_is(patchcore: anomalib_models.AnomalibFit, labelled: list[TestPicture]) -> None:
    model: Detector = patchcore.model
    assert (model.category, model.image_size, model.runtime, len(model.hash)) == ("noise", SIDE, "anomalib-torch", 64)
    assert len(patchcore.model.module.model.memory_bank) == 37
    assert len(patchcore.held_out_scores) == 2
    assert model.threshold == calibrate(patchcore.held_out_scores).threshold
    bank, network = 37 * 152 * 4, 680_000 * 4
    assert patchcore.size_bytes > bank + network
    assert 0 < patchcore.seconds < 60
    figures = evaluate(model, labelled)
    assert (figures.image_auroc, figures.escapes) == (1.0, 0)
    assert figures.pixel_auroc is not None and figures.pixel_auroc > 0.9


def test_the_score_and_the_map_are_raw(patchcore: anomalib_models.AnomalibFit) -> None:
    detection = patchcore.model.detect(draw(np.random.default_rng(5), defect=True))
    assert detection.anomaly_map.shape == (SIDE, SIDE) and detection.anomaly_map.dtype == np.float32
    assert detection.score > 1 and detection.anomaly_map.max() > 1


def test_the_same_pictures_and_seed_give_the_same_model_and_leave_the_random_numbers_alone(good: list[Path]) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(1), np.random.random()
    torch.manual_seed(5)
    np.random.seed(5)
    one, again = (anomalib_models.fit_padim(good[:5], image_size=SIDE, n_features=9, seed=1) for _ in range(2))
    assert (torch.rand(1), np.random.random()) == expected
    assert one.model.hash == again.model.hash
    assert one.held_out_scores == again.held_out_scores
    assert one.model.threshold == calibrate(one.held_out_scores).threshold


def test_padim_finds_the_defects(good: list[Path], labelled: list[TestPicture]) -> None:
    fit = anomalib_models.fit_padim(good, image_size=SIDE, n_features=20)
    assert evaluate(fit.model, labelled).image_auroc == 1.0
    assert len(fit.model.module.model.idx) == 20


def test_too_few_pictures_are_refused(good: list[Path]) -> None:
    with pytest.raises(ModelError, match="4 normal pictures are too few"):
        anomalib_models.fit_patchcore(good[:4])


def test_without_anomalib_it_says_what_to_install(good: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("training.anomalib.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "anomalib", None)
    monkeypatch.setitem(sys.modules, "anomalib.models", None)
    with pytest.raises(ModelError, match=re.escape(to_install("anomalib"))):
        anomalib_models.fit_patchcore(good)


def test_large_blocks_apart_does_nothing_where_there_is_no_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    from training.anomalib import engine

    def no_mallopt(_: object) -> object:
        return object()

    monkeypatch.setattr(engine.ctypes, "CDLL", no_mallopt)
    with engine.large_blocks_apart():
        pass


def test_an_export_scores_as_the_torch_model_and_brings_its_threshold(
    patchcore: anomalib_models.AnomalibFit, tmp_path: Path
) -> None:
    exported = anomalib_models.export(patchcore, tmp_path / "export")
    assert (tmp_path / "export" / "weights" / "openvino" / SIDECAR).is_file()
    assert exported.threshold == pytest.approx(patchcore.model.threshold)
    assert (exported.category, exported.image_size) == ("noise", SIDE)
    random = np.random.default_rng(9)
    for defect in (False, True):
        frame = draw(random, defect=defect)
        ours, theirs = exported.detect(frame), patchcore.model.detect(frame)
        assert ours.score == pytest.approx(theirs.score, rel=1e-3)
        np.testing.assert_allclose(ours.anomaly_map, theirs.anomaly_map, rtol=1e-3, atol=1e-3)


# EfficientAD


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A teacher of random weights, and a few drawn pictures instead of ImageNette."""
    from anomalib.models.image.efficient_ad.torch_model import SmallPatchDescriptionNetwork

    folder = tmp_path_factory.mktemp("stand-ins")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(SmallPatchDescriptionNetwork(384).state_dict(), folder / "pretrained_teacher_small.pth")
    kind = folder / "imagenette2" / "train" / "n01440764"
    kind.mkdir(parents=True)
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        cv2.imwrite(str(kind / f"{number}.png"), noise)
    return folder / "pretrained_teacher_small.pth", folder / "imagenette2"


def test_efficientad_learns_from_stand_in_files(
    good: list[Path], stand_ins: tuple[Path, Path], labelled: list[TestPicture]
) -> None:
    teacher, imagenette = stand_ins
    fit = anomalib_models.fit_efficientad(good[:5], teacher=teacher, imagenette=imagenette, steps=1, category="noise")
    loaded = torch.load(teacher, weights_only=True)["conv1.weight"]
    assert torch.equal(fit.model.module.model.teacher.conv1.weight.detach().cpu(), loaded)
    assert (fit.model.image_size, len(fit.held_out_scores)) == (256, 2)
    assert fit.model.threshold == calibrate(fit.held_out_scores).threshold
    # One step with a random teacher teaches nothing, but the scale of the maps is set: 0.1 is the top of good pixels.
    quantiles = fit.model.module.model.quantiles
    assert all(float(quantiles[name].detach()) > 0 for name in ("qa_st", "qb_st", "qa_ae", "qb_ae"))
    detection = fit.model.detect(draw(np.random.default_rng(3), defect=True))
    assert np.isfinite(detection.score) and detection.anomaly_map.shape == (256, 256)


MISSING = Path("/nowhere")


@pytest.mark.parametrize(
    ("teacher", "imagenette", "named", "not_named"),
    [
        (False, True, ["--efficientad-teacher", "efficientad_pretrained_weights.zip"], "--imagenette"),
        (True, False, ["--imagenette", "imagenette2.tgz"], "--efficientad-teacher"),
        (False, False, ["--efficientad-teacher", "--imagenette", "nothing is downloaded"], "/nowhere"),
        (MISSING, True, ["not at /nowhere", "--efficientad-teacher"], "--imagenette"),
        (True, MISSING, ["not in /nowhere", "--imagenette"], "--efficientad-teacher"),
    ],
)
def test_efficientad_says_in_one_sentence_what_is_missing_and_downloads_nothing(
    good: list[Path],
    stand_ins: tuple[Path, Path],
    teacher: bool | Path,
    imagenette: bool | Path,
    named: list[str],
    not_named: str,
) -> None:
    given = [
        file if choice is True else choice or None
        for file, choice in zip(stand_ins, (teacher, imagenette), strict=True)
    ]
    with pytest.raises(ModelError) as refused:
        anomalib_models.fit_efficientad(good, teacher=given[0], imagenette=given[1])
    words = str(refused.value)
    assert all(word in words for word in named) and not_named not in words and "\n" not in words


def test_efficientad_refuses_what_is_no_teacher(good: list[Path], stand_ins: tuple[Path, Path], tmp_path: Path) -> None:
    not_one, half = tmp_path / "weights.pth", tmp_path / "half.pth"
    not_one.write_bytes(b"not a checkpoint")
    weights = torch.load(stand_ins[0], weights_only=True)
    torch.save({"conv1.weight": weights["conv1.weight"]}, half)
    for file, words in ((not_one, "no teacher"), (half, "no complete teacher")):
        with pytest.raises(ModelError, match=words):
            anomalib_models.fit_efficientad(good, teacher=file, imagenette=stand_ins[1])


def test_efficientad_refuses_sizes_its_network_cannot_take(good: list[Path], stand_ins: tuple[Path, Path]) -> None:
    with pytest.raises(ModelError, match="at least 256"):
        anomalib_models.fit_efficientad(good, teacher=stand_ins[0], imagenette=stand_ins[1], image_size=128)
