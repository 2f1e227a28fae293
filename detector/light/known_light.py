"""Whether a frame lies in the light that was taught, from six numbers of the frame itself.

They say how bright each colour is, which way the light falls off and how much noise there is, and little of what the
part looks like. A frame whose numbers are farther from those of every normal image than any normal image is from the
others lies in another light. A part that was moved, or a large defect, may look so too: nothing hangs on it but which
memory bank is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage

NUMBERS = 6
_BLOCKS = 8
"""Blocks along each side in which light is looked at."""
_BLACK, _QUIET = 8.0, 0.2
"""Grey levels added before a logarithm: near black, and without noise, it would say too much."""
_LEAST_SPREAD = 0.02
"""Of each number over the normal images: 2 % of light, so that a lamp that never flickers is no reason for alarm."""
_LEAST_LIMIT = 1.0
"""Spreads within which a light is known: of a burst of pictures every one is close to another."""


@dataclass(frozen=True)
class KnownLight:
    """The light of the normal images. ``lights``: K×6, of each. ``spread``: 6, their standard deviations. ``limit``: 1,
    the distance in spreads from the nearest of them beyond which a light is new. All float32."""

    lights: NDArray[np.float32]
    spread: NDArray[np.float32]
    limit: NDArray[np.float32]

    def is_new(self, frame: BGRImage) -> bool:
        """Whether a frame at the model's input size (H×W×3 uint8 BGR) lies in another light than the normal images."""
        return bool(_nearest(light_of(frame), self.lights, self.spread) > self.limit[0])


def light_of(frame: BGRImage) -> NDArray[np.float32]:
    """Six numbers (float32) of a frame (H×W×3 uint8 BGR): mean logarithm of blue, green and red, how fast light falls
    off to the right and downwards, and the logarithm of the noise."""
    blocks = cv2.resize(frame, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA).astype(np.float32)
    plane = _PLANE @ np.log(blocks.reshape(-1, 3) + _BLACK)  # level, to the right, downwards; of each colour
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    noise = float(cv2.absdiff(grey, cv2.medianBlur(grey, 3)).mean())
    return np.array([*plane[0], plane[1].mean(), plane[2].mean(), np.log(noise + _QUIET)], np.float32)


def learn(frames: Sequence[BGRImage]) -> KnownLight:
    """The light of normal images at the model's input size (H×W×3 uint8 BGR), at least two."""
    lights = np.stack([light_of(frame) for frame in frames])
    spread = np.maximum(lights.std(0), np.float32(_LEAST_SPREAD))
    apart = [_nearest(light, np.delete(lights, number, 0), spread) for number, light in enumerate(lights)]
    return KnownLight(lights, spread, np.array([max(*apart, _LEAST_LIMIT)], np.float32))


def _nearest(light: NDArray[np.float32], lights: NDArray[np.float32], spread: NDArray[np.float32]) -> float:
    return float(np.linalg.norm((lights - light) / spread, axis=1).min())


def _plane_fit() -> NDArray[np.float32]:
    """3×64: least squares of level and slopes, with the frame's sides at −1 and 1."""
    down, right = np.mgrid[-1 : 1 : _BLOCKS * 1j, -1 : 1 : _BLOCKS * 1j]
    columns = np.stack([np.ones(_BLOCKS**2), right.ravel(), down.ravel()], 1)
    return np.asarray(np.linalg.pinv(columns), np.float32)


_PLANE = _plane_fit()
