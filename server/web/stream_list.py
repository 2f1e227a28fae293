"""Running streams over HTTP: what there is, which part lies there, and counting parts from the beginning."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector.images import decode
from server.access import standing_of
from server.parts import TriggerRefused, gate_look, packed
from server.recipes import check_polygon
from server.streams import KeptFrame, OpenStream, Streams
from server.web.answers import Refused, answer
from server.web.bodies import GateAsked, GateBody, PartBody, StreamListBody, TriggerBody, TriggerTaken
from server.web.json_body import read_json
from server.words import (
    Content,
    Operation,
    PartResult,
    PartSaid,
    Reply,
    Role,
    StreamInfo,
    TriggerSaid,
    check_part,
    check_trigger,
    documented,
)

NO_STREAM = "there is no such stream now"
MAX_PART_BODY = 1024
MOST_INSPECTION_S = 10.0
"""Seconds that the inspection of a triggered frame may take beyond the time in which it has to arrive."""


@dataclass(frozen=True)
class StreamList:
    streams: Streams

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/streams", self.list_streams),
            Route("/api/streams/{name}/reset", self.reset, methods=["POST"]),
            Route("/api/streams/{name}/part", self.say_part, methods=["POST"]),
            Route("/api/streams/{name}/trigger", self.trigger, methods=["POST"]),
            Route("/api/streams/{name}/gate", self.look_at_gate, methods=["POST"]),
        ]

    @documented(
        Operation(
            "What is streaming now",
            {200: Reply("the streams", Content(StreamListBody))},
            role=Role.VIEWER,
            streams="itself",
        )
    )
    async def list_streams(self, request: Request) -> Response:
        who = standing_of(request.scope).identity
        streams = [one for one in self.streams.list() if who.may_use(one.name)]
        return answer(StreamListBody(streams), headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "Count a stream's parts and yield from the beginning",
            {200: Reply("how it is now", Content(StreamInfo)), 404: NO_STREAM},
            description="Nothing else begins anew: frame counters are the connection's, alarms stay kept.",
            role=Role.OPERATOR,
            streams="path",
        )
    )
    async def reset(self, request: Request) -> Response:
        opened = self._opened(request)
        opened.parts.reset()
        return answer(self.streams.info(opened))

    @documented(
        Operation(
            "Say which part the frames show that arrive from now on",
            {
                200: Reply("it was said", Content(PartBody)),
                404: NO_STREAM,
                413: "larger than 1 kB",
                422: "no part's id",
            },
            body=Content(PartSaid),
            description="It holds until another is said, or until the connection ends. Who sends frames over "
            "WebSocket says it there, between them: then no frame is of the wrong part.",
            role=Role.OPERATOR,
            streams="path",
            audited=False,
        )
    )
    async def say_part(self, request: Request) -> Response:
        said = await read_json(request, PartSaid, MAX_PART_BODY)
        try:
            part = check_part(said.part)
        except ValueError as error:
            raise Refused(422, str(error)) from error
        opened = self._opened(request)
        opened.say_part(part)
        return answer(PartBody(opened.name, part))

    @documented(
        Operation(
            "Trigger: the part under the camera is to be judged now",
            {
                200: Reply("the part's verdict, where it was waited for", Content(PartResult)),
                202: Reply("it was taken; the verdict comes as a message `part`", Content(TriggerTaken)),
                404: NO_STREAM,
                409: "it was not taken, and is counted: a part is in work, or the recipe takes no triggers",
                413: "larger than 1 kB",
                422: "no part's or trigger's id",
                504: "the verdict did not come in time; it is in the history when it does",
            },
            body=Content(TriggerBody),
            description="Where the stream's recipe says that triggers say what a part is. It is judged by frames "
            "that arrive from now on: the camera has to be sending them, or to be triggered by the same signal.",
            role=Role.OPERATOR,
            streams="path",
            audited=False,
        )
    )
    async def trigger(self, request: Request) -> Response:
        try:
            body, said = await _read_trigger(request)
        except Refused:
            self.streams.missed(request.path_params["name"])
            raise
        opened = self._opened(request)
        try:
            number = self.streams.trigger(opened.name, said, "rest")
        except TriggerRefused as error:
            raise Refused(409, str(error)) from error
        if not body.wait:
            return answer(TriggerTaken(opened.name, number, said.trigger), 202)
        rule, hearing = opened.station.rule, opened.station.hear(number)
        try:
            result = await asyncio.wait_for(hearing, (rule.delay_ms + rule.within_ms) / 1000 + MOST_INSPECTION_S)
        except TimeoutError as error:
            raise Refused(504, f"the verdict of trigger {number} did not come in time") from error
        return answer(result, headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "Look at a gate while it is empty, for a recipe that tells parts by it",
            {
                200: Reply("for the recipe's `parts`", Content(GateBody)),
                404: NO_STREAM,
                409: "no frame of the stream was inspected in the last seconds, or that one is not kept any more",
                413: "larger than 64 kB",
                422: "no such region",
            },
            body=Content(GateAsked),
            description="By a kept frame, or the newest, not older than 3 s. Nothing is changed: send what "
            "is answered as `gate` and `empty` of the recipe's `parts`.",
            role=Role.ENGINEER,
            audited=False,
        )
    )
    async def look_at_gate(self, request: Request) -> Response:
        asked = await read_json(request, GateAsked)
        if asked.gate:
            check_polygon(asked.gate)
        opened = self._opened(request)
        frame = self._kept(opened.name, asked.frame)
        look = await run_in_threadpool(lambda: packed(gate_look(decode(frame.kept.picture[0]), asked.gate)))
        return answer(GateBody(asked.gate, look, frame.at, f"api/frames/{frame.id}/picture"))

    def _kept(self, stream: str, id: str | None) -> KeptFrame:
        kept = self.streams.kept
        if id is not None:
            named = kept.get(id)
            if named is None or named.stream != stream:
                raise Refused(409, "this frame is not kept any more: take another picture of the empty gate")
            return named
        newest = next(iter(kept.list(stream, "recent")), None)
        if newest is None or datetime.now(UTC) - datetime.fromisoformat(newest.at) > timedelta(seconds=3):
            raise Refused(409, "no frame of this stream was inspected in the last 3 seconds: see that it is live")
        return newest

    def _opened(self, request: Request) -> OpenStream:
        name: str = request.path_params["name"]
        opened = self.streams.get(name)
        if opened is None:
            raise Refused(404, f"there is no stream {name[:64]} now: start its camera first")
        return opened


async def _read_trigger(request: Request) -> tuple[TriggerBody, TriggerSaid]:
    """Raises Refused: it says something else."""
    body = await read_json(request, TriggerBody, MAX_PART_BODY)
    try:
        return body, check_trigger(TriggerSaid(body.trigger, body.part))
    except ValueError as error:
        raise Refused(422, str(error)) from error
