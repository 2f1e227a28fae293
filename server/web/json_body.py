"""Requests whose body is JSON: read whole, bounded, and refused in one sentence where it says something else."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request

from server.web.answers import Refused

MAX_BODY = 64 * 1024

Wanted = TypeVar("Wanted", bound=msgspec.Struct)


async def read_json(
    request: Request, kind: type[Wanted], most: int = MAX_BODY, example: str = "what /docs describes"
) -> Wanted:
    """The body of a request.

    Args:
        kind: what it must be.
        most: bytes of it.
        example: of a body, for the refusal.

    Raises:
        Refused: it is larger (413), or no such JSON (422).
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Refused(413, f"the body is larger than {most // 1024} kB: send {example}")
    try:
        return msgspec.json.decode(bytes(body) or b"{}", type=kind)  # nothing said: what may be left out is
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(422, f"send {example} as JSON: {error}") from error
