"""How the parts in normal images lie, and whether that can be told at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from detector.registration.reference import Reference, reference_of
from detector.registration.seen import SIDE, Seen, Small, part_in
from detector.registration.template import Pose, Template, compose, template_of, turned

Choice = Literal["auto", "on", "off"]
CHOICES: tuple[Choice, ...] = ("auto", "on", "off")

_FOUND = 0.9
"""Share of the images in which a part must be found."""
_SAME_SIZE = 1.5
"""Ratio of the largest parts' areas to the smallest ones' up to which they are of one kind; a tenth is left out on
either side."""
_ALIKE = 0.6
"""Median correlation with the parts' mean picture from which they look alike."""
_TELLS = 0.8
"""Turns are taken out if that leaves this share, or less, of what shifts alone leave unexplained."""
_ROUND = 0.003
"""Of the correlation, that shifts alone leave unexplained of what is round, but for pixels and noise."""
_STILL_TURN = 5.0
"""Degrees, either way, of nine in ten parts up to which they hardly move."""
_STILL_SHIFT = 0.05
"""And of their shifts, in shares of the frame's longer side."""
_FREELY = 270.0
"""Degrees over which turns are spread that may be any turn."""
_MORE = 5.0, 0.25
"""Turned farther than those taught are parts by so many degrees, and by so much of the spread, and still as taught."""
_QUALITY = 0.3, 0.95
"""Limits of the quality that is asked for."""
_WORSE = 0.05
"""Correlation below the worst of those taught, besides the worst's own distance from the median, that is still sure."""
_ROUNDS = 2


@dataclass(frozen=True)
class Motions:
    """How parts lie that can be laid on a reference.

    Attributes:
        reference: to lay them on.
        turn: degrees, either way, that nine in ten are turned by at the most; 0 where turns are not taken out.
        shift: the same of shifts, in shares of the frame's longer side.
        sure: for each image, whether it can be laid.
    """

    reference: Reference
    turn: float
    shift: float
    sure: tuple[bool, ...]

    def __str__(self) -> str:
        turns = f"turned up to {self.turn:.0f}° and " if self.turn else ""
        return f"{turns}shifted up to {100 * self.shift:.0f} %"


class Unregistrable(ValueError):
    """Why parts cannot be laid on a reference: one clause."""


def learn(smalls: Sequence[Small], *, still: bool = True) -> Motions | None:
    """How the parts in normal images lie, by their small pictures.

    Args:
        smalls: of :func:`small_picture`.
        still: whether parts that hardly move are worth a reference. If not, looking ends early for those.

    Returns:
        None where parts hardly move and that is not worth a reference.

    Raises:
        Unregistrable: they cannot be laid on a reference.
    """
    shapes = {small.shape for small in smalls}
    if len(shapes) != 1:
        raise Unregistrable("the pictures have different shapes" if shapes else "there are no pictures")
    seen = [part_in(small) for small in smalls]
    parts = [part for part in seen if part is not None]
    if len(parts) < max(2, _FOUND * len(smalls)):
        raise Unregistrable(
            f"{len(smalls) - len(parts)} of {len(smalls)} pictures show no whole part on a plain background"
        )
    areas = np.array([part.area for part in parts])
    smallest, largest = np.quantile(areas, (0.1, 0.9))
    if largest > _SAME_SIZE * smallest:
        raise Unregistrable("the parts are of different sizes")
    first = parts[int(np.abs(areas - np.median(areas)).argmin())]
    template = template_of(first.grey, first.mask)
    if not still:
        unturned = [template.refined(part, 0.0, turning=True) for part in parts]
        if _median(unturned) >= _ALIKE and _are_few(*_motions(unturned, _centre(unturned))):
            return None
    return _learned(parts, [part is not None for part in seen], template, still)


def _learned(parts: Sequence[Seen], found: Sequence[bool], template: Template, still: bool) -> Motions | None:
    for _ in range(_ROUNDS):
        template = _mean(parts, [template.pose(part, turning=True) for part in parts], template)
    poses = [template.pose(part, turning=True) for part in parts]
    shifted = [template.pose(part, turning=False) for part in parts]
    left_over = 1 - _median(shifted)
    turning = left_over > _ROUND and 1 - _median(poses) <= _TELLS * left_over
    if not turning:
        poses = shifted
    if _median(poses) < _ALIKE:
        raise Unregistrable("the parts do not look alike")
    centre = _centre(poses)
    turn, shift = _motions(poses, centre)
    if not still and _are_few(turn, shift):
        return None
    low, high = _turns(poses, centre) if turning else (0.0, 0.0)
    # The reference lies as the parts do on average, so that they are moved as little as can be.
    middle = np.median([pose.middle for pose in poses], 0).tolist()
    upright = turned(centre if turning else 0.0, template.pivot, (middle[0], middle[1]))
    away = np.asarray(cv2.invertAffineTransform(upright), np.float64)
    template = _mean(parts, [replace(pose, matrix=compose(pose.matrix, away)) for pose in poses], template)
    quality = _least_quality(poses)
    if turning:
        low, high = low - centre, high - centre
    reference = reference_of(template, parts[0].mask.shape, (low, high), quality)
    enough = iter(pose.quality >= quality for pose in poses)
    return Motions(reference, turn if turning else 0.0, shift, tuple(there and next(enough) for there in found))


def _mean(parts: Sequence[Seen], poses: Sequence[Pose], template: Template) -> Template:
    """Of the half of the parts that fit best."""
    middling, (height, width) = _median(poses), parts[0].mask.shape
    flags, edge = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
    grey, mask = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    fitting = [(part, pose) for part, pose in zip(parts, poses, strict=True) if pose.quality >= middling]
    for part, pose in fitting:
        grey += cv2.warpAffine(part.grey, pose.matrix, (width, height), flags=flags, borderMode=edge)
        mask += cv2.warpAffine(part.mask.astype(np.float32), pose.matrix, (width, height), flags=flags)
    common = (mask > len(fitting) / 2).astype(np.uint8)
    return template_of(np.asarray(grey / len(fitting), np.float32), common) if common.any() else template


def _centre(poses: Sequence[Pose]) -> float:
    """Degrees: the middle of the shortest arc that holds nine in ten turns."""
    low, high = _arc([pose.turn for pose in poses], 0.9)
    return (low + high) / 2


def _turns(poses: Sequence[Pose], centre: float) -> tuple[float, float]:
    """Degrees, from and to, of what is turned as taught."""
    off = [_off(pose.turn, centre) for pose in poses]
    low, high = min(off), max(off)
    if high - low >= _FREELY:
        return centre - 180, centre + 180
    more = _MORE[0] + _MORE[1] * (high - low)
    return centre + max(low - more, -180), centre + min(high + more, 180)


def _arc(turns: Sequence[float], share: float) -> tuple[float, float]:
    """The shortest arc, from and to, that holds this share of turns, degrees."""
    ordered = np.sort(np.asarray(turns) % 360)
    last = max(1, math.ceil(share * len(ordered))) - 1
    ends = np.concatenate([ordered, ordered + 360])[last : last + len(ordered)]
    place = int((ends - ordered).argmin())
    return float(ordered[place]), float(ends[place])


def _off(turn: float, centre: float) -> float:
    return (turn - centre + 180) % 360 - 180


def _motions(poses: Sequence[Pose], centre: float) -> tuple[float, float]:
    """Degrees, and shares of the frame's longer side, that nine in ten are moved by at the most."""
    middles = np.array([pose.middle for pose in poses])
    shifts = np.hypot(*(middles - np.median(middles, 0)).T) / SIDE
    turns = [abs(_off(pose.turn, centre)) for pose in poses]
    return float(np.quantile(turns, 0.9)), float(np.quantile(shifts, 0.9))


def _are_few(turn: float, shift: float) -> bool:
    return turn <= _STILL_TURN and shift <= _STILL_SHIFT


def _least_quality(poses: Sequence[Pose]) -> float:
    worst = float(np.quantile([pose.quality for pose in poses], 0.05))
    return float(np.clip(2 * worst - _median(poses) - _WORSE, *_QUALITY))


def _median(poses: Sequence[Pose]) -> float:
    """Quality."""
    return float(np.median([pose.quality for pose in poses]))
