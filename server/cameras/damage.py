"""When damaged frames are worth a word: one now and then is not, many are."""

from __future__ import annotations

from collections import deque
from typing import Literal

LOOKED_AT = 100
MANY = 10
FEW = 2


class DamageWatch:
    """Watches the last :data:`LOOKED_AT` frames. No clock, no I/O."""

    def __init__(self) -> None:
        self._damaged: deque[bool] = deque(maxlen=LOOKED_AT)
        self._many = False

    def note(self, damaged: bool) -> Literal["many", "over"] | None:
        """Take note of a frame.

        Returns:
            "many" once when :data:`MANY` of the last are damaged, "over" once when they are down to :data:`FEW`.
        """
        self._damaged.append(damaged)
        count = sum(self._damaged)
        if self._many != (count > FEW if self._many else count >= MANY):
            self._many = not self._many
            return "many" if self._many else "over"
        return None
