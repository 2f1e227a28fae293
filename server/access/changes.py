"""What accounts, tokens and sessions become when somebody changes them: steps for documents, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from server.access import kept
from server.access.kept import CODE_NAME, Account, Session, SessionKind, Token, make_id
from server.access.passwords import check_password, hashed, make_password
from server.words import RoleWord

DAY_S = 24 * 3600.0
IDLE_S: dict[SessionKind, float] = {
    "account": 7 * DAY_S,
    "token": 365 * DAY_S,
    "code": 365 * DAY_S,
    "device": 30 * DAY_S,
}
"""How long a session lasts without a sign of it."""


class AccessRefused(Exception):
    """A change of who may what that cannot be; one sentence."""


class NoSuch(AccessRefused):
    """There is none of that name."""


def chosen(password: str | None, name: str) -> tuple[str, str | None]:
    """The password that was chosen, or one that is made, which then comes a second time.

    Raises:
        ValueError: it cannot be one.
    """
    if password is not None:
        return check_password(password, name), None
    made = make_password()
    return made, made


def made_account(name: str, role: RoleWord, password: str, now: float) -> Account:
    return Account(name, role, hashed(password), make_id(), now, now)


def is_admin(account: Account) -> bool:
    return account.role == "admin" and not account.disabled


def with_account(account: Account, accounts: tuple[Account, ...]) -> tuple[Account, ...]:
    if any(one.name.lower() == account.name.lower() for one in accounts):
        raise AccessRefused(f"there is an account {account.name} already")
    if len(accounts) >= kept.MOST_ACCOUNTS:
        raise AccessRefused(f"there are {kept.MOST_ACCOUNTS} accounts: remove one first")
    return (*accounts, account)


def changed(name: str, fields: Mapping[str, Any], accounts: tuple[Account, ...]) -> tuple[Account, ...]:
    if not any(one.name.lower() == name.lower() for one in accounts):
        raise NoSuch("there is no account of that name")
    return with_an_admin(
        accounts,
        tuple(msgspec.structs.replace(one, **fields) if one.name.lower() == name.lower() else one for one in accounts),
    )


def changed_since(account: Account, fields: Mapping[str, Any], accounts: tuple[Account, ...]) -> tuple[Account, ...]:
    """As :func:`changed`, where its password is the one of then."""
    if any(one.name.lower() == account.name.lower() and one.stamp != account.stamp for one in accounts):
        raise AccessRefused("the password was changed meanwhile: log in with the new one")
    return changed(account.name, fields, accounts)


def without_account(name: str, accounts: tuple[Account, ...]) -> tuple[Account, ...]:
    left = tuple(one for one in accounts if one.name.lower() != name.lower())
    if len(left) == len(accounts):
        raise NoSuch("there is no account of that name")
    return with_an_admin(accounts, left)


def with_an_admin(before: tuple[Account, ...], after: tuple[Account, ...]) -> tuple[Account, ...]:
    if any(map(is_admin, before)) and not any(map(is_admin, after)):
        raise AccessRefused("this is the last admin who can log in: make another one first")
    return after


def with_token(token: Token, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    if token.name.lower() == CODE_NAME or any(one.name.lower() == token.name.lower() for one in tokens):
        raise AccessRefused(f"there is a token {token.name} already")
    if len(tokens) >= kept.MOST_TOKENS:
        raise AccessRefused(f"there are {kept.MOST_TOKENS} tokens: revoke one first")
    return (*tokens, token)


def fewest(found: dict[str, Session], seen: dict[str, float], now: float) -> tuple[Session, ...]:
    """Sessions that are kept: with when they were seen, without those that are over, and within the bounds."""
    lasting: list[Session] = []
    of_one: dict[tuple[str, str], int] = {}
    current = (msgspec.structs.replace(one, seen=max(one.seen, seen.get(one.digest, 0.0))) for one in found.values())
    for session in sorted(current, key=lambda one: one.seen, reverse=True):
        key = (session.kind, session.by or "" if session.kind == "device" else session.of)
        count = of_one[key] = of_one.get(key, 0) + 1
        most = {"device": kept.MOST_PHONES, "code": kept.MOST_SESSIONS}.get(session.kind, kept.MOST_OF_ONE)
        if session.expires > now and now - session.seen < IDLE_S[session.kind] and count <= most:
            lasting.append(session)
    return tuple(lasting[: kept.MOST_SESSIONS])
