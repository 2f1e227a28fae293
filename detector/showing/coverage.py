"""What the pictures shown so far cover of the good parts: what each brought, and which of them hardly is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from detector.counted import counted
from detector.errors import ImageError, ModelError
from detector.images import BGRImage
from detector.near_copies import Album, look_of
from detector.showing.patches import Eye, Place, Signatures, Smoothing, Units, between, eye
from detector.showing.unlike import Nearness, struck_out

MOST = 300
"""Pictures at the most: 90 MB by then, most of it distances between pictures, which grow with their square."""
LAST = 20
"""Parts that are looked back on."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Shown:
    """A picture taken, as things stand.

    Attributes:
        number: its own, from 0 on, never given again.
        new: it brought something the pictures before it did not have.
        outlier: it is struck out until a person decides: removes it, or keeps it.
        why: one clause, where it is an outlier or a copy.
        score: how far it is from the nearest patches of all other parts, in feature distances; 0 for a copy, and for a
            part without others.
        copy_of: number of an earlier picture of the same part lying still, if there is one; it counts with that.
        place: where it is least like all other parts; None for a copy, and for a part without others.
    """

    number: int
    new: bool
    outlier: bool
    why: str | None
    score: float
    copy_of: int | None = None
    place: Place | None = None


@dataclass(frozen=True)
class CoverageSummary:
    """What the pictures cover.

    Attributes:
        parts: different ones.
        of_last: how many of the last parts are looked back on, 20 at the most.
        new_of_last: those of them that were new when they came.
        enough: of the last 20, none was new.
        outliers: struck out, to be decided on.
        at_most: share of parts to come that are unlike all shown, with 95 % confidence; 1 unless it is enough.
        sentence: for a person.
    """

    parts: int
    of_last: int
    new_of_last: int
    enough: bool
    outliers: int
    at_most: float
    sentence: str


@dataclass
class _Picture:
    """``there`` and ``back``: distances to each picture before it (K×N), and of each of those to it."""

    number: int
    signatures: Signatures
    there: Units
    back: Units
    copies: list[int]
    """Numbers of earlier pictures it is a copy of."""
    kept: bool = False


@dataclass
class _State:
    """What follows from the pictures, in their order."""

    nearness: Nearness
    parts: list[int] = field(default_factory=list)
    """Places of pictures of different parts."""
    new: list[bool] = field(default_factory=list)
    """Of each part."""
    copy_of: dict[int, int] = field(default_factory=dict)
    """Number of a copy → of the part."""


class Coverage:
    """Grows with each picture taken. Not thread-safe: one thread uses it.

    Everything follows from the pictures there are, in their order: one that was removed leaves no trace. A picture
    takes the longer the more others there are, a removal as the square of it (the distances are there already).

    Args:
        runtime_name: ``openvino`` or ``torch``.
        workers: threads that call at once; of the runtime.

    Raises:
        ModelError: at the first picture, where there is no such runtime or what it needs is not installed.
    """

    def __init__(self, runtime_name: str = "openvino", workers: int = 1) -> None:
        self._runtime = runtime_name, workers
        self._eye: Eye | None = None
        self._smoothing: Smoothing | None = None
        self._album = Album()
        self._pictures: list[_Picture] = []
        self._state: _State | None = None
        self._next = 0
        self._blas = ThreadpoolController()

    def is_copy(self, frame: BGRImage) -> bool:
        """Whether a frame (H×W×3 uint8 BGR) shows a part that was taken already, lying still again. A millisecond or
        two for a hundred pictures.

        Raises:
            ImageError: not such an array.
        """
        _require_frame(frame)
        with self._blas.limit(limits=1, user_api="blas"):
            return bool(self._album.copies_of(look_of(frame)))

    def add(self, frame: BGRImage) -> Shown:
        """Take a picture (H×W×3 uint8 BGR). The first one compiles the network, and its shape, width to height, is that
        of the input for all.

        Raises:
            ImageError: not such an array.
            ModelError: there are 300 pictures already; or as at the class.
        """
        _require_frame(frame)
        if len(self._pictures) >= MOST:
            raise ModelError(f"{MOST} pictures are the most that can be shown: remove some, or teach from these")
        if self._eye is None or self._smoothing is None:
            self._eye = eye(*self._runtime, frame.shape[1] / frame.shape[0])
            self._smoothing = Smoothing(self._eye.grid)
        with self._blas.limit(limits=1, user_api="blas"):  # threads of NumPy's wait for each other spinning
            look, signatures = look_of(frame), self._eye.signatures(frame)
            copies = [self._pictures[place].number for place in self._album.copies_of(look)]
            there, back = between(signatures, [picture.signatures for picture in self._pictures])
            self._album.add(look)
            self._pictures.append(_Picture(self._next, signatures, there, back, copies))
            self._next += 1
            state = self._state or self._fresh()
            self._take(state, len(self._pictures) - 1)
            self._state = state
        return self.pictures()[-1]

    def remove(self, number: int) -> None:
        """Take a picture back: everything is as if it had never been shown.

        Raises:
            KeyError: there is no such picture.
        """
        place = self._place(number)
        del self._pictures[place]
        self._album.remove(place)
        for picture in self._pictures[place:]:
            picture.there = np.delete(picture.there, place, 0)
            picture.back = np.delete(picture.back, place, 0)
            picture.copies = [one for one in picture.copies if one != number]
        state = self._fresh()
        with self._blas.limit(limits=1, user_api="blas"):
            for later in range(len(self._pictures)):
                self._take(state, later)
        self._state = state

    def keep(self, number: int) -> None:
        """A person said that this one is good: it is not struck out again.

        Raises:
            KeyError: there is no such picture.
        """
        self._pictures[self._place(number)].kept = True

    def pictures(self) -> Sequence[Shown]:
        """All pictures there are, in the order they were taken, as things stand."""
        state = self._state
        if state is None:
            return []
        scores = state.nearness.scores if len(state.parts) > 1 else np.zeros(len(state.parts))
        out = self._struck_out(scores)
        places: list[Place] = []
        if len(state.parts) > 1:
            with self._blas.limit(limits=1, user_api="blas"):
                places = state.nearness.places
        part_at = {place: part for part, place in enumerate(state.parts)}
        shown = []
        for place, picture in enumerate(self._pictures):
            part = part_at.get(place)
            if part is None:
                of = state.copy_of[picture.number]
                shown.append(Shown(picture.number, False, False, "the same part again, lying still", 0.0, of))
            else:
                why = "it is among the least like the others: is it a good part?" if part in out else None
                score, where = float(scores[part]), places[part] if places else None
                shown.append(Shown(picture.number, state.new[part], part in out, why, score, place=where))
        return shown

    def summary(self) -> CoverageSummary:
        """What the pictures cover, as things stand."""
        state = self._state
        new = state.new if state else []
        scores = state.nearness.scores if state and len(new) > 1 else np.zeros(len(new))
        return _summary(new, len(self._struck_out(scores)))

    def _struck_out(self, scores: NDArray[np.float64]) -> list[int]:
        parts = self._state.parts if self._state else []
        kept = {part for part, place in enumerate(parts) if self._pictures[place].kept}
        return struck_out(scores.tolist(), kept)

    def _place(self, number: int) -> int:
        for place, picture in enumerate(self._pictures):
            if picture.number == number:
                return place
        raise KeyError(f"there is no picture {number}")

    def _fresh(self) -> _State:
        assert self._eye and self._smoothing
        return _State(Nearness(self._smoothing, MOST, self._eye.grid[0] * self._eye.grid[1]))

    def _take(self, state: _State, place: int) -> None:
        """The picture at this place, after those before it."""
        picture = self._pictures[place]
        for number in picture.copies:
            if number not in state.copy_of:
                state.copy_of[picture.number] = number
                return
        state.new.append(state.nearness.add(picture.there[state.parts], picture.back[state.parts]))
        state.parts.append(place)


def _summary(new: Sequence[bool], outliers: int) -> CoverageSummary:
    parts, last = len(new), list(new[-LAST:])
    found = sum(last)
    enough = parts > LAST and not found
    at_most = unseen_at_most(len(last)) if enough else 1.0
    return CoverageSummary(
        parts, len(last), found, enough, outliers, at_most, _sentence(parts, len(last), found, enough)
    )


def unseen_at_most(none_of: int) -> float:
    """Share of parts to come that are unlike all shown, with 95 % confidence, after so many parts of which none was:
    1 - 0.05^(1/n), which is nearly 3/n."""
    return 1 - float((1 - CONFIDENCE) ** (1 / none_of)) if none_of else 1.0


def _sentence(parts: int, of_last: int, found: int, enough: bool) -> str:
    if not parts:
        return "no part shown yet: show a good one"
    if parts <= LAST:
        return f"{found} of {counted(parts, 'part')} brought something new: show more, 30 or so are good to begin with"
    if not enough:
        return f"of the last {counted(of_last, 'part')}, {found} brought something new: show more"
    return (
        f"of the last {counted(of_last, 'part')}, none brought anything new: enough. At most "
        f"{100 * unseen_at_most(of_last):.0f} % of parts to come are unlike these (95 % confidence)"
    )


def _require_frame(frame: BGRImage) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ImageError(f"a frame must be H×W×3 uint8 BGR, not {frame.shape} {frame.dtype}")
