"""What the lighting study does to pictures: lights to test under, and copies to teach with.

The lights themselves are simulated in :mod:`detector.light.relighting`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detector.images import BGRImage
from detector.light import KINDS, Kind, Severity, draw_light, random_light, relit

ORIGINAL = "original"
MIXED = "mixed"
CONDITIONS = (ORIGINAL, *KINDS, MIXED)


@dataclass(frozen=True)
class Lamp:
    """Lights test pictures, always in the same way: a picture's noise, and its light where lights are mixed, follow
    from ``seed`` and the picture's number alone.

    ``condition``: ``original`` leaves pictures as they are; a kind of light is the same light for every picture, as
    when somebody moved a lamp; ``mixed`` gives each picture its own, of any kind and severity or the original one, all
    kinds as likely, as when light differs from part to part.
    """

    condition: str
    severity: Severity
    seed: int = 0

    def __call__(self, picture: BGRImage, number: int) -> BGRImage:
        """The test picture (H×W×3 uint8 BGR) of that number in this light."""
        if self.condition == ORIGINAL:
            return picture
        place = CONDITIONS.index(self.condition)
        random = np.random.default_rng([self.seed, place, number])
        if self.condition == MIXED:
            return picture if random.random() < 1 / (1 + len(KINDS)) else relit(picture, random_light(random), random)
        light = draw_light(_kind(self.condition), self.severity, np.random.default_rng([self.seed, place]))
        return relit(picture, light, random)


def _kind(condition: str) -> Kind:
    return next(kind for kind in KINDS if kind == condition)


def moved(picture: BGRImage, random: np.random.Generator) -> BGRImage:
    """The picture turned by up to 15°, shifted by up to 5 % of its sides, and flipped or not; mirrored at the edges."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(random.uniform(-15, 15)), 1.0)
    turn[:, 2] += random.uniform(-0.05, 0.05, 2) * np.array([width, height])
    turned = cv2.warpAffine(picture, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    flips = random.integers(2, size=2)
    return np.ascontiguousarray(turned[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1])
