"""What is asked and answered about who may what, field by field."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from server.access import CODE_ID, CODE_NAME, Access, Account, Entry, Identity, Pairing, Session, Token, as_moment
from server.words import Role, RoleWord

Name = Annotated[
    str, Meta(max_length=64, description="1 to 64 of A-Z a-z 0-9 . _ @ and -, the first a letter or digit")
]
Password = Annotated[str, Meta(max_length=200, description="10 to 200 characters")]
Moment = Annotated[str, Meta(description="ISO 8601, UTC")]
Streams = Annotated[
    list[str], Meta(min_length=1, max_length=50, description="names of the only streams that it may use")
]
How = Literal["open", "session", "token", "device", "nobody"]
Origin = Literal["page", "ACCESS_CODE", "file"]

MOST_DAYS = 3650


class MeBody(Struct, frozen=True):
    """Who asks."""

    name: Annotated[str, Meta(description="of the login, token or phone; empty for nobody")]
    role: Annotated[RoleWord | None, Meta(description="null for nobody")]
    may: Annotated[list[RoleWord], Meta(description="the role and those below it: what pages may offer")]
    how: Annotated[
        How,
        Meta(
            description="open: the server asks nobody, and everybody may everything; session: a browser that is in; "
            "token: a machine; device: a phone that was paired"
        ),
    ]
    streams: Annotated[list[str] | None, Meta(description="the only ones that it may use; null for all")]
    login: Annotated[bool, Meta(description="whether it has a name and a password, which it may change")]
    session: Annotated[str | None, Meta(description="id of its session, which it can end: POST /api/logout")]
    expires: Annotated[Moment | None, Meta(description="when that ends by itself")]
    closed: Annotated[bool, Meta(description="whether this server asks who somebody is")]


class PasswordWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """One's own new password."""

    current: Annotated[str, Meta(max_length=200, description="the one that holds now")]
    new: Password


class Done(Struct, frozen=True):
    """It was done."""

    done: Literal[True] = True


class UserBody(Struct, frozen=True):
    """A login."""

    name: Annotated[str, Meta(description="what is typed to log in, in upper or lower case")]
    role: Annotated[RoleWord, Meta(description="what it may")]
    disabled: Annotated[bool, Meta(description="whether it is kept out")]
    created: Moment
    password_changed: Moment
    sessions: Annotated[int, Meta(ge=0, description="browsers that are in with it")]
    seen: Annotated[Moment | None, Meta(description="when one of them was, last")]


class UsersBody(Struct, frozen=True):
    """All logins."""

    users: list[UserBody]
    room: Annotated[int, Meta(ge=0, description="how many more there may be")]


class UserWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A login to make."""

    name: Name
    role: Annotated[RoleWord, Meta(description="what it may")]
    password: Annotated[Password | None, Meta(description="absent: one is made")] = None


class UserMade(Struct, frozen=True):
    """A login that was made."""

    user: UserBody
    password: Annotated[str | None, Meta(description="where it was made here: it is not told again")]


class UserChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a login; what is absent stays."""

    role: Annotated[RoleWord, Meta(description="what it may")] | UnsetType = UNSET
    disabled: Annotated[bool, Meta(description="whether it is kept out")] | UnsetType = UNSET


class PasswordReset(Struct, frozen=True, forbid_unknown_fields=True):
    """Another password for a login."""

    password: Annotated[Password | None, Meta(description="absent: one is made")] = None


class PasswordMade(Struct, frozen=True):
    """The password of a login was changed; its browsers are out."""

    name: str
    password: Annotated[str | None, Meta(description="where it was made here: it is not told again")]


class TokenBody(Struct, frozen=True):
    """What a machine shows."""

    id: Annotated[str, Meta(description=f"never changes; {CODE_ID}: the access code")]
    name: Annotated[str, Meta(description="what it is called")]
    role: Annotated[RoleWord, Meta(description="what it may")]
    streams: Annotated[list[str] | None, Meta(description="the only ones that it may use; null for all")]
    by: Annotated[str | None, Meta(description="who made it")]
    created: Moment | None
    expires: Annotated[Moment | None, Meta(description="null: not by itself")]
    expired: bool
    used: Annotated[Moment | None, Meta(description="when it was shown last; null: never, or not since the start")]
    origin: Annotated[
        Origin,
        Meta(description="page: made by POST /api/tokens; ACCESS_CODE: a setting, not revoked here; file: access_code"),
    ]


class TokensBody(Struct, frozen=True):
    """All tokens."""

    tokens: list[TokenBody]
    room: Annotated[int, Meta(ge=0, description="how many more there may be")]


class TokenWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A token to make."""

    name: Name
    role: Annotated[RoleWord, Meta(description="what it may")]
    streams: Annotated[Streams | None, Meta(description="absent: all")] = None
    days: Annotated[int, Meta(ge=1, le=MOST_DAYS, description="after which it ends; absent: not by itself")] | None = (
        None
    )


class TokenMade(Struct, frozen=True):
    """A token that was made."""

    token: TokenBody
    secret: Annotated[str, Meta(description="what the machine shows: it is not told again")]


class SessionBody(Struct, frozen=True):
    """A browser that is in, or a phone that was paired."""

    id: Annotated[str, Meta(description="never changes")]
    kind: Annotated[
        Literal["account", "token", "code", "device"],
        Meta(description="what it was opened with; device: a phone that was paired"),
    ]
    name: Annotated[str, Meta(description="of the login, token or phone")]
    role: RoleWord
    streams: Annotated[list[str] | None, Meta(description="the only ones that it may use; null for all")]
    address: Annotated[str, Meta(description="where it was opened from")]
    browser: Annotated[str, Meta(description="its User-Agent then")]
    by: Annotated[str | None, Meta(description="who paired the phone")]
    created: Moment
    seen: Moment
    expires: Moment
    own: Annotated[bool, Meta(description="whether it is the one that asks")]


class SessionsBody(Struct, frozen=True):
    """Sessions, the one that was seen last first."""

    sessions: list[SessionBody]


class Ended(Struct, frozen=True):
    """What was revoked or removed."""

    ended: Annotated[str, Meta(description="its id or name")]
    phones: Annotated[
        int | UnsetType, Meta(description="that it had paired and that were revoked with it; only with `phones=1`")
    ] = UNSET


class PairingWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A phone to pair."""

    stream: Annotated[str, Meta(max_length=64, description="that it may send and watch")]
    device: (
        Annotated[str, Meta(max_length=64, description="what it is called in lists; absent: as the stream")] | None
    ) = None


class PairingBody(Struct, frozen=True):
    """What pairs one phone, once, within ten minutes."""

    id: str
    stream: str
    device: str
    path: Annotated[str, Meta(description="relative to the page's root: ?code=…")]
    url: Annotated[str | None, Meta(description="the same as others reach it; null where nobody else can")]
    qr: Annotated[str | None, Meta(description="a QR code of that, as an <svg> element")]
    good_for_s: Annotated[int, Meta(description="seconds")]


class PairingState(Struct, frozen=True):
    """Whether a pairing still waits."""

    id: str
    waits: Annotated[bool, Meta(description="false: it was used, or is over")]


class AuditBody(Struct, frozen=True):
    """Entries of the audit log, the newest first."""

    entries: list[Entry]
    next: Annotated[int | None, Meta(description="`before` of the page after this one; null on the last")]
    warning: Annotated[str | None, Meta(description="why it cannot be written")]


def me_body(who: Identity, *, closed: bool) -> MeBody:
    return MeBody(
        name=who.name,
        role=_word(who.role),
        may=[word for role in Role if role is not Role.NOBODY and role <= who.role and (word := _word(role))],
        how=who.how,
        streams=None if who.streams is None else sorted(who.streams),
        login=who.account is not None,
        session=who.session,
        expires=as_moment(who.expires),
        closed=closed,
    )


def user_body(account: Account, sessions: list[Session]) -> UserBody:
    own = [one for one in sessions if one.kind == "account" and one.of.lower() == account.name.lower()]
    return UserBody(
        name=account.name,
        role=account.role,
        disabled=account.disabled,
        created=as_moment(account.created) or "",
        password_changed=as_moment(account.changed) or "",
        sessions=len(own),
        seen=as_moment(max((one.seen for one in own), default=None)),
    )


def token_body(token: Token, now: float) -> TokenBody:
    return TokenBody(
        id=token.id,
        name=token.name,
        role=token.role,
        streams=None if token.streams is None else list(token.streams),
        by=token.by,
        created=as_moment(token.created),
        expires=as_moment(token.expires),
        expired=token.expires is not None and token.expires <= now,
        used=as_moment(token.used),
        origin="page",
    )


def code_body(access: Access) -> TokenBody:
    """The access code, as a token."""
    return TokenBody(
        id=CODE_ID,
        name=CODE_NAME,
        role="admin",
        streams=None,
        by=None,
        created=None,
        expires=None,
        expired=False,
        used=as_moment(access.code_used),
        origin="file" if access.code_can_be_revoked else "ACCESS_CODE",
    )


def session_body(session: Session, who: Identity, asks: Identity) -> SessionBody:
    return SessionBody(
        id=session.id,
        kind=session.kind,
        name=who.name,
        role=_word(who.role) or "viewer",
        streams=None if who.streams is None else sorted(who.streams),
        address=session.address,
        browser=session.browser,
        by=session.by,
        created=as_moment(session.created) or "",
        seen=as_moment(session.seen) or "",
        expires=as_moment(session.expires) or "",
        own=session.id == asks.session,
    )


def pairing_body(pairing: Pairing, path: str, url: str | None, qr: str | None, good_for_s: float) -> PairingBody:
    return PairingBody(pairing.id, pairing.stream, pairing.device, path, url, qr, int(good_for_s))


def _word(role: Role) -> RoleWord | None:
    words: dict[Role, RoleWord] = {
        Role.VIEWER: "viewer",
        Role.OPERATOR: "operator",
        Role.ENGINEER: "engineer",
        Role.ADMIN: "admin",
    }
    return words.get(role)
