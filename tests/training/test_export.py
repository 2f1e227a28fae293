from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import detector
from detector import Detection, self_contained
from detector.backbones.efficientnet_lite import AnyBackbone, GraphBackbone, load_backbone
from detector.backbones.openvino_graph import as_ir, backbone_graph
from detector.input_size import square
from detector.self_contained import Written
from detector.teaching import FitOptions, teach
from tests.training.commands.test_commands import run
from tests.training.conftest import draw_part, write_picture
from training import export as export_module
from training.data import datasets
from training.train import train

SIZES = FitOptions(image_size=64, coreset_size=100)


@pytest.fixture(scope="module")
def model(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("models") / "disc"
    train(datasets.find_data_set(parts), output, category="disc", seed=3, **SIZES)
    return output


@pytest.fixture(scope="module")
def int8(model: Path, parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nncf", reason="nncf is an extra and not installed")
    output = tmp_path_factory.mktemp("models") / "int8"
    assert run("export", model, parts, "--output", output, "--precision", "int8", "--tolerance", 1) == 0
    return output


@pytest.fixture
def blind_to_defects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quantisation gone wrong: the network gets the green of the dark background only, which no defect is in."""
    import openvino.opset13 as ops

    def quantise(backbone: AnyBackbone, frames: list[Any]) -> GraphBackbone:
        graph = backbone_graph(backbone, square(frames[0].shape[0]))
        picture = graph.get_parameters()[0].output(0)
        readers = list(picture.get_target_inputs())
        green = ops.gather(picture, ops.constant(np.array([1, 1, 1])), ops.constant(np.int64(1)))
        dark = ops.clamp(green, 0.0, 120.0)
        for reader in readers:
            reader.replace_source_output(dark.output(0))
        xml, weights = as_ir(graph)
        return GraphBackbone("blind, int8", "0" * 64, backbone.layers, xml, weights, 8, 16)

    monkeypatch.setattr(teach, "quantise", quantise)


def test_as_it_is(model: Path, parts: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "new folder" / "disc"
    assert run("export", model, parts, "--output", output) == 0
    exported = detector.load_taught(output)
    assert exported.hash == detector.load(model).hash
    files = {path.name for path in (output / "openvino").iterdir()}
    assert files == {"model.xml", "model.bin", "model.json", "README.md"}
    frame = draw_part(300, defect=True)
    assert not exported.manifest.region.is_full
    found = Written(output / "openvino").detect(exported.manifest.region.to_input(frame, square(64)))
    assert found.score == pytest.approx(exported.detect(frame).score, rel=1e-4)
    printed = capsys.readouterr().out
    assert "on 20 pictures" in printed and "verdicts" not in printed
    assert f"defectvision serve --model '{output}'" in printed


def test_a_padim_model(parts: Path, tmp_path: Path) -> None:
    train(datasets.find_data_set(parts), tmp_path / "padim", method="padim", **SIZES)
    assert run("export", tmp_path / "padim", parts, "--output", tmp_path / "exported") == 0
    exported, frame = detector.load_taught(tmp_path / "exported"), draw_part(300, defect=True)
    found = Written(tmp_path / "exported/openvino").detect(exported.manifest.region.to_input(frame, square(64)))
    assert found.score == pytest.approx(exported.detect(frame).score, rel=1e-3)


def test_train_in_int8(parts: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("nncf", reason="nncf is an extra and not installed")
    sizes = ["--image-size", 64, "--coreset-size", 100]
    assert run("train", parts, "--output", tmp_path / "disc", "--precision", "int8", *sizes) == 0
    assert "efficientnet-lite0, int8, int8" not in capsys.readouterr().out
    assert detector.load_taught(tmp_path / "disc").manifest.precision == "int8"


def test_in_another_precision_it_is_taught_again_in_the_same_way(int8: Path, model: Path) -> None:
    exported, original = detector.load_taught(int8), detector.load_taught(model)
    assert exported.manifest.precision == "int8" and exported.hash != original.hash
    for name in ("method", "category", "image_size", "region", "coreset_size", "seed", "n_images", "projection"):
        assert getattr(exported.manifest, name) == getattr(original.manifest, name)
    assert exported.manifest.dataset_fingerprint == original.manifest.dataset_fingerprint
    assert exported.threshold != original.threshold
    assert exported.threshold == detector.calibrate(exported.manifest.held_out_scores).threshold
    frame = draw_part(300, defect=True)
    found = Written(int8 / "openvino").detect(exported.manifest.region.to_input(frame, square(64)))
    assert found.score == pytest.approx(exported.detect(frame).score, rel=1e-3)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts twice as wide as high."""
    folder = tmp_path_factory.mktemp("parts") / "wide"
    for number in range(8):
        write_picture(folder / f"{number}.png", cv2.resize(draw_part(number), (192, 96)))
    return folder


def convolutional(torch_form: bytes) -> GraphBackbone:
    """As one of timm's: its input is a multiple of 32, and its layers have strides up to 16."""
    lite = load_backbone()
    xml, weights = as_ir(backbone_graph(lite, square(64)))
    return GraphBackbone("as of timm", "1" * 64, lite.layers, xml, weights, 8, 32, torch_form)


@pytest.mark.parametrize(
    ("preset", "torch_form"),
    [
        ("fast", None),
        ("balanced", None),
        ("balanced", b"of torch"),
        ("balanced", b""),  # the layers do not tell, so the manifest does
    ],
)
def test_taught_again_it_has_the_same_scales_and_sizes(
    preset: Any, torch_form: bytes | None, parts: Path, wide: Path, tmp_path: Path
) -> None:
    """The sizes of both scales were taken for that of one, the coarse scale for that of the default, and what the input
    must be a multiple of for the coarsest layer's stride."""
    backbone = None if torch_form is None else convolutional(torch_form)
    data_set = datasets.find_data_set(wide if backbone else parts)
    how = FitOptions(image_size=256, coreset_size=91, inspect="full", register="off", backbone=backbone)
    original = detector.fit(datasets.Pictures(data_set.training), preset=preset, **how)
    assert original.manifest.shrink == detector.PRESETS[preset].shrink
    assert original.input_size == ((192, 384) if backbone else (256, 256))
    original.save(tmp_path / "model")
    read = detector.load_taught(tmp_path / "model")
    assert backbone in (None, read.backbone)
    again = export_module._taught_again(read, data_set, "float32", lambda stage, done: None)
    assert again.hash == original.hash


@pytest.mark.parametrize(("exported", "moved"), [(0.0, 0.0), (1.0, 1e6)])
def test_how_far_a_score_of_zero_moved(exported: float, moved: float) -> None:
    """That of a labelled picture which was learned too."""
    assert export_module.Verdict("known by heart", 0.0, exported).shift == pytest.approx(moved)


def test_the_comparison_is_printed(model: Path, parts: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("nncf", reason="nncf is an extra and not installed")
    assert run("export", model, parts, "--output", tmp_path / "x", "--precision", "int8", "--tolerance", 1) == 0
    lines = {line.split("  ")[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    one, other = detector.load(model), detector.load(tmp_path / "x")
    assert lines["precision"][1:] == ["float32", "int8"]
    assert lines["threshold"][1:] == [f"{one.threshold:.4f}", f"{other.threshold:.4f}"]
    assert lines["image AUROC"][2:] == ["1.0000", "1.0000"]
    assert lines["verdicts"][2:5] == ["of", "20", "differ"]  # 12 held out, 8 to measure on


def test_a_model_with_other_verdicts_is_refused(
    blind_to_defects: None, model: Path, parts: Path, tmp_path: Path, capsys: Any
) -> None:
    output = tmp_path / "new folder" / "disc"
    assert run("export", model, parts, "--output", output, "--precision", "int8") == 1
    assert not list(tmp_path.iterdir())
    printed = capsys.readouterr().out
    found = re.search(r"Refused, and nothing was written: (\d) of 20 verdicts differ, more than 2.0%", printed)
    assert found and int(found[1]) >= 4  # a held-out picture that lies near the threshold may differ too
    for number in range(4):
        assert str(parts / f"test/spot/{number:03}.png") in printed
    assert run("export", model, parts, "--output", output, "--precision", "int8", "--tolerance", 0.3) == 0


def test_a_refusal_leaves_the_model_that_was_there(
    blind_to_defects: None, model: Path, parts: Path, tmp_path: Path
) -> None:
    assert run("export", model, parts, "--output", tmp_path / "disc") == 0
    before = contents(tmp_path)
    assert run("export", model, parts, "--output", tmp_path / "disc", "--precision", "int8") == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("wrong", [1.002, np.nan])
def test_a_graph_that_computes_something_else_is_refused(
    wrong: float, model: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    right = Written.detect

    def detect(self: Written, frame: Any) -> Detection:
        found = right(self, frame)
        return Detection(found.score * wrong, found.anomaly_map)

    monkeypatch.setattr(self_contained.Written, "detect", detect)
    assert run("export", model, parts, "--output", tmp_path / "disc") == 1
    assert "the graph differs from the model by" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_one_wrong_place_of_the_map_is_enough(
    model: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    right = Written.detect

    def detect(self: Written, frame: Any) -> Detection:
        found = right(self, frame)
        found.anomaly_map[0, 0] += 0.02 * found.score
        return found

    monkeypatch.setattr(self_contained.Written, "detect", detect)
    assert run("export", model, parts, "--output", tmp_path / "disc") == 1
    assert "in its anomaly map, more than 0.01" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_ctrl_c_leaves_nothing(
    model: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        assert [path.name.startswith(".disc.") for path in tmp_path.iterdir()] == [True]
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "evaluate", interrupted)
    assert run("export", model, parts, "--output", tmp_path / "disc") == 130
    assert "Stopped." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_folder_is_replaced_with_its_graph(model: Path, int8: Path, parts: Path, tmp_path: Path) -> None:
    shutil.copytree(int8, tmp_path / "disc")
    assert run("export", model, parts, "--output", tmp_path / "disc") == 0
    assert detector.load(tmp_path / "disc").hash == detector.load(model).hash
    assert not list((tmp_path / "disc").glob("backbone-*"))
    assert detector.load(model).hash in (tmp_path / "disc/openvino/model.json").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["disc"]


def test_a_replacement_that_fails_leaves_the_old_model_and_graph(
    model: Path, int8: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(int8, tmp_path / "disc")
    before = contents(tmp_path)
    save = detector.TaughtModel.save

    def fails_in_the_end(self: detector.TaughtModel, folder: Path) -> None:
        if folder.name == "disc":
            raise KeyboardInterrupt
        save(self, folder)

    monkeypatch.setattr(detector.TaughtModel, "save", fails_in_the_end)
    assert run("export", model, parts, "--output", tmp_path / "disc") == 130
    assert contents(tmp_path) == before


def test_what_is_no_model_folder_is_never_touched(model: Path, parts: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday/beach.txt").write_text("sun")
    assert run("export", model, parts, "--output", tmp_path / "holiday") == 2
    assert "exists and is not a model folder" in capsys.readouterr().err
    assert contents(tmp_path) == {Path("holiday/beach.txt"): b"sun"}


def test_the_model_itself_is_no_place_for_its_export(model: Path, parts: Path, capsys: Any) -> None:
    assert run("export", model, parts, "--output", model) == 2
    assert "is the model itself" in capsys.readouterr().err


def test_other_pictures_than_those_it_was_taught_on(model: Path, parts: Path, tmp_path: Path, capsys: Any) -> None:
    shutil.copytree(parts, tmp_path / "parts")
    write_picture(tmp_path / "parts/train/good/new.png", draw_part(400))
    assert run("export", model, tmp_path / "parts", "--output", tmp_path / "disc") == 2
    assert "was taught on other pictures than those of" in capsys.readouterr().err
    assert not (tmp_path / "disc").exists()


def test_a_set_of_good_pictures_only(model: Path, parts: Path, tmp_path: Path, capsys: Any) -> None:
    assert run("export", model, parts / "train/good", "--output", tmp_path / "disc") == 0
    printed = capsys.readouterr().out
    assert "on 12 pictures" in printed and "AUROC" not in printed


def test_an_int8_model_stays_one(int8: Path, parts: Path, tmp_path: Path, capsys: Any) -> None:
    assert run("export", int8, parts, "--output", tmp_path / "same", "--precision", "int8") == 0
    assert detector.load(tmp_path / "same").hash == detector.load(int8).hash
    assert run("export", int8, parts, "--output", tmp_path / "other", "--precision", "bfloat16") == 2
    assert "start from the float32 model" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("value", ["-0.1", "1.1", "nan", "some"])
def test_impossible_tolerances(value: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        run("export", tmp_path, tmp_path, "--output", tmp_path / "x", f"--tolerance={value}")
    assert "is not a share from 0 to 1" in capsys.readouterr().err


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
