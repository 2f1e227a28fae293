"""Small pictures drawn on the spot, in the MVTec layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

SIDE = 96

Write = Callable[..., Path]


def draw_part(number: int, *, defect: bool = False) -> NDArray[np.uint8]:
    """A grey disc, with a grain of its own, on a dark belt with the noise of a camera; a defect is a bright square near
    its middle."""
    random = np.random.default_rng(number)
    disc = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (48, 48), 34, 1, -1)[..., None]
    grain = cv2.GaussianBlur(random.normal(0, 60, (SIDE, SIDE)), (0, 0), 4)[..., None]
    picture = np.asarray(np.where(disc, np.array([150, 140, 130]) + grain, 40), np.uint8)
    if defect:
        picture[40:56, 40:56] = (20, 240, 250)
    noise = random.normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
    return path


@pytest.fixture
def write() -> Write:
    """Write a picture (BGR or grey) to a path, making its folders."""
    return write_picture


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 good parts to learn from; 4 good and 4 defective ones, three of those with a mask, to measure on."""
    folder = tmp_path_factory.mktemp("parts") / "disc"
    for number in range(12):
        write_picture(folder / f"train/good/{number:03}.png", draw_part(number))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[40:56, 40:56] = 255
    for number in range(4):
        write_picture(folder / f"test/good/{number:03}.png", draw_part(100 + number))
        write_picture(folder / f"test/spot/{number:03}.png", draw_part(200 + number, defect=True))
        if number:
            write_picture(folder / f"ground_truth/spot/{number:03}_mask.png", mask)
    return folder
