"""Bounds how many sources (SSRC, RFC 3550) one sender's video may come from.

aiortc keeps something of each for good, and reports of all at once: of 256 or more that fails, and the connection
does not close any more. A browser has one for its video and one for what it repeats, and new ones where it begins anew.
Fits aiortc 1.16; checked when a connection is guarded, and told once where it does not fit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("defectvision.webrtc")

MOST_SOURCES = 16


def guard(transport: Any, end: Callable[[str], None]) -> bool:
    """Watch from how many sources packets come.

    Args:
        transport: DTLS, of the connection's video, before it starts.
        end: told why the sender goes too far; packets of further sources are dropped.

    Returns:
        whether it could be done.
    """
    router = getattr(transport, "_rtp_router", None)
    route = getattr(router, "route_rtp", None)
    if router is None or not callable(route):
        logger.warning("the sources of WebRTC video are not bounded: this aiortc is another than 1.16")
        return False
    sources = set[int]()

    def bounded(packet: Any) -> Any:
        if packet.ssrc not in sources:
            if len(sources) >= MOST_SOURCES:
                end(f"video from more than {MOST_SOURCES} sources (SSRC)")
                return None
            sources.add(packet.ssrc)
        return route(packet)

    router.route_rtp = bounded
    return True
