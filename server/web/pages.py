"""The page: one document with all its views, so that a camera goes on sending while somebody walks through them."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from detector import VERSION
from server.words import HTML, Operation, Reply, Role, documented

VIEWS = {"live": "Live", "teach": "Teach", "recipes": "Recipes", "history": "History", "settings": "Settings"}
"""Titles by name, as the navigation has them: the name is the path, but for the first, which is at ``/``."""


@dataclass(frozen=True)
class Pages:
    templates: Jinja2Templates

    @property
    def routes(self) -> list[Route]:
        first, *others = VIEWS
        return [Route("/", self.view, name=first), *(Route(f"/{name}", self.view, name=name) for name in others)]

    @documented(
        Operation("The page, at one of its views", {200: Reply("the page", HTML)}, role=Role.VIEWER, streams="itself")
    )
    async def view(self, request: Request) -> Response:
        view = request.url.path.rpartition("/")[2]
        context = {"version": VERSION, "views": VIEWS, "view": view if view in VIEWS else "live"}
        return self.templates.TemplateResponse(request, "shell.html", context)
