"""``GET /api/streams``: what is streaming now."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.streams import Streams


@dataclass(frozen=True)
class StreamList:
    streams: Streams

    @property
    def routes(self) -> list[Route]:
        return [Route("/api/streams", self.list_streams)]

    async def list_streams(self, request: Request) -> Response:
        body = msgspec.json.encode({"streams": self.streams.list()})
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})
