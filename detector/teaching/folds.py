"""Which normal images are held out together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

HELD_OUT_ENOUGH = 30
"""Normal images scored for the default threshold, if there are as many."""


@dataclass(frozen=True)
class Fold:
    """Images scored against a bank ``without`` them and their near-copies, of which none is scored."""

    scored: set[int] = field(default_factory=set)
    without: set[int] = field(default_factory=set)


def folds_of(
    copies: Sequence[set[int]], kept: Sequence[int], n_images: int, holdout: float, random: np.random.Generator
) -> list[Fold]:
    """Which of the images kept are held out together: a fifth of all at a time, near-copies always together, until
    enough different ones are scored or all are. Of near-copies one is scored, or a threshold would be made of one part
    again and again; but two images in any case."""
    at_least = 2 if len(kept) == n_images else 0  # left for the bank
    size = min(max(2, round(holdout * n_images)), len(kept) - at_least)
    group_of = {number: group for group in copies for number in group}
    folds, held, different, done = [Fold()], 0, 0, set[int]()
    for index in random.permutation(len(kept)).tolist():
        group = group_of[kept[index]]
        if kept[index] in done:
            continue
        crowded = len(group) > 1 and folds[-1].without and len(folds[-1].without | group) > n_images // 2
        if held >= size or crowded:
            if different >= HELD_OUT_ENOUGH:
                break
            folds.append(Fold())
            held = 0
        folds[-1].scored.add(kept[index])
        folds[-1].without.update(group)
        held += len(group & set(kept))
        done |= group
        different += 1
    if different == 1:  # no spread: rather two of them
        folds[0].scored.update(sorted(done & set(kept))[:2])
    return folds
