"""A kept frame, as it is answered."""

from __future__ import annotations

from server.streams import KeptFrame
from server.web.recipe_bodies import KeptFrameBody


def kept_frame_body(frame: KeptFrame, can_correct: bool) -> KeptFrameBody:
    """What is told of a kept frame; its pictures have addresses of their own."""
    inspected = frame.inspected
    return KeptFrameBody(
        id=frame.id,
        kind=frame.kind,
        stream=frame.stream,
        at=frame.at,
        part=frame.part,
        score=round(inspected.score, 4),
        raw_score=inspected.raw_score,
        threshold=inspected.threshold.value,
        verdict=frame.verdict,
        recipe=inspected.recipe.id,
        recipe_version=inspected.recipe.version,
        picture=f"api/frames/{frame.id}/picture",
        heatmap=f"api/frames/{frame.id}/heatmap",
        disposition=frame.disposition,
        correction=frame.correction,
        can_correct=can_correct,
    )
