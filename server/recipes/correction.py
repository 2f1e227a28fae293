"""What a model was told after it was taught: that a part is good, or that one is bad."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from server.recipes.recipe import Polygon

Kind = Literal["good", "bad"]


class Correction(Struct, frozen=True, forbid_unknown_fields=True):
    """One correction, as it lies on disk beside what the model keeps of it. Never changed.

    Attributes:
        learned: whether it changes scores: a known defect may be kept to be asked only.
        place: that was marked; None: all of the part.
        raw_score, threshold: when it was made, of the frame and in force.
        patches: that the model keeps of it.
    """

    id: str
    kind: Kind
    learned: bool
    at: str
    who: str
    why: str
    stream: str
    place: Polygon | None
    raw_score: float
    threshold: float
    patches: int
