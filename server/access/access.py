"""Who is in: accounts, tokens, sessions and pairings together, and those who are told when somebody is no more."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from server.access import changes, kept
from server.access.audit import Audit
from server.access.changes import DAY_S, AccessRefused, NoSuch
from server.access.code import canonical, same_code
from server.access.documents import SHARED_FILES
from server.access.identity import EVERYBODY, NOBODY, Identity
from server.access.kept import CODE_NAME, Account, Session, SessionKind, Token, digest_of, make_id, make_secret
from server.access.pairings import Pairing, Pairings
from server.access.passwords import Passwords, PasswordsBusy, hashed, is_weakly_hashed, make_password
from server.access.sessions import KnownSessions
from server.access.standing import Standing, Watches
from server.ground import SharedShelf
from server.words import Role, RoleWord, role_of

TOKEN_PREFIX = "dvt_"
CODE_ID = "access-code"
FIRST = "admin"
"""Name of the login that is made at the first start."""

LASTS_S: dict[SessionKind, float] = {
    "account": 30 * DAY_S,
    "token": 365 * DAY_S,
    "code": 365 * DAY_S,
    "device": 90 * DAY_S,
}
"""How long a session lasts; how long without a sign of it, `changes.IDLE_S` says."""
LOOK_S = 0.5
"""How often it is looked whether somebody else changed something, or a time is over."""
SEEN_S = 300.0
OWN_TRIES, OWN_TRY_S = 5, 60.0
USED_S = 600.0
"""How far what is kept of a session, or token, may lag behind its last use."""

T = TypeVar("T")

log = logging.getLogger("defectvision.access")


class Access:
    """All of it. Lives on the event loop; what it writes goes through a thread of its own, one change after the other.

    Args:
        data_dir: documents and the audit log lie below.
        closed: whether anybody is asked who he is; without, everybody who gets here may everything.
        code: the access code in force, which may everything; None for none.
        code_file: where it is kept, if it is in a file.
        shelf: where accounts, tokens and sessions are kept.
        clock: seconds since 1970; ``plants_clock``: the one that sessions are old by where a plant's gateways share
            them; None: nobody shares them.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        closed: bool,
        code: str | None = None,
        code_file: Path | None = None,
        shelf: SharedShelf = SHARED_FILES,
        clock: Callable[[], float] = time.time,
        plants_clock: Callable[[], float] | None = None,
    ) -> None:
        self.closed = closed
        self.audit = Audit(data_dir)
        self.passwords = Passwords()
        self.pairings = Pairings()
        self._clock, self._shared_clock, self._is_plants = clock, plants_clock or clock, plants_clock is not None
        folder = data_dir / kept.FOLDER
        self._accounts = shelf.keep(folder / "accounts.json", kept.ACCOUNTS)
        self._tokens = shelf.keep(folder / "tokens.json", kept.TOKENS)
        self._sessions = KnownSessions(shelf.keep(folder / "sessions.json", kept.SESSIONS))
        self._code, self._code_file = code, code_file
        self._code_used: float | None = None
        self._code_stamp: str | None = None
        self._tokens_used: dict[str, float] = {}
        """When they were, since that was last written."""
        self._own_tries: dict[str, float] = {}
        self._watches = Watches()
        self._thread = ThreadPoolExecutor(1, "access")
        self._looking: list[asyncio.Task[None]] = []
        self._index()

    # --- its life

    def start(self) -> None:
        """Look, from now on, whether somebody else changes something, and whose time is over."""
        if not self._looking:
            create_task = asyncio.get_running_loop().create_task
            self._looking = [create_task(self._look()), create_task(self._follow())]

    async def close(self) -> None:
        """Write what is not written yet."""
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)
        await self._store_uses(everything=True)
        await self.audit.close()
        self.passwords.close()
        self._thread.shutdown(wait=False)

    @property
    def warning(self) -> str | None:
        """What the operator should see to, or nothing."""
        found = [self._accounts.warning, self._tokens.warning, self._sessions.warning, self.audit.warning]
        return "; ".join(one for one in found if one) or None

    # --- who that is

    @property
    def open_to_all(self) -> Standing:
        """Whoever asks a server that asks nobody."""
        return self._standing(lambda: EVERYBODY)

    def nobody(self, address: str) -> Standing:
        return self._standing(lambda: NOBODY, address)

    def by_session(self, secret: str, address: str) -> Standing | None:
        """Whose cookie says this; None where it is nobody's, or not any more."""
        digest = digest_of(secret)
        standing = self._standing(lambda: self._of_session(digest), address)
        if standing.identity.role is Role.NOBODY:
            return None
        self._sessions.use(digest, self._clock())
        return standing

    def by_secret(self, secret: str, address: str) -> Standing | None:
        """Whose token this is, or the access code; None where it is neither."""
        if is_token(secret):
            token = self._tokens_by_digest.get(digest_of(secret))
            if token is None or self._of_token(token.id).role is Role.NOBODY:
                return None
            self._tokens_used[token.id] = self._clock()
            return self._standing(lambda: self._of_token(token.id), address)
        if self._code is None or not same_code(secret, self._code):
            return None
        self._code_used = self._clock()
        return self._standing(partial(self._of_code, self._code), address)

    def _standing(self, who: Callable[[], Identity], address: str = "") -> Standing:
        return Standing(self._watches, who, self.audit, address)

    def _of_session(self, digest: str) -> Identity:
        session = self._sessions.get(digest)
        return NOBODY if session is None or not self._lasts(session, self._clock()) else self._holder(session)

    def _holder(self, session: Session) -> Identity:
        """Who has a session, as long as it lasts."""
        match session.kind:
            case "account":
                account = self._accounts_by_name.get(session.of.lower())
                if account is None or account.disabled or account.stamp != session.stamp:
                    return NOBODY
                who = Identity(account.name, role_of(account.role), "session", account=account.name)
            case "token":
                who = self._of_token(session.of)
                if who.role is Role.NOBODY:
                    return NOBODY
                who = dataclasses.replace(who, how="session")
            case "code":
                if self._code is None or session.stamp != self._code_stamp:
                    return NOBODY
                who = Identity(CODE_NAME, Role.ADMIN, "session")
            case "device":
                streams = frozenset(session.streams or ())
                who = Identity(session.of, role_of(session.role or "viewer"), "device", streams)
        return dataclasses.replace(who, session=session.id, expires=session.expires)

    def _of_token(self, id: str) -> Identity:
        token = self._tokens_by_id.get(id)
        if token is None or _is_expired(token, self._clock()):
            return NOBODY
        streams = None if token.streams is None else frozenset(token.streams)
        return Identity(token.name, role_of(token.role), "token", streams, expires=token.expires, token=token.id)

    def _of_code(self, code: str) -> Identity:
        return Identity(CODE_NAME, Role.ADMIN, "token") if code == self._code else NOBODY

    def _lasts(self, session: Session, now: float) -> bool:
        seen = self._sessions.seen(session)
        # A clock that was set back ends nobody's session; one that was set forward may.
        return now < session.expires and now - seen < changes.IDLE_S[session.kind]

    def _is_over(self, session: Session) -> bool:
        """Whether a session has ended for good. Those that a plant's gateways share may hold at another one though they
        do not here: its access code, and its clock, may be others, and who is in may not be known here now."""
        now = self._shared_clock()
        if not self._lasts(session, now):
            return True
        match session.kind:
            case "account":
                return self._accounts.is_whole and self._holder(session) is NOBODY
            case "token":
                token = self._tokens_by_id.get(session.of)
                return self._tokens.is_whole and (token is None or _is_expired(token, now))
            case "code":
                return not self._is_plants and self._holder(session) is NOBODY
            case "device":
                return False

    # --- what changes

    def tell(self) -> None:
        """Something changed: those who may not go on with what they do are told."""
        self._index()
        self._watches.look()

    async def _look(self) -> None:
        """See whose time is over. It waits for no document: a plant's database may hang."""
        while True:
            await asyncio.sleep(LOOK_S)
            with _whatever_fails():
                self._watches.look()
                self.audit.sweep()

    async def _follow(self) -> None:
        """See what others change, and write what is not written yet."""
        # Sessions first: whose they are is known then.
        documents = (self._sessions.document, self._accounts, self._tokens)
        loop = asyncio.get_running_loop()
        await self.audit.log_head()
        next_store = loop.time() + USED_S
        while True:
            await asyncio.sleep(LOOK_S)
            with _whatever_fails():
                if any(await loop.run_in_executor(self._thread, lambda: [one.refresh() for one in documents])):
                    self.tell()
                if loop.time() >= next_store:
                    next_store = loop.time() + USED_S
                    await self._store_uses()

    def _index(self) -> None:
        self._accounts_by_name = {one.name.lower(): one for one in self._accounts.contents}
        self._tokens_by_id = {one.id: one for one in self._tokens.contents}
        self._tokens_by_digest = {one.digest: one for one in self._tokens.contents}
        self._sessions.index()
        if (
            self._code is not None
            and self._code_stamp is None
            and any(one.kind == "code" for one in self._sessions.document.contents)
        ):
            self._code_stamp = code_stamp(self._code)

    async def _do(self, step: Callable[[], T]) -> T:
        """Run what blocks in our thread, to its end whoever goes away meanwhile, and tell of what changed."""
        try:
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, step))
        finally:
            self.tell()

    # --- accounts

    @property
    def accounts(self) -> tuple[Account, ...]:
        return self._accounts.contents

    @property
    def room_for_accounts(self) -> int:
        """How many more there may be."""
        return max(0, kept.MOST_ACCOUNTS - len(self.accounts))

    def first_login(self) -> str | None:
        """Make the first login where there is none, and return its password, to be shown once; None where there is
        one, or it cannot be told. Blocks: at the start.

        Raises:
            OSError: it cannot be kept.
        """
        if not self.closed or self.accounts or self._accounts.is_unread:
            return None
        password = make_password()
        first = changes.made_account(FIRST, "admin", password, self._clock())
        self._accounts.change(lambda accounts: accounts or (first,))
        self._index()
        if first not in self.accounts:
            return None  # another gateway of the plant came first
        self.audit.note(EVERYBODY, "made the first login", address="", detail=FIRST)
        return password

    async def add_account(self, name: str, role: RoleWord, password: str | None) -> tuple[Account, str | None]:
        """A new account, and the password where it was made here.

        Raises:
            AccessRefused: its name is taken, or there are too many.
            ValueError: no such name or password.
            OSError: it cannot be stored.
        """
        secret, made = changes.chosen(password, kept.check_name(name))
        now = self._clock()
        account = Account(name, role, await self.passwords.hash(secret), make_id(), now, now)
        await self._do(partial(self._accounts.change, partial(changes.with_account, account)))
        return account, made

    async def change_account(self, name: str, *, role: RoleWord | None = None, disabled: bool | None = None) -> Account:
        """An account with another role, or disabled, which ends its sessions for good, or not any more.

        Raises:
            NoSuch: there is none.
            AccessRefused: no admin would be left.
            OSError: it cannot be stored.
        """
        # Another stamp, or its sessions would go on once it is not disabled any more.
        given = {"role": role, "disabled": disabled, "stamp": make_id() if disabled else None}
        fields = {key: value for key, value in given.items() if value is not None}
        await self._do(partial(self._accounts.change, partial(changes.changed, name, fields)))
        return self._account_of(name)

    async def set_password(
        self, name: str, password: str | None, *, keep: str | None = None, since: Account | None = None
    ) -> str | None:
        """Give an account another password, and end its sessions.

        Args:
            password: None to have one made.
            keep: id of the session that goes on, unless it is ended while this is written.
            since: the account as it was when its password was asked for; None where nobody was asked.

        Returns:
            the password that was made, if any.

        Raises:
            AccessRefused: its password is another one than `since`, or the session to be kept has ended.
            NoSuch, ValueError, OSError: as above.
        """
        account = self._account_of(name)
        secret, made = changes.chosen(password, account.name)
        encoded, stamp = await self.passwords.hash(secret), make_id()
        fields = {"password": encoded, "stamp": stamp, "changed": self._clock()}
        goes_on = next((one for one in self._lasting() if keep is not None and one.id == keep), None)
        if keep is not None and goes_on is None:
            raise AccessRefused("this browser was logged out meanwhile")
        step = partial(changes.changed, name) if since is None else partial(changes.changed_since, since)
        change = partial(self._accounts.change, partial(step, fields))
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, change))
        if goes_on is None or self._sessions.get(goes_on.digest) is None:
            self.tell()
        else:  # in the same step, so that nothing of it is told that it is over
            await self._put_session(msgspec.structs.replace(goes_on, stamp=stamp))
        return made

    async def remove_account(self, name: str) -> None:
        """Raises:
        NoSuch, AccessRefused, OSError: as above.
        """
        await self._do(partial(self._accounts.change, partial(changes.without_account, name)))

    def store_account(self, name: str, role: RoleWord, password: str | None) -> str | None:
        """As :meth:`add_account`, for a command: it blocks; returns the password that was made, if any."""
        secret, made = changes.chosen(password, kept.check_name(name))
        self._accounts.change(partial(changes.with_account, changes.made_account(name, role, secret, self._clock())))
        self._index()
        return made

    def store_password(self, name: str, password: str | None) -> str | None:
        """As :meth:`set_password`, for a command: it blocks. Who is disabled stays so."""
        secret, made = changes.chosen(password, self._account_of(name).name)
        fields = {"password": hashed(secret), "stamp": make_id(), "changed": self._clock()}
        self._accounts.change(partial(changes.changed, name, fields))
        self._index()
        return made

    def store_removal(self, name: str) -> None:
        """As :meth:`remove_account`, for a command: it blocks."""
        self._accounts.change(partial(changes.without_account, name))
        self._index()

    async def is_password_of(self, name: str, password: str) -> Account | None:
        """The account, if that is its password and it may log in; takes as long where not.

        Raises:
            PasswordsBusy: too many are being looked at.
        """
        account = self._accounts_by_name.get(name.lower())
        right = await self.passwords.verify(account.password if account is not None else None, password)
        if account is None or not right or account.disabled:
            return None
        if is_weakly_hashed(account.password):
            with contextlib.suppress(OSError, AccessRefused, PasswordsBusy):  # the next time, or it is another by now
                fields = {"password": await self.passwords.hash(password)}
                await self._do(partial(self._accounts.change, partial(changes.changed_since, account, fields)))
        return account

    async def is_own_password(self, who: Identity, password: str) -> Account | None:
        """The account of who is logged in, if that is its password. A session tries five, and then one a minute.

        Raises:
            AccessRefused: too many were wrong.
            PasswordsBusy: too many are being looked at.
        """
        key, now = who.session or "", self._clock()
        self._own_tries = {one: at for one, at in self._own_tries.items() if at > now}
        at = self._own_tries.get(key, now)
        if at - now > (OWN_TRIES - 1) * OWN_TRY_S:
            raise AccessRefused("too many wrong passwords: wait a minute, then try again")
        self._own_tries[key] = at + OWN_TRY_S  # before it is looked at: many at once are many tries
        try:
            account = await self.is_password_of(who.account or "", password)
        except PasswordsBusy:
            self._give_back_try(key)
            raise
        if account is not None:
            self._give_back_try(key)
        return account

    def _give_back_try(self, key: str) -> None:
        if key in self._own_tries:
            self._own_tries[key] -= OWN_TRY_S

    def is_account(self, name: str) -> bool:
        return name.lower() in self._accounts_by_name

    def _account_of(self, name: str) -> Account:
        account = self._accounts_by_name.get(name.lower())
        if account is None:
            raise NoSuch("there is no account of that name")
        return account

    # --- tokens

    @property
    def tokens(self) -> tuple[Token, ...]:
        return tuple(
            msgspec.structs.replace(one, used=max(one.used or 0.0, self._tokens_used.get(one.id, 0.0)) or None)
            for one in self._tokens.contents
        )

    @property
    def room_for_tokens(self) -> int:
        """How many more there may be."""
        return max(0, kept.MOST_TOKENS - len(self._tokens.contents))

    @property
    def has_code(self) -> bool:
        """Whether there is an access code."""
        return self._code is not None

    @property
    def code_used(self) -> float | None:
        return self._code_used

    @property
    def code_can_be_revoked(self) -> bool:
        """Whether the access code is kept in a file, and not in a setting."""
        return self._code is not None and self._code_file is not None

    async def add_token(
        self, name: str, role: RoleWord, streams: tuple[str, ...] | None, lasts_s: float | None, by: str
    ) -> tuple[Token, str]:
        """A new token, and its secret, which is told once.

        Raises:
            AccessRefused: its name is taken, or there are too many.
            ValueError: no such name.
            OSError: it cannot be stored.
        """
        kept.check_name(name)
        secret, now = make_secret(TOKEN_PREFIX), self._clock()
        expires = None if lasts_s is None else now + lasts_s
        token = Token(make_id(), name, role, digest_of(secret), streams, by, now, expires)
        await self._do(partial(self._tokens.change, partial(changes.with_token, token)))
        return token, secret

    async def revoke_token(self, id: str) -> str:
        """Revoke a token, or the access code where that is kept in a file; returns its name.

        Raises:
            NoSuch: there is none.
            AccessRefused: the access code is a setting, or nobody could get in without it.
            OSError: it cannot be stored.
        """
        if id == CODE_ID and self._code is not None:
            return await self._revoke_code()
        token = self._tokens_by_id.get(id)
        if token is None:
            raise NoSuch("there is no such token")
        await self._do(partial(self._tokens.change, lambda all: tuple(one for one in all if one.id != id)))
        return token.name

    async def _revoke_code(self) -> str:
        if self._code_file is None:
            raise AccessRefused("the access code is the setting ACCESS_CODE: take it out there")
        if not any(changes.is_admin(one) for one in self.accounts):
            raise AccessRefused("without the access code nobody could get in: make an admin login first")
        await self._do(partial(self._code_file.unlink, missing_ok=True))
        self._code = None
        self.tell()
        return CODE_NAME

    # --- sessions

    @property
    def sessions(self) -> list[Session]:
        """Those that last, the one that was seen last first."""
        now = self._clock()
        lasting = [msgspec.structs.replace(one, seen=self._sessions.seen(one)) for one in self._lasting()]
        return sorted(lasting, key=lambda one: min(one.seen, now), reverse=True)

    def identity_of(self, session: Session) -> Identity:
        """Who has a session, now."""
        return self._of_session(session.digest)

    def _lasting(self) -> list[Session]:
        return [one for one in self._sessions if self._of_session(one.digest).role is not Role.NOBODY]

    async def open_session(
        self,
        kind: SessionKind,
        of: str,
        *,
        address: str,
        browser: str,
        stamp: str = "",
        instead_of: str | None = None,
        role: RoleWord | None = None,
        streams: tuple[str, ...] | None = None,
        by: str | None = None,
    ) -> str:
        """A new session; returns what its cookie says. It is in force also where it cannot be stored.

        Args:
            instead_of: what the cookie of before said: that session ends.
        """
        secret, now = make_secret(""), self._clock()
        if kind == "code":
            stamp = await self._stamp_of_code()
        session = Session(
            make_id(),
            digest_of(secret),
            kind,
            of,
            stamp,
            now,
            now + LASTS_S[kind],
            now,
            address[:64],
            browser[:200],
            role,
            streams,
            by,
        )
        await self._put_session(session, None if instead_of is None else digest_of(instead_of))
        return secret

    async def end_session(self, id: str, of_account: str | None = None) -> Session:
        """End a session, at once, and for ever as soon as that can be stored.

        Args:
            of_account: only one of this account.

        Raises:
            NoSuch: there is none.
            OSError: it is over, but a restart would bring it back.
        """
        session = next((one for one in self._lasting() if one.id == id), None)
        if session is None or (of_account is not None and (session.kind, session.of) != ("account", of_account)):
            raise NoSuch("there is no such session: it has ended")
        await self._end_sessions([session])
        return session

    async def _end_sessions(self, sessions: list[Session]) -> None:
        self._sessions.end(one.digest for one in sessions)
        self.tell()
        await self._store_sessions()

    def phones_of(self, name: str) -> list[Session]:
        """The phones that a login, token or the access code of this name paired: they stay in when that is revoked."""
        return [one for one in self._lasting() if one.kind == "device" and (one.by or "").lower() == name.lower()]

    async def end_phones_of(self, name: str) -> int:
        """End these, as :meth:`end_session` does; how many there were.

        Raises:
            OSError: they are out, but a restart would bring them back.
        """
        phones = self.phones_of(name)
        if phones:
            await self._end_sessions(phones)
        return len(phones)

    def store_end_of_phones(self, name: str) -> int:
        """As :meth:`end_phones_of`, for a command: it blocks."""
        gone = {one.digest for one in self.phones_of(name)}
        self._sessions.document.change(lambda all: tuple(one for one in all if one.digest not in gone))
        self._index()
        return len(gone)

    async def _put_session(self, session: Session, instead_of: str | None = None) -> None:
        self._sessions.put(session, instead_of)
        self.tell()
        with contextlib.suppress(OSError):
            await self._store_sessions()

    async def _store_sessions(self) -> None:
        await self._sessions.store(self._do, self._shared_clock())
        self.tell()

    async def _stamp_of_code(self) -> str:
        if self._code_stamp is None and self._code is not None:
            self._code_stamp = await asyncio.get_running_loop().run_in_executor(self._thread, code_stamp, self._code)
        return self._code_stamp or ""

    async def _store_uses(self, everything: bool = False) -> None:
        """Write when sessions and tokens were used last, where that lags behind too far; drop what is over."""
        late = 0.0 if everything else SEEN_S
        used, self._tokens_used = self._tokens_used, {}
        try:
            if used:
                await self._do(
                    partial(
                        self._tokens.change,
                        lambda all: tuple(
                            msgspec.structs.replace(one, used=used[one.id]) if one.id in used else one for one in all
                        ),
                    )
                )
            self._sessions.end(one.digest for one in self._sessions.document.contents if self._is_over(one))
            if self._sessions.is_behind(late):
                await self._store_sessions()
        except OSError as error:
            for id, at in used.items():
                self._tokens_used.setdefault(id, at)
            log.debug("uses could not be stored reason=%s", error.strerror or error)

    # --- phones

    def make_pairing(self, stream: str, device: str, maker: Standing | None = None) -> tuple[Pairing, str]:
        """A pairing and its secret; it is good as long as its maker (by default this machine) may still make one."""
        maker = maker or self.open_to_all

        def still_good() -> bool:
            return maker.identity.role >= Role.OPERATOR and maker.identity.may_use(stream)

        return self.pairings.make(stream, device, maker.identity.name, still_good)

    async def pair(
        self, secret: str, *, address: str, browser: str, instead_of: str | None
    ) -> tuple[str, Pairing] | None:
        """Use a pairing: what the cookie of the device says; None where it is good for nothing any more."""
        pairing = self.pairings.use(secret)
        if pairing is None or not pairing.still_good():
            return None
        cookie = await self.open_session(
            "device",
            pairing.device,
            address=address,
            browser=browser,
            instead_of=instead_of,
            role="operator",
            streams=(pairing.stream,),
            by=pairing.by,
        )
        return cookie, pairing


@contextlib.contextmanager
def _whatever_fails() -> Iterator[None]:
    """What is done again and again goes on after a failure."""
    try:
        yield
    except Exception:
        log.exception("looking after who is in failed; it goes on")


def is_token(secret: str) -> bool:
    """Whether it says of itself that it is a token, right or wrong; it is never taken for the access code."""
    return secret.startswith(TOKEN_PREFIX)


def _is_expired(token: Token, now: float) -> bool:
    return token.expires is not None and token.expires <= now


def code_stamp(code: str) -> str:
    """What sessions that were opened with the access code are held to: of another code they are over. Slow on purpose,
    for a code may be short, and this is kept."""
    return hashlib.scrypt(canonical(code), salt=b"defectvision access code", n=2**14, r=8, p=1, dklen=16).hex()
