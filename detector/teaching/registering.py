"""Whether parts are laid on a reference before they are learned: measured, on normal pictures and drawn defects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from detector import near_copies, region
from detector.backbones import AnyBackbone
from detector.drawn_defects import draw
from detector.errors import ModelError
from detector.images import BGRImage
from detector.input_size import InputSize
from detector.registration import Choice, Laid, Motions, Reference, Unregistrable, lay, learn, small_picture
from detector.runtimes import Runtime
from detector.score import to_detection
from detector.teaching.kept import Kept
from detector.teaching.learner import Learner

COMPARED = 32
"""Pictures at the most that the two ways are compared with, spread over the sample."""
_FEWEST = 8
"""And at the least, with a defect drawn on each: of fewer, nothing is measured and nothing is registered."""
_CORESET = 768
_FOLDS = 2
_GAIN = 0.03
"""By which the share of pairs (a drawn defect above a normal picture) must grow, besides one standard error of it."""
_SMALLEST = 16
"""Pixels of a part's sides for something to be drawn on it."""


@dataclass(frozen=True)
class Way:
    """How frames are looked at.

    Attributes:
        region: what is inspected of them, once they are laid.
        reference: that they are laid on; None for as they lie.
        why: it was chosen, one clause; empty where nothing was to be chosen.
    """

    region: region.Region
    reference: Reference | None = None
    why: str = ""

    def to_input(self, frame: BGRImage, size: InputSize) -> BGRImage:
        """What the network sees of a frame (H×W×3 uint8 BGR).

        Raises:
            ImageError: not such an array.
        """
        return self.region.to_input(lay(frame, self.reference).frame, size)


def chosen(
    sample: Iterable[BGRImage],
    inputs: region.Inputs,
    inspect: region.Choice,
    register: Choice,
    network: AnyBackbone,
    engine: Runtime,
    seed: int,
) -> Way:
    """The way to look at frames like these normal images (H×W×3 uint8 BGR), which are asked for a few times, one by
    one. Where parts hardly move, or cannot be laid on a reference, that is found on the way and costs next to nothing.

    Raises:
        ModelError: registration was asked for, and the parts cannot be laid on a reference.
        ImageError: one of them is not such an array.
    """
    if register == "off":
        return Way(region.inspected(sample, inputs, inspect))
    smalls = list[NDArray[np.uint8]]()
    plain = region.inspected(_noted(sample, smalls), inputs, inspect)
    try:
        motions = learn(smalls, still=register == "on")
    except Unregistrable as reason:
        if register == "on":
            raise ModelError(
                f"the parts cannot be laid on a reference, {reason}: teach them as they lie, with register off"
            ) from reason
        return Way(plain, why=f"not registered: {reason}")
    if motions is None:
        return Way(plain, why="not registered: the parts hardly move")
    laid = (lay(image, motions.reference).frame for image, sure in zip(sample, motions.sure, strict=True) if sure)
    registered = Way(region.inspected(laid, inputs, inspect), motions.reference)
    if register == "on":
        return Way(registered.region, motions.reference, f"registered, as asked for: the parts lie {motions}")
    return _better(_some(sample, len(smalls)), Way(plain), registered, motions, network, engine, seed)


def _noted(images: Iterable[BGRImage], smalls: list[NDArray[np.uint8]]) -> Iterator[BGRImage]:
    """The images, each noted as a small picture once the next one is asked for: by then it was found to be one."""
    for image in images:
        yield image
        smalls.append(small_picture(image))


def _some(sample: Iterable[BGRImage], count: int) -> Iterator[BGRImage]:
    """Evenly spread over the sample."""
    wanted = set(np.unique(np.linspace(0, count - 1, min(count, COMPARED)).astype(int)).tolist())
    return (image for number, image in enumerate(islice(sample, count)) if number in wanted)


@dataclass(frozen=True)
class _Seen:
    """Pictures as one way shows them to the network: as they are, and with defects drawn on their parts, None where no
    part is found."""

    normal: list[BGRImage]
    drawn: list[BGRImage | None]


def _better(
    pictures: Iterable[BGRImage],
    plain: Way,
    registered: Way,
    motions: Motions,
    network: AnyBackbone,
    engine: Runtime,
    seed: int,
) -> Way:
    """Whichever of two ways tells drawn defects from normal pictures better, by banks made without them. Registering
    has to be better by more than chance makes it."""
    ways = plain, registered
    sizes = [way.region.input_size(network.grid_stride) for way in ways]
    seen = _seen(pictures, ways, sizes, seed)
    if sum(drawn is not None for drawn in seen[0].drawn) < _FEWEST:
        return replace(plain, why=f"not registered: fewer than {_FEWEST} pictures to measure it with")
    if near_copies.show_one_part([near_copies.look_of(small) for small in seen[1].normal]):
        return replace(plain, why="not registered: the pictures show one part again and again")
    before, after = (_above(one, size, network, engine, seed) for one, size in zip(seen, sizes, strict=True))
    gain = float(after.mean() - before.mean())
    by_chance = _standard_error(after - before)
    found = f"{after.mean():.0%} of drawn defects stand out against normal pictures, {before.mean():.0%} as they lie"
    if not gain >= max(_GAIN, by_chance):  # what is no number is no reason
        return replace(plain, why=f"not registered, though the parts lie {motions}: {found}")
    return replace(registered, why=f"registered: the parts lie {motions}; {found}")


def _seen(pictures: Iterable[BGRImage], ways: Sequence[Way], sizes: Sequence[InputSize], seed: int) -> list[_Seen]:
    """What each way shows of the pictures; the same defects for all. Pictures are held one at a time."""
    random = np.random.default_rng([seed, 4])
    reference = next(way.reference for way in ways if way.reference)
    found = [_Seen([], []) for _ in ways]
    filling: BGRImage | None = None
    for picture in pictures:
        drawn, box = None, _part_of(lay(picture, reference), reference)
        if box is not None:
            part = picture[box].copy()
            other = part if filling is None else filling
            other = np.asarray(
                cv2.resize(other, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_AREA), np.uint8
            )
            drawn, filling = picture.copy(), part
            drawn[box] = draw(part, other, random).image
        for own, way, size in zip(found, ways, sizes, strict=True):
            own.normal.append(way.to_input(picture, size))
            own.drawn.append(None if drawn is None else way.to_input(drawn, size))
    return found


def _part_of(laid: Laid, reference: Reference) -> tuple[slice, slice] | None:
    """Rows and columns of the frame, as the camera saw it, that hold its part; None without one, or with a tiny one."""
    if laid.alignment is None or not laid.alignment.is_sure:
        return None
    height, width = laid.frame.shape[:2]
    left, top, right, bottom = reference.box
    x, y = np.array([left, right, left, right]) * width, np.array([top, top, bottom, bottom]) * height
    corners = laid.alignment.matrix @ np.stack([x, y, np.ones(4)])
    (least_x, least_y), (most_x, most_y) = corners.min(1).astype(int), corners.max(1).astype(int)
    rows, columns = (
        slice(max(0, int(least_y)), min(height, int(most_y))),
        slice(max(0, int(least_x)), min(width, int(most_x))),
    )
    if min(rows.stop - rows.start, columns.stop - columns.start) < _SMALLEST:
        return None
    return rows, columns


def _above(seen: _Seen, size: InputSize, network: AnyBackbone, engine: Runtime, seed: int) -> NDArray[np.float64]:
    """For each picture with a drawn defect, the share of normal pictures that score less than it."""
    look = engine.features(network, size, 1)
    kept = Kept(seed, len(seen.normal), [1])
    for small in seen.normal:
        kept.add(small, {1: look(small)}, 1.0)
    learner = Learner(kept, network, {1: look}, {1: _CORESET}, None, seed)
    normal, defective = list[float](), list[float]()
    for fold in range(_FOLDS):
        held_out = set(range(fold, len(seen.normal), _FOLDS))
        head = learner.learn(held_out, lambda _: None)
        inspecting = learner.inspecting(head, engine, size)
        for number in sorted(held_out):
            normal.append(to_detection(*inspecting(kept.frames[number], kept.looked_at(number))).score)
            if (drawn := seen.drawn[number]) is not None:
                defective.append(to_detection(*inspecting(drawn)).score)
    return np.array([(np.array(normal) < score).mean() for score in defective])


def _standard_error(differences: NDArray[np.float64]) -> float:
    return float(differences.std(ddof=1) / np.sqrt(len(differences)))
