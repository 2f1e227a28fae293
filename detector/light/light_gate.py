"""A model with two heads: one for the light that was taught, one that is blind to light for every other.

Being blind to light costs a little in the light that was taught, so the blind head is asked only where the light is
new. The frame itself says which one, before the backbone runs: one pass either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector import heads
from detector.heads import Array, Head, MemoryBanks
from detector.light.known_light import NUMBERS, KnownLight

IN_NEW_LIGHT = ", blind to light where it is new"
"""How a manifest's projection ends where a model has both heads."""
_PREFIX = "new_light."
"""Of the tensors that a model has besides those of its ordinary head."""
_OF_LIGHT = ("lights", "spread", "limit", "ratio")
"""Which of them are no head's."""
_LARGEST_RATIO = 1e3
"""Of distances of the two heads, which are both standardised: about 1."""


@dataclass(frozen=True)
class LightGated:
    """``ordinary``: for known light. ``blind``: for new light. ``ratio``: 1, float32, of :func:`blind_ratio`, by which
    the blind head's distances are multiplied, so that the ordinary head's threshold serves both."""

    ordinary: Head
    blind: Head
    known: KnownLight
    ratio: Array


AnyHead = Head | LightGated


def blind_ratio(ordinary_scores: Sequence[float], blind_scores: Sequence[float]) -> float:
    """What makes scores of the same held-out normal images the same on average, whichever head gives them.

    Not the ratio of the two thresholds: a standard deviation of few scores says little, three of them less.
    """
    return float(np.mean(ordinary_scores) / np.mean(blind_scores))


def ordinary(head: AnyHead) -> Head:
    """What was learned for the light that was taught."""
    return head.ordinary if isinstance(head, LightGated) else head


def tensors_of(head: AnyHead) -> dict[str, Array]:
    """Its arrays by name; those of a single head as :func:`detector.heads.tensors_of` names them."""
    if not isinstance(head, LightGated):
        return heads.tensors_of(head)
    more = heads.tensors_of(head.blind) | vars(head.known) | {"ratio": head.ratio}
    return heads.tensors_of(head.ordinary) | {_PREFIX + name: array for name, array in more.items()}


def head_from(
    method: str, projection: str, tensors: Mapping[str, NDArray[Any]], channels: int, places: int, shrink: int
) -> AnyHead:
    """What a manifest describes, from arrays that may be damaged.

    Raises:
        ValueError: no such method, a tensor is missing or one too many, or shapes, types or values do not fit.
    """
    if not projection.endswith(IN_NEW_LIGHT):
        return heads.head_from(method, tensors, channels, places, shrink)
    of_light = {_PREFIX + name for name in _OF_LIGHT}
    own = {name: array for name, array in tensors.items() if not name.startswith(_PREFIX)}
    more = {name.removeprefix(_PREFIX): tensors[name] for name in set(tensors).difference(own, of_light)}
    head = heads.head_from(method, own, channels, places, shrink)
    try:
        blind = heads.head_from(method, more, channels, places, shrink)
    except ValueError as error:
        raise ValueError(f"in what is for new light, {error}") from error
    if isinstance(blind, MemoryBanks) and blind.drawn is not None:
        raise ValueError("what drawn defects taught goes with the light that was taught, and it has some for new light")
    return LightGated(head, blind, *_light_from(tensors))


def _light_from(tensors: Mapping[str, NDArray[Any]]) -> tuple[KnownLight, Array]:
    """The light that is known, and the ratio of the two heads."""
    found = heads.named(tensors, _OF_LIGHT, _PREFIX)
    most = heads.padim.MAX_IMAGES  # with PatchCore fewer are kept
    count = heads.extent(f"{_PREFIX}lights", found["lights"], 0, most)
    shapes = {"lights": (count, NUMBERS), "spread": (NUMBERS,)}
    for name, array in found.items():
        heads.check_tensor(_PREFIX + name, array, shapes.get(name, (1,)))
    if not all((found[name] > 0).all() for name in ("spread", "limit", "ratio")):
        raise ValueError("its lights make no sense: spread, limit and ratio must be above 0")
    ratio = found.pop("ratio")
    if not 1 / _LARGEST_RATIO <= ratio[0] <= _LARGEST_RATIO:
        raise ValueError(f"its lights make no sense: one head's distances are {ratio[0]:g} times the other's")
    return KnownLight(**found), ratio
