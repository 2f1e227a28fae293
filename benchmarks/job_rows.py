"""The rows of a whole job's table: what corrections did to the scores of the tested pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.job_pictures import JobPictures, Scores


def raw_scores(results: Sequence[dict[str, Any]]) -> Scores:
    """Of result messages."""
    return np.array([result["raw_score"] for result in results], np.float64)


def escape_of(scores: Scores, goods: int) -> tuple[int, float]:
    """Place of the defect with the lowest score among the tested ones, and a threshold above the lowest defects."""
    bad = scores[goods:]
    return goods + int(bad.argmin()), float(np.sort(bad)[max(2, len(bad) // 4)])


def forgiven_row(
    pictures: JobPictures, before: Scores, after: Scores, place: int, threshold: float, told: str
) -> list[str]:
    """``told`` has a ``{}`` where the move of its score goes."""
    others = np.arange(len(before)) != place
    change = pictures.auroc(after, others) - pictures.auroc(before, others)
    moved = f"{before[place]:.2f} → {after[place]:.2f}, threshold {threshold:.2f}"
    return ["one false reject forgiven", told.format(moved), f"{pictures.auroc(after):.4f} (the others {change:+.4f})"]


def remembered_row(
    pictures: JobPictures, before: Scores, after: Scores, place: int, threshold: float, told: str
) -> list[str]:
    """``told`` has a ``{}`` where it goes what is found then."""
    others = pictures.of_the_kind(place) & (before <= threshold)
    goods = len(pictures.goods)
    rejected = [int((scores[:goods] > threshold).sum()) for scores in (before, after)]
    found = (
        f"of {int(others.sum())} other escapes of {pictures.tested[place].parent.name}, "
        f"{int((others & (after > threshold)).sum())} are found; "
        f"{before[place]:.2f} → {after[place]:.2f}, threshold {threshold:.2f}; "
        f"good parts rejected {rejected[0]} → {rejected[1]}"
    )
    return ["one escape remembered", told.format(found), f"{pictures.auroc(after):.4f}"]


def undone_row(pictures: JobPictures, first: Scores, undone: Scores) -> list[str]:
    same = "yes" if np.array_equal(first, undone) else "NO"
    return ["both undone", f"scores bit for bit as before: {same}", f"{pictures.auroc(undone):.4f}"]
