"""Parts drawn on the spot."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def draw_part(number: int, *, defect: bool = False, width: int = 128, height: int = 128) -> NDArray[np.uint8]:
    """A grey disc on a dark belt with the noise of a camera, H×W×3 uint8 BGR; a defect is a bright square right of and
    above the middle, at 5/8 of the width and 3/8 of the height."""
    random = np.random.default_rng(number)
    picture = np.full((height, width, 3), 40, np.uint8)
    axes = (round(width * random.uniform(0.33, 0.35)), round(height * random.uniform(0.33, 0.35)))
    cv2.ellipse(picture, (width // 2, height // 2), axes, 0, 0, 360, (150, 140, 130), -1)
    if defect:
        picture[height * 5 // 16 : height * 7 // 16, width * 9 // 16 : width * 11 // 16] = (20, 240, 250)
    return np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def draw_parts(count: int) -> list[NDArray[np.uint8]]:
    return [draw_part(number) for number in range(count)]
