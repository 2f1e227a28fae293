"""A picture whose middle was lost in a copy is refused by every command, by the decoder's own word."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.training.commands.test_commands import QUICK, model, run
from training import check, find_data_set

__all__ = ["model"]  # a fixture

CASES = Path(__file__).parents[4] / "shared/cases"


def without_its_middle(path: Path) -> None:
    """Write a JPEG with 300 bytes lost between its first and last: it has an end mark, and lenient readers show it."""
    picture = np.random.default_rng(0).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + data[middle + 300 :])
    assert cv2.imread(str(path)) is not None


@pytest.fixture
def damaged(parts: Path, tmp_path: Path) -> Path:
    """The parts, with one such picture to learn from, one good and one defective one to measure on."""
    folder = tmp_path / "damaged"
    shutil.copytree(parts, folder)
    for inside in ("train/good", "test/good", "test/spot"):
        without_its_middle(folder / inside / "lost.jpg")
    return folder


def test_they_are_left_out_and_named(damaged: Path) -> None:
    checked = check(find_data_set(damaged), training=True, test=True)
    assert (len(checked.training), len(checked.test)) == (12, 8)
    assert [file.path.relative_to(damaged).as_posix() for file in checked.unusable] == [
        "train/good/lost.jpg",
        "test/good/lost.jpg",
        "test/spot/lost.jpg",
    ]


@pytest.mark.parametrize("command", ["train", "evaluate", "export", "compare", "lighting"])
def test_strict_stops_every_command(damaged: Path, model: Path, tmp_path: Path, command: str, capsys: Any) -> None:
    output = tmp_path / "output"
    arguments = {
        "train": ["train", damaged, "--output", output, *QUICK],
        "evaluate": ["evaluate", model, damaged, "--json", output],
        "export": ["export", model, damaged, "--output", output],
        "compare": ["compare", damaged],
        "lighting": ["lighting", damaged, "--json", output],
    }[command]
    assert run(*arguments, "--strict") == 2
    printed, errors = capsys.readouterr()
    assert printed == "" and not output.exists()
    assert f"{damaged}/test/good/lost.jpg: " in errors or (command == "train" and "train/good/lost.jpg: " in errors)


@pytest.mark.skipif(not CASES.is_dir(), reason=f"the recorded cases are not here: {CASES}")
def test_the_recorded_one_is_told_from_its_whole_twin(tmp_path: Path) -> None:
    for number in range(5):
        shutil.copy(CASES / "damaged_middle_whole.jpg", tmp_path / f"{number}.jpg")
    shutil.copy(CASES / "damaged_middle.jpg", tmp_path)
    checked = check(find_data_set(tmp_path), training=True)
    assert [file.path.name for file in checked.unusable] == ["damaged_middle.jpg"]
