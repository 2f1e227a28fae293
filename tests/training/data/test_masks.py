"""Masks as programs and people save them: honoured where what they mark is certain, refused elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from training.data import masks
from training.data.datasets import check, find_data_set, read_mask

DRAWN = np.zeros((40, 60), np.bool_)
DRAWN[8:20, 10:30] = True


def as_alpha(value: int) -> Image.Image:
    """Every pixel of one grey, and transparent where nothing is wrong."""
    return Image.merge("LA", (Image.new("L", (60, 40), value), Image.fromarray(DRAWN.astype(np.uint8) * 255)))


def as_palette(*colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(DRAWN.astype(np.uint8)).convert("P")
    image.putpalette([value for colour in colours for value in colour])
    return image


def photograph() -> Any:
    random = np.random.default_rng(0)
    return cv2.GaussianBlur(random.integers(20, 240, (40, 60, 3)).astype(np.uint8), (5, 5), 0)


def soft() -> Image.Image:
    return Image.fromarray(cv2.GaussianBlur(DRAWN.astype(np.uint8) * 255, (3, 3), 0))


@pytest.mark.parametrize(
    "image",
    [
        as_alpha(255),
        as_alpha(0),
        as_alpha(255).convert("RGBA"),
        as_palette((0, 0, 0), (128, 0, 0)),
        as_palette((200, 200, 200), (255, 0, 0)),
        Image.fromarray(DRAWN.astype(np.uint8) + 1),
        Image.fromarray(DRAWN.astype(np.uint8) * 200 + 55),
        Image.fromarray(DRAWN),
        Image.fromarray(DRAWN.astype(np.uint16) * 3),
    ],
    ids=["alpha", "black alpha", "RGBA", "palette", "pale palette", "background 1", "grey on grey", "1 bit", "16 bits"],
)
def test_what_is_certain_is_honoured(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "a_mask.png")
    assert np.array_equal(read_mask(tmp_path / "a_mask.png"), DRAWN)


def test_soft_edges_are_part_of_the_defect(tmp_path: Path) -> None:
    soft().save(tmp_path / "a_mask.png")
    assert np.array_equal(read_mask(tmp_path / "a_mask.png"), np.asarray(soft()) > 0)


def overlay() -> Any:
    picture = photograph()
    picture[DRAWN] = (0, 0, 255)
    return picture


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (overlay(), "as a photograph does"),
        (cv2.cvtColor(overlay(), cv2.COLOR_BGR2GRAY), "as a photograph does"),
        (np.uint8(255) - DRAWN.astype(np.uint8) * 255, "it may be inverted"),
        (np.where(np.arange(60) < 30, 1, 2)[None].repeat(40, 0).astype(np.uint8), "which of its values"),
    ],
    ids=["overlay", "grey overlay", "inverted", "two halves"],
)
def test_what_may_mean_something_else_is_refused_with_the_reason(
    tmp_path: Path, write: Any, values: Any, reason: str
) -> None:
    """Believed, they took the pixel AUROC from .99 to .6 without a word."""
    for number in range(2):
        write(tmp_path / f"test/dent/{number}.png", photograph())
    write(tmp_path / "ground_truth/dent/0_mask.png", values)
    write(tmp_path / "ground_truth/dent/1_mask.png", DRAWN.astype(np.uint8))
    checked = check(find_data_set(tmp_path), test=True)
    assert [picture.mask is None for picture in checked.test] == [True, False]
    (refused,) = checked.unusable
    assert refused.path.name == "0_mask.png" and reason in refused.reason


def test_a_jpeg_by_another_name_is_no_mask_either(tmp_path: Path) -> None:
    (tmp_path / "a_mask.png").write_bytes(cv2.imencode(".jpg", DRAWN.astype(np.uint8) * 255)[1].tobytes())
    with pytest.raises(masks.ImageError, match="a JPEG has no sharp edges"):
        masks.read(tmp_path / "a_mask.png")


def test_masks_that_mark_nearly_everything_or_nothing_are_noted(tmp_path: Path, write: Any) -> None:
    nearly = np.full((40, 60), 255, np.uint8)
    nearly[0, 0] = 0
    for number, values in enumerate((nearly, np.zeros((40, 60), np.uint8), DRAWN.astype(np.uint8))):
        write(tmp_path / f"test/dent/{number}.png", photograph())
        write(tmp_path / f"ground_truth/dent/{number}.png", values)
    assert check(find_data_set(tmp_path), test=True, strict=True).notes == (
        "Masks that mark nothing (1): dent/1.png.",
        "Masks that mark nearly everything (1): dent/0.png.",
    )


def save_turned(path: Path, picture: Any, orientation: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture[..., ::-1]).save(path, exif=exif)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_drawn_on_stored_pixels_turns_with_its_picture(
    tmp_path: Path, write: Any, suffix: str, orientation: int
) -> None:
    """The defect is bright in the picture: turned or not, the mask has to lie on it."""
    stored = np.full((40, 60, 3), 40, np.uint8)
    stored[DRAWN] = 250
    save_turned(tmp_path / f"test/dent/0{suffix}", stored, orientation)
    write(tmp_path / "ground_truth/dent/0_mask.png", DRAWN.astype(np.uint8))
    (picture,) = check(find_data_set(tmp_path), test=True, strict=True).test
    upright = masks.images.read(picture.path)
    assert upright.shape == (60, 40, 3)
    assert np.array_equal(masks.of(picture, (60, 40)), upright[..., 0] > 128)


@pytest.mark.parametrize(("side", "orientation"), [(40, 6), (60, 3)], ids=["square", "half a turn"])
def test_a_mask_that_may_lie_in_two_ways_is_refused(tmp_path: Path, write: Any, side: int, orientation: int) -> None:
    save_turned(tmp_path / "test/dent/0.jpg", photograph()[:, :side], orientation)
    write(tmp_path / "ground_truth/dent/0_mask.png", DRAWN[:, :side].astype(np.uint8))
    checked = check(find_data_set(tmp_path), test=True)
    assert checked.test[0].mask is None
    assert "turned by an EXIF orientation" in checked.unusable[0].reason


def test_a_mask_drawn_on_the_turned_picture_stays(tmp_path: Path, write: Any) -> None:
    save_turned(tmp_path / "test/dent/0.jpg", photograph(), 6)
    turned = np.rot90(DRAWN, -1)
    write(tmp_path / "ground_truth/dent/0_mask.png", np.ascontiguousarray(turned).astype(np.uint8))
    (picture,) = check(find_data_set(tmp_path), test=True, strict=True).test
    assert np.array_equal(masks.of(picture, (60, 40)), turned)
