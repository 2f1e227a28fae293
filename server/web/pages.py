"""The live page."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from server.web.health import VERSION
from server.words import HTML, Operation, Reply, documented


@dataclass(frozen=True)
class Pages:
    templates: Jinja2Templates

    @property
    def routes(self) -> list[Route]:
        return [Route("/", self.live)]

    @documented(Operation("The live page", {200: Reply("the page", HTML)}))
    async def live(self, request: Request) -> Response:
        return self.templates.TemplateResponse(request, "index.html", {"version": VERSION})
