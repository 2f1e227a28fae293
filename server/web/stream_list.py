"""Running streams over HTTP: what there is, which part lies there, and counting parts from the beginning."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.streams import OpenStream, Streams
from server.web.answers import Refused, answer
from server.web.bodies import PartBody, StreamListBody
from server.web.json_body import read_json
from server.words import Content, Operation, PartSaid, Reply, StreamInfo, check_part, documented

NO_STREAM = "there is no such stream now"
MAX_PART_BODY = 1024


@dataclass(frozen=True)
class StreamList:
    streams: Streams

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/streams", self.list_streams),
            Route("/api/streams/{name}/reset", self.reset, methods=["POST"]),
            Route("/api/streams/{name}/part", self.say_part, methods=["POST"]),
        ]

    @documented(Operation("What is streaming now", {200: Reply("the streams", Content(StreamListBody))}))
    async def list_streams(self, request: Request) -> Response:
        return answer(StreamListBody(self.streams.list()), headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "Count a stream's parts and yield from the beginning",
            {200: Reply("how it is now", Content(StreamInfo)), 404: NO_STREAM},
            description="Nothing else begins anew: frame counters are the connection's, alarms stay kept.",
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

    def _opened(self, request: Request) -> OpenStream:
        name: str = request.path_params["name"]
        opened = self.streams.get(name)
        if opened is None:
            raise Refused(404, f"there is no stream {name[:64]} now: start its camera first")
        return opened
