from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import detector
from tests.training.conftest import draw_part, write_picture
from training.commands import add_parsers
from training.commands import train as train_command
from training.data import datasets

BOTTLE = Path(__file__).parents[4] / "shared/data/bottle"
QUICK = ["--image-size", "64", "--coreset-size", "100"]


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser("defectvision")
    add_parsers(parser.add_subparsers(required=True))
    parsed = parser.parse_args([str(argument) for argument in arguments])
    return int(parsed.run(parsed))


@pytest.fixture(scope="session")
def model(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("models") / "disc"
    assert run("train", parts, "--output", output, *QUICK) == 0
    return output


def test_train_says_what_it_used_and_what_to_do_next(parts: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "new folder" / "disc"
    assert run("train", parts, "--output", output, *QUICK) == 0
    printed = capsys.readouterr().out
    assert f"Learning from 12 pictures in {parts}/train/good (MVTec AD layout)" in printed
    assert "from 12 pictures held out in turn" in printed
    assert "100 patches" in printed
    assert f"defectvision evaluate '{output}' {parts}" in printed
    trained = detector.load(output)
    assert f"{trained.threshold:.4f}" in printed
    assert (trained.manifest.category, trained.manifest.image_size) == ("disc", 64)
    paths = datasets.find_training_pictures(parts)
    assert trained.manifest.dataset_fingerprint == datasets.fingerprint(paths)


def test_a_flat_folder_is_said_to_be_one(parts: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "model"
    assert run("train", parts / "train/good", "--output", output, "--category", "disc", *QUICK) == 0
    printed = capsys.readouterr().out
    assert "flat folder, subfolders not searched" in printed
    assert "defectvision serve" in printed
    assert detector.load(output).manifest.category == "disc"


def test_the_same_pictures_and_seed_give_the_same_memory_bank(parts: Path, model: Path, tmp_path: Path) -> None:
    first = detector.load(model).manifest
    for seed, same in (("0", True), ("1", False)):
        assert run("train", parts, "--output", tmp_path / seed, "--seed", seed, *QUICK) == 0
        again = detector.load(tmp_path / seed).manifest
        assert (again.tensors_sha256 == first.tensors_sha256) is same


def test_a_model_may_be_replaced_and_nothing_else(parts: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "output"
    output.mkdir()
    assert run("train", parts, "--output", output, *QUICK) == 0  # an empty folder is no loss
    assert run("train", parts, "--output", output, "--category", "second", *QUICK) == 0
    assert detector.load(output).manifest.category == "second"

    holiday = tmp_path / "holiday"
    holiday.mkdir()
    (holiday / "beach.txt").write_text("sun")
    assert run("train", parts, "--output", holiday, *QUICK) == 2
    assert run("train", parts, "--output", holiday / "beach.txt", *QUICK) == 2
    assert run("train", parts, "--output", holiday / "beach.txt" / "model", *QUICK) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "exists and is not a model folder" in errors[0]
    assert "is a file, not a model folder" in errors[1]
    assert "cannot be written" in errors[2]
    assert [path.name for path in holiday.iterdir()] == ["beach.txt"]


@pytest.fixture
def spoilt(parts: Path, tmp_path: Path) -> Path:
    """The parts, with two pictures that cannot be learned, one that cannot be measured and a mask of another shape."""
    folder = tmp_path / "spoilt"
    shutil.copytree(parts, folder)
    whole = (folder / "train/good/000.png").read_bytes()
    (folder / "train/good/empty.jpg").write_bytes(b"")
    (folder / "train/good/truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "test/spot/text.png").write_text("not a picture")
    write_picture(folder / "ground_truth/spot/001_mask.png", np.zeros((96, 48), np.uint8))
    return folder


def test_training_goes_without_broken_pictures_and_lists_them(
    spoilt: Path, model: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run("train", spoilt, "--output", tmp_path / "model", *QUICK) == 0
    printed = capsys.readouterr().out
    assert "Learning from 12 pictures" in printed
    listed = printed[printed.index("Left out because they cannot be used (2):") :].splitlines()
    assert listed[1:] == [
        f"  {spoilt}/train/good/empty.jpg: the picture is empty: 0 bytes",
        f"  {spoilt}/train/good/truncated.png: the PNG picture is incomplete or damaged: send the whole file",
    ]
    manifest = detector.load(tmp_path / "model").manifest
    assert manifest.tensors_sha256 == detector.load(model).manifest.tensors_sha256
    assert manifest.dataset_fingerprint == detector.load(model).manifest.dataset_fingerprint


def test_evaluating_goes_without_them_too(spoilt: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    report = tmp_path / "report.json"
    assert run("evaluate", model, spoilt, "--json", report) == 0
    printed = capsys.readouterr().out
    assert "4 good, 4 defective (2 with a mask)" in printed
    assert f"  {spoilt}/test/spot/text.png: not a JPEG" in printed
    assert "the mask is 48×96 pixels, its picture 96×96: not the same shape" in printed
    figures = json.loads(report.read_text())
    assert [Path(file["path"]).name for file in figures["unusable"]] == ["001_mask.png", "text.png"]
    assert figures["layout"] == "MVTec AD"


def test_strict_stops_before_anything_is_written(spoilt: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    report = tmp_path / "report.json"
    assert run("train", spoilt, "--output", tmp_path / "model", "--strict", *QUICK) == 2
    assert run("evaluate", model, spoilt, "--strict", "--json", report) == 2
    printed, errors = capsys.readouterr()
    assert printed == ""
    for name in ("empty.jpg", "truncated.png", "text.png", "001_mask.png"):
        assert name in errors
    assert not (tmp_path / "model").exists() and not report.exists()


def test_strict_changes_nothing_where_all_is_well(parts: Path, model: Path, tmp_path: Path) -> None:
    assert run("train", parts, "--output", tmp_path / "model", "--strict", *QUICK) == 0
    assert detector.load(tmp_path / "model").hash == detector.load(model).hash
    assert run("evaluate", model, parts, "--strict") == 0


def test_too_few_whole_pictures_leave_the_old_model(model: Path, tmp_path: Path, write: Any, capsys: Any) -> None:
    for number in range(5):
        write(tmp_path / f"data/{number}.png", np.full((64, 64, 3), number, np.uint8))
    (tmp_path / "data/3.png").write_bytes(b"broken")
    before = detector.load(model).hash
    assert run("train", tmp_path / "data", "--output", model, *QUICK) == 2
    error = capsys.readouterr().err
    assert error.startswith("defectvision: ")
    assert "holds 4 usable pictures to learn from, but training needs at least 5" in error
    assert "3.png: not a JPEG" in error
    assert detector.load(model).hash == before


def test_pictures_that_are_all_the_same_are_refused(tmp_path: Path, write: Any, capsys: Any) -> None:
    for number in range(6):
        write(tmp_path / f"data/{number}.{'png' if number % 2 else 'bmp'}", np.full((64, 64, 3), 90, np.uint8))
    assert run("train", tmp_path / "data", "--output", tmp_path / "model", *QUICK) == 2
    assert "all the same picture" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_pictures_of_all_sizes_and_kinds_are_learned_and_measured(tmp_path: Path, model: Path) -> None:
    for number in range(12):
        side = 64 + 16 * (number % 4)
        picture = cv2.resize(draw_part(number), (side, 96))
        kinds = (picture, picture[..., 0], picture.astype(np.uint16) * 257, cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA))
        for split in ("train", "test"):
            write_picture(tmp_path / f"data/{split}/good/{number}.png", kinds[number // 3])
    assert run("train", tmp_path / "data", "--output", tmp_path / "model", "--strict", *QUICK) == 0
    assert run("evaluate", tmp_path / "model", tmp_path / "data", "--strict") == 0


def test_figures_by_lighting_are_printed(parts: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    for number, light in enumerate(("regular", "underexposed")):
        picture = draw_part(number) // (number + 1)
        write_picture(tmp_path / f"can/test_public/good/000_{light}.png", picture)
        write_picture(tmp_path / f"can/test_public/bad/000_{light}.png", draw_part(number, defect=True))
    (tmp_path / "can/test_private").mkdir()
    write_picture(tmp_path / "can/test_private/000_regular.png", draw_part(9))
    assert run("evaluate", model, tmp_path / "can") == 0
    printed = capsys.readouterr().out
    table = printed[printed.index("lighting ") :].splitlines()
    assert [line.split()[0] for line in table[:3]] == ["lighting", "regular", "underexposed"]
    assert table[1].split() == ["regular", "2", "1.0000", "0/1", "0.0%", "0/1", "0.0%"]
    assert "test_private has no labels, so its pictures (1) are not used" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--image-size", "0"],
        ["--image-size", "big"],
        ["--coreset-size", "-5"],
        ["--seed", "-1"],
        ["--seed", "1.5"],
    ],
)
def test_impossible_options_are_refused_at_once(tmp_path: Path, arguments: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("train", tmp_path, "--output", tmp_path / "m", *arguments)
    assert stopped.value.code == 2
    assert "whole number" in capsys.readouterr().err


def test_a_memory_bank_of_one_patch_is_refused_in_words(parts: Path, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        run("train", parts, "--output", tmp_path / "m", "--coreset-size", "1")
    assert "1 patches cannot tell what is normal: take at least 50" in capsys.readouterr().err


def test_a_size_the_detector_refuses(parts: Path, tmp_path: Path, capsys: Any) -> None:
    assert run("train", parts, "--output", tmp_path / "m", "--image-size", "100") == 2
    assert "multiple of 16" in capsys.readouterr().err


def test_evaluate_prints_a_table_and_writes_json(parts: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    report = tmp_path / "report.json"
    assert run("evaluate", model, parts, "--json", report) == 0
    printed = capsys.readouterr().out
    assert "image AUROC    1.0000" in printed
    assert "escapes        0 of 4 (0.0%)" in printed
    figures = json.loads(report.read_text())
    assert figures["image_auroc"] == 1.0
    assert figures["pixel_auroc"] > 0.9
    assert f"AUPRO          {figures['aupro']:.4f}" in printed
    assert figures["masks"] == 3
    assert figures["model_hash"] == detector.load(model).hash
    assert figures["threshold_source"] == "model"
    assert {picture["defect"] for picture in figures["pictures"]} == {"good", "spot"}
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_another_threshold_is_marked_and_what_it_gets_wrong_is_listed(parts: Path, model: Path, capsys: Any) -> None:
    assert run("evaluate", model, parts, "--threshold", "10000") == 0
    printed = capsys.readouterr().out
    assert "10000.0000 (--threshold)" in printed
    assert "escapes        4 of 4 (100.0%)" in printed
    assert str(parts / "test/spot/003.png") in printed


def test_a_set_of_good_pictures_only_has_dashes(parts: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test/good").symlink_to(parts / "test/good")
    assert run("evaluate", model, tmp_path) == 0
    printed = capsys.readouterr().out
    assert "image AUROC    –\n" in printed
    assert "escapes        –\n" in printed
    assert "There are no defective pictures" in printed


@pytest.mark.parametrize("threshold", ["0", "-3", "nan", "inf", "high"])
def test_a_threshold_must_be_a_distance(tmp_path: Path, threshold: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("evaluate", tmp_path, tmp_path, "--threshold", threshold)
    assert stopped.value.code == 2
    assert "above 0" in capsys.readouterr().err


def test_evaluate_errors_say_what_to_do(parts: Path, model: Path, tmp_path: Path, capsys: Any) -> None:
    assert run("evaluate", tmp_path / "no model", parts) == 2
    assert run("evaluate", model, tmp_path) == 2
    assert run("evaluate", model, parts, "--json", tmp_path) == 2
    assert run("evaluate", model, parts, "--json", tmp_path / "nowhere" / "report.json") == 2
    errors = capsys.readouterr().err.split("defectvision: ")[1:]
    assert "no model" in errors[0]
    assert "There are no pictures in" in errors[1] and "VisA" in errors[1]
    assert "is a folder" in errors[2]
    assert "There is no folder" in errors[3]


def test_ctrl_c_ends_without_a_traceback(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_command, "train", interrupted)
    assert run("train", parts, "--output", tmp_path / "m", *QUICK) == 130
    assert capsys.readouterr().err.strip() == "Stopped."
    assert not (tmp_path / "m").exists()


def test_importing_training_is_cheap() -> None:
    code = "import sys, training.commands; print({'sklearn', 'tqdm', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif(not BOTTLE.is_dir(), reason=f"the real pictures are not here: {BOTTLE}")
def test_broken_bottles_are_told_from_good_ones(tmp_path: Path, capsys: Any) -> None:
    """A part of MVTec AD's bottles, so that it stays fast."""
    chosen = {"train/good": 30, "test/good": 5, "test/broken_large": 5, "ground_truth/broken_large": 5}
    for folder, count in chosen.items():
        (tmp_path / "bottle" / folder).mkdir(parents=True)
        for picture in sorted((BOTTLE / folder).iterdir())[:count]:
            (tmp_path / "bottle" / folder / picture.name).symlink_to(picture)
    sizes = ["--image-size", "224", "--coreset-size", "1000"]
    assert run("train", tmp_path / "bottle", "--output", tmp_path / "model", *sizes) == 0
    report = tmp_path / "report.json"
    assert run("evaluate", tmp_path / "model", tmp_path / "bottle", "--json", report) == 0
    figures = json.loads(report.read_text())
    assert figures["image_auroc"] == 1.0
    assert figures["pixel_auroc"] > 0.95


def test_an_option_of_another_method_is_refused(parts: Path, tmp_path: Path, capsys: Any) -> None:
    assert run("train", parts, "--output", tmp_path / "disc", "--method", "padim", "--coreset-size", "90") == 2
    assert "padim has no memory bank" in capsys.readouterr().err
    assert not (tmp_path / "disc").exists()
