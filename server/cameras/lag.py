"""How late a live stream's packets are read, and which of them to leave out so that what is decoded is new.

Whoever decodes more slowly than a camera sends reads what has waited, in the network's buffers and the camera's, and
ever longer. Nothing tells how much waits there; but a packet's time stamp says when its picture was taken, and the
quickest one that came how long the way takes at the least.
"""

from __future__ import annotations

import time
from collections.abc import Callable

BEHIND_S = 1.0
"""Later than this, packets are left out. Networks that send a lost one again are late by less, and catch up."""

CAUGHT_UP_S = 0.25
"""What is decoded next, after some were left out, is later by no more."""

DRIFT = 0.001
"""Seconds a second by which a camera's clock may be slow: no crystal is that bad."""

JUMP_S = 1.0
"""A time stamp that goes back by more is of a clock that began anew. Pictures sent out of order differ by less."""

_LOOK_S = 1.0
_LEARNED_S = 600.0


class Lag:
    """How late a packet is, against the quickest before it. No clock, no I/O."""

    def __init__(self) -> None:
        self._stamp: float | None = None
        self._least = self._at = self._began = 0.0
        self._drift, self._learned_until = DRIFT, 0.0

    def of(self, stamp: float | None, now: float) -> float:
        """Seconds by which a packet is late that was read now.

        Args:
            stamp: when its picture was taken, seconds on the camera's clock, whatever that counts from; None: nobody
                knows, and it counts as in time.
            now: seconds on a clock that never goes back.
        """
        if stamp is None:
            return 0.0
        way = now - stamp
        if self._stamp is None or stamp < self._stamp - JUMP_S:
            self._least, self._began = way, now
        if now >= self._learned_until:
            self._drift = DRIFT
        self._least = min(way, self._least + (now - self._at) * self._drift)
        self._stamp, self._at = stamp, now
        return way - self._least

    def accept(self) -> None:
        """The packet of which was asked last could not come sooner: its way is the quickest from now on.

        A camera whose time stamps are slower than its pictures looks late and ever later. So what it was late by is
        taken for that, and allowed for in the next ten minutes.
        """
        if self._stamp is None:
            return
        way, passed = self._at - self._stamp, self._at - self._began
        if passed > 0:
            self._drift = min(1.0, self._drift + (way - self._least) / passed)
            self._learned_until = self._at + _LEARNED_S
        self._least, self._began = way, self._at


class CatchUp:
    """Which packets of a live stream to drop undecoded: once it is :data:`BEHIND_S` late, all up to a key frame that
    is late by :data:`CAUGHT_UP_S` at the most. Reading them is much quicker than the camera sends, so that is soon.
    Where it is not, they did not wait here, and dropping more brings nothing newer: what comes then is taken.

    Args:
        clock: seconds, monotonic.

    Attributes:
        came: by that clock, when the packet of which was asked last was read, or would have been, had it not waited.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.came = 0.0
        self._lag = Lag()
        self._looked: tuple[float, float] | None = None  # while dropping: when, and how late it was then

    def drops(self, stamp: float | None, is_key: bool) -> bool:
        """Whether to drop a packet that was read now; ``stamp`` as for :meth:`Lag.of`."""
        now = self._clock()
        lag = self._lag.of(stamp, now)
        self.came = now - lag
        if self._looked is None:
            if lag <= BEHIND_S:
                return False
            self._looked = now, lag
        elif now - self._looked[0] >= _LOOK_S:
            if lag > max(CAUGHT_UP_S, self._looked[1] - (now - self._looked[0]) / 2):
                self._lag.accept()
                lag, self.came = 0.0, now
            self._looked = now, lag
        if is_key and lag <= CAUGHT_UP_S:
            self._looked = None
            return False
        return True
