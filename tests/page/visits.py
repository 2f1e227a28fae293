"""What the fixtures of this folder hand to its tests."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from playwright.sync_api import Page, Request, Route

LOOPBACK_SERVER = "tests.page.loopback_server"

DRAWN = "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
"""For ``evaluate``: waits until what changed is drawn."""


def requests_held(
    page: Page, address: str | re.Pattern[str], which: Callable[[Request], bool] = lambda request: True
) -> list[Route]:
    """Requests to an address, which wait until a test lets them go on, as they come."""
    held: list[Route] = []
    page.route(address, lambda route: held.append(route) if which(route.request) else route.fallback())
    return held


@dataclass(frozen=True)
class Line:
    """A server at its first start; ``wait`` returns when it has taught its model on the simulated line."""

    url: str
    wait: Callable[[], None]


@dataclass
class Visit:
    """A page in a browser, what it asked for and what it complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")


Open = Callable[..., Visit]
"""Opens a page in a browser context of its own."""

Serve = Callable[[], contextlib.AbstractContextManager[str]]
"""Starts a server with the model; started again, it is the same one, restarted."""

Show = Callable[..., Visit]
"""Opens a page whose server is a scene."""
