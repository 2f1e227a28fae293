"""Teaching a new part, or more of one: showing good parts, and Done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import UNSET, Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from detector import ImageError
from detector.images import encode_jpeg, read
from server.recipes import RecipeError, check_name
from server.settings import Settings
from server.teaching import (
    FEWEST,
    MOST_PICTURES,
    ArchiveError,
    Brought,
    CannotBe,
    CannotNow,
    Kept,
    NoRecipe,
    NotStored,
    NotThere,
    Packed,
    Report,
    Shelf,
    Teaching,
    Teachings,
    TooMany,
    Wanted,
    cannot_write,
    is_archive,
    pictures_in,
)
from server.web.answers import UPLOADS, Refused, answer
from server.web.calibration_query import who_asks
from server.web.held import Held
from server.web.json_body import read_json
from server.web.teaching_bodies import (
    CoverageBody,
    PictureKept,
    ShownPicture,
    TakenBody,
    TeachingBody,
    TeachingPatch,
    TeachingsBody,
    TeachingWanted,
    UploadBody,
)
from server.web.uploads import MAX_CALIBRATION, Upload, read_form, source_of_request
from server.words import BYTES, Content, Operation, Reply, Role, documented

LIVE_SIDE, LARGE_SIDE = 640, 1280
MAX_DRAWING = 2
"""Pictures that are made at once; more wait: however many ask, streams are inspected meanwhile."""
KEPT = {"Cache-Control": "private, max-age=3600"}
"""A number is never given twice, and its picture never changes."""
NO_PICTURE = "there is no such picture, or not any more"
NO_SUCH = "there is no such teaching, or not any more"
NOT_NOW = "it is learning, done, or was ended"
NOT_WRITTEN = "the data directory cannot be written, or has no room for another model; nothing was changed"


@dataclass(frozen=True)
class Teach:
    settings: Settings
    teachings: Teachings
    shelf: Shelf
    held: Held
    drawing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_DRAWING))

    @property
    def routes(self) -> list[Route]:
        one = "/api/teaching/{teaching}"
        picture = f"{one}/pictures/{{number}}"
        return [
            Route("/api/teaching", self.begin, methods=["POST"]),
            Route("/api/teaching", self.list_all),
            Route(one, self.show),
            Route(one, self.change, methods=["PATCH"]),
            Route(one, self.cancel, methods=["DELETE"]),
            Route(f"{one}/take", self.take, methods=["POST"]),
            Route(f"{one}/done", self.done, methods=["POST"]),
            Route(f"{one}/live", self.live),
            Route(f"{one}/pictures", self.upload, methods=["POST"]),
            Route(picture, self.picture),
            Route(f"{picture}/large", self.large),
            Route(picture, self.keep, methods=["POST"]),
            Route(picture, self.remove, methods=["DELETE"]),
            Route("/api/recipes/{recipe}/picture", self.of_recipe),
        ]

    @documented(
        Operation(
            "Begin to teach a part",
            {
                201: Reply("it is shown parts now", Content(TeachingBody)),
                404: "there is no such stream now, or no such recipe",
                409: "the stream is taught already, or the recipe is taught more",
                413: "larger than 64 kB",
                422: "not such a body, a name that cannot be, or a recipe that cannot be taught more",
                503: "two parts are taught already",
                507: NOT_WRITTEN,
            },
            body=Content(TeachingWanted),
            description="While a stream is taught it is not inspected: its status is `teaching`, and there are no "
            "results. A teaching ends by itself after 30 minutes without a picture taken or a request.",
            role=Role.ENGINEER,
        )
    )
    async def begin(self, request: Request) -> Response:
        wanted = await read_json(request, TeachingWanted)
        if (wanted.name is None) == (wanted.more_of is None):
            raise Refused(422, "send either the `name` of the new recipe, or `more_of`, the id of one to teach more")
        with refusals():
            name = check_name(wanted.name) if wanted.name is not None else self.shelf.name_of(str(wanted.more_of))
            teaching = await self.teachings.begin(
                Wanted(name, wanted.stream, wanted.more_of, wanted.auto, wanted.preset, who_asks(request))
            )
        return answer(body_of(teaching), 201)

    @documented(
        Operation(
            "Teachings that are open, or were done lately",
            {200: Reply("all", Content(TeachingsBody))},
            role=Role.VIEWER,
        )
    )
    async def list_all(self, request: Request) -> Response:
        return _fresh(TeachingsBody([body_of(teaching) for teaching in self.teachings.all]))

    @documented(
        Operation("How a teaching goes", {200: Reply("it", Content(TeachingBody)), 404: NO_SUCH}, role=Role.VIEWER)
    )
    async def show(self, request: Request) -> Response:
        return _fresh(body_of(self._get(request)))

    @documented(
        Operation(
            "Change a teaching",
            {
                200: Reply("as it is now", Content(TeachingBody)),
                404: NO_SUCH,
                409: NOT_NOW,
                413: "larger than 64 kB",
                422: "not such a body, or a name that cannot be",
            },
            body=Content(TeachingPatch),
            role=Role.ENGINEER,
            audited=False,
        )
    )
    async def change(self, request: Request) -> Response:
        teaching, patch = self._get(request), await read_json(request, TeachingPatch)
        with refusals():
            teaching.change(
                name=None if patch.name is UNSET else check_name(patch.name),
                auto=None if patch.auto is UNSET else patch.auto,
            )
        return _fresh(body_of(teaching))

    @documented(
        Operation(
            "Cancel a teaching: nothing is left of it",
            {200: Reply("as it was", Content(TeachingBody)), 404: NO_SUCH, 409: "it is put in force this moment"},
            description="One that is done is forgotten; its recipe stays.",
            role=Role.ENGINEER,
        )
    )
    async def cancel(self, request: Request) -> Response:
        teaching = self._get(request)
        body = body_of(teaching)
        with refusals():
            await self.teachings.end(teaching.id)
        return answer(body)

    @documented(
        Operation(
            "Take the next good frame of the stream",
            {
                200: Reply("`last` says whether it was taken, and why not", Content(TeachingBody)),
                404: NO_SUCH,
                409: NOT_NOW,
                422: "it has no stream: upload pictures",
            },
            description="Answers once it was taken, or refused; within 12 seconds.",
            role=Role.ENGINEER,
            audited=False,
        )
    )
    async def take(self, request: Request) -> Response:
        teaching = self._get(request)
        with refusals():
            await teaching.take()
        return _fresh(body_of(teaching))

    @documented(
        Operation(
            "Show pictures, or one ZIP of a folder of them",
            UPLOADS
            | {
                200: Reply("`notes` say which were not taken, and why", Content(TeachingBody)),
                404: NO_SUCH,
                409: NOT_NOW,
                507: "the data directory cannot be written; what was taken before is kept",
            },
            body=Content(
                {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": BYTES, "minItems": 1, "maxItems": MOST_PICTURES},
                    },
                    "required": ["files"],
                },
                "multipart/form-data",
            ),
            description="JPEG, PNG, WebP, BMP or TIFF. What has no picture's name in a ZIP is passed over.",
            role=Role.ENGINEER,
            audited=False,
        )
    )
    async def upload(self, request: Request) -> Response:
        teaching = self._get(request)
        limit = self.settings.max_upload_bytes
        with self.held.share(source_of_request(request)) as share:
            total = MAX_CALIBRATION * limit  # of which a ZIP may be all
            try:
                form = await read_form(
                    request, "files", share=share, max_file=total, max_total=total, max_files=MOST_PICTURES
                )
            except ClientDisconnect:
                teaching.upload_broke_off()
                raise
            with refusals():
                pictures = await asyncio.to_thread(_pictures, form.files, limit)
                await teaching.upload(pictures, request.is_disconnected)
        return _fresh(body_of(teaching))

    @documented(
        Operation(
            "A picture that was taken",
            {
                200: Reply("at most 320 pixels long", Content(BYTES, "image/jpeg")),
                404: "there is no such teaching or picture",
            },
            role=Role.VIEWER,
        )
    )
    async def picture(self, request: Request) -> Response:
        kept = self._get(request).album.get(_number(request))
        if kept is None:
            raise Refused(404, NO_PICTURE)
        return Response(kept.thumbnail, media_type="image/jpeg", headers=KEPT)

    @documented(
        Operation(
            "A picture that was taken, to look at closely",
            {
                200: Reply("at most 1280 pixels long", Content(BYTES, "image/jpeg")),
                404: "there is no such teaching or picture, or its file is not here any more",
            },
            role=Role.VIEWER,
        )
    )
    async def large(self, request: Request) -> Response:
        kept = self._get(request).album.get(_number(request))
        return await self._seen_large(kept.path if kept else None, KEPT)

    @documented(
        Operation(
            "One of the pictures that a recipe's model was taught on, to see the part",
            {
                200: Reply("at most 1280 pixels long", Content(BYTES, "image/jpeg")),
                404: "there is no such recipe, or none of its pictures lies here",
            },
            role=Role.VIEWER,
        )
    )
    async def of_recipe(self, request: Request) -> Response:
        with refusals():
            path = await self.shelf.picture_of(request.path_params["recipe"])
        return await self._seen_large(path, {"Cache-Control": "no-store"})

    @documented(
        Operation(
            "The newest frame that was shown, taken or not",
            {
                200: Reply("at most 640 pixels long", Content(BYTES, "image/jpeg")),
                204: Reply("none came yet"),
                404: NO_SUCH,
            },
            description="To see what the camera sees: a stream that is taught has no results, which would bring its "
            "pictures. Ask a few times a second.",
            role=Role.VIEWER,
        )
    )
    async def live(self, request: Request) -> Response:
        headers = {"Cache-Control": "no-store"}
        async with self.drawing:
            frame = self._get(request).latest
            if frame is None:
                return Response(status_code=204, headers=headers)
            jpeg, _, _ = await asyncio.to_thread(encode_jpeg, frame, quality=80, longest_side=LIVE_SIDE)
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    @documented(
        Operation(
            "Say whether a picture is learned from",
            {
                200: Reply("as it is now", Content(TeachingBody)),
                404: "there is no such teaching or picture",
                409: NOT_NOW,
                413: "larger than 64 kB",
                422: "not such a body",
            },
            body=Content(PictureKept),
            role=Role.ENGINEER,
            audited=False,
        )
    )
    async def keep(self, request: Request) -> Response:
        teaching, decision = self._get(request), await read_json(request, PictureKept)
        with refusals():
            await teaching.decide(_number(request), decision.keep)
        return _fresh(body_of(teaching))

    @documented(
        Operation(
            "Remove a picture",
            {
                200: Reply("as it is now", Content(TeachingBody)),
                404: "there is no such teaching or picture",
                409: NOT_NOW,
            },
            role=Role.ENGINEER,
            audited=False,
        )
    )
    async def remove(self, request: Request) -> Response:
        teaching = self._get(request)
        with refusals():
            await teaching.remove(_number(request))
        return _fresh(body_of(teaching))

    @documented(
        Operation(
            "Learn from what was shown, and inspect the stream with it",
            {
                200: Reply("it is learning; ask again until `state` is done or failed", Content(TeachingBody)),
                404: NO_SUCH,
                409: NOT_NOW,
                422: f"fewer than {FEWEST} different good parts",
            },
            role=Role.ENGINEER,
        )
    )
    async def done(self, request: Request) -> Response:
        teaching = self._get(request)
        with refusals():
            teaching.done()
        return _fresh(body_of(teaching))

    async def _seen_large(self, path: Path | None, headers: dict[str, str]) -> Response:
        async with self.drawing:
            jpeg = await asyncio.to_thread(_large, path) if path else None
        if jpeg is None:
            raise Refused(404, NO_PICTURE)
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    def _get(self, request: Request) -> Teaching:
        with refusals():
            return self.teachings.get(request.path_params["teaching"])


def body_of(teaching: Teaching) -> TeachingBody:
    """A teaching as it is told."""
    album, last = teaching.album, teaching.showing.last
    coverage = album.coverage
    return TeachingBody(
        id=teaching.id,
        name=teaching.wanted.name,
        stream=teaching.wanted.stream,
        more_of=teaching.wanted.more_of,
        state=teaching.state,
        auto=teaching.showing.auto,
        region=teaching.region,
        pictures=[_shown(teaching, kept) for kept in album.pictures],
        coverage=CoverageBody(
            coverage.parts, coverage.of_last, coverage.new_of_last, coverage.enough, coverage.sentence
        ),
        last=TakenBody(last.taken, last.why) if last is not None else None,
        upload=_uploaded(teaching.uploaded) if teaching.uploaded is not None else None,
        can_finish=album.can_finish,
        progress=teaching.progress if teaching.state == "learning" else None,
        learning_s=teaching.learning_s,
        error=teaching.error,
        recipe=teaching.recipe,
        seconds=teaching.seconds,
        threshold=teaching.threshold,
        notes=teaching.notes,
    )


def _uploaded(report: Report) -> UploadBody:
    return UploadBody(report.state, report.of, report.looked_at, report.taken)


def _shown(teaching: Teaching, kept: Kept) -> ShownPicture:
    return ShownPicture(
        number=kept.number,
        at=kept.at,
        new=kept.seen.new,
        copy=kept.seen.copy,
        outlier=kept.seen.outlier,
        used=kept.used,
        why=kept.seen.why,
        place=kept.seen.place,
        picture=f"api/teaching/{teaching.id}/pictures/{kept.number}",
    )


def _large(path: Path) -> bytes | None:
    """A JPEG of a picture's file; nothing where that is not there any more."""
    try:
        return encode_jpeg(read(path), quality=85, longest_side=LARGE_SIDE)[0]
    except (ImageError, OSError):
        return None


def _pictures(files: tuple[Upload, ...], limit: int) -> Brought:
    """The pictures of an upload, one at a time.

    Raises:
        ArchiveError: a ZIP that is not taken, or one among others.
    """
    if any(is_archive(file.data) for file in files):
        if len(files) > 1:
            raise ArchiveError("send one ZIP alone, or pictures")
        return pictures_in(files[0].data, most=MOST_PICTURES, most_each=limit)
    if large := [file.filename for file in files if len(file.data) > limit]:
        raise ArchiveError(f"{large[0][:60]} is over {limit / 1e6:g} MB: send a smaller one, or raise MAX_UPLOAD_MB")
    return Brought(len(files), (Packed(file.filename, file.data) for file in files))


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Answer what teaching says no to."""
    try:
        yield
    except (NotThere, NoRecipe) as error:
        raise Refused(404, str(error)) from error
    except CannotNow as error:
        raise Refused(409, str(error)) from error
    except (CannotBe, RecipeError, ArchiveError) as error:
        raise Refused(422, str(error)) from error
    except TooMany as error:
        raise Refused(503, str(error)) from error
    except NotStored as error:
        raise Refused(507, str(error)) from error
    except OSError as error:
        raise Refused(507, cannot_write(error)) from error


def _number(request: Request) -> int:
    """Of a picture; -1, which none has, of anything that is no number."""
    text = request.path_params["number"]
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else -1


def _fresh(body: Struct) -> Response:
    return answer(body, headers={"Cache-Control": "no-store"})
