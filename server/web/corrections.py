"""Forgive and remember over HTTP: what a kept frame shows, and the corrections of a recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector import ModelError
from server.recipes import Kind
from server.streams import KeptFrame, Streams
from server.teaching import Correcting, Done, Library, NoRecipe
from server.web.answers import NO_STORE, Refused, answer
from server.web.calibration_query import who_asks
from server.web.frames import NOT_KEPT, as_it_counts, kept_frame_body
from server.web.json_body import read_json
from server.web.recipe_bodies import (
    CorrectedBody,
    CorrectionBody,
    CorrectionsBody,
    CostBody,
    Disposition,
    KeptFrameBody,
    RecipeBody,
    TakenBackBody,
)
from server.web.recipes import (
    BUSY,
    CHANGED,
    NEWEST,
    NO_SUCH,
    NOT_STORED,
    VERSION,
    Recipes,
    clause,
    version_asked,
)
from server.words import BYTES, Content, Operation, Reply, Role, documented

DONE: dict[int, Reply | str] = {
    200: Reply("what was done, or would be, and what it costs", Content(CorrectedBody)),
    404: NOT_KEPT,
    409: "the recipe or its model was changed since; nothing was changed",
    413: "larger than 64 kB",
    422: "a place that cannot be, a model that cannot learn, or no room; nothing was changed",
    503: BUSY,
    507: NOT_STORED,
}


class Source(Protocol):
    """Where frames are kept of which something may be said."""

    async def frame(self, id: str) -> KeptFrame:
        """One of them; raises Refused (404) where it is not kept any more."""
        ...

    async def note(self, frame: KeptFrame, said: Kind | None, correction: str | None, who: str) -> None:
        """Keep what was said of it, or that it was taken back."""
        ...


@dataclass(frozen=True)
class Saying:
    """What people say of kept frames, wherever those are kept.

    Attributes:
        spoken_of: frames of which somebody is saying something this moment.
    """

    library: Library
    correcting: Correcting
    spoken_of: set[str] = field(default_factory=set)

    async def say(self, request: Request, source: Source, id: str, kind: Kind) -> Response:
        """That a frame shows a good or a bad part, or what that would cost."""
        said = await read_json(request, Disposition)
        frame = as_it_counts(await source.frame(id), self.correcting.inspection)
        if frame.disposition is not None and not said.dry_run:
            raise Refused(409, f"it was said to be {frame.disposition} already: take that back first")
        with contextlib.nullcontext() if said.dry_run else self._speaking_of(frame.id):
            done = await self.correcting.correct(
                frame,
                kind,
                said.place,
                learn=said.learn or kind == "good",
                dry_run=said.dry_run,
                version=said.version,
                who=who_asks(request),
                why=clause(said.why),
            )
            if not said.dry_run:
                await source.note(frame, kind, done.correction, who_asks(request))
        return answer(_body(done))

    async def take_back(self, request: Request, source: Source, id: str) -> KeptFrame:
        """Undo what was said of a frame, and its correction, if it made one; returns it as it is then."""
        seen = (await read_json(request, TakenBackBody)).seen
        with self._speaking_of((await source.frame(id)).id):
            frame = await source.frame(id)
            counts = as_it_counts(frame, self.correcting.inspection)
            if seen is not UNSET and counts.correction not in (None, seen):
                raise Refused(409, "somebody said something else of it since: look at it again, then take that back")
            with contextlib.suppress(NoRecipe):  # deleted since, and its corrections with it
                if frame.correction in self.library.get(frame.inspected.recipe.id).model.corrections:
                    recipe, correction = frame.inspected.recipe.id, str(frame.correction)
                    await self.correcting.undo(recipe, correction, None, who=who_asks(request))
            await source.note(frame, None, None, who_asks(request))
        return await source.frame(id)

    @contextlib.contextmanager
    def _speaking_of(self, frame: str) -> Iterator[None]:
        """Of two who say something of a frame at once the second is told: both would be in force otherwise."""
        if frame in self.spoken_of:
            raise Refused(409, "somebody says something of this frame this moment: look again in a second")
        self.spoken_of.add(frame)
        try:
            yield
        finally:
            self.spoken_of.discard(frame)


@dataclass(frozen=True)
class Corrections:
    """Attributes:
    told: called with a kept frame of which something was said, or taken back, and by whom.
    """

    saying: Saying
    streams: Streams
    recipes: Recipes
    told: Callable[[KeptFrame, Kind | None, str], Awaitable[None]]

    @property
    def library(self) -> Library:
        return self.saying.library

    @property
    def correcting(self) -> Correcting:
        return self.saying.correcting

    @property
    def routes(self) -> list[Route]:
        corrections = "/api/recipes/{recipe}/corrections"
        return [
            Route("/api/frames/{frame}/good", self.good, methods=["POST"]),
            Route("/api/frames/{frame}/bad", self.bad, methods=["POST"]),
            Route("/api/frames/{frame}/nothing", self.nothing, methods=["POST"]),
            Route(corrections, self.list_corrections),
            Route(f"{corrections}/{{correction}}", self.undo, methods=["DELETE"]),
            Route(f"{corrections}/{{correction}}/picture", self.picture),
        ]

    @documented(
        Operation(
            "This part is good: forgive it, or the marked place of it",
            DONE,
            body=Content(Disposition),
            description="The same part does not alarm again. Ask with `dry_run` first: it says what would pass too.",
            role=Role.ENGINEER,
        )
    )
    async def good(self, request: Request) -> Response:
        return await self.saying.say(request, self, request.path_params["frame"], "good")

    @documented(
        Operation(
            "This part is bad: remember it, so that it and its like alarm",
            DONE,
            body=Content(Disposition),
            description="With `learn` false it is kept as a known defect and changes no score.",
            role=Role.ENGINEER,
        )
    )
    async def bad(self, request: Request) -> Response:
        return await self.saying.say(request, self, request.path_params["frame"], "bad")

    @documented(
        Operation(
            "Take back what was said of a frame, and its correction, if it made one",
            {
                200: Reply("the frame", Content(KeptFrameBody)),
                404: NOT_KEPT,
                409: "something else than `seen` was said of it, or somebody says something of it this moment",
                413: "larger than 64 kB",
                422: "no such body",
                503: BUSY,
                507: NOT_STORED,
            },
            body=Content(TakenBackBody),
            role=Role.ENGINEER,
        )
    )
    async def nothing(self, request: Request) -> Response:
        frame = await self.saying.take_back(request, self, request.path_params["frame"])
        return answer(kept_frame_body(frame, self.correcting.inspection))

    @documented(
        Operation(
            "What a recipe's model was told after it was taught",
            {200: Reply("newest first", Content(CorrectionsBody)), 404: NO_SUCH, 503: BUSY},
            role=Role.VIEWER,
        )
    )
    async def list_corrections(self, request: Request) -> Response:
        recipe = self.library.get(request.path_params["recipe"])
        found = await self.library.ask(partial(self.library.models.corrections, recipe))
        entries, most = await self.library.ask(partial(self.library.models.room, recipe))
        bodies = [
            CorrectionBody(
                id=one.id,
                kind=one.kind,
                learned=one.learned,
                at=one.at,
                who=one.who,
                why=one.why,
                stream=one.stream,
                place=one.place,
                raw_score=one.raw_score,
                patches=one.patches,
                picture=f"api/recipes/{recipe.id}/corrections/{one.id}/picture",
            )
            for one in reversed(found)
        ]
        return answer(CorrectionsBody(bodies, entries, most), headers=NO_STORE)

    @documented(
        Operation(
            "Take one correction back",
            {200: NEWEST, 404: NO_SUCH, 409: CHANGED, 422: "there is no such correction", 503: BUSY, 507: NOT_STORED},
            parameters=(VERSION,),
            description="Scores are what they were without it, bit for bit.",
            role=Role.ENGINEER,
        )
    )
    async def undo(self, request: Request) -> Response:
        recipe, correction = request.path_params["recipe"], request.path_params["correction"]
        stored = await self.correcting.undo(recipe, correction, version_asked(request), who=who_asks(request))
        body: RecipeBody = self.recipes.body(stored)
        return answer(body)

    @documented(
        Operation(
            "The picture of a correction",
            {
                200: Reply("a JPEG of up to 640 pixels", Content(BYTES, "image/jpeg")),
                404: "there is no such correction",
                503: BUSY,
            },
            role=Role.VIEWER,
        )
    )
    async def picture(self, request: Request) -> Response:
        recipe, name = self.library.get(request.path_params["recipe"]), request.path_params["correction"]
        read = partial(self.library.keep.correction_file, recipe.model.taught, name, ".jpg")
        try:
            data = await self.library.ask(read)
        except ModelError as error:
            raise Refused(404, str(error)) from error
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})

    async def frame(self, id: str) -> KeptFrame:
        """A frame that is kept in memory."""
        frame = self.streams.kept.get(id)
        if frame is None:
            raise Refused(404, NOT_KEPT)
        return frame

    async def note(self, frame: KeptFrame, said: Kind | None, correction: str | None, who: str) -> None:
        """Keep with it what was said."""
        self.streams.kept.dispose(frame.id, said, correction)
        await self.told(frame, said, who)


def _body(done: Done) -> CorrectedBody:
    cost = done.cost
    return CorrectedBody(
        applied=done.correction is not None,
        correction=done.correction,
        cost=CostBody(
            goods=cost.goods,
            goods_rejected=cost.rejected,
            goods_rejected_then=cost.rejected_then,
            goods_changed=cost.changed,
            defects=cost.defects,
            defects_passing=cost.passing,
            defects_passing_then=cost.passing_then,
            would_pass=list(cost.would_pass),
            raw_score=cost.score,
            raw_score_then=cost.score_then,
            threshold=cost.threshold,
            sentence=cost.sentence,
        ),
        recipe=done.recipe.id,
        version=done.recipe.version,
    )
