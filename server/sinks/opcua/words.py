"""What the sink and the process that serves OPC UA say to each other over its standard input and output."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec
from msgspec import Struct

from server.words import PartResult, StreamState

LONGEST = 1_000_000
"""Bytes of a message."""

Refusal = Literal["state", "argument", "failed"]
"""Why something that was asked is not done: as things are now; what was asked cannot be; it went wrong."""


class Recipe(Struct, frozen=True):
    """One that there is."""

    id: str
    name: str
    version: int


class Standing(Struct, frozen=True):
    """How a stream stands now.

    ``by``: what says that there is a part, as in a recipe; ``in_work``: a part is.
    """

    stream: str
    camera: StreamState
    by: str
    in_work: bool
    simulated: bool
    recipe: Recipe | None


# to the process


class Begin(Struct, frozen=True, tag=True):
    """The first message. ``run``: the same as long as this server runs; ``folder``: of certificates."""

    host: str
    port: int
    user: str
    password: str
    encrypted: bool
    listed_only: bool
    name: str
    run: str
    folder: str
    uri: str


class Shown(Struct, frozen=True, tag=True):
    """How streams stand, those that changed, and all recipes, if those did."""

    streams: tuple[Standing, ...] = ()
    recipes: tuple[Recipe, ...] | None = None


class Told(Struct, frozen=True, tag=True):
    """A part has its verdict; answered by :class:`Done`. ``standing``: of its stream, after it."""

    number: int
    part: PartResult
    standing: Standing


class Answer(Struct, frozen=True, tag=True):
    """To an :class:`Ask`: the number of the trigger, or the recipe's id; or why not."""

    ask: int
    trigger: int | None = None
    recipe: str | None = None
    refusal: Refusal | None = None
    words: str = ""


class Ping(Struct, frozen=True, tag=True):
    """Answered by :class:`Alive`, or it hangs."""


class Look(Struct, frozen=True, tag=True):
    """Connect as a client does, and say what is seen; answered by :class:`Seen`."""


# from the process


class Up(Struct, frozen=True, tag=True):
    """It serves. ``port``: the one it got; ``certificate``: SHA-256 of its own, hexadecimal."""

    port: int
    certificate: str


class Failed(Struct, frozen=True, tag=True):
    """It cannot serve, and ends: one sentence. ``trace``: of a fault of this software's, for the log."""

    words: str
    trace: str = ""


class Seen(Struct, frozen=True, tag=True):
    """What a client saw that looked at it, or why it saw nothing: one sentence."""

    is_well: bool
    words: str


class Done(Struct, frozen=True, tag=True):
    """A told part can be read, and its event was fired. ``fault``: of this software's, by which it cannot; a trace."""

    number: int
    fault: str = ""


class Ask(Struct, frozen=True, tag=True):
    """A client wants something: a trigger, or a recipe by id or name."""

    ask: int
    stream: str
    what: Literal["trigger", "recipe"]
    part: str | None = None
    trigger_id: str | None = None
    recipe: str = ""


class Alive(Struct, frozen=True, tag=True):
    """How the process is doing. Counted since its start: ``refused``: logins with a wrong password or none;
    ``untrusted``: clients whose certificate is not on the list; ``cut``: connections over a bound, or with garbage;
    ``left_out``: streams that there was no room for."""

    sessions: int
    refused: int
    untrusted: int
    cut: int
    left_out: int


ToProcess = Begin | Shown | Told | Answer | Ping | Look
FromProcess = Up | Failed | Seen | Done | Ask | Alive

_encoder = msgspec.msgpack.Encoder()
_to_process = msgspec.msgpack.Decoder(ToProcess)
_from_process = msgspec.msgpack.Decoder(FromProcess)


def packed(message: ToProcess | FromProcess) -> bytes:
    body = _encoder.encode(message)
    return len(body).to_bytes(4, "big") + body


async def to_process(reader: asyncio.StreamReader) -> ToProcess | None:
    """The next message; None at the end. Raises ValueError where it is none."""
    body = await _body(reader)
    return None if body is None else _to_process.decode(body)


async def from_process(reader: asyncio.StreamReader) -> FromProcess | None:
    """The next message; None at the end. Raises ValueError where it is none."""
    body = await _body(reader)
    return None if body is None else _from_process.decode(body)


async def _body(reader: asyncio.StreamReader) -> bytes | None:
    try:
        length = int.from_bytes(await reader.readexactly(4), "big")
        if length > LONGEST:
            raise ValueError("a message is too long")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
