"""When what befalls frames (damage, lateness) is worth a word: one now and then is not, many are."""

from __future__ import annotations

from collections import deque
from typing import Literal

LOOKED_AT = 100
MANY = 10
FEW = 2


class OftenWatch:
    """Watches the last :data:`LOOKED_AT` frames. No clock, no I/O."""

    def __init__(self) -> None:
        self._befell: deque[bool] = deque(maxlen=LOOKED_AT)
        self._many = False

    def note(self, befell: bool) -> Literal["many", "over"] | None:
        """Take note of a frame.

        Returns:
            "many" once when it befell :data:`MANY` of the last, "over" once when they are down to :data:`FEW`.
        """
        self._befell.append(befell)
        count = sum(self._befell)
        if self._many != (count > FEW if self._many else count >= MANY):
            self._many = not self._many
            return "many" if self._many else "over"
        return None
