"""Requests whose body is JSON: bounded, and refused in one sentence where it says something else."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request

from server.web.answers import Refused

MAX_BODY = 64 * 1024

T = TypeVar("T")


async def read_json(request: Request, kind: type[T], most: int = MAX_BODY) -> T:
    """The body of a request as what it must be (a msgspec Struct).

    Raises:
        Refused: larger than ``most`` bytes, or something else.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Refused(413, f"the body is larger than {most // 1024} kB")
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Refused(422, f"send JSON as /docs describes it: {error}") from error
    except UnicodeDecodeError as error:
        raise Refused(422, "send JSON in UTF-8") from error
