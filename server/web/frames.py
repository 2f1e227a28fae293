"""Kept frames over HTTP: what alarmed, what was inspected a moment ago, and what was found where."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector.images import decode, encode_png
from detector.score import overlay
from server.access import standing_of
from server.inspection import Inspection
from server.streams import KeptFrame, Streams
from server.web.answers import Refused, answer
from server.web.recipe_bodies import KeptFrameBody, KeptFramesBody
from server.words import BYTES, Content, Operation, Parameter, Reply, Role, documented

NOT_KEPT = "this frame is not kept any more: newer ones took its place, or the server was restarted"
KINDS: dict[str, Literal["alarm", "recent"]] = {"alarm": "alarm", "recent": "recent"}
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
"""What an id names never changes."""
MAX_DRAWING = 2
"""Heat maps that are drawn at once; more wait."""


@dataclass(frozen=True)
class Frames:
    streams: Streams
    inspection: Inspection
    drawing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_DRAWING))

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/streams/{name}/frames", self.list_frames),
            Route("/api/frames/{frame}/picture", self.picture),
            Route("/api/frames/{frame}/heatmap", self.heatmap),
        ]

    @documented(
        Operation(
            "Frames of a stream that are kept: its alarms, or its latest",
            {200: Reply("newest first; none of a stream that nobody knows", Content(KeptFramesBody)), 422: "no kind"},
            parameters=(
                Parameter(
                    "kind",
                    "query",
                    "alarm: of each run of ANOMALY verdicts, or what one part has of it, the frame with the highest "
                    "score, up to 300; recent: the last 8, two a second at the most",
                    {"type": "string", "enum": ["alarm", "recent"], "default": "alarm"},
                ),
            ),
            role=Role.VIEWER,
            streams="path",
        )
    )
    async def list_frames(self, request: Request) -> Response:
        name, asked = request.path_params["name"], request.query_params.get("kind", "alarm")
        kind = KINDS.get(asked)
        if kind is None:
            raise Refused(422, f"kind is {asked[:40]!r}: it must be alarm or recent")
        kept = self.streams.kept
        frames = [kept_frame_body(frame, self.inspection) for frame in kept.list(name, kind)]
        return answer(KeptFramesBody(frames, kept.forgotten(name)), headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "Picture of a kept frame",
            {200: Reply("up to 640 pixels", Content(BYTES, "image/jpeg")), 404: "not kept any more"},
            role=Role.VIEWER,
            streams="itself",
        )
    )
    async def picture(self, request: Request) -> Response:
        return Response(self._frame(request).kept.picture[0], headers=FOR_EVER, media_type="image/jpeg")

    @documented(
        Operation(
            "Heat map of a kept frame, over its picture",
            {200: Reply("of the same size", Content(BYTES, "image/png")), 404: "not kept any more"},
            role=Role.VIEWER,
            streams="itself",
        )
    )
    async def heatmap(self, request: Request) -> Response:
        frame = self._frame(request)
        async with self.drawing:
            return Response(await run_in_threadpool(partial(drawn, frame)), headers=FOR_EVER, media_type="image/png")

    def _frame(self, request: Request) -> KeptFrame:
        frame = self.streams.kept.get(request.path_params["frame"])
        if frame is None or not standing_of(request.scope).identity.may_use(frame.stream):
            raise Refused(404, NOT_KEPT)
        return frame


def kept_frame_body(
    frame: KeptFrame, inspection: Inspection, *, addresses: tuple[str, str] | None = None
) -> KeptFrameBody:
    """A kept frame, field by field.

    Args:
        addresses: of its picture, and of that with its heat map, where it is another than the one in memory.
    """
    picture, heatmap = addresses or (f"api/frames/{frame.id}/picture", f"api/frames/{frame.id}/heatmap")
    frame = as_it_counts(frame, inspection)
    found = frame.inspected
    return KeptFrameBody(
        id=frame.id,
        kind=frame.kind,
        stream=frame.stream,
        at=frame.at,
        part=frame.part,
        score=round(found.score, 4),
        raw_score=found.raw_score,
        threshold=found.threshold.value,
        verdict=frame.verdict,
        recipe=found.recipe.id,
        recipe_version=found.recipe.version,
        picture=picture,
        heatmap=heatmap,
        disposition=frame.disposition,
        correction=frame.correction,
        can_correct=frame.kept.input is not None and _is_taught_the_same(frame, inspection),
    )


def as_it_counts(frame: KeptFrame, inspection: Inspection) -> KeptFrame:
    """A kept frame with what was said of it, as long as that counts: not once its correction was undone, under Recipes
    too, or by going back to an older version. What was said to an older model stays said."""
    recipe = inspection.recipe(frame.inspected.recipe.id)
    if frame.correction is None or recipe is None or recipe.model.taught != frame.kept.taught:
        return frame
    return frame if frame.correction in recipe.model.corrections else replace(frame, disposition=None, correction=None)


def _is_taught_the_same(frame: KeptFrame, inspection: Inspection) -> bool:
    """Whether the recipe it was inspected with still has the model as it was taught then, whatever it was told since:
    for another one what is kept of the frame means nothing."""
    recipe = inspection.recipe(frame.inspected.recipe.id)
    return recipe is not None and recipe.model.taught == frame.kept.taught


def drawn(frame: KeptFrame) -> bytes:
    """PNG of a kept frame's picture with its heat map over it. For a thread."""
    return encode_png(overlay(decode(frame.kept.picture[0]), frame.inspected.heatmap))
