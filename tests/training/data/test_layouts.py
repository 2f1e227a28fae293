"""Folders as people have them: what lies beside, inside of and instead of the pictures of a layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.data.datasets import DataSet, DataSetError, check, find_data_set, listed, read_mask

GREY = np.full((32, 32, 3), 128, np.uint8)


def mask_at(row: int) -> Any:
    mask = np.zeros((32, 32), np.uint8)
    mask[row : row + 4, 8:16] = 255
    return mask


MASK = mask_at(8)


def fill(folder: Path, write: Any, count: int, picture: Any = GREY) -> None:
    for number in range(count):
        write(folder / f"{number:03}.png", picture)


def masked(data_set: DataSet) -> dict[str, str | None]:
    """The mask of each defective picture, both by folder and name."""
    return {
        "/".join(picture.path.parts[-2:]): picture.mask and "/".join(picture.mask.parts[-2:])
        for picture in data_set.test
        if picture.defective
    }


def test_a_folder_of_good_pictures_wins_over_pictures_above_it(tmp_path: Path, write: Any) -> None:
    """Six previews of defects lay above ``good``, and were what was learned."""
    fill(tmp_path / "good", write, 8)
    for number in range(6):
        write(tmp_path / f"preview{number}.png", GREY)
    found = find_data_set(tmp_path)
    assert {path.parent for path in found.training} == {tmp_path / "good"}
    assert len(found.training) == 8
    assert "Pictures beside the folders of this layout, not used: " in found.notes[0]
    assert "/preview0.png" in found.notes[0] and "and 1 more" in found.notes[0]


def test_an_empty_good_folder_is_not_made_up_for_by_what_lies_above_it(tmp_path: Path, write: Any) -> None:
    (tmp_path / "good").mkdir()
    fill(tmp_path, write, 6)
    with pytest.raises(DataSetError, match="no pictures of good parts to learn from"):
        check(find_data_set(tmp_path), training=True)


@pytest.fixture
def mixed(tmp_path: Path, write: Any) -> Path:
    """Six pictures to learn from, among what a phone, a camera and a copy that went wrong leave."""
    good = tmp_path / "train/good"
    fill(good, write, 6)
    for number in range(7):
        (good / f"IMG_{number}.HEIC").write_bytes(b"....ftypheic")
    (good / "a.avif").write_bytes(b"....ftypavif")
    (good / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (good / "no ending").write_bytes((good / "000.png").read_bytes())
    fill(good / "2026-01-05", write, 3)
    (good / "empty folder").mkdir()
    (good / "notes.txt").write_text("of the night shift")
    return tmp_path


def test_what_is_left_out_is_counted_and_told_by_kind(mixed: Path) -> None:
    checked = check(find_data_set(mixed), training=True)
    assert len(checked.training) == 6
    good = mixed / "train/good"
    assert listed(checked.unusable) == [
        f"{good}/2026-01-05: a folder with 3 pictures inside of one of pictures: move them out of it, or away",
        "7 files: HEIC is not read: save as JPEG or PNG (good/IMG_0.HEIC, good/IMG_1.HEIC, good/IMG_2.HEIC, "
        "good/IMG_3.HEIC, good/IMG_4.HEIC and 2 more)",
        f"{good}/a.avif: AVIF is not read: save as JPEG or PNG",
        f"{good}/gone.png: a link to a file that is not there",
        f"{good}/no ending: a picture called nothing: give it the ending of its format",
    ]


def test_strict_stops_at_files_that_are_no_pictures_here(mixed: Path) -> None:
    with pytest.raises(DataSetError, match=r"(?s)--strict.*7 files: HEIC is not read"):
        check(find_data_set(mixed), training=True, strict=True)
    (mixed / "test/good").mkdir(parents=True)
    (mixed / "test/good/0.png").write_bytes((mixed / "train/good/000.png").read_bytes())
    assert check(find_data_set(mixed), test=True, strict=True).unusable == ()  # what is not needed does not matter


def test_a_folder_of_nothing_but_heic_says_so(tmp_path: Path) -> None:
    for number in range(35):
        (tmp_path / f"IMG_{number}.heic").write_bytes(b"....ftypheic")
    with pytest.raises(DataSetError, match=r"(?s)holds 0 usable pictures.*35 files: HEIC is not read"):
        check(find_data_set(tmp_path), training=True)


def test_few_pictures_draw_a_remark(tmp_path: Path, write: Any) -> None:
    fill(tmp_path, write, 12)
    assert "Only 12 pictures to learn from: with 30 or more" in check(find_data_set(tmp_path), training=True).notes[0]
    fill(tmp_path, write, 30)
    assert check(find_data_set(tmp_path), training=True).notes == ()


@pytest.mark.parametrize("root", ["mask", "masks", "gt", "ground_truth", "GT"])
def test_masks_have_several_names(tmp_path: Path, write: Any, root: str) -> None:
    """anomalib's toy data set has ``mask/crack``; its masks counted as pictures of defects, or as nothing."""
    fill(tmp_path / "good", write, 10)
    fill(tmp_path / "crack", write, 2)
    fill(tmp_path / root / "crack", write, 2, MASK)
    found = check(find_data_set(tmp_path), test=True, strict=True)
    assert masked(found) == {"crack/000.png": "crack/000.png", "crack/001.png": "crack/001.png"}


def test_masks_may_lie_in_one_folder(tmp_path: Path, write: Any) -> None:
    fill(tmp_path / "test/good", write, 1)
    write(tmp_path / "test/crack/a.png", GREY)
    write(tmp_path / "test/hole/b.png", GREY)
    for name in ("a_mask.png", "b.png", "c.png"):
        write(tmp_path / "gt" / name, MASK)
    found = check(find_data_set(tmp_path), test=True)
    assert masked(found) == {"crack/a.png": "gt/a_mask.png", "hole/b.png": "gt/b.png"}
    assert found.notes == ("Masks without a defective picture, not used: gt/c.png.",)


def test_a_mask_that_may_belong_to_two_pictures_is_refused(tmp_path: Path, write: Any) -> None:
    fill(tmp_path / "test/crack", write, 1)
    fill(tmp_path / "test/hole", write, 1)
    write(tmp_path / "gt/000.png", MASK)
    found = check(find_data_set(tmp_path), test=True)
    assert masked(found) == {"crack/000.png": None, "hole/000.png": None}
    assert [file.reason for file in found.unusable] == [
        "it may belong to crack/000.png and hole/000.png: put masks in a folder for each type, gt/TYPE/NAME.png"
    ]


def test_several_masks_of_one_picture_are_taken_together(tmp_path: Path, write: Any) -> None:
    """MVTec LOCO: ``ground_truth/TYPE/NAME/000.png``, one for each part of the defect."""
    fill(tmp_path / "train/good", write, 5)
    fill(tmp_path / "test/logical_anomalies", write, 2)
    for number in range(2):
        write(tmp_path / f"ground_truth/logical_anomalies/000/{number:03}.png", mask_at(4 + 10 * number))
    found = check(find_data_set(tmp_path), training=True, test=True, strict=True)
    assert masked(found) == {"logical_anomalies/000.png": "logical_anomalies/000", "logical_anomalies/001.png": None}
    mask = found.test[0].mask
    assert mask is not None and np.array_equal(read_mask(mask), (mask_at(4) | mask_at(14)) > 0)


def test_no_defective_picture_that_can_be_used_is_an_error(tmp_path: Path, write: Any) -> None:
    """``evaluate`` printed dashes and ended with 0."""
    fill(tmp_path / "test/good", write, 2)
    fill(tmp_path / "test/crack", write, 2)
    for path in (tmp_path / "test/crack").iterdir():
        path.write_bytes(b"half")
    with pytest.raises(DataSetError, match=r"(?s)None of the defective pictures.*000\.png: not a JPEG"):
        check(find_data_set(tmp_path), test=True)
    for path in (tmp_path / "test/crack").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataSetError, match=r"(?s)None of the defective pictures.*HEIC"):
        check(find_data_set(tmp_path), test=True)


def test_a_covered_lens_among_good_pictures_is_left_out(tmp_path: Path, write: Any) -> None:
    random = np.random.default_rng(0)
    for number in range(6):
        write(tmp_path / f"{number}.png", grain(random))
    covered = np.clip(random.normal(3, 2, (64, 64, 3)), 0, 255).astype(np.uint8)
    write(tmp_path / "covered.png", covered)
    checked = check(find_data_set(tmp_path), training=True)
    assert [(file.path.name, file.reason.split(":")[0]) for file in checked.unusable] == [
        ("covered.png", "shows nothing, unlike the others")
    ]


def test_pictures_that_are_nearly_black_are_noted(tmp_path: Path, write: Any) -> None:
    random = np.random.default_rng(0)
    for number in range(6):
        write(tmp_path / f"{number}.png", grain(random) // 16)
    note = check(find_data_set(tmp_path), training=True).notes[0]
    assert note.startswith("Nearly black pictures (6): ")
    assert "10 or 12 bits" in note


def grain(random: np.random.Generator) -> Any:
    """Blocks of chance, 64×64."""
    return np.kron(random.integers(20, 240, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)


@pytest.mark.parametrize("inside", ["", "train", "train/good", "good"])
def test_a_data_set_is_called_after_the_part(tmp_path: Path, write: Any, inside: str) -> None:
    folder = tmp_path / "bottle" / inside
    fill(folder, write, 5)
    assert find_data_set(folder).name == "bottle"


def test_many_pictures_of_few_parts_draw_a_remark(tmp_path: Path, write: Any) -> None:
    random = np.random.default_rng(0)
    parts = [grain(random) for _ in range(3)]
    for number in range(36):
        noise = random.normal(0, 3, (64, 64, 3))
        write(tmp_path / f"{number:02}.png", np.clip(parts[number % 3] + noise, 0, 255).astype(np.uint8))
    (note,) = check(find_data_set(tmp_path), training=True).notes
    assert note.startswith("Of 36 pictures to learn from that were compared only 3 differ")


def test_pictures_of_one_part_lying_still_draw_a_remark(tmp_path: Path, write: Any) -> None:
    random = np.random.default_rng(0)
    part = grain(random)
    for number in range(36):
        noise = random.integers(-2, 3, (64, 64, 3))
        write(tmp_path / f"{number:02}.png", np.clip(part + noise, 0, 255).astype(np.uint8))
    (note,) = check(find_data_set(tmp_path), training=True).notes
    assert note.startswith("The 36 pictures to learn from that were compared show one part lying still")
