"""When to show the frames of a file, by time stamps that may jump."""

from __future__ import annotations

MAX_STEP_S = 1.0
"""A longer pause between two frames is a jump of the clock that stamped them, or one nobody wants to wait for."""


class FileClock:
    """From time stamps to times that never go back and never leap.

    Args:
        step: seconds from a frame to the next, where time stamps do not say it.
    """

    def __init__(self, step: float) -> None:
        self._step = min(step, MAX_STEP_S)
        self._stamp: float | None = None
        self._due = -self._step

    def due(self, stamp: float | None) -> float:
        """When to show the next frame, seconds after the first one, which has this time stamp in seconds or none."""
        if stamp is None or self._stamp is None or stamp < self._stamp:  # earlier: the clock began anew
            pause = self._step
        else:
            pause = min(stamp - self._stamp, MAX_STEP_S)
        self._stamp = stamp
        self._due += pause
        return self._due

    def restart(self) -> None:
        """The file begins again: what its first frame is stamped says nothing."""
        self._stamp = None
