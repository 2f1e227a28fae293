"""Which parts pass a stream, how many, and how many of them were rejected. No I/O and no clock."""

from __future__ import annotations

import math
from collections import deque
from datetime import UTC, datetime

from server.inspection import Glimpse
from server.streams.scene import Scene
from server.words import PartVerdict, Verdict

MOST_SAID = 64
"""Parts that the line may have named since the newest frame arrived; of the oldest is then not known any more when."""


class Said:
    """Which part the line said comes, and when: a frame is of what was said last before it arrived."""

    def __init__(self) -> None:
        self._said: deque[tuple[float, str | None]] = deque([(-math.inf, None)], MOST_SAID)

    @property
    def newest(self) -> str | None:
        """What was said last; None: nothing, or that no part comes."""
        return self._said[-1][1]

    def say(self, part: str | None, at: float) -> None:
        """From then on frames show this part. Times never go back, here and in :meth:`when`."""
        if part != self.newest:
            self._said.append((at, part))

    def when(self, arrived: float) -> str | None:
        """What a frame shows that arrived then."""
        while len(self._said) > 1 and self._said[1][0] <= arrived:
            self._said.popleft()
        at, part = self._said[0]
        return part if at <= arrived else None


class Parts:
    """The parts of one stream since a reset, whichever connection brought them. The event loop owns it.

    A part is what the line says it is. It counts from its first inspected frame on, and is rejected as soon as the
    stream's verdict on one of its frames is ANOMALY: the worst verdict of its frames is the part's. A part that the
    line named and of which no frame was inspected counts as failed, once that is known (:meth:`add`).

    Where the line says nothing there are no parts to count. Scenes are told apart by the picture
    (:mod:`server.streams.scene`, with its limits) and get numbers, so that an alarm ends with what it was about.

    Attributes:
        since: when the counting began, ISO 8601.
        parts: that came so far, the one that lies there now included.
        rejected: of them; ``failed``: of them, those of which nothing could be inspected.
        number: of the part, or scene, that lies there now, never twice the same, whatever is reset.
    """

    def __init__(self) -> None:
        self._told: str | None = None
        self._shows = 0
        self._scene: Scene | None = None
        self.number = 0
        self.reset()

    def reset(self) -> None:
        """Count from the beginning; the part that lies there now counts with its next frame."""
        self.since = datetime.now(UTC).isoformat(timespec="seconds")
        self.parts = self.rejected = self.failed = 0
        self._counted = self._is_rejected = False

    def expected(self, told: str | None, begins: bool) -> int | None:
        """Number of the part that a frame will be of; None where that is not known before it is looked at.

        Args:
            told: as in :meth:`see`; ``begins``: whether it will be the first of what the line named.
        """
        return None if told is None else self.number + begins

    def see(self, told: str | None, shows: int, look: Glimpse | None) -> bool:
        """A frame was inspected; says whether it is the first of a part, or scene.

        Args:
            told: what the line says which part it shows; None where it says nothing.
            shows: number of that part at the station, which tells apart what has the same id; 0: it was FAILED before
                this frame of it was inspected, and was counted.
            look: at the frame, where the line says nothing.
        """
        if told is not None:
            begins, self._scene = (told, shows) != (self._told, self._shows), None
        else:
            begins = self._told is not None or self._scene is None
            self._scene = self._scene or Scene()
            if look is not None:
                begins |= self._scene.see(look)
        self._told, self._shows = told, shows
        if begins:
            self.number += 1
            self._counted = self._is_rejected = told is not None and shows == 0
        return begins

    def count(self, verdict: Verdict) -> None:
        """The stream's verdict with that frame, where the line said what it shows."""
        if self._told is None:
            return
        self.parts += not self._counted
        self._counted = True
        if verdict == "ANOMALY" and not self._is_rejected:
            self._is_rejected = True
            self.rejected += 1

    def is_told(self, number: int) -> bool:
        """A frame was inspected of a part that the recipe's rule tells apart; says whether it is its first.

        Args:
            number: of the part; 0 between parts.
        """
        begins, self.number = number not in (0, self.number), number
        return begins

    def add(self, verdict: PartVerdict) -> None:
        """A part that the recipe's rule tells apart has its verdict."""
        self.parts += 1
        self.rejected += verdict == "ANOMALY"
        self.failed += verdict == "FAILED"

    @property
    def good_share(self) -> float | None:
        """Share of the parts that were found good, the yield; None before the first."""
        return 1 - (self.rejected + self.failed) / self.parts if self.parts else None
