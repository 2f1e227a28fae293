"""When a frame of a stream becomes a picture to learn from: by a press, or by itself. No I/O and no clock."""

from __future__ import annotations

from dataclasses import dataclass

STEADY_S = 1.0
"""How long a press waits for the part to lie still; then it is taken as it is, if it is sharp."""
RARE_S = 0.5
"""Between two frames from which on nothing tells whether anything moves: sharp is enough, and each may show another
part. So are triggered cameras, and folders played as one."""
PATIENCE_S = 5.0
"""How long a press waits for a frame with no fault, from the first frame after it on."""

SAME_PART = "this is the same part, lying still: show another"
MOVES = "the part moves: hold it still for a moment"


@dataclass(frozen=True)
class Taken:
    """What became of the latest frame that might have been taken. ``why``: it was not, one sentence; else empty."""

    taken: bool
    why: str = ""


class Showing:
    """Parts, not frames: after one was taken, nothing is taken by itself until the scene changed.

    One frame is in work at a time, from :meth:`see` saying yes to :meth:`took` or :meth:`refuse`; those that come
    meanwhile pass.

    Attributes:
        auto: whether pictures are taken by themselves.
        last: what became of the latest frame; None before the first.
        in_work: whether a frame is being looked at.
    """

    def __init__(self, auto: bool) -> None:
        self.auto = auto
        self.last: Taken | None = None
        self.in_work = False
        self._scene_changed = True
        self._ended: Taken | None = None
        self._pressed = False
        self._waiting_since: float | None = None
        self._seen_at: float | None = None

    @property
    def is_pressed(self) -> bool:
        """Whether a press waits for its frame, or for what becomes of it."""
        return self._pressed

    def press(self) -> None:
        """Take the next good frame. One that is pressed already goes on as it is."""
        if not self._pressed:
            self._pressed, self._waiting_since = True, None

    def see(self, fault: str | None, still: bool, at: float) -> bool:
        """Look at a frame.

        Args:
            fault: why nobody should learn from it, one sentence: black, blurred and so on.
            still: whether what it shows lies still.
            at: when it came, seconds.

        Returns:
            whether it is to be taken; say then what came of it.
        """
        is_rare = self._seen_at is not None and at - self._seen_at >= RARE_S
        still, self._seen_at = still or is_rare, at
        self._scene_changed = self._scene_changed or not still or is_rare
        if self.in_work:
            return False
        why_not = self._why_not_by_press(fault, still, at) if self._pressed else self._why_not_by_itself(fault, still)
        if why_not is None:
            self.in_work = True
            return True
        if why_not:
            self.last = Taken(False, why_not)
        return False

    def took(self) -> None:
        """The frame in work was taken."""
        self._end(Taken(True))

    def refuse(self, why: str) -> None:
        """The frame in work was not taken; ``why`` is one sentence."""
        self._end(Taken(False, why))

    def give_up(self, why: str) -> None:
        """No frame came that a press could take."""
        self.last, self._pressed = Taken(False, why), False

    def _end(self, outcome: Taken) -> None:
        self.last = self._ended = outcome
        self.in_work = self._pressed = self._scene_changed = False

    def _why_not_by_press(self, fault: str | None, still: bool, at: float) -> str | None:
        """None where it is to be taken."""
        if self._waiting_since is None:
            self._waiting_since = at
        waited = at - self._waiting_since
        if fault is not None:
            self._pressed = waited < PATIENCE_S
            return fault
        return None if still or waited >= STEADY_S else MOVES

    def _why_not_by_itself(self, fault: str | None, still: bool) -> str | None:
        """None where it is to be taken, empty where nothing is to be said."""
        if not self.auto:
            return ""
        if fault is not None:
            return fault
        if not still:
            return MOVES
        if not self._scene_changed:
            self.last = self._ended  # still holds of the part that lies there
            return ""
        return None
