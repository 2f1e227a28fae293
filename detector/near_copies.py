"""Which normal images are near-copies of each other: the same file twice, or frames of one part that did not move.

A held-out image whose copy stays in the memory bank scores next to nothing, and a threshold found that way rejects
every part that was not photographed twice. Images are compared by small grey pictures, after taking out what a lamp and
a trigger change from frame to frame: brightness, contrast, and a little shift, turn and zoom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from detector.images import BGRImage

_SIDE = 64
_SMOOTH = 1.2
"""Standard deviation of the smoothing, in pixels of the small picture: about as far as a shift can be taken out."""
_NEAR = 0.25
"""Share of the distance between images that are far apart (:data:`_FAR`, a quantile), up to which they may be copies.
Drawn shifts of half a percent of the width and turns of half a degree stay below it on twelve data sets; the nearest
different parts of fabrics and bottles lie at twice that and more."""
_FAR = 0.9
_NEAREST_GREY_LEVELS = 1.5
"""And at the most, root mean square: what is farther apart is no copy, however different the others are."""

_APART = 1.5
"""Near-copies are a group of their own: whatever is not one of them is farther than this many times the distance by
which they hang together. Parts in a precise fixture are near each other too, but at all distances, and holding out all
that lie at rest would measure how unlike the rest of the line they are."""
_LEVELS = 13
"""Distances tried, each the next larger one by √2."""
_BESIDE = 0.25
"""Share of an image's distance to the nearest other chosen one up to which one that was not chosen is its copy."""

_STILL_GREY_LEVELS = 1.0
"""Median distance of small pictures from each other, once lamp and trigger are taken out, of one part lying still: 0.2
to 0.7 with a camera's noise, other light and a shaking table; different parts of twelve products are 2 to 90 apart."""
_STILL_CONTRAST = 0.03
"""And of their contrast: a camera shakes a little, up to 0.02 of it; small parts in a large frame are 0.08 apart."""
_STILL_NOISE = 0.25
"""Grey levels that a camera's noise alone makes, where there is little contrast."""
_BLANK_CONTRAST = 0.5
"""Noise, and fine textures of little contrast, are as far from each other as they have any."""

_EXPLAINED = 6
_BLOCK = 256
"""Pictures compared at once."""


@dataclass(frozen=True)
class Look:
    """What is remembered of an image: a small picture of it (``grey``, 64×64 float16, 8 kB) and its ``shape``, width to
    height."""

    grey: NDArray[np.float16]
    shape: float

    @property
    def contrast(self) -> float:
        """Standard deviation of the small picture, in grey levels."""
        return float(self.grey.astype(np.float32).std())


def look_of(frame: BGRImage) -> Look:
    """A small picture of a frame (H×W×3 uint8 BGR) of any shape."""
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    double = cv2.resize(grey, (2 * _SIDE, 2 * _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    smooth = cv2.GaussianBlur(double, (0, 0), 2 * _SMOOTH)
    small = cv2.resize(smooth, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float16)
    return Look(small, frame.shape[1] / frame.shape[0])


def groups(looks: Sequence[Look], chosen: Sequence[int]) -> list[set[int]]:
    """The images that are near-copies of each other, for those chosen.

    Args:
        looks: of all images.
        chosen: numbers of those that are grouped.

    Chosen images are one group if a chain of near-copies joins them; all others join that of their nearest chosen
    image. A group that would leave fewer than half of the images beside it is no group: of a film in which each frame
    resembles the next, everything would be.

    Returns:
        sets of image numbers, in the order of their first chosen image, each with at least one chosen image. Without
        copies each has exactly one.
    """
    # One thread: NumPy's threads wait for each other spinning, and rounding would depend on their number.
    with threadpool_limits(1, "blas"):
        return _groups(looks, chosen)


def show_one_part(looks: Sequence[Look]) -> bool:
    """Whether three images or more show one part that lies still, but for what a camera's noise, a lamp and a trigger
    change. Images that show nothing do not."""
    if len(looks) < 3:
        return False
    contrast = float(np.median([look.contrast for look in looks]))
    return typical_distance(looks) < min(still_distance(contrast), _BLANK_CONTRAST * contrast)


def typical_distance(looks: Sequence[Look]) -> float:
    """Median of the distances between images, two or more: root mean square in grey levels of what a lamp and a trigger
    do not explain."""
    with threadpool_limits(1, "blas"):
        bases = np.concatenate([_explained(look) for look in looks], 1)
        one_way = _left_over(_centred(looks), bases)
    distances = np.maximum(one_way, one_way.T)
    return float(np.median(distances[~np.eye(len(looks), dtype=np.bool_)]))


class Album:
    """Looks that come and go one by one, each compared with the next frame: a millisecond or two for a hundred."""

    def __init__(self) -> None:
        self._pictures = np.empty((0, _SIDE * _SIDE), np.float32)
        self._looks: list[Look] = []

    def __len__(self) -> int:
        return len(self._looks)

    def copies_of(self, look: Look) -> list[int]:
        """Places of those that show the same part lying still: no farther from the look, both ways, than a camera's
        noise, a lamp and a trigger bring frames of one part apart (:func:`show_one_part`)."""
        if not self._looks:
            return []
        near = min(still_distance(look.contrast), _BLANK_CONTRAST * look.contrast)
        own, bases = _centred([look]), _explained(look)
        pictures = self._pictures
        explained = np.square(pictures @ bases.astype(np.float32)).sum(1)
        rest = np.einsum("kn,kn->k", pictures, pictures) - explained
        close = np.flatnonzero(rest <= pictures.shape[1] * near**2)
        return [place for place in close.tolist() if _left_over(own, _explained(self._looks[place]))[0, 0] <= near]

    def add(self, look: Look) -> None:
        """Take one in; its place is the last."""
        self._looks.append(look)
        self._pictures = np.concatenate([self._pictures, _centred([look]).astype(np.float32)])

    def remove(self, place: int) -> None:
        """Let one go; those behind it move up."""
        del self._looks[place]
        self._pictures = np.delete(self._pictures, place, 0)


def still_distance(contrast: float) -> float:
    """Grey levels up to which frames of such contrast show one part lying still."""
    return min(_STILL_GREY_LEVELS, max(_STILL_NOISE, _STILL_CONTRAST * contrast))


def _groups(looks: Sequence[Look], chosen: Sequence[int]) -> list[set[int]]:
    bases = np.concatenate([_explained(looks[number]) for number in chosen], 1)
    pictures = _centred([looks[number] for number in chosen])
    one_way = _left_over(pictures, bases)
    distances = np.maximum(one_way, one_way.T)
    between = distances[~np.eye(len(chosen), dtype=np.bool_)]
    if not between.size:
        return [{number} for number in chosen]
    near = min(_NEAR * float(np.quantile(between, _FAR)), _NEAREST_GREY_LEVELS)
    found = _apart(distances, near)
    members = [{chosen[place] for place in group} for group in found]
    group_of = {place: group for group, places in enumerate(found) for place in places}
    reach = np.minimum(near, _BESIDE * _to_the_others(distances, found))
    others = sorted(set(range(len(looks))) - set(chosen))
    for start in range(0, len(others), _BLOCK):
        block = others[start : start + _BLOCK]
        to_chosen = _left_over(_centred([looks[number] for number in block]), bases)
        for number, there in zip(block, to_chosen, strict=True):
            if (there <= reach).any():  # few are, and the way back costs more
                apart = np.maximum(there, _left_over(pictures, _explained(looks[number]))[:, 0])
                if apart[nearest := int(apart.argmin())] <= reach[nearest]:
                    members[group_of[nearest]].add(number)
    return [
        part
        for group, places in zip(members, found, strict=True)
        for part in ([group] if 2 * len(group) <= len(looks) else [{chosen[place]} for place in places])
    ]


def _apart(distances: NDArray[np.float64], near: float) -> list[list[int]]:
    """Groups of places that hang together by at most ``near`` and lie apart from all others; singles for the rest."""
    found: list[list[int]] = []
    left = set(range(len(distances)))
    for level in near * 0.5 ** (np.arange(_LEVELS) / 2):
        for group in _joined(distances <= level):
            inside = sorted(group)
            outside = sorted(set(range(len(distances))) - set(inside))
            if len(inside) < 2 or not left.issuperset(inside):
                continue
            if not outside or distances[np.ix_(inside, outside)].min() > _APART * level:
                found.append(inside)
                left.difference_update(inside)
    return sorted([*found, *([place] for place in left)])


def _to_the_others(distances: NDArray[np.float64], found: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """From each place to the nearest one that is not of its group; without end where there is none."""
    others = distances.copy()
    for places in found:
        others[np.ix_(places, places)] = np.inf
    return np.asarray(others.min(1))


def _centred(looks: Sequence[Look]) -> NDArray[np.float64]:
    """K×4096, each with a mean of 0: its brightness is explained in any case, and would only cost precision."""
    pictures = np.stack([look.grey for look in looks]).astype(np.float64).reshape(len(looks), -1)
    return np.asarray(pictures - pictures.mean(1, keepdims=True))


def _explained(look: Look) -> NDArray[np.float64]:
    """Orthonormal columns (4096×6) of what becomes of a small picture in other light, moved, turned or enlarged a
    little. In the square a tall frame became, a turn moves what is above farther than what is beside."""
    picture = look.grey.astype(np.float64)
    down, right = np.gradient(picture)
    turned, enlarged = _RIGHT * down * look.shape - _DOWN * right / look.shape, _RIGHT * right + _DOWN * down
    columns = np.stack([np.ones_like(picture), picture, right, down, turned, enlarged]).reshape(_EXPLAINED, -1)
    return np.asarray(np.linalg.qr(columns.T)[0])


def _left_over(pictures: NDArray[np.float64], bases: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square (K×L) of what each of L bases (4096×6L) leaves unexplained of pictures (K×4096), grey levels."""
    explained = np.square((pictures @ bases).reshape(len(pictures), -1, _EXPLAINED)).sum(2)
    rest = np.square(pictures).sum(1)[:, None] - explained
    return np.asarray(np.sqrt(np.maximum(rest, 0) / pictures.shape[1]))


def _joined(near: NDArray[np.bool_]) -> list[list[int]]:
    """The connected parts of a symmetric K×K graph, each sorted, in the order of their first member."""
    left, parts = dict.fromkeys(range(len(near))), []
    while left:
        part, fresh = set[int](), [next(iter(left))]
        while fresh:
            number = fresh.pop()
            if number in left:
                del left[number]
                part.add(number)
                fresh += np.flatnonzero(near[number]).tolist()
        parts.append(sorted(part))
    return parts


_DOWN, _RIGHT = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j]
