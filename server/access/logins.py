"""Logging in: how many passwords are looked at, and how fast, from an address and for an account.

A stranger's guesses must not lock out the owner. So what is above an allowance is looked at in turns, not refused, and:

- browsers that are in are asked for no password;
- an address from which the account was logged in to waits for no turn of the account's, only for its own address's;
- of the account's turns each other address waits for one at a time, so that a single guesser leaves the next one free.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from server.access.access import Access
from server.access.identity import Identity
from server.access.kept import Account
from server.access.wrong_codes import WrongCodes
from server.ground import source_of
from server.words import role_of

TURN_S, COMMON_TURN_S = 0.5, 0.25
"""Past the allowance of an address (ten, then one in 30 s) and of all (a hundred, then one a second): every look costs
30 ms of a core."""
ACCOUNT_BURST, ACCOUNT_S = 10, 60.0
ACCOUNT_TURN_S = 1.0
"""Wrong passwords of one account within its allowance, one more a minute; and its turns above it."""
LONGEST_QUEUE_S = 10.0
REMEMBERED_ADDRESSES = 32
UNKNOWN_NAMES = 1024
"""What is counted of names that nobody has, in so many places: guesses at one of them must not be slower than those at
a login, or the wait would tell who has one; and they fill no memory."""
SOMEBODY = "somebody unknown"


class TooManyTries(Exception):
    """Too many passwords wait to be looked at.

    Attributes:
        wait_s: whole seconds after which another try makes sense.
    """

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many wrong passwords: wait {wait_s} s, then try again")
        self.wait_s = wait_s


@dataclass
class _Tried:
    """What was tried of one account: when its allowance is whole again, its next turn, who waits, who was right."""

    whole_at: float = 0.0
    next_turn: float = 0.0
    waiting: set[str] = field(default_factory=set)
    right: OrderedDict[str, None] = field(default_factory=OrderedDict)


class Logins:
    """Args:
    access: knows the accounts.
    clock: seconds, monotonic; ``sleep``: waits for a turn.
    """

    def __init__(
        self,
        access: Access,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = asyncio.sleep,
    ) -> None:
        self._access, self._clock, self._sleep = access, clock, sleep
        self._addresses = WrongCodes(clock, turn_s=TURN_S, common_turn_s=COMMON_TURN_S, what="wrong password")
        self._accounts: dict[str, _Tried] = {}
        self._key = secrets.token_bytes(16)

    async def log_in(self, name: str, password: str, address: str) -> Account | None:
        """The account, where that is its password.

        Raises:
            TooManyTries: there is no turn soon.
            PasswordsBusy: too many are being looked at.
        """
        known = self._access.is_account(name)
        tried = self._accounts.setdefault(name.lower() if known else self._place_of(name), _Tried())
        source, secret = source_of(address), f"{name.lower()}\0{password}"
        turn_s = self._addresses.take_turn(address)
        account_turn_s = 0.0 if source in tried.right else self._account_turn(tried, source)
        if turn_s is None or account_turn_s is None:
            raise TooManyTries(max(1, self._addresses.wait_s(address)))
        if wait := max(turn_s, account_turn_s):
            tried.waiting.add(source)
            try:
                await self._sleep(wait)  # type: ignore[misc]
            finally:
                tried.waiting.discard(source)
        account = await self._access.is_password_of(name, password)
        if account is not None:
            self._addresses.count_right(address)
            tried.right[source] = None
            tried.right.move_to_end(source)
            if len(tried.right) > REMEMBERED_ADDRESSES:
                tried.right.popitem(last=False)
            return account
        now = self._clock()
        wait_s = self._addresses.wait_s(address)
        self._addresses.count_wrong(address, secret)
        if tried.whole_at - now < ACCOUNT_BURST * ACCOUNT_S:
            tried.whole_at = max(tried.whole_at, now) + ACCOUNT_S
        self._note_wrong(name, known, address)
        if wait_s:
            raise TooManyTries(wait_s)
        return None

    def _place_of(self, unknown: str) -> str:
        """Where a name that nobody has is counted: no account is called so."""
        digest = hashlib.blake2b(
            unknown.lower().encode("utf-8", "surrogatepass"), key=self._key, digest_size=8
        ).digest()
        return f"\0{int.from_bytes(digest) % UNKNOWN_NAMES}"

    def _account_turn(self, tried: _Tried, source: str) -> float | None:
        now = self._clock()
        if tried.whole_at - now <= (ACCOUNT_BURST - 1) * ACCOUNT_S:
            return 0.0
        at = max(now, tried.next_turn)
        if source in tried.waiting or at - now > LONGEST_QUEUE_S:
            return None
        tried.next_turn = at + ACCOUNT_TURN_S
        return at - now

    def _note_wrong(self, name: str, known: bool, address: str) -> None:
        # A name that is nobody's may be a password in the wrong field.
        self._access.audit.note_repeated(
            name.lower() if known else SOMEBODY, "failed to log in", address=source_of(address)
        )


def identity_of(account: Account) -> Identity:
    """Who that is, for the log."""
    return Identity(account.name, role_of(account.role), "session", account=account.name)
