"""What a source yields, one thing after another."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from server.cameras.framing import Image


class CaptureError(Exception):
    """The source cannot be opened, or has ended. The message says what to do."""


class DamagedError(Exception):
    """What came is damaged, by its decoder's own word: there is no picture in it to judge."""


@dataclass(frozen=True)
class Grabbed:
    """A frame that is here but not yet made an image of, so that one nobody wants costs little.

    ``due``: seconds after the source's first frame at which to show it; None for a live source: show it now.
    ``came``: :func:`time.monotonic` when it came here, or would have, had it not waited on its way; None: nobody knows.
    ``image``: makes the BGR uint8 H×W×3 image; raises :class:`DamagedError`, or :class:`CaptureError` when the source
    is over.
    """

    due: float | None
    image: Callable[[], Image]
    came: float | None = None


@dataclass(frozen=True)
class Damaged:
    """A frame came damaged, or builds on one that did. ``why`` says what is wrong and what to do."""

    why: str


@dataclass(frozen=True)
class Late:
    """A frame waited too long, here or on its way, and was left out undecoded: a newer one comes."""


@dataclass(frozen=True)
class Pending:
    """Video comes, and there cannot be a picture yet. ``why`` says what is missing and what to do."""

    why: str


@dataclass(frozen=True)
class Waiting:
    """The camera answers, and waits for its trigger, however long that takes. ``why`` says so."""

    why: str


@dataclass(frozen=True)
class Nothing:
    """Nothing of a picture came: only a moment in which to ask whether the source is still wanted."""


Arrival = Grabbed | Damaged | Late | Pending | Waiting | Nothing
Frames = Generator[Arrival, None, None]
