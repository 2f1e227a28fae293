"""The page without the server behind it: the templates, the static files and the content policy, nothing else.

Starts at once, for tests that fake the REST (:mod:`tests.page.faked_rest`).
"""

from __future__ import annotations

import contextlib
import mimetypes
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from jinja2 import Environment, FileSystemLoader

from server.web.content_policy import content_policy
from server.web.pages import VIEWS
from tests.running import ROOT


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        if path in ("", *VIEWS):
            templates = Environment(loader=FileSystemLoader(ROOT / "templates"), autoescape=True)
            context = {"version": "0", "views": VIEWS, "view": path or "live"}
            self._answer(templates.get_template("shell.html").render(context).encode(), "text/html; charset=utf-8")
            return
        file = (ROOT / path).resolve()
        if not file.is_relative_to(ROOT / "static") or not file.is_file():
            self.send_error(404)
            return
        self._answer(file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", content_policy())
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def page_only() -> Iterator[str]:
    """The address of such a server, which ends with the context."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
