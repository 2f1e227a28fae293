"""Asks a sender whether it is still there, by an ICE check of our own (RFC 7675), when nothing else comes from it.

Nothing has to come: a source that pauses sends neither pictures nor, with GStreamer, reports. aioice asks by itself
every five seconds and takes half a minute to give up. Fits aioice 0.13 as used by aiortc 1.16; with another the sender
counts as gone, as if it had not answered.
"""

from __future__ import annotations

import logging
from typing import Any

from aioice import stun
from aiortc import RTCIceTransport

logger = logging.getLogger("defectvision.webrtc")

RETRANSMISSIONS = 2
"""Asked again after 0.5 and 1.5 s, given up 2 s later."""


async def is_there(transport: RTCIceTransport) -> bool:
    """Whether the other side of a connection answers."""
    try:
        connection: Any = transport._connection
        for pair in connection._nominated.values():
            request = connection.build_request(pair, nominate=False)
            await pair.protocol.request(
                request,
                pair.remote_addr,
                integrity_key=connection.remote_password.encode(),
                retransmissions=RETRANSMISSIONS,
            )
            return True
    except (stun.TransactionError, ConnectionError):
        return False
    except (AttributeError, TypeError) as error:
        logger.warning("cannot ask a silent WebRTC sender whether it is there, it counts as gone: %s", error)
    return False
