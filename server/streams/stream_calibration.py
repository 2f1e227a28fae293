"""Calibrating on a running stream: raw scores of the very frames that are inspected, as its transport brought them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from server.streams.hub import Hub
from server.words import Message, Result, Status

MAX_FRAMES = 200
MAX_SECONDS = 600.0
SILENCE_S = 10.0
"""How long a stream may give no result before a calibration on it is given up."""

_decode = msgspec.json.Decoder(Message).decode


class StreamWentAway(Exception):
    """The stream gave no more results; the message says so."""


async def normal_scores(
    hub: Hub, name: str, n: int, seconds: float, *, gone: Callable[[], Awaitable[bool]] | None = None
) -> list[float]:
    """Raw scores of the next ``n`` results of a stream, spread over so many seconds, so that several parts are seen.

    A simulated part that is known to be defective is left out: nobody could take it away from that line.

    Args:
        gone: whether the one who asked is gone; it is not worth going on then.

    Raises:
        StreamWentAway: its camera left, or nothing was inspected for 10 s.
    """
    spacing = seconds / n
    clock = asyncio.get_running_loop().time
    scores: list[float] = []
    due = clock()
    subscription = hub.subscribe(name)
    messages = aiter(subscription)
    try:
        async with asyncio.timeout(SILENCE_S) as silence:
            while len(scores) < n:
                message = _decode(await anext(messages))
                if isinstance(message, Status) and message.state == "waiting":
                    raise StreamWentAway(f"the camera of {name} went away: nothing was changed")
                if not isinstance(message, Result):
                    continue
                silence.reschedule(clock() + SILENCE_S)
                if gone is not None and await gone():
                    raise StreamWentAway("nobody waits for this calibration any more: nothing was changed")
                spoiled = isinstance(message.simulated, msgspec.Struct) and message.simulated.defect is not None
                if spoiled or clock() < due:
                    continue
                scores.append(message.raw_score)
                due = max(due + spacing, clock())
    except (TimeoutError, StopAsyncIteration) as error:
        words = f"no frame of {name} was inspected for {SILENCE_S:g} s: check its camera; nothing was changed"
        raise StreamWentAway(words) from error
    finally:
        hub.unsubscribe(name, subscription)
    return scores
