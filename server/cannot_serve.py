"""What is shown in the place of everything, while the server cannot serve as it is set: what is wrong, what to do.

A server that ends is started again by whatever keeps it alive, and ends again; whoever stands at the line sees nothing
but a browser that finds no server. So the process stays, and says why.
"""

from __future__ import annotations

import jinja2
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from server.access import comes_through_a_proxy, is_local_host
from server.ground import is_loopback, page_folder

COME_BACK = 1012
LOOK_EVERY_S = 5
"""After which the page looks again, and the server tries again."""
TO_STRANGERS = "DefectVision cannot start as it is set. The log on its machine, and this page opened there, say why."

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Retry-After": str(LOOK_EVERY_S),
}
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

_templates = jinja2.Environment(loader=jinja2.FileSystemLoader(page_folder("templates")), autoescape=True)


class CannotServe:
    """Attributes:
    why: one sentence, for those who sit at the machine: it may name folders.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        routes = [
            Mount("/static", StaticFiles(directory=page_folder("static"))),
            WebSocketRoute("/{path:path}", self.hang_up),
            Route("/{path:path}", self.say, methods=_METHODS),
        ]
        self.app = Starlette(routes=routes)

    async def say(self, request: Request) -> Response:
        """503, as a page for browsers and as JSON for all else."""
        words = self._words_for(request)
        if "text/html" in request.headers.get("accept", ""):
            page = _templates.get_template("cannot_serve.html").render(root="/", why=words, every_s=LOOK_EVERY_S)
            return HTMLResponse(page, 503, {**_HEADERS, "Refresh": str(LOOK_EVERY_S)})
        body = {"status": "error", "reason": words} if request.url.path == "/health" else {"error": words}
        return JSONResponse(body, 503, _HEADERS)

    async def hang_up(self, socket: WebSocket) -> None:
        """Whoever streams or listens is told to come back."""
        await socket.accept()
        await socket.close(COME_BACK, "the server cannot start as it is set; its page says why")

    def _words_for(self, connection: HTTPConnection) -> str:
        here = connection.client is not None and is_loopback(connection.client.host)
        named = is_local_host(connection.headers.get("host", ""))  # not by a web site that calls this machine its own
        return self.why if here and named and not comes_through_a_proxy(connection.scope) else TO_STRANGERS
