"""How many wrong access codes are looked at, so that nobody can try them all."""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address

_PER_ADDRESS_BURST, _PER_ADDRESS_S = 10, 30.0
_IN_ALL_BURST, _IN_ALL_S = 100, 1.0
_REMEMBERED = 1024
_LOG_EVERY_S = 60.0

_log = logging.getLogger("defectvision.access")


class WrongCodes:
    """Counts wrong codes, from each address and in all, in bounded memory.

    Ten wrong codes from one address, then one every 30 seconds; a hundred from everywhere, then one a
    second. Someone with many addresses can thus use up the common allowance, but not shut out a machine that
    knows the code: addresses that gave the right one are held to their own allowance only, and browsers with
    a cookie to none.

    Used from the event loop only.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # For each address the time at which its allowance is whole again (a leaky bucket in one number).
        self._whole_at: OrderedDict[str, float] = OrderedDict()
        self._all_whole_at = 0.0
        self._trusted: OrderedDict[str, None] = OrderedDict()
        self._unlogged = 0
        self._next_line_at = -math.inf

    def wait_s(self, address: str) -> int:
        """Whole seconds until a code from this address is looked at again; 0 when it is now."""
        source, now = _source(address), self._clock()
        wait = _overdue(self._whole_at.get(source, 0.0), now, _PER_ADDRESS_BURST, _PER_ADDRESS_S)
        if source not in self._trusted:
            wait = max(wait, _overdue(self._all_whole_at, now, _IN_ALL_BURST, _IN_ALL_S))
        return math.ceil(wait)

    def count_wrong(self, address: str) -> None:
        """Note a wrong code, and log at most one line a minute about it (never the code)."""
        source, now = _source(address), self._clock()
        self._whole_at[source] = max(self._whole_at.get(source, 0.0), now) + _PER_ADDRESS_S
        _keep_newest(self._whole_at, source)
        self._all_whole_at = max(self._all_whole_at, now) + _IN_ALL_S
        self._unlogged += 1
        if now >= self._next_line_at:
            plural = "s" if self._unlogged > 1 else ""
            _log.warning("%d wrong access code%s, the last one from %s", self._unlogged, plural, source)
            self._unlogged, self._next_line_at = 0, now + _LOG_EVERY_S

    def count_right(self, address: str) -> None:
        """Note the right code: from now on only this address's own mistakes can hold it up."""
        source = _source(address)
        self._trusted[source] = None
        _keep_newest(self._trusted, source)


def _overdue(whole_at: float, now: float, burst: int, every_s: float) -> float:
    return max(0.0, whole_at - now - (burst - 1) * every_s)


def _keep_newest(remembered: OrderedDict[str, float] | OrderedDict[str, None], source: str) -> None:
    remembered.move_to_end(source)
    if len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)


def _source(address: str) -> str:
    """Who an address stands for: an IPv6 host has a whole /64 to call from."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, 64), strict=False))
