"""What a threshold promises of good parts, from the scores of teaching, against what labelled pictures show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector import Detector, TaughtModel, thresholds


@dataclass(frozen=True)
class Promised:
    """Shares of good parts rejected, 0..1: promised by a threshold, and seen on pictures that were not learned."""

    expected: float
    at_most: float
    confidence: float
    parts: int
    """Good parts whose held-out scores it comes from."""
    sentence: str
    seen: float | None
    """Share of the good pictures that were rejected; ``None`` without any."""
    kept: bool | None
    """``False``: more were rejected than chance explains. ``None``: more than promised, but too few pictures to say
    so, or no good ones at all."""


def promised(model: Detector, threshold: float, good: int, false_rejects: int) -> Promised | None:
    """What this threshold promises of the model, and whether it was kept.

    Args:
        model: taught here: others do not tell the scores of good parts that they had not learned.
        threshold: raw, the model's own or another.
        good: labelled good pictures.
        false_rejects: how many of them are above the threshold.

    Returns:
        nothing where too few independent parts were held out for a promise, or the model was not taught here.
    """
    if not isinstance(model, TaughtModel):
        return None
    scores = model.manifest.held_out_scores
    made = thresholds.promise(np.asarray(scores, np.float64), threshold, thresholds.independent_parts(scores))
    if made is None:
        return None
    return Promised(
        made.expected,
        made.at_most,
        made.confidence,
        made.parts,
        made.sentence,
        false_rejects / good if good else None,
        thresholds.kept(made, good - false_rejects, false_rejects),
    )
