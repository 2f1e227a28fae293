"""How many wrong access codes are looked at, and how fast, so that nobody can try them all."""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from detector.counted import counted
from server.access.code import canonical
from server.ground import source_of

_PER_ADDRESS_BURST, _PER_ADDRESS_S = 10, 30.0
_IN_ALL_BURST, _IN_ALL_S = 100, 1.0
_TURN_S, _COMMON_TURN_S = 0.05, 0.02
"""Where an allowance is spent, codes are looked at in turns of this length: from an address, and from everywhere."""
_LONGEST_QUEUE_S = 3.0
_REMEMBERED = 1024
_REMEMBERED_CODES = 16
_LOG_EVERY_S = 60.0

Key = TypeVar("Key")
Value = TypeVar("Value")

_log = logging.getLogger("defectvision.access")


@dataclass
class _Source:
    whole_at: float = 0.0
    """When its allowance is whole again (a leaky bucket in one number)."""
    next_turn: float = 0.0
    wrong: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    """Digests of the last wrong codes."""


class WrongCodes:
    """Counts different wrong codes, from each address and in all, in bounded memory.

    Ten from one address, then one every 30 seconds; a hundred from everywhere, then one a second: what is above is
    told to wait. It is looked at all the same, twenty a second from an address and fifty from everywhere, because a
    right code must get in wherever a wrong one comes from too: a machine with an old code behind the same address, or
    someone who guesses there. At that pace the eight digits of the weakest code anyone may choose take a month, and a
    code made here for ever.

    The same wrong code from the same address counts once: a machine that was not told the new code is no guesser.

    Someone with many addresses can use up the common allowance, but not shut out a machine that knows the code:
    addresses that gave the right one are held to their own allowance only, and browsers with a cookie to none.

    Used from the event loop only.

    Args:
        clock: seconds, monotonic.
        turn_s, common_turn_s: how long a turn is, of an address and of all of them.
        what: is counted, for the log.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        turn_s: float = _TURN_S,
        common_turn_s: float = _COMMON_TURN_S,
        what: str = "wrong access code",
    ) -> None:
        self._clock = clock
        self._turn_s, self._common_turn_s, self._what = turn_s, common_turn_s, what
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._all_whole_at = 0.0
        self._all_next_turn = 0.0
        self._trusted: OrderedDict[str, None] = OrderedDict()
        self._key = secrets.token_bytes(16)
        self._unlogged = 0
        self._next_line_at = -math.inf

    def wait_s(self, address: str) -> int:
        """Whole seconds until another wrong code from this address is within the allowance; 0 when it is now."""
        own, common = self._overdue(source_of(address))
        return math.ceil(max(own, common))

    def is_known(self, address: str, code: str) -> bool:
        """Whether this very code from this address was wrong already."""
        source = self._sources.get(source_of(address))
        return source is not None and self._digest(code) in source.wrong

    def is_in_turns(self, address: str) -> bool:
        """Whether a code from this address would have to wait for its turn."""
        return any(self._overdue(source_of(address)))

    def take_turn(self, address: str) -> float | None:
        """Seconds until a code from this address may be looked at; 0 within the allowance; None when too many wait."""
        name, now = source_of(address), self._clock()
        own, common = self._overdue(name)
        source = self._sources.get(name, _Source())
        at = max(now, source.next_turn if own else 0.0, self._all_next_turn if common else 0.0)
        if at - now > _LONGEST_QUEUE_S:
            return None
        if own:
            source.next_turn = at + self._turn_s
        if common:
            self._all_next_turn = at + self._common_turn_s
        return at - now

    def count_wrong(self, address: str, code: str) -> None:
        """Note a wrong code, and log at most one line a minute about it (never the code)."""
        name, now = source_of(address), self._clock()
        source = self._sources.setdefault(name, _Source())
        _keep_newest(self._sources, name, _REMEMBERED)
        source.wrong[digest := self._digest(code)] = None
        _keep_newest(source.wrong, digest, _REMEMBERED_CODES)
        own, common = self._overdue(name)
        if not own:  # what is over the allowance draws on it no more: nobody has to wait longer than for one more
            source.whole_at = max(source.whole_at, now) + _PER_ADDRESS_S
            if not common:
                self._all_whole_at = max(self._all_whole_at, now) + _IN_ALL_S
        self._unlogged += 1
        if now >= self._next_line_at:
            _log.warning("%s, the last one from %s", counted(self._unlogged, self._what), name)
            self._unlogged, self._next_line_at = 0, now + _LOG_EVERY_S

    def count_right(self, address: str) -> None:
        """Note the right code: its turn was none, and it is as in :meth:`trust`."""
        if (source := self._sources.get(source_of(address))) is not None:
            source.next_turn -= self._turn_s
        self.trust(address)

    def trust(self, address: str) -> None:
        """Somebody who may enter is there: from now on only this address's own mistakes can hold it up."""
        name = source_of(address)
        self._trusted[name] = None
        _keep_newest(self._trusted, name, _REMEMBERED)

    def _overdue(self, name: str) -> tuple[float, float]:
        """Seconds by which an address's own and the common allowance are overdrawn; the latter 0 for the trusted."""
        now, source = self._clock(), self._sources.get(name, _Source())
        own = max(0.0, source.whole_at - now - (_PER_ADDRESS_BURST - 1) * _PER_ADDRESS_S)
        common = max(0.0, self._all_whole_at - now - (_IN_ALL_BURST - 1) * _IN_ALL_S)
        return own, 0.0 if name in self._trusted else common

    def _digest(self, code: str) -> bytes:
        return hashlib.blake2b(canonical(code), key=self._key, digest_size=16).digest()


def _keep_newest(remembered: OrderedDict[Key, Value], key: Key, most: int) -> None:
    remembered.move_to_end(key)
    if len(remembered) > most:
        remembered.popitem(last=False)
