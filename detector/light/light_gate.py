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
from detector.heads import Array, Head
from detector.light.known_light import NUMBERS, KnownLight

IN_NEW_LIGHT = ", blind to light where it is new"
"""How a manifest's projection ends where a model has both heads."""
_PREFIX = "new_light."
"""Of the tensors that a model has besides those of its ordinary head."""


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
        KeyError: no such method, or a tensor is missing.
        ValueError: shapes or types do not fit.
    """
    head = heads.head_from(method, tensors, channels, places, shrink)
    if not projection.endswith(IN_NEW_LIGHT):
        return head
    more = {name.removeprefix(_PREFIX): array for name, array in tensors.items() if name.startswith(_PREFIX)}
    own = [name for name in heads.tensors_of(head) if not name.startswith("drawn.")]
    missing = [name for name in (*own, "lights", "spread", "limit", "ratio") if name not in more]
    if missing:
        raise KeyError(_PREFIX + missing[0])
    known = KnownLight(more["lights"], more["spread"], more["limit"])
    for name, shape in {"lights": (max(1, len(known.lights)), NUMBERS), "spread": (NUMBERS,)}.items():
        heads.check_tensor(_PREFIX + name, more[name], shape)
    for name in ("limit", "ratio"):
        heads.check_tensor(_PREFIX + name, more[name], (1,))
    if not all((more[name] > 0).all() for name in ("spread", "limit", "ratio")):
        raise ValueError("its lights make no sense: spread, limit and ratio must be above 0")
    return LightGated(head, heads.head_from(method, more, channels, places, shrink), known, more["ratio"])
