"""Whether what the camera sees has come to rest, from one frame to the next."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage

_WIDTH, _HEIGHT, _BLOCK = 64, 48, 4
"""Of the small grey picture that is compared, and of the blocks it is judged by: a small part may move in a large
frame."""
_SECONDS, _FRAMES = 0.3, 3
"""For which nothing may move, and frames in which it may not."""
_LEAST, _MOST = 1.5, 4.0
"""Grey levels, root mean square of a block, from which something moves: on a quiet camera, and on any."""
_ABOVE_NOISE = 4.0
"""Times what is usual among the blocks of a frame: it is the camera's noise as long as most of them rest."""
_FLICKER = 0.25
"""By which share a row may become brighter or darker by the mains: lamps flicker, and a camera reads row after row."""
_DARK = 8.0
"""Grey levels added before brightness is compared: black stays black."""

_Small = NDArray[np.float32]


class Stillness:
    """Watches the frames of one camera. Pure: the time comes from outside, and nothing is kept but two small pictures.

    A frame is at rest when neither the frame before nor the first one of the rest differs from it by more than noise:
    what creeps moves too.
    """

    def __init__(self) -> None:
        self._before: _Small | None = None
        self._first: _Small | None = None
        self._since = self._last = 0.0
        self._frames = 0

    def see(self, frame: BGRImage, at: float) -> bool:
        """Take in the next frame.

        Args:
            frame: H×W×3 uint8 BGR.
            at: when it was taken, in seconds of any clock that does not go back; where it does, all starts anew.

        Returns:
            whether nothing has moved for a third of a second and three frames, this one included.
        """
        now = _small(frame)
        rests = (
            self._before is not None
            and self._first is not None
            and at >= self._last
            and not _moved(self._before, now)
            and not _moved(self._first, now)
        )
        if not rests:
            self._first, self._since, self._frames = now, at, 0
        self._before, self._last = now, at
        self._frames += 1
        return self._frames >= _FRAMES and at - self._since >= _SECONDS


def _small(frame: BGRImage) -> _Small:
    small = cv2.resize(frame, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)


def _moved(before: _Small, now: _Small) -> bool:
    """Whether a block differs by more than noise, once each row has the brightness it had before."""
    gain = ((before + _DARK).sum(1) / (now + _DARK).sum(1)).clip(1 - _FLICKER, 1 + _FLICKER)
    squares = np.square((now + _DARK) * gain[:, None] - (before + _DARK))
    blocks = squares.reshape(_HEIGHT // _BLOCK, _BLOCK, _WIDTH // _BLOCK, _BLOCK).mean((1, 3))
    usual = float(np.sqrt(np.median(blocks)))
    return float(np.sqrt(blocks.max())) > min(max(_ABOVE_NOISE * usual, _LEAST), _MOST)
