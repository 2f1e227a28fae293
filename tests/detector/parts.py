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


def draw_bracket(
    number: int,
    *,
    turn: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    defect: bool = False,
    width: int = 320,
    height: int = 240,
) -> NDArray[np.uint8]:
    """A grey bracket with two legs, three holes and a mark on a dark belt, turned clockwise (degrees) and shifted
    (across and down, in shares of the width) from the middle, H×W×3 uint8 BGR. Its defect: the middle hole is not
    drilled."""
    random = np.random.default_rng(number)
    flat = np.full((height, width, 3), 40, np.uint8)
    unit, (x, y) = width / 320, (width / 2, height / 2)

    def box(left: float, top: float, right: float, bottom: float, colour: tuple[float, ...]) -> None:
        corners = [
            (round(x + unit * across), round(y + unit * down)) for across, down in ((left, top), (right, bottom))
        ]
        cv2.rectangle(flat, corners[0], corners[1], colour, -1)

    steel = np.array([150, 140, 130]) + random.uniform(-8, 8)
    box(-60, -30, random.uniform(58, 62), 0, tuple(steel.tolist()))
    box(-60, -30, -30, random.uniform(48, 52), tuple(steel.tolist()))
    box(20, -22, 40, -14, (60, 60, 190))
    for across, down in ((-45, 35), (-45, -15), (5, -15)):
        if not (defect and (across, down) == (-45, -15)):
            cv2.circle(flat, (round(x + unit * across), round(y + unit * down)), round(7 * unit), (40, 40, 40), -1)
    rough = cv2.GaussianBlur(random.normal(0, 60, flat.shape), (0, 0), 4 * unit)  # no two are the same
    flat = np.clip(flat + rough * (flat > 100), 0, 255).astype(np.uint8)
    matrix = cv2.getRotationMatrix2D((x, y), -turn, 1)
    matrix[:, 2] += np.array(shift) * width
    moved = cv2.warpAffine(flat, matrix, (width, height), flags=cv2.INTER_AREA, borderValue=(40, 40, 40))
    return np.asarray(np.clip(moved + random.normal(0, 3, moved.shape), 0, 255), np.uint8)


def draw_lying_freely(count: int, *, most_turn: float = 180.0, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Good brackets, turned and shifted at random."""
    random = np.random.default_rng(seed)
    return [
        draw_bracket(
            seed + number,
            turn=float(random.uniform(-most_turn, most_turn)),
            shift=(float(random.uniform(-0.1, 0.1)), float(random.uniform(-0.05, 0.05))),
        )
        for number in range(count)
    ]
