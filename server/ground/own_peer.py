"""Lets the ports of a WebRTC connection take from its own peer alone.

aioice hands on what comes from anywhere, and aiortc ends for good at one empty datagram: whoever reaches the port could
end a video, on either side, or, with many, have it ended as one that sends too much. A check with an attribute cut
short is more than aioice expects, and would be a traceback in the log. Fits aioice 0.13 as used by aiortc 1.16; checked
when a connection is guarded, and told once where it does not fit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from server.ground.closing import transports_of
from server.ground.refusals import Refusals

logger = logging.getLogger("defectvision.webrtc")

MAX_CHECKS_PER_S = 200
"""ICE checks that a port takes from addresses that passed none yet; a peer makes some tens in all."""

STUN_UNTIL = 4
"""First bytes below are those of STUN (RFC 7983)."""


def guard(connection: Any, refusals: Refusals) -> bool:
    """Watch what comes to the ports of a connection, once it has them.

    Args:
        connection: aiortc's, after its offer or answer was made, before anybody had it.
        refusals: where datagrams of strangers are counted.

    Returns:
        whether it could be done.
    """
    try:
        for carrier in transports_of(connection):
            checked: Any = carrier.transport._connection
            assert isinstance(checked._check_list, list)
            while not checked._queue.empty():
                checked._queue.get_nowait()  # came while the ports were opened
            for protocol in checked._protocols:
                protocol.datagram_received = _Port(checked, protocol.datagram_received, refusals).received
    except (AttributeError, AssertionError, TypeError) as error:
        logger.warning("WebRTC ports take from everybody: this aiortc or aioice is another (%s)", error)
        return False
    return True


class _Port:
    def __init__(self, checked: Any, handle: Callable[[bytes, Any], None], refusals: Refusals) -> None:
        self._checked, self._handle, self._refusals = checked, handle, refusals
        self._second, self._checks = 0, 0

    def received(self, data: bytes, address: Any) -> None:
        """A datagram, and where it comes from: host, port, and with IPv6 more."""
        if data and (self._is_known(address[0], address[1]) or self._may_check(data)):
            try:
                self._handle(data, address)
                return
            except Exception:  # of whatever kind aioice meets a broken check with
                logger.debug("a datagram that aioice cannot read", exc_info=True)
        self._refusals.note("datagrams at a WebRTC port that are not its peer's were dropped", address[0])

    def _is_known(self, host: str, port: int) -> bool:
        """Whether the peer named that address, or made a check from it that was signed with its password."""
        return any(pair.remote_addr == (host, port) for pair in self._checked._check_list)

    def _may_check(self, data: bytes) -> bool:
        """Whether it may be an ICE check, which aioice looks at itself: the first from wherever the peer is."""
        if data[0] >= STUN_UNTIL:
            return False
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._checks = second, 0
        self._checks += 1
        return self._checks <= MAX_CHECKS_PER_S
