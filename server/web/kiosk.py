"""``GET /kiosk/NAME`` and ``/panel/NAME``: one stream on a whole screen, framed by other pages if need be.

The kiosk is read from three metres; the panel, for the screens of machines, also counts parts and names the recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from server.web.answers import Refused
from server.web.content_policy import content_policy
from server.words import HTML, Operation, Reply, Role, check_name, documented


@dataclass(frozen=True)
class Kiosk:
    """Attributes:
    framed_by: origins whose pages may frame it; none may frame any other page.
    """

    templates: Jinja2Templates
    framed_by: Sequence[str] = ()

    @property
    def routes(self) -> list[Route]:
        return [Route("/kiosk/{name}", self.kiosk), Route("/panel/{name}", self.panel)]

    @documented(
        Operation(
            "One stream on a whole screen; pages of ALLOWED_ORIGINS may frame it",
            {200: Reply("the page", HTML), 422: "a name that no stream can have"},
            role=Role.NOBODY,
        )
    )
    async def kiosk(self, request: Request) -> Response:
        return self._page(request, "kiosk.html")

    @documented(
        Operation(
            "One stream with parts, yield and recipe, for screens of machines; pages of ALLOWED_ORIGINS may frame it",
            {200: Reply("the page", HTML), 422: "a name that no stream can have"},
            role=Role.NOBODY,
        )
    )
    async def panel(self, request: Request) -> Response:
        return self._page(request, "panel.html")

    def _page(self, request: Request, template: str) -> Response:
        try:
            name = check_name(request.path_params["name"])
        except ValueError as error:
            raise Refused(422, str(error)) from error
        headers = {"Content-Security-Policy": content_policy(self.framed_by)}
        return self.templates.TemplateResponse(request, template, {"name": name}, headers=headers)
