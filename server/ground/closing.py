"""The end of a WebRTC connection, whatever its parts do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

logger = logging.getLogger("defectvision.webrtc")

CLOSE_WITHIN = 0.8
"""Seconds a connection is given to say goodbye; the same again to let go of what does not."""


async def close_connection(
    connection: Any, of: str, *, within_s: float = CLOSE_WITHIN, level: int = logging.WARNING
) -> None:
    """Close a connection. One whose parts hang, as aiortc's do once reporting on them failed, leaves no socket open and
    hears nothing more.

    Args:
        connection: aiortc's.
        of: whose it is, for the log.
        within_s: it may take to say goodbye, and once more.
        level: of the line in the log that it did not.
    """
    try:
        async with asyncio.timeout(within_s):
            await connection.close()
    except TimeoutError:
        logger.log(level, "connection did not close in time, and was cut off %s", of)
        await asyncio.gather(*(_cut_off(one, within_s / 2) for one in transports_of(connection)))


def transports_of(connection: Any) -> set[Any]:
    """What carries a connection: its DTLS, each over an ICE of its own."""
    found = {one.receiver.transport for one in connection.getTransceivers()}
    return found if connection.sctp is None else found | {connection.sctp.transport}


async def _cut_off(transport: Any, within_s: float) -> None:
    for part in (transport, transport.transport):
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(within_s):
                await part.stop()
