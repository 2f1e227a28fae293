"""``GET /api/streams``: what is streaming now."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.streams import Streams
from server.web.answers import answer
from server.web.bodies import StreamListBody
from server.words import Content, Operation, Reply, documented


@dataclass(frozen=True)
class StreamList:
    streams: Streams

    @property
    def routes(self) -> list[Route]:
        return [Route("/api/streams", self.list_streams)]

    @documented(Operation("What is streaming now", {200: Reply("the streams", Content(StreamListBody))}))
    async def list_streams(self, request: Request) -> Response:
        return answer(StreamListBody(self.streams.list()), headers={"Cache-Control": "no-store"})
