"""Files that are made for one answer, sent piece by piece, and what is to be done once they were sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.responses import FileResponse, StreamingResponse
from starlette.types import Receive, Scope, Send


class TemporaryFile(FileResponse):
    """Sends a file, whole: each request is answered with one of its own, and a piece of it fits no piece of another.

    Args:
        done: called when it was sent, or whoever asked went away, or anything went wrong.
    """

    def __init__(self, path: Path, done: Callable[[], None], headers: dict[str, str], media_type: str) -> None:
        super().__init__(path, headers={**headers, "Accept-Ranges": "none"}, media_type=media_type)
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            whole = [(name, value) for name, value in scope["headers"] if name != b"range"]
            await super().__call__({**scope, "headers": whole}, receive, send)
        finally:
            self._done()


class MadeOnTheWay(StreamingResponse):
    """Sends what is made piece by piece while it is sent.

    Args:
        done: as of a :class:`TemporaryFile`.
    """

    def __init__(
        self, pieces: AsyncIterator[bytes], done: Callable[[], None], headers: dict[str, str], media_type: str
    ) -> None:
        super().__init__(pieces, headers=headers, media_type=media_type)
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()
