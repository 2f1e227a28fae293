"""Bounds what a sender may do on its data channels, on which nothing but the opening of one is expected.

aiortc keeps every fragment of an unfinished message, whatever receive window it announced, and goes through all of them
with each packet. Fits aiortc 1.16; checked when a connection is guarded, and told once where it does not fit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc import RTCSctpTransport

logger = logging.getLogger("defectvision.webrtc")

MAX_CHANNELS = 16
MAX_UNFINISHED = 128 * 1024
"""Bytes of messages that have come in part."""

MAX_PACKETS_PER_S = 3_000
"""Acknowledging 30 results a second of 20 kB takes a few hundred."""

WINDOW = "_advertised_rwnd"


def guard(sctp: RTCSctpTransport, end: Callable[[str], None]) -> bool:
    """Watch what comes for a connection's data channels.

    Args:
        sctp: of the connection, before it starts.
        end: told why the sender goes too far; nothing more of it is looked at.

    Returns:
        whether it could be done.
    """
    if not (
        callable(getattr(sctp, "_handle_data", None))
        and isinstance(getattr(sctp, "_data_channels", None), dict)
        and isinstance(getattr(sctp, "_inbound_streams", None), dict)
        and isinstance(getattr(sctp, WINDOW, None), int)
    ):
        logger.warning("WebRTC data channels are not bounded: this aiortc is another than 1.16")
        return False
    sctp._handle_data = _Guard(sctp, sctp._handle_data, end).handle
    return True


class _Guard:
    def __init__(self, sctp: Any, handle: Callable[[bytes], Awaitable[None]], end: Callable[[str], None]) -> None:
        self._sctp, self._handle, self._end = sctp, handle, end
        self._window = getattr(sctp, WINDOW)
        self._second, self._packets = 0, 0
        self._ended = False

    async def handle(self, data: bytes) -> None:
        """A packet for the data channels."""
        if self._ended:
            return
        await self._handle(data)
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._packets = second, 0
        self._packets += 1
        if (reason := self._too_far()) is not None:
            self._ended = True
            self._end(reason)

    def _too_far(self) -> str | None:
        if self._packets > MAX_PACKETS_PER_S:
            return f"more than {MAX_PACKETS_PER_S} packets a second on the data channel"
        if self._window - getattr(self._sctp, WINDOW) > MAX_UNFINISHED:
            return f"more than {MAX_UNFINISHED // 1024} kB of an unfinished message on the data channel"
        if max(len(self._sctp._data_channels), len(self._sctp._inbound_streams)) > MAX_CHANNELS:
            return f"more than {MAX_CHANNELS} data channels"
        return None
