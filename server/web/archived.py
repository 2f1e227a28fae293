"""Archived pictures over HTTP: seen again as they were seen live, and told what they were, months later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector import ImageError
from detector.images import decode, encode_jpeg, encode_png
from detector.score import overlay
from server.archive import Archive, Damaged, Facts, Pictured, kept_frame
from server.inspection import Inspection
from server.plant import PlantAway
from server.recipes import Kind, check_name
from server.records import Disposition, DispositionRefused, Records, RecordsAway
from server.streams import KeptFrame
from server.teaching import Brought, Packed, Shelf, Teachings, Wanted
from server.web.answers import Refused, answer
from server.web.archive_bodies import ArchiveBody, TaughtFromBody
from server.web.calibration_query import who_asks
from server.web.corrections import DONE, Saying
from server.web.frames import FOR_EVER, MAX_DRAWING, drawn, kept_frame_body
from server.web.json_body import read_json
from server.web.recipe_bodies import Disposition as SaidBody
from server.web.recipe_bodies import KeptFrameBody, TakenBackBody
from server.web.recipes import BUSY, NOT_STORED
from server.web.teach import NOT_WRITTEN, body_of, refusals
from server.web.teaching_bodies import TeachingBody
from server.words import BYTES, Content, Operation, Parameter, Reply, Role, documented

log = logging.getLogger("defectvision.archive")

GONE = (
    "no picture of it is kept: it was none that is, or older ones made room (ARCHIVE_GB, ARCHIVE_DAYS, ARCHIVE_FREE_GB)"
)
NOT_THERE = "or the gateway that took it has not put it into the plant's store yet"
AWAY = "of a plant: the picture is another gateway's, and the plant's store or database does not answer"
ANOTHER = "the alarm went on, and its worst frame is another one now: look at it again"
THUMBNAIL_SIDE = 320
_FRAME = Parameter("frame", "query", "id of the very frame that is meant: 409 where the alarm has a worse one since")
_MAX_ASKED = 24
"""Pictures that are asked for at once; more wait before they are read."""


@dataclass(frozen=True)
class Archived:
    """Pictures of the archive, by the ids that the history has."""

    archive: Archive
    records: Records
    saying: Saying
    teachings: Teachings
    shelf: Shelf
    inspection: Inspection
    drawing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_DRAWING))
    asked: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MAX_ASKED))

    @property
    def routes(self) -> list[Route]:
        one = "/api/history/{id}"
        return [
            Route("/api/archive", self.state),
            Route("/api/history/teach", self.teach, methods=["POST"]),
            Route(f"{one}/picture", self.picture),
            Route(f"{one}/heatmap", self.heatmap),
            Route(f"{one}/overlay", self.overlay),
            Route(f"{one}/thumbnail", self.thumbnail),
            Route(f"{one}/frame", self.as_frame),
            Route(f"{one}/good", self.good, methods=["POST"]),
            Route(f"{one}/bad", self.bad, methods=["POST"]),
            Route(f"{one}/nothing", self.nothing, methods=["POST"]),
        ]

    @documented(
        Operation(
            "How the archive of pictures is doing", {200: Reply("its state", Content(ArchiveBody))}, role=Role.VIEWER
        )
    )
    async def state(self, request: Request) -> Response:
        now = await self.archive.state()
        body = ArchiveBody(
            on=now.on,
            pictures=now.held.files,
            bytes=now.held.bytes,
            oldest=now.held.oldest,
            counted=now.held.counted,
            free_bytes=now.held.free,
            limit_bytes=now.limits.bytes,
            limit_days=now.limits.days,
            limit_free_bytes=now.limits.free,
            waiting=now.waiting,
            written=now.written,
            dropped=now.dropped,
            removed=now.held.removed,
            problem=now.problem,
        )
        return answer(body, headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "Picture of a part or alarm",
            {
                200: Reply("up to 640 pixels", Content(BYTES, "image/jpeg")),
                304: Reply("it is what `If-None-Match` names"),
                404: GONE,
                503: AWAY,
            },
            role=Role.VIEWER,
        )
    )
    async def picture(self, request: Request) -> Response:
        pictured = await self._pictured(request)
        return _unchanged(request, pictured) or _response(pictured, pictured.picture, "image/jpeg")

    @documented(
        Operation(
            "Heat map of a part or alarm, as numbers",
            {
                200: Reply(
                    "8 bits grey, at most 64 pixels long; 128 is the threshold then, 255 twice that or more",
                    Content(BYTES, "image/png"),
                ),
                304: Reply("it is what `If-None-Match` names"),
                404: GONE,
                503: AWAY,
            },
            role=Role.VIEWER,
        )
    )
    async def heatmap(self, request: Request) -> Response:
        pictured = await self._pictured(request)
        return _unchanged(request, pictured) or _response(
            pictured, encode_png(kept_frame(pictured).inspected.heatmap), "image/png"
        )

    @documented(
        Operation(
            "Picture of a part or alarm with its heat map over it",
            {
                200: Reply("as it was seen live", Content(BYTES, "image/png")),
                304: Reply("it is what `If-None-Match` names"),
                404: GONE,
                503: AWAY,
            },
            role=Role.VIEWER,
        )
    )
    async def overlay(self, request: Request) -> Response:
        return await self._drawn(request, drawn, "image/png")

    @documented(
        Operation(
            "The same, small, for a gallery",
            {
                200: Reply(f"up to {THUMBNAIL_SIDE} pixels", Content(BYTES, "image/jpeg")),
                304: Reply("it is what `If-None-Match` names"),
                404: GONE,
                503: AWAY,
            },
            role=Role.VIEWER,
        )
    )
    async def thumbnail(self, request: Request) -> Response:
        return await self._drawn(request, _small, "image/jpeg")

    @documented(
        Operation(
            "An archived picture as the frame that was kept then",
            {200: Reply("what may be said of it", Content(KeptFrameBody)), 404: GONE, 503: AWAY},
            role=Role.VIEWER,
        )
    )
    async def as_frame(self, request: Request) -> Response:
        return answer(self._body(await self._pictured(request, newest=True)), headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "This part was good: forgive it, or the marked place of it",
            DONE | {404: GONE},
            body=Content(SaidBody),
            parameters=(_FRAME,),
            description="As for a frame of /api/frames. Where it was rejected, the history says *false reject* of it.",
            role=Role.ENGINEER,
        )
    )
    async def good(self, request: Request) -> Response:
        return await self._say(request, "good")

    @documented(
        Operation(
            "This part was bad: remember it, so that it and its like alarm",
            DONE | {404: GONE},
            body=Content(SaidBody),
            parameters=(_FRAME,),
            description="As for a frame of /api/frames. The history says *confirmed*, or *escape* where it passed.",
            role=Role.ENGINEER,
        )
    )
    async def bad(self, request: Request) -> Response:
        return await self._say(request, "bad")

    @documented(
        Operation(
            "Take back what was said of an archived picture, and its correction, if it made one",
            {
                200: Reply("the frame", Content(KeptFrameBody)),
                404: GONE,
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
        id = request.path_params["id"]
        await self.saying.take_back(request, self, id)
        return answer(self._body(await self._find(id, newest=True)))

    @documented(
        Operation(
            "Teach from archived pictures of good parts",
            {
                200: Reply("they were shown to an open teaching", Content(TeachingBody)),
                201: Reply("a teaching began, and they were shown to it", Content(TeachingBody)),
                404: "there is no such teaching or recipe",
                409: "the teaching is learning, done, or was ended",
                413: "larger than 64 kB",
                422: "not such a body, a name that cannot be, or none of the pictures is kept any more",
                503: f"two parts are taught already; or, {AWAY}",
                507: NOT_WRITTEN,
            },
            body=Content(TaughtFromBody),
            description="Its notes say which pictures were not taken, and why. Then go on as with any teaching: show "
            "more, look through them, *Done*.",
            role=Role.ENGINEER,
        )
    )
    async def teach(self, request: Request) -> Response:
        wanted = await read_json(request, TaughtFromBody)
        if sum(one is not None for one in (wanted.teaching, wanted.name, wanted.more_of)) != 1:
            raise Refused(422, "send one of `teaching`, `name` and `more_of`: what is to be taught from them")
        with _said_away():
            elsewhere = await self._elsewhere(wanted.ids)
            is_any = await self._any_of(wanted.ids, elsewhere)
        if not is_any:
            raise Refused(422, "none of these pictures is kept any more")
        with refusals():
            if wanted.teaching is not None:
                teaching, status = self.teachings.get(wanted.teaching), 200
            else:
                name = check_name(wanted.name) if wanted.name is not None else self.shelf.name_of(str(wanted.more_of))
                how = Wanted(name, None, wanted.more_of, False, wanted.preset, who_asks(request))
                teaching, status = await self.teachings.begin(how), 201
            pictures = Brought(len(wanted.ids), self._packed(wanted.ids, elsewhere))
            await teaching.upload(pictures, request.is_disconnected)
        return answer(body_of(teaching), status)

    async def _elsewhere(self, ids: list[str]) -> dict[str, int]:
        """Which of these pictures are another gateway's, and when their entries were."""
        if self.archive.shared is None:
            return {}
        folder, found = self.archive.folder, {}
        for id in await asyncio.to_thread(lambda: [one for one in ids if folder.find(one) is None]):
            if (entry := await self.records.get(id)) is not None:
                found[id] = entry.at
        return found

    async def _any_of(self, ids: list[str], elsewhere: dict[str, int]) -> bool:
        for id in ids:
            if await self.archive.read(id) is not None:
                return True
            if id in elsewhere and await self.archive.fetch(id, elsewhere[id]) is not None:
                return True
        return False

    def _packed(self, ids: list[str], elsewhere: dict[str, int]) -> Iterator[Packed]:
        """In a thread, one after the other."""
        shared = self.archive.shared
        for id in ids:
            try:
                pictured = self.archive.folder.read(id)
                if pictured is None and shared is not None and id in elsewhere:
                    pictured = shared.fetch(id, elsewhere[id])
            except (Damaged, PlantAway) as error:
                log.warning("id=%s %s", id, error)
                continue
            if pictured is not None:
                yield Packed(_named(pictured.facts), pictured.picture)

    async def _say(self, request: Request, kind: Kind) -> Response:
        id, meant = request.path_params["id"], request.query_params.get("frame")
        with self.archive.staying(id):  # a model's first correction takes seconds, in which the alarm may go on
            if meant is not None and (await self._find(id)).facts.frame != meant:
                raise Refused(409, ANOTHER)
            return await self.saying.say(request, self, id, kind)

    async def frame(self, id: str) -> KeptFrame:
        """An archived picture as the frame that was kept then."""
        return kept_frame(await self._find(id, newest=True))

    async def note(self, frame: KeptFrame, said: Kind | None, correction: str | None, who: str) -> None:
        """Keep with the picture what was said of it, and tell the history."""
        try:
            await self.archive.say(frame.id, said, correction, at=(await self._elsewhere([frame.id])).get(frame.id))
        except (Damaged, OSError, RecordsAway) as error:  # the correction stands, and can be undone under Recipes
            log.warning("id=%s what was said of it is not kept with its picture reason=%s", frame.id, error)
        await self.tell_history(frame.id, frame.verdict == "NORMAL", said, who)

    async def told_live(self, frame: KeptFrame, said: Kind | None, who: str) -> None:
        """Something was said of a frame that is kept in memory: the history knows its alarm by another name."""
        if (id := self.archive.history_id(frame.id)) is not None:
            await self.tell_history(id, frame.verdict == "NORMAL", said, who)

    async def tell_history(self, id: str, passed: bool, said: Kind | None, who: str) -> None:
        """What a correction means for a part's disposition. The correction stands, whether or not this is stored."""
        disposition: Disposition | None = None
        if said == "bad":
            disposition = "escape" if passed else "confirmed"
        elif said == "good":
            if passed:
                return
            disposition = "false_reject"
        try:
            await self.records.dispose(id, disposition, who=who)
        except (RecordsAway, DispositionRefused) as error:
            log.warning("id=%s a correction is not in the history reason=%s", id, error)

    def _body(self, pictured: Pictured) -> KeptFrameBody:
        facts = pictured.facts
        at = f"api/history/{facts.id}"
        query = f"?frame={facts.frame}" if facts.kind == "alarm" else ""
        addresses = f"{at}/picture{query}", f"{at}/overlay{query}"
        return kept_frame_body(kept_frame(pictured), self.inspection, addresses=addresses)

    async def _drawn(self, request: Request, draw: Callable[[KeptFrame], bytes], media_type: str) -> Response:
        pictured = await self._pictured(request)
        if (same := _unchanged(request, pictured)) is not None:
            return same
        async with self.drawing:
            try:
                data = await asyncio.to_thread(draw, kept_frame(pictured))
            except ImageError as error:
                raise Refused(404, f"the archived picture is damaged ({error})") from error
        return _response(pictured, data, media_type)

    async def _pictured(self, request: Request, *, newest: bool = False) -> Pictured:
        async with self.asked:
            return await self._find(request.path_params["id"], newest=newest)

    async def _find(self, id: str, *, newest: bool = False) -> Pictured:
        """A picture of any gateway; ``newest``: with what was said of it last at any of them."""
        shared = self.archive.shared
        try:
            with _said_away():
                pictured = await (self.archive.read_newest(id) if newest else self.archive.read(id))
                if pictured is None and shared is not None and (entry := await self.records.get(id)) is not None:
                    pictured = await self.archive.fetch(id, entry.at)
        except Damaged as error:
            raise Refused(404, str(error)) from error
        if pictured is None:
            await self._note_gone(id)
            raise Refused(404, GONE if shared is None else f"{GONE}; {NOT_THERE}")
        return pictured

    async def _note_gone(self, id: str) -> None:
        """Somebody took it away: the history says so from now on, for this one that was looked for."""
        with contextlib.suppress(RecordsAway):
            entry = await self.records.get(id)
            if entry is None or not entry.picture_kept or entry.picture is None:
                return
            if self.archive.shared is None or self.archive.shared.is_over(entry.at):  # another gateway may have it yet
                self.records.pictures_gone([entry.picture])


@contextlib.contextmanager
def _said_away() -> Iterator[None]:
    """Raises Refused where another gateway's picture cannot be fetched now."""
    try:
        yield
    except PlantAway as error:
        raise Refused(503, str(error)) from error


def _named(facts: Facts) -> str:
    """What notes of a teaching call a picture: its time first, since what is long is cut off at the end."""
    with contextlib.suppress(ValueError):
        at = datetime.fromisoformat(facts.at).astimezone(UTC)
        moment = f"{at:%Y-%m-%d %H:%M:%S} UTC"
        part = f", part {facts.part}" if facts.part else ""
        return f"{moment}, {facts.stream}{part}"
    return facts.id


def _response(pictured: Pictured, data: bytes, media_type: str) -> Response:
    """What an id names never changes, but that of an alarm, which may go on."""
    return Response(data, headers=_caching(pictured), media_type=media_type)


def _unchanged(request: Request, pictured: Pictured) -> Response | None:
    headers = _caching(pictured)
    if "ETag" in headers and request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return None


def _caching(pictured: Pictured) -> dict[str, str]:
    if pictured.facts.kind != "alarm":
        return FOR_EVER
    return {"Cache-Control": "private, no-cache", "ETag": f'"{pictured.facts.frame}"'}


def _small(frame: KeptFrame) -> bytes:
    picture = overlay(decode(frame.kept.picture[0]), frame.inspected.heatmap)
    return encode_jpeg(picture, quality=80, longest_side=THUMBNAIL_SIDE)[0]
