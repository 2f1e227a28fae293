from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from training.data.datasets import (
    DataSetError,
    check,
    find_data_set,
    find_test_pictures,
    find_training_pictures,
    fingerprint,
    read_all,
    read_mask,
)

GREY = np.full((32, 32, 3), 128, np.uint8)
MASK = np.zeros((32, 32), np.uint8)
MASK[8:16, 8:16] = 255


def fill(folder: Path, write: Any, count: int, suffix: str = ".png", picture: Any = GREY) -> None:
    for number in range(count):
        write(folder / f"{number}{suffix}", picture)


def test_mvtec_ad_is_found_first(tmp_path: Path, write: Any) -> None:
    fill(tmp_path, write, 7)
    fill(tmp_path / "train/good", write, 5)
    found = find_data_set(tmp_path)
    assert (found.layout, found.name, found.test) == ("MVTec AD", tmp_path.name, ())
    assert [path.name for path in found.training] == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert {path.parent for path in found.training} == {tmp_path / "train/good"}


def test_a_flat_folder_is_taken_without_its_subfolders(tmp_path: Path, write: Any) -> None:
    fill(tmp_path, write, 5, ".jpg")
    fill(tmp_path / "scratched", write, 5)
    (tmp_path / "notes.txt").write_text("of the night shift")
    (tmp_path / "._0.jpg").write_bytes(b"left by a file manager")
    found = find_data_set(tmp_path)
    assert (found.layout, len(found.training), found.test) == ("flat", 5, ())


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
    assert find_data_set(parts).notes == ("Defective pictures without a mask: spot/000.png.",)


def test_masks_without_a_picture_are_named(tmp_path: Path, write: Any) -> None:
    fill(tmp_path / "test/good", write, 1)
    fill(tmp_path / "test/dent", write, 1)
    for name in ("good/0_mask.png", "dent/0_mask.png", *(f"dent/{number}_mask.png" for number in range(3, 9))):
        write(tmp_path / "ground_truth" / name, MASK)
    found = find_data_set(tmp_path)
    assert [picture.mask is not None for picture in found.test] == [False, True]
    assert found.notes == (
        "Masks without a defective picture, not used: dent/3_mask.png, dent/4_mask.png, dent/5_mask.png, "
        "dent/6_mask.png, dent/7_mask.png and 2 more.",
    )


@pytest.mark.parametrize("name", ["good", "Normal", "OK"])
def test_good_folders_have_several_names(tmp_path: Path, write: Any, name: str) -> None:
    fill(tmp_path / "train" / name, write, 5)
    fill(tmp_path / "test" / name, write, 1)
    fill(tmp_path / "test" / "bent", write, 1)
    assert len(find_training_pictures(tmp_path)) == 5
    assert [picture.defect for picture in find_test_pictures(tmp_path)] == ["good", "bent"]


LIGHTS = ("overexposed", "regular", "shift_1", "underexposed")


@pytest.fixture
def can(tmp_path: Path, write: Any) -> Path:
    """The layout of MVTec AD 2 and its file names, drawn small."""
    folder = tmp_path / "mvtec_ad_2" / "can"
    for number in range(6):
        write(folder / f"train/good/{number:03}_regular.png", GREY)
    write(folder / "validation/good/000_regular.png", GREY)
    for light in LIGHTS:
        write(folder / f"test_public/good/000_{light}.png", GREY)
        write(folder / f"test_public/bad/000_{light}.png", GREY)
        write(folder / f"test_public/ground_truth/bad/000_{light}_mask.png", MASK)
    fill(folder / "test_private", write, 3)
    fill(folder / "test_private_mixed", write, 2)
    return folder


def test_mvtec_ad_2_with_its_lights(can: Path) -> None:
    found = check(find_data_set(can), training=True, test=True, strict=True)
    assert (found.layout, found.name) == ("MVTec AD 2", "can")
    assert (len(found.training), len(found.validation)) == (6, 1)
    assert [(picture.defect, picture.lighting) for picture in found.test] == [
        (defect, light) for defect in ("good", "bad") for light in LIGHTS
    ]
    assert [picture.mask.name for picture in found.test if picture.mask] == [
        f"000_{light}_mask.png" for light in LIGHTS
    ]
    assert [note.split(" has no labels")[0] for note in found.notes[:2]] == ["test_private", "test_private_mixed"]
    assert "its pictures (3) are not used" in found.notes[0]


def test_a_folder_of_data_sets_is_refused_with_their_names(can: Path) -> None:
    with pytest.raises(DataSetError, match=r"holds several data sets: can. Give the folder of one of them, .*/can"):
        find_data_set(can.parent)


VISA_TABLE = """object,split,label,image,mask
candle,train,normal,candle/Data/Images/Normal/0000.JPG,
candle,train,normal,candle/Data/Images/Normal/0001.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png
candle,test,normal,candle/Data/Images/Normal/0002.JPG,
pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,
"""


@pytest.fixture
def visa(tmp_path: Path, write: Any) -> Path:
    """The layout of VisA and its table, drawn small."""
    root = tmp_path / "VisA"
    for number in range(3):
        write(root / f"candle/Data/Images/Normal/{number:04}.JPG", GREY)
    write(root / "candle/Data/Images/Anomaly/000.JPG", GREY)
    write(root / "candle/Data/Masks/Anomaly/000.png", MASK // 255 * 3)
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_text(VISA_TABLE)
    return root


def test_visa_is_split_by_its_table(visa: Path) -> None:
    found = find_data_set(visa / "candle")
    assert (found.layout, found.name) == ("VisA", "candle")
    assert [path.name for path in found.training] == ["0000.JPG", "0001.JPG"]
    assert [(picture.path.name, picture.defect) for picture in found.test] == [
        ("0002.JPG", "good"),
        ("000.JPG", "anomaly"),
    ]
    mask = found.test[1].mask
    assert mask is not None and np.array_equal(read_mask(mask), MASK > 0)
    assert check(found, test=True).unusable == ()


def test_visa_says_what_is_missing(visa: Path) -> None:
    with pytest.raises(DataSetError, match=r"several data sets: candle, pcb1\."):
        find_data_set(visa)
    table = visa / "split_csv/1cls.csv"
    for text, words in (
        ("a,b\n1,2\n", "is not VisA's table"),
        ("", "is not VisA's table"),
        (VISA_TABLE.replace("candle,", "candles,"), "has no rows for candle"),
        (VISA_TABLE.replace("candle/Data/Masks", "../Masks"), "outside of its data set"),
        (VISA_TABLE.replace("candle/Data/Images", "/etc"), "outside of its data set"),
    ):
        table.write_text(text)
        with pytest.raises(DataSetError, match=words):
            find_data_set(visa / "candle")
    table.unlink()
    with pytest.raises(DataSetError, match="VisA's split is missing: put its file at"):
        find_data_set(visa / "candle")


def test_plain_folders_are_split_the_same_way_each_time(tmp_path: Path, write: Any) -> None:
    fill(tmp_path / "ok", write, 11)
    fill(tmp_path / "scratched", write, 2)
    fill(tmp_path / "masks", write, 2)
    write(tmp_path / "ground_truth/scratched/1.png", MASK)
    found = find_data_set(tmp_path)
    assert found.layout == "plain folders"
    kept = {picture.path for picture in found.test if not picture.defective}
    assert (len(found.training), len(kept)) == (9, 2)
    assert not kept & set(found.training)
    assert [(picture.path.name, picture.mask is not None) for picture in found.test if picture.defective] == [
        ("0.png", False),
        ("1.png", True),
    ]
    assert "every fifth picture in ok, 2 of 11, is kept for measuring" in found.notes[-1]
    assert find_data_set(tmp_path) == found


def test_a_good_folder_alone_is_learned_whole(tmp_path: Path, write: Any) -> None:
    fill(tmp_path / "good", write, 6)
    assert len(find_training_pictures(tmp_path)) == 6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder, write: None, "There is no folder"),
        (lambda folder, write: folder.write_bytes(b""), "is a file"),
        (lambda folder, write: folder.mkdir(), "There are no pictures in"),
        (lambda folder, write: (folder / "train/good").mkdir(parents=True), "no pictures of good parts to learn from"),
        (lambda folder, write: fill(folder / "test/good", write, 1), "no pictures of good parts to learn from"),
        (lambda folder, write: fill(folder / "somewhere", write, 5), "There are no pictures in"),
        (lambda folder, write: fill(folder, write, 1), "holds 1 picture to learn from, but training needs at least 5"),
        (lambda folder, write: fill(folder, write, 4), "holds 4 pictures to learn from, but training needs at least 5"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path: Path, write: Any, make: Any, words: str) -> None:
    folder = tmp_path / "data"
    make(folder, write)
    with pytest.raises(DataSetError) as refusal:
        find_training_pictures(folder)
    assert words in str(refusal.value)


@pytest.mark.parametrize("folders", [[], ["test"], ["test/good", "test/scratch"], ["test_public/good"]])
def test_a_set_without_test_pictures_is_refused_and_the_layouts_shown(tmp_path: Path, folders: list[str]) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataSetError) as refusal:
        find_test_pictures(tmp_path)
    for layout in ("MVTec AD ", "MVTec AD 2 ", "VisA ", "plain folders "):
        assert f"\n  {layout}" in str(refusal.value)


def test_checking_leaves_out_what_cannot_be_read_and_says_why(tmp_path: Path, write: Any) -> None:
    fill(tmp_path / "train/good", write, 6)
    fill(tmp_path / "test/good", write, 2)
    whole = (tmp_path / "train/good/5.png").read_bytes()
    (tmp_path / "train/good/2.png").write_bytes(whole[:-20])
    (tmp_path / "train/good/6.jpg").write_bytes(b"")
    (tmp_path / "test/good/1.png").write_text("not a picture")
    found = find_data_set(tmp_path)
    progress: list[tuple[int, int]] = []
    checked = check(found, training=True, test=True, progress=lambda done, total: progress.append((done, total)))
    assert [path.name for path in checked.training] == ["0.png", "1.png", "3.png", "4.png", "5.png"]
    assert [picture.path.name for picture in checked.test] == ["0.png"]
    assert [(file.path.name, file.reason.split(":")[0]) for file in checked.unusable] == [
        ("2.png", "the PNG picture is incomplete or damaged"),
        ("6.jpg", "the picture is empty"),
        ("1.png", "not a JPEG, PNG, WEBP, BMP or TIFF picture"),
    ]
    assert progress == [(done, 9) for done in range(1, 10)]
    only_test = check(found, test=True)
    assert (only_test.training, len(only_test.unusable)) == (found.training, 1)


def test_strict_lists_everything(tmp_path: Path, write: Any) -> None:
    fill(tmp_path, write, 5)
    assert check(find_data_set(tmp_path), training=True, strict=True).unusable == ()
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataSetError, match=r"(?s)--strict.*a\.png: the picture is empty.*b\.png: the picture is empty"):
        check(find_data_set(tmp_path), training=True, strict=True)


def test_too_few_that_can_be_read_are_refused_with_the_reasons(tmp_path: Path, write: Any) -> None:
    fill(tmp_path / "train/good", write, 4)
    (tmp_path / "train/good/9.png").write_bytes(b"")
    (tmp_path / "test/good").mkdir(parents=True)
    (tmp_path / "test/good/0.png").write_bytes(b"x")
    found = find_data_set(tmp_path)
    with pytest.raises(DataSetError, match=r"(?s)holds 4 usable pictures.*at least 5.*9\.png: the picture is empty"):
        check(found, training=True)
    with pytest.raises(DataSetError, match=r"(?s)No labelled picture.*0\.png: not a JPEG"):
        check(found, test=True)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.zeros((32, 64), np.uint8), "the mask is 64×32 pixels, its picture 32×32: not the same shape"),
        (None, "the picture is empty: 0 bytes"),
    ],
)
def test_a_mask_that_does_not_match_is_left_out_and_its_picture_kept(
    tmp_path: Path, write: Any, mask: Any, reason: str
) -> None:
    fill(tmp_path / "test/dent", write, 2)
    for number, drawn in enumerate((mask, MASK)):
        path = tmp_path / f"ground_truth/dent/{number}_mask.png"
        write(path, MASK if drawn is None else drawn)
        if drawn is None:
            path.write_bytes(b"")
    checked = check(find_data_set(tmp_path), test=True)
    assert [picture.mask is None for picture in checked.test] == [True, False]
    assert [(file.path.name, file.reason) for file in checked.unusable] == [("0_mask.png", reason)]


def test_a_mask_of_the_same_shape_in_another_size_is_used_and_counted(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "test/dent/0.png", np.full((101, 151, 3), 90, np.uint8))
    write(tmp_path / "ground_truth/dent/0_mask.png", np.eye(50, 75, dtype=np.uint8))
    checked = check(find_data_set(tmp_path), test=True, strict=True)
    assert checked.test[0].mask is not None
    assert checked.notes == ("Masks of another size than their picture: 1.",)


def test_reading_stops_at_a_broken_picture_and_names_it(tmp_path: Path, write: Any) -> None:
    whole = write(tmp_path / "whole.jpg", GREY)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(whole.read_bytes()[:-40])
    reading = read_all([whole, broken])
    assert next(reading).shape == (32, 32, 3)
    with pytest.raises(DataSetError, match=r"broken\.jpg.*Replace or remove this file"):
        next(reading)


def test_pictures_are_read_in_order_and_only_a_few_ahead(tmp_path: Path, write: Any) -> None:
    paths = [write(tmp_path / f"{number}.png", np.full((16, 16, 3), number, np.uint8)) for number in range(40)]
    asked: list[int] = []

    def asking() -> Any:
        for number, path in enumerate(paths):
            asked.append(number)
            yield path

    reading = read_all(asking())
    assert next(reading)[0, 0, 0] == 0
    assert len(asked) < 40
    assert [int(picture[0, 0, 0]) for picture in reading] == list(range(1, 40))


MARKED = np.zeros((16, 20), np.uint8)
MARKED[2:5, 3:9] = 1


@pytest.mark.parametrize(
    "values",
    [
        MARKED,
        MARKED * 255,
        MARKED.astype(np.uint16),
        np.dstack([MARKED, MARKED * 0, MARKED * 0]),
        np.dstack([MARKED, MARKED, MARKED, np.full_like(MARKED, 255)]),
    ],
)
def test_any_value_above_zero_in_a_mask_is_a_defect(tmp_path: Path, write: Any, values: Any) -> None:
    """In a colour mask OpenCV's own grey would lose a blue of 1, at 8 bits a class number of a 16-bit mask."""
    assert np.array_equal(read_mask(write(tmp_path / "a_mask.png", values)), MARKED > 0)


@pytest.mark.parametrize("content", [b"", b"not a picture", cv2.imencode(".png", MASK)[1].tobytes()[:-20]])
def test_a_broken_mask_is_named(tmp_path: Path, content: bytes) -> None:
    mask = tmp_path / "a_mask.png"
    mask.write_bytes(content)
    with pytest.raises(DataSetError, match=r"a_mask\.png"):
        read_mask(mask)


def test_a_jpeg_is_no_mask(tmp_path: Path, write: Any) -> None:
    with pytest.raises(DataSetError, match="a JPEG has no sharp edges"):
        read_mask(write(tmp_path / "a_mask.jpg", MASK))


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to an amount of memory")
def test_want_of_memory_is_not_the_picture_s_fault(tmp_path: Path) -> None:
    """A picture that there is no room for must neither be left out nor be called damaged."""
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "large.jpg"), cv2.resize(picture, (6000, 5000), interpolation=cv2.INTER_NEAREST))
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from training.data import datasets\n"
        "datasets.images.decode(Path(sys.argv[2]).read_bytes())\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 20_000_000, -1))\n"
        "try:\n"
        "    datasets.read_picture(Path(sys.argv[1]))\n"
        "except MemoryError:\n"
        "    print('no room')\n"
    )
    (tmp_path / "small.jpg").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    arguments = [sys.executable, "-c", code, str(tmp_path / "large.jpg"), str(tmp_path / "small.jpg")]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert (done.stdout.strip(), done.returncode) == ("no room", 0), done.stderr
