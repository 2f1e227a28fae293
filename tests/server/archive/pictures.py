"""Pictures to archive."""

from __future__ import annotations

import numpy as np

from server.archive import Pictured
from server.archive.pictured import Kind, pictured
from server.inspection import Inspected, KeptPicture, Threshold
from server.recipes import ModelVersion, Recipe
from server.words import PartVerdict
from tests.server.fakes import part, picture

RECIPE = Recipe("bottle-1", "bottle", 3, ModelVersion("t" * 64))


def inspected(score: float = 12.5, *, kept: bool = True, size: int = 0) -> Inspected:
    """What was found in a frame; ``size``: bytes of its input, which is a real picture otherwise."""
    input = b"\x89PNG\r\n\x1a\n".ljust(size, b"\0") if size else part(90)
    return Inspected(
        raw_score=score,
        threshold=Threshold(10.0, "calibration", 4.0),
        heatmap=np.arange(48, dtype=np.uint8).reshape(6, 8),
        size=(64, 48),
        model=("a" * 64, "openvino"),
        kept=KeptPicture(input, "t" * 64, (picture(), 64, 48), ((1.0, 0.0, 0.1), (0.0, 1.0, 0.0))) if kept else None,
        recipe=RECIPE,
    )


def one(
    id: str,
    *,
    kind: Kind = "part",
    size: int = 0,
    at: str = "2026-11-26T09:30:05.250+00:00",
    verdict: PartVerdict = "ANOMALY",
) -> Pictured:
    """A picture to archive."""
    found = inspected(size=size)
    assert found.kept is not None
    return pictured(
        kind, id, id, found, found.kept, stream="press", at=at, part="P-7", verdict=verdict, simulated=False
    )
