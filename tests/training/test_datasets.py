from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.datasets import (
    DataSetError,
    find_test_pictures,
    find_training_set,
    fingerprint,
    read_all,
    read_mask,
)

GREY = np.full((32, 32, 3), 128, np.uint8)


def fill(folder: Path, write: Any, count: int, suffix: str = ".png") -> None:
    for number in range(count):
        write(folder / f"{number}{suffix}", GREY)


def test_the_mvtec_layout_is_found_first(tmp_path: Path, write: Any) -> None:
    fill(tmp_path, write, 7)
    fill(tmp_path / "train/good", write, 5)
    found = find_training_set(tmp_path)
    assert found.layout == "train/good"
    assert [path.name for path in found.paths] == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert {path.parent for path in found.paths} == {tmp_path / "train/good"} == {found.folder}


def test_a_flat_folder_is_taken_without_its_subfolders(tmp_path: Path, write: Any) -> None:
    fill(tmp_path, write, 5, ".jpg")
    fill(tmp_path / "scratched", write, 5)
    (tmp_path / "notes.txt").write_text("of the night shift")
    (tmp_path / "._0.jpg").write_bytes(b"left by a file manager")
    found = find_training_set(tmp_path)
    assert found.layout == "flat"
    assert len(found.paths) == 5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder, write: None, "There is no folder"),
        (lambda folder, write: folder.write_bytes(b""), "is a file"),
        (lambda folder, write: folder.mkdir(), "There are no pictures in"),
        (lambda folder, write: (folder / "train/good").mkdir(parents=True), "train/good (looked for jpg"),
        (lambda folder, write: fill(folder / "good", write, 5), "Did you mean"),
        (lambda folder, write: fill(folder, write, 1), "holds 1 picture, but training needs at least 5"),
        (lambda folder, write: fill(folder, write, 4), "holds 4 pictures, but training needs at least 5"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path: Path, write: Any, make: Any, words: str) -> None:
    folder = tmp_path / "data"
    make(folder, write)
    with pytest.raises(DataSetError) as refusal:
        find_training_set(folder)
    assert words in str(refusal.value)


def test_test_pictures_come_with_type_and_mask(parts: Path) -> None:
    pictures = find_test_pictures(parts)
    assert [picture.defect for picture in pictures] == ["good"] * 4 + ["spot"] * 4
    assert [picture.defective for picture in pictures] == [False] * 4 + [True] * 4
    assert [picture.mask.name if picture.mask else None for picture in pictures[4:]] == [
        None,
        "001_mask.png",
        "002_mask.png",
        "003_mask.png",
    ]


@pytest.mark.parametrize("folders", [[], ["test"], ["test/good", "test/scratch"]])
def test_a_set_without_test_pictures_is_refused(tmp_path: Path, folders: list[str]) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataSetError, match="one folder for each type of defect"):
        find_test_pictures(tmp_path)


def test_reading_stops_at_a_broken_picture_and_names_it(tmp_path: Path, write: Any) -> None:
    whole = write(tmp_path / "whole.jpg", GREY)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(whole.read_bytes()[:-40])
    reading = read_all([whole, broken])
    assert next(reading).shape == (32, 32, 3)
    with pytest.raises(DataSetError, match=r"broken\.jpg.*Replace or remove this file"):
        next(reading)


def test_any_value_above_zero_in_a_mask_is_a_defect(tmp_path: Path, write: Any) -> None:
    grey = np.array([[0, 1], [255, 0]], np.uint8)
    assert read_mask(write(tmp_path / "a_mask.png", grey)).tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_broken_mask_is_named(tmp_path: Path, content: bytes) -> None:
    mask = tmp_path / "a_mask.png"
    mask.write_bytes(content)
    with pytest.raises(DataSetError, match=r"a_mask\.png"):
        read_mask(mask)


def test_the_fingerprint_follows_names_and_contents_only(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    for name in ("a", "b"):
        (here / name).write_text(name)
    shutil.copytree(here, there)
    original = fingerprint(here.iterdir())
    assert original == fingerprint(sorted(there.iterdir(), reverse=True))
    (there / "b").write_text("changed")
    assert original != fingerprint(there.iterdir())
    (here / "b").rename(here / "c")
    assert original != fingerprint(here.iterdir())
