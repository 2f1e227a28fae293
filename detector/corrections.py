"""What is learned from being told: *this part is good* after a false reject, *this part is bad* after an escape.

A correction is a handful of patch signatures (:class:`detector.heads.NearestNeighbour`), a few kB. Each is made of the
model as it was taught, whatever corrections it has by then: so any of them can be taken back without the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from detector.errors import ModelError
from detector.heads import Array, Corrections, KnownBad, MemoryBanks, ball, check_tensor, no_corrections
from detector.images import BGRImage
from detector.region import Region
from detector.runtimes import Seen
from detector.score import smoothed, to_detection

Polygon = Sequence[tuple[float, float]]
"""Corners (x, y) of a place, 0..1 of the whole frame, at least three."""
Mask = NDArray[np.bool_]
Grid = tuple[int, int]
"""Rows and columns of patches."""

MOST_CORNERS = 1000
"""Of a polygon."""
MOST_OF_FRAME, MOST_OF_COPIES = (384, 160), (32, 16)
"""Patches of one forgiven part at each scale: those that the frame itself needs, and more for seeing it again."""
MOST_FORGIVEN = tuple(map(sum, zip(MOST_OF_FRAME, MOST_OF_COPIES, strict=True)))
"""Of both."""
_AT_ONCE = 8
"""Patches chosen before distances are computed again."""
MOST_GOOD = (1024, 512)
"""And of all that are forgiven together."""
MOST_BAD = 512
"""Conditions of all known defects together: ten of each."""

_SIGNATURE = 128
"""Numbers in a signature at the most."""
_BESIDE = (2, 1)
"""Patches round a place, at each scale, that are taken with it: the map is smoothed over them."""
_NEAR = 0.3
"""Share of a typical good part's score: a patch that near to a forgiven one is forgiven already."""

_COPIES = ((1.5, 0.5, 1.03), (-1.5, -0.5, 0.97), (0.5, -1.5, 1.0))
"""How a part may be seen the next time: pixels of the input to the right and down, and brightness."""
_NOISE = 2.0
"""Grey levels, standard deviation, in each copy."""

_BALLS = 9
"""Patches of a known defect which are known one by one."""
_LEARNED_FROM = 25
"""And of which its direction is learned."""
_LEAST = 0.5
"""Share of the most deviating one's distance that all have."""
_RADIUS = 0.7
"""Share of a known-bad patch's distance from the memory bank, within which a patch is like it."""
_SURE = 1.25
"""Thresholds that the very frame scores."""
_LIKE = 2.0
"""Thresholds that the frame would score by its direction alone."""
_SHRINKAGE = 0.1
"""Of the normal patches' covariance towards a multiple of the identity."""


@dataclass(frozen=True)
class GoodPatches:
    """What has to be in the memory banks for a part to pass: ``fine`` K×S and ``coarse`` M×S int8, signatures at both
    scales (0×S without a coarse one)."""

    fine: NDArray[np.int8]
    coarse: NDArray[np.int8]

    def __len__(self) -> int:
        """Patches at both scales."""
        return len(self.fine) + len(self.coarse)

    def tensors(self) -> dict[str, NDArray[np.int8]]:
        """Its arrays by name, 80 kB at the most."""
        return dict(vars(self))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> GoodPatches:
        """From arrays that may be damaged.

        Raises:
            ModelError: one is missing or one too many, or shapes or types do not fit.
        """
        _require_names(tensors, ("fine", "coarse"), "forgiven part")
        for (name, array), most in zip(sorted(tensors.items(), reverse=True), MOST_FORGIVEN, strict=True):
            if array.dtype != np.int8 or array.ndim != 2 or len(array) > most or not 1 <= array.shape[1] <= _SIGNATURE:
                raise ModelError(
                    f"the forgiven part is damaged: {name} is {array.shape} {array.dtype}; take this correction back"
                )
        return cls(np.asarray(tensors["fine"], np.int8), np.asarray(tensors["coarse"], np.int8))


@dataclass(frozen=True)
class BadPatches:
    """What is kept of a known defect: conditions on the fine scale's patches."""

    known: KnownBad

    def __len__(self) -> int:
        """Conditions."""
        return len(self.known)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Its arrays by name, 6 kB at the most."""
        return dict(vars(self.known))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> BadPatches:
        """From arrays that may be damaged.

        Raises:
            ModelError: one is missing or one too many, or shapes, types or values do not fit.
        """
        names = tuple(KnownBad.__dataclass_fields__)
        _require_names(tensors, names, "remembered defect")
        towards = tensors["towards"]
        count, length = towards.shape if towards.ndim == 2 else (0, 0)
        if not (1 <= count <= _BALLS + 1 and 1 <= length <= _SIGNATURE):
            raise ModelError(f"the remembered defect is damaged: towards is {towards.shape}; take this correction back")
        try:
            for name in names:
                check_tensor(name, tensors[name], (count, length) if name == "towards" else (count,))
        except ValueError as error:
            raise ModelError(f"the remembered defect is damaged: {error}; take this correction back") from error
        return cls(KnownBad(*(np.asarray(tensors[name], np.float32) for name in names)))


def _require_names(tensors: Mapping[str, NDArray[np.generic]], names: Sequence[str], what: str) -> None:
    if set(tensors) != set(names):
        raise ModelError(f"the {what} is damaged: its arrays are not {', '.join(names)}; take this correction back")


def seen_again(small: BGRImage) -> Iterator[BGRImage]:
    """A part at the model's input size (H×W×3 uint8 BGR) as it was, and as a camera may see it the next time: moved a
    little, a little brighter or darker, with noise. The same each time."""
    yield small
    random = np.random.default_rng(0)
    height, width = small.shape[:2]
    for right, down, gain in _COPIES:
        move = np.array([[1, 0, right], [0, 1, down]], np.float64)
        moved = cv2.warpAffine(small, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        noise = random.standard_normal(small.shape, np.float32) * np.float32(_NOISE)
        yield np.asarray(np.clip(np.rint(moved * np.float32(gain) + noise), 0, 255), np.uint8)


def cells(place: Polygon, region: Region, grid: Grid) -> Mask:
    """Which patches of a grid (rows, columns) over the inspected region a place touches.

    Raises:
        ModelError: it is no polygon, or touches none.
    """
    corners = np.asarray(place, np.float64)
    if corners.ndim != 2 or corners.shape[1:] != (2,) or not 3 <= len(corners) <= MOST_CORNERS:
        raise ModelError(f"a place is a polygon of 3 to {MOST_CORNERS} corners: mark it again")
    if not ((corners >= 0) & (corners <= 1)).all():
        raise ModelError("a place lies within the frame, x and y from 0 to 1: mark it again")
    left, top, right, bottom = region.fractions
    rows, columns = grid
    fine = 8  # of a patch's side: small places, and the ends of thin ones, touch something as well
    ends = np.array([columns * fine, rows * fine])
    inside = (corners - (left, top)) / (right - left, bottom - top) * ends
    inside = np.where(inside == ends, ends - 1, inside)  # what lies on the region's edge is in its last patch
    points = np.asarray(np.clip(np.floor(inside), -(2**14), 2**14), np.int32)
    drawn = np.zeros((rows * fine, columns * fine), np.uint8)
    cv2.fillPoly(drawn, [points], 1)
    touched = drawn.reshape(rows, fine, columns, fine).any((1, 3))
    if not touched.any():
        raise ModelError("the marked place lies outside of what is inspected: mark a place inside")
    return np.asarray(touched, np.bool_)


def to_forgive(
    looks: Sequence[Seen],
    head: MemoryBanks,
    grids: Sequence[Grid],
    places: Sequence[Mask] | None,
    goal: float,
    limit: float,
    inspected: Mask | None = None,
) -> GoodPatches:
    """What has to be learned for a part to score no more than ``goal``, in as few patches as that takes.

    Args:
        looks: at the part, as it is and as it may be seen again, by the model as it was taught.
        head: what was taught, and with it what is known to be bad: what is only like a known defect yields.
        grids: of patches, at each scale.
        places: which patches at each scale were marked; None for all.
        limit: what the part itself must not score more than.
        inspected: where nothing was marked, which patches of the fine scale make that score; None for all.

    Raises:
        ModelError: it would take too many.
    """
    with threadpool_limits(1, "blas"):
        return _Forgiving(looks, head, grids, places, inspected).until(goal, limit)


class _Forgiving:
    """Patch after patch, always the one that weighs most where the highest score is."""

    def __init__(
        self,
        looks: Sequence[Seen],
        head: MemoryBanks,
        grids: Sequence[Grid],
        places: Sequence[Mask] | None,
        inspected: Mask | None,
    ) -> None:
        self._grids, self._steps = grids, [float(scale.step[0]) for _, scale in head.scales]
        self._drawn = [look.maps.drawn for look in looks]
        self._distances = [
            np.stack([of for look in looks if (of := look.maps[number]) is not None]) for number in range(len(grids))
        ]
        whole = [np.stack([look.signatures[number] for look in looks]) for number in range(len(grids))]
        self._signatures = [one.astype(np.float32) for one in whole]
        self._squares = [np.einsum("kns,kns->kn", one, one) for one in self._signatures]
        self._judged = inspected if places is None else places[0]
        self._allowed = [
            np.ones(grid, np.bool_) if places is None else _widened(places[number], _BESIDE[number])
            for number, grid in enumerate(grids)
        ]
        self._chosen = [one[0, :0] for one in self._signatures]
        self._like = [_likeness(head, one) for one in whole[0]]

    def until(self, goal: float, limit: float) -> GoodPatches:
        while self._learn(self._weightiest(0, goal), MOST_OF_FRAME):
            pass
        if self._judged_map(0).max() > limit:
            raise ModelError(
                "too much of this part is unlike the good ones that were taught: mark the place that is good, or teach "
                "again with this part"
            )
        room = [len(chosen) + more for chosen, more in zip(self._chosen, MOST_OF_COPIES, strict=False)]
        learned = True
        while learned:
            learned = False
            for look in range(1, len(self._drawn)):
                learned |= self._learn(self._weightiest(look, goal), room)
        found = [np.asarray(one, np.int8) for one in self._chosen]
        return GoodPatches(found[0], found[1] if len(found) > 1 else found[0][:0])

    def _judged_map(self, look: int) -> NDArray[np.float32]:
        """A look's anomaly map, 0 where nothing was marked or inspected."""
        coarse = self._distances[1][look] if len(self._grids) > 1 else None
        found = to_detection(self._fine(look), coarse, self._drawn[look])
        return found.anomaly_map if self._judged is None else found.only(self._judged).anomaly_map

    def _fine(self, look: int) -> NDArray[np.float32]:
        """Distances at the fine scale, what is like a known defect included."""
        own = self._distances[0][look]
        return np.asarray(np.maximum(own, self._like[look].max(1, initial=0).reshape(own.shape)), np.float32)

    def _weightiest(self, look: int, goal: float) -> list[tuple[int, int, int]]:
        """The patches (scale, look, number) that weigh most at each of the highest places above the goal, a few apart
        from each other."""
        found, chosen = self._judged_map(look), list[tuple[int, int, int]]()
        found = found.copy()
        while len(chosen) < _AT_ONCE and found.max() > goal:
            row, column = np.unravel_index(int(found.argmax()), found.shape)
            found[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = 0
            weights = [self._weights(number, look, int(row), int(column)) for number in range(len(self._grids))]
            number = int(np.argmax([one.max() for one in weights]))
            if weights[number].max() > 1e-3 * self._steps[number]:
                chosen.append((number, look, int(weights[number].argmax())))
        return chosen

    def _weights(self, number: int, look: int, row: int, column: int) -> NDArray[np.float64]:
        """What each patch of a scale adds to a place of the fine grid; 0 for those that were not marked."""
        grid = self._grids[number]
        at = ((one + 0.5) * of / fine - 0.5 for one, of, fine in zip((row, column), grid, self._grids[0], strict=True))
        near = [np.exp(-((np.arange(of) - one) ** 2) / 2) for of, one in zip(grid, at, strict=True)]
        distances = self._distances[1][look] if number else self._fine(look)
        return np.asarray(np.where(self._allowed[number], distances * np.outer(*near), 0))

    def _learn(self, patches: Sequence[tuple[int, int, int]], most: Sequence[int]) -> bool:
        """Take these patches, as many as there is room for; False where none was taken."""
        learned = False
        for number in range(len(self._grids)):
            places = {(look, patch) for scale, look, patch in patches if scale == number}
            some = [self._signatures[number][place] for place in sorted(places)]
            some = some[: max(0, most[number] - len(self._chosen[number]))]
            if some:
                learned = True
                if number == 0:
                    said = np.max([self._like[look][patch] for look, patch in sorted(places)[: len(some)]], 0)
                    self._like = [one - np.maximum(said, 0) for one in self._like]
                self._chosen[number] = np.concatenate([self._chosen[number], some])
                self._approach(number, np.stack(some))
        return learned

    def _approach(self, number: int, learned: NDArray[np.float32]) -> None:
        own = self._signatures[number]
        squared = self._squares[number] + (np.einsum("ps,ps->p", learned, learned) - 2 * (own @ learned.T)).min(2)
        to_it = np.sqrt(np.maximum(squared, 0)).reshape(self._distances[number].shape) * self._steps[number]
        self._distances[number] = np.minimum(self._distances[number], to_it).astype(np.float32)


def _likeness(head: MemoryBanks, signatures: NDArray[np.int8]) -> NDArray[np.float32]:
    """N×J: what each of the directions of known defects says of fine patches."""
    if not head.corrections:
        return np.zeros((len(signatures), 0), np.float32)
    known = head.corrections[0].bad
    directions = known.square == 0
    said = signatures.astype(np.float32) @ known.towards[directions].T + known.offset[directions]
    return np.asarray(said, np.float32)


def _yielding(known: KnownBad, good: NDArray[np.int8]) -> KnownBad:
    """What is known to be bad where these patches are good: directions say nothing of any of them."""
    if not len(good) or not len(known):
        return known
    said = (good.astype(np.float32) @ known.towards.T + known.offset).max(0)
    return replace(known, offset=np.where(known.square == 0, known.offset - np.maximum(said, 0), known.offset))


def most_deviating(look: Seen, grid: Grid, inspected: Mask | None = None) -> Mask:
    """Where a part deviates most, what drawn defects say there included: a patch of the fine scale and those round it.

    Args:
        grid: of the fine scale's patches.
        inspected: which of them count; None for all.
    """
    found = to_detection(*look.maps)  # most of it all in one place, not the most that is added
    there = found.anomaly_map if found.layers is None else found.layers.summed()
    if inspected is None:
        inspected = np.ones(grid, np.bool_)
    peak = np.zeros(grid, np.bool_)
    peak[np.unravel_index(int(np.where(inspected, there, 0).argmax()), grid)] = True
    return _widened(peak, 2) & inspected


def to_remember(look: Seen, head: MemoryBanks, grid: Grid, place: Mask, threshold: float) -> BadPatches:
    """What is kept of a defect, so that its frame scores 1.25 times the threshold, and what is like it may be found.

    Balls round its patches make sure of the frame itself; a direction finds others of its kind: Fisher's linear
    discriminant between these patches and all that is normal, the memory bank and the rest of the frame. It is heard
    from where it says more than of any of those.

    Args:
        look: at the part, by the model as it was taught.
        head: what was taught.
        grid: of the fine scale's patches.
        place: which of them were marked, or :func:`most_deviating`.
        threshold: raw.

    Raises:
        ModelError: nothing there deviates from what is normal.
    """
    with threadpool_limits(1, "blas"):
        return _remembered(look, head, grid, place, threshold)


def _remembered(look: Seen, head: MemoryBanks, grid: Grid, place: Mask, threshold: float) -> BadPatches:
    distances, signatures, step = look.maps.distances, look.signatures[0], float(head.fine.step[0])
    deviating = np.where(place, distances, 0)
    if deviating.max() < step:
        raise ModelError("nothing there differs from the good parts that were taught: mark the defect itself")
    at = np.unravel_index(int(np.where(place, smoothed(deviating), 0).argmax()), grid)
    near = np.outer(*(np.exp(-((np.arange(of) - one) ** 2) / 4) for of, one in zip(grid, at, strict=True)))
    kept = _most(deviating * near, _BALLS)
    unit = threshold / float(smoothed(_marked(kept, grid)).max())
    radii = _RADIUS * distances.ravel() / step
    known = _direction(signatures[_most(deviating, _LEARNED_FROM)], _normal(look, head, place), _LIKE * unit)
    for one in kept:
        known += ball(signatures[one], float(radii[one]), _SURE * unit)
    return BadPatches(known)


def _most(weights: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The patches that have the most, so many of them, none with less than a share of the most."""
    flat = weights.ravel()
    order = np.argsort(-flat, kind="stable")[:count]
    return np.asarray(order[flat[order] >= _LEAST * flat[order[0]]], np.intp)


def _marked(chosen: NDArray[np.intp], grid: Grid) -> Array:
    marked = np.zeros(grid, np.float32)
    marked.ravel()[chosen] = 1
    return marked


def _normal(look: Seen, head: MemoryBanks, place: Mask) -> NDArray[np.float32]:
    """All that is normal, as far as is known: signatures of the memory bank and of the rest of the frame."""
    apart = look.signatures[0][~_widened(place, 2).ravel()]
    return np.concatenate([head.fine.signatures(), apart]).astype(np.float32)


def _direction(bad: NDArray[np.int8], normal: NDArray[np.float32], level: float) -> KnownBad:
    """A condition that says nothing of the normal signatures, and ``level`` of the median bad one; none where these
    cannot be told apart."""
    mean = normal.mean(0)
    covariance = np.cov(normal, rowvar=False).reshape(2 * (normal.shape[1],)).astype(np.float64)
    covariance += np.eye(len(covariance)) * max(_SHRINKAGE * float(np.trace(covariance)) / len(covariance), 1e-6)
    towards = np.linalg.solve(covariance, bad.mean(0) - mean)
    most, typical = float((normal @ towards).max()), float(np.median(bad @ towards))
    none = no_corrections(normal.shape[1]).bad
    if typical - most < 0.01 * abs(typical):
        return none
    steep = level / (typical - most)
    numbers = (steep * towards[None], np.zeros(1), np.array([-steep * most]))
    return KnownBad(*(np.asarray(one, np.float32) for one in numbers))


def _widened(mask: Mask, by: int) -> Mask:
    kernel = np.ones((2 * by + 1, 2 * by + 1), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0, np.bool_)


def put_together(
    head: MemoryBanks, good: Sequence[GoodPatches], bad: Sequence[BadPatches], typical: float
) -> tuple[Corrections, ...]:
    """All corrections of a model, for each scale; none where there are none. A patch next to one that was forgiven
    before is left out: the bank grows by what is new.

    Args:
        typical: score of a typical good part.

    Raises:
        ModelError: they are not of this model, or too many.
    """
    scales = [scale for _, scale in head.scales]
    found = [no_corrections(scale.memory_bank.shape[1]) for scale in scales]
    lengths = [one.good.shape[1] for one in found]
    for part in good:
        of_scales = [part.fine, part.coarse]
        if len(scales) == 1 and len(part.coarse):
            raise ModelError("a forgiven part is of another model: this one has no coarse scale")
        if any(one.shape[1] != length for one, length in zip(of_scales, lengths, strict=False)):
            raise ModelError("a forgiven part is of another model: its patches have another length")
    if any(one.known.towards.shape[1] != lengths[0] for one in bad):
        raise ModelError("a remembered defect is of another model: its patches have another length")
    joined = []
    for number, (none, scale) in enumerate(zip(found, scales, strict=True)):
        patches = [part.coarse if number else part.fine for part in good]
        kept = _thinned(none.good, patches, _NEAR * typical / float(scale.step[0]))
        if len(kept) > MOST_GOOD[number]:
            raise ModelError(
                "there are too many forgiven parts to remember one by one: teach again with these parts among the good "
                "ones"
            )
        joined.append(Corrections(kept, none.bad))
    known = found[0].bad
    for one in bad:
        known = known + one.known
    if len(known) > MOST_BAD:
        raise ModelError(f"there are more than {MOST_BAD // (_BALLS + 1)} remembered defects: take back some of them")
    known = _yielding(known, np.concatenate([found[0].good, *(part.fine for part in good)]))
    joined[0] = Corrections(joined[0].good, known)
    return tuple(joined) if any(len(one) for one in joined) else ()


def _thinned(none: NDArray[np.int8], parts: Sequence[NDArray[np.int8]], near: float) -> NDArray[np.int8]:
    kept = none
    for part in parts:
        if len(kept) and len(part):
            one, other = part.astype(np.float32), kept.astype(np.float32)
            squared = (one**2).sum(1)[:, None] - 2 * one @ other.T + (other**2).sum(1)
            part = part[squared.min(1) > near**2]
        kept = np.concatenate([kept, part])
    return kept


def hash_of(taught: str, corrections: Sequence[Corrections]) -> str:
    """What names a model with its corrections, by what names it as it was taught."""
    if not corrections:
        return taught
    digest = hashlib.sha256(taught.encode())
    for one in corrections:
        for array in (one.good, *vars(one.bad).values()):
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
