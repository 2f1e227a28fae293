"""The end of a connection, whatever its parts do."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from aiortc import RTCPeerConnection

logger = logging.getLogger("defectvision.webrtc")

CLOSE_WITHIN = 0.8
"""Seconds a connection is given to say goodbye; the same again to let go of what does not."""


async def close(connection: RTCPeerConnection, of: str) -> None:
    """Close a connection. One whose parts hang, as aiortc's do once reporting on them failed, leaves no socket open and
    hears nothing more.

    Args:
        of: whose it is, for the log.
    """
    try:
        async with asyncio.timeout(CLOSE_WITHIN):
            await connection.close()
    except TimeoutError:
        logger.warning("connection did not close in time, and was cut off %s", of)
        await _cut_off(connection)


async def _cut_off(connection: RTCPeerConnection) -> None:
    transports = {one.receiver.transport for one in connection.getTransceivers()}
    if connection.sctp is not None:
        transports.add(connection.sctp.transport)
    for transport in transports:
        for part in (transport, transport.transport):
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(CLOSE_WITHIN):
                    await part.stop()
