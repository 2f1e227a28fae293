"""Whether the picture shows another scene than before: which alarms belong together where nobody names parts. No I/O.

Limits: this tells *scenes* apart, not parts, and nothing is counted by it. An empty fixture between two parts is a
scene of its own. A part exchanged for one that looks the same at 16×16 cells, with no frame of anything else between,
goes unnoticed; so does a part that never lies still for two inspected frames. Something that rests in the picture for
two frames, a hand, is one. Where parts are to be counted, the line has to say which is which.
"""

from __future__ import annotations

import numpy as np

from server.inspection import Glimpse

CLEAR, TIMES_NOISE = 3.0, 3.0
"""A scene is another one where the difference is more than so many percent, and so many times that of frames that
followed one another."""
_SLOWLY = 0.1
"""By which a scene follows its frames (daylight), and the noise its differences."""


class Scene:
    """Follows the scene of one stream. The event loop owns it; a look costs it some hundredths of a millisecond."""

    def __init__(self) -> None:
        self._scene: Glimpse | None = None
        self._last: Glimpse | None = None
        self._noise = 0.0

    def see(self, look: Glimpse) -> bool:
        """Whether a frame shows another scene than those before, and has come to rest; the first one does."""
        scene, last, self._last = self._scene, self._last, look
        if scene is None or last is None:
            self._scene = look
            return True
        clear = max(CLEAR, TIMES_NOISE * self._noise)
        moved = _difference(look, last)
        if _difference(look, scene) <= clear:
            self._scene = np.asarray(scene + _SLOWLY * (look - scene), np.float32)
            if moved <= clear:
                self._noise += _SLOWLY * (moved - self._noise)
            return False
        if moved > clear:
            return False  # still on its way
        self._scene = look
        return True


def _difference(one: Glimpse, other: Glimpse) -> float:
    """Root of the mean square, percent of the mean brightness."""
    apart = (one - other).ravel()
    return float(np.sqrt(apart @ apart / apart.size))
