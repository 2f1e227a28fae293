"""Passwords: what one may be, and their hashing, which is made to be slow and to take memory."""

from __future__ import annotations

import asyncio
import functools
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 10, 200
MEMORY_KIB, PASSES = 19 * 1024, 2
"""Of argon2id, for each password that is looked at (what OWASP asks for): 19 MB, and about 30 ms of one core."""
AT_ONCE, MOST_WAITING = 2, 16
"""Hashed at the same time: 38 MB at the most; and waiting for that."""
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"

_HASHER = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)


class PasswordsBusy(Exception):
    """Too many passwords wait to be looked at; one sentence."""


def make_password() -> str:
    """A new one such as ``7kq2-m9xr-4tbd-xw2n``: 79 random bits, readable from a screen."""
    signs = "".join(secrets.choice(_ALPHABET) for _ in range(16))
    return "-".join(signs[at : at + 4] for at in range(0, 16, 4))


def check_password(password: str, name: str) -> str:
    """The password itself.

    Raises:
        ValueError: it cannot be one; the sentence does not repeat it.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"a password has {SHORTEST} to {LONGEST} characters")
    if not password.isprintable():
        raise ValueError("a password has letters, digits, signs and blanks")
    if len(set(password.lower().replace(name.lower(), ""))) < 4:
        raise ValueError("this password is guessed at once: it is the name, or has too few different signs")
    return password


def hashed(password: str) -> str:
    """What is kept in place of a password: argon2id, with its salt and how it was made. Takes 30 ms."""
    return _HASHER.hash(_canonical(password))


def is_password(kept: str | None, given: str) -> bool:
    """Whether what was given is the password; takes as long where there is none."""
    try:
        return _HASHER.verify(kept or _nobodys(), _canonical(given)) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def is_weakly_hashed(kept: str) -> bool:
    """Whether it was hashed with less than is spent now."""
    return _HASHER.check_needs_rehash(kept)


def _canonical(password: str) -> bytes:
    # The same sign may be typed as one or as two characters, as the keyboard has it.
    return unicodedata.normalize("NFC", password[: 4 * LONGEST]).encode("utf-8", "surrogatepass")


@functools.cache
def _nobodys() -> str:
    """What is looked at where nobody has the name that was given."""
    return hashed(secrets.token_urlsafe())


class Passwords:
    """Hashes in threads of its own, so many at once, for the event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "passwords")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """See :func:`hashed`.

        Raises:
            PasswordsBusy: too many wait already.
        """
        self._admit()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, hashed, password)
        finally:
            self._waiting -= 1

    async def verify(self, kept: str | None, given: str) -> bool:
        """See :func:`is_password`.

        Raises:
            PasswordsBusy: too many wait already.
        """
        self._admit()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, is_password, kept, given)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _admit(self) -> None:
        if self._waiting >= AT_ONCE + MOST_WAITING:
            raise PasswordsBusy("too many passwords are being looked at: try again in a moment")
        self._waiting += 1
