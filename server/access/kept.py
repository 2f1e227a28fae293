"""What is kept of accounts, tokens and sessions, and how it lies in files: no secret, only what tells the right one."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from server.ground import Form, ListFile
from server.words import RoleWord

MOST_ACCOUNTS, MOST_TOKENS, MOST_SESSIONS, MOST_OF_ONE = 200, 200, 1000, 50
"""And sessions of one account or token: the one that was not seen for longest makes room."""
MOST_PHONES = 200
"""That were paired by one: otherwise who may pair could have everybody logged out."""
MOST_STREAMS = 50
LONGEST_NAME = 64
CODE_NAME = "access code"
"""What the access code is called among tokens."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)

SessionKind = Literal["account", "token", "code", "device"]


class Account(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who logs in.

    Attributes:
        password: hashed, with all that it takes to check one.
        stamp: changes with the password: a session of another stamp is over.
        created, changed: when it was made, and its password last; seconds of the clock.
    """

    name: str
    role: RoleWord
    password: str
    stamp: str
    created: float
    changed: float
    disabled: bool = False


class Token(Struct, frozen=True, forbid_unknown_fields=True):
    """What a machine shows.

    Attributes:
        digest: sha256 of the secret, hexadecimal.
        streams: the only ones that it may use; None for all.
        by: who made it.
        created, expires, used: seconds of the clock; None for never. `used` lags behind by a minute.
    """

    id: str
    name: str
    role: RoleWord
    digest: str
    streams: tuple[str, ...] | None
    by: str
    created: float
    expires: float | None = None
    used: float | None = None


class Session(Struct, frozen=True, forbid_unknown_fields=True):
    """A browser that is in.

    Attributes:
        digest: sha256 of what its cookie says, hexadecimal.
        kind: what it was opened with; ``device``: a phone that was paired.
        of: name of the account, id of the token, or name of the device.
        stamp: the account's at that time, or what tells the access code.
        role, streams: of a device; others have them from their account or token.
        by: who paired the device.
        created, expires, seen: seconds of the clock; `seen` lags behind by some minutes.
        address, browser: of who opened it.
    """

    id: str
    digest: str
    kind: SessionKind
    of: str
    stamp: str
    created: float
    expires: float
    seen: float
    address: str
    browser: str
    role: RoleWord | None = None
    streams: tuple[str, ...] | None = None
    by: str | None = None


def check_name(name: str) -> str:
    """The name of an account or token itself.

    Raises:
        ValueError: it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a name has 1 to {LONGEST_NAME} characters, of A-Z a-z 0-9 . _ @ and -, the first a letter or digit"
        )
    return name


def make_secret(kind: str) -> str:
    """A new secret of 256 random bits, behind what says of what kind it is."""
    return kind + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """What is kept in place of a secret, and found by: nobody guesses 256 bits, so one pass of sha256 is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def make_id() -> str:
    """What a token or session is called in lists and addresses."""
    return secrets.token_hex(6)


def as_moment(seconds: float | None) -> str | None:
    """Seconds of the clock, as messages say moments."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _check_accounts(accounts: tuple[Account, ...]) -> None:
    if len(accounts) > MOST_ACCOUNTS or len({one.name.lower() for one in accounts}) < len(accounts):
        raise ValueError(f"there are more than {MOST_ACCOUNTS} accounts in it, or two of the same name")
    for account in accounts:
        check_name(account.name)


def _check_tokens(tokens: tuple[Token, ...]) -> None:
    if len(tokens) > MOST_TOKENS or len({one.id for one in tokens}) < len(tokens):
        raise ValueError(f"there are more than {MOST_TOKENS} tokens in it, or two of the same id")


def _check_sessions(sessions: tuple[Session, ...]) -> None:
    if len(sessions) > MOST_SESSIONS or len({one.id for one in sessions}) < len(sessions):
        raise ValueError(f"there are more than {MOST_SESSIONS} sessions in it, or two of the same id")


LARGEST = 2_000_000
"""Bytes of a file."""

ACCOUNTS = ListFile(Account, "accounts", 1, _check_accounts).form(
    largest=LARGEST, without="nobody can log in", then="make logins anew with 'defectvision user add'"
)
TOKENS = ListFile(Token, "tokens", 1, _check_tokens).form(
    largest=LARGEST, without="no token of before is taken", then="make them anew on the page"
)
SESSIONS = ListFile(Session, "sessions", 1, _check_sessions).form(
    largest=LARGEST, without="everybody is logged out", then="log in again"
)
FOLDER = "access"
ACCOUNTS_FILE = f"{FOLDER}/accounts.json"
DOCUMENTS: Mapping[str, Form[Any]] = {
    ACCOUNTS_FILE: ACCOUNTS, f"{FOLDER}/tokens.json": TOKENS, f"{FOLDER}/sessions.json": SESSIONS
}  # fmt: skip
"""What gateways of a plant share of this, by the path in the data directory."""
