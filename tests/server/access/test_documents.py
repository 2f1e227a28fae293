"""Small documents that several processes change."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from server.access import Access, AccessRefused
from server.access.changes import fewest
from server.access.documents import FileDocument
from server.access.kept import (
    MOST_PHONES,
    SESSIONS,
    TOKENS,
    Session,
    SessionKind,
    Token,
    check_name,
    digest_of,
    make_secret,
)

SECRET = "dvt_secret"


def document(folder: Path) -> FileDocument[tuple[Token, ...]]:
    return FileDocument(folder / "access" / "tokens.json", TOKENS)


def token(id: str) -> Token:
    return Token(id, f"token-{id}", "viewer", digest_of(id), None, "a test", 0.0)


def test_two_processes_change_it_without_losing_anything(tmp_path: Path) -> None:
    documents = [document(tmp_path) for _ in range(4)]

    def add(number: int) -> None:
        for count in range(10):
            documents[number].change(lambda all, count=count: (*all, token(f"{number}-{count}")))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(document(tmp_path).contents) == 40
    documents[0].refresh()
    assert len(documents[0].contents) == 40 and not documents[0].refresh()
    file = tmp_path / "access" / "tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"version": 1, "sha256": "x", "tokens": []}', b"\xff" * 100])
def test_what_is_damaged_while_it_is_in_use_throws_nobody_out(tmp_path: Path, damage: bytes) -> None:
    one = document(tmp_path)
    one.change(lambda all: (token("a"),))
    (tmp_path / "access" / "tokens.json").write_bytes(damage)
    assert not one.refresh() and one.contents == (token("a"),)
    assert one.warning is not None and "damaged" in one.warning
    one.change(lambda all: (*all, token("b")))
    assert one.warning is None and document(tmp_path).contents == (token("a"), token("b"))


def test_a_file_that_cannot_be_looked_at_now_throws_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = document(tmp_path)
    one.change(lambda all: (token("a"),))

    def none_left(*_: Any, **__: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("server.access.documents._signature", none_left)
    assert not one.refresh() and one.contents == (token("a"),)


def test_what_a_change_refuses_changes_nothing(tmp_path: Path) -> None:
    one = document(tmp_path)
    one.change(lambda all: (token("a"),))

    def refuse(all: tuple[Token, ...]) -> tuple[Token, ...]:
        raise AccessRefused("no")

    with pytest.raises(AccessRefused):
        one.change(refuse)
    assert document(tmp_path).contents == (token("a"),)


def test_nothing_is_written_where_nothing_is_asked(tmp_path: Path) -> None:
    access = Access(tmp_path / "data", closed=False)
    assert access.first_login() is None, "an open server makes no login"
    assert not (tmp_path / "data").exists()
    closed = Access(tmp_path / "data", closed=True)
    password = closed.first_login()
    assert password is not None and closed.first_login() is None
    assert Access(tmp_path / "data", closed=True).first_login() is None, "shown once"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["access"]


def test_of_two_that_make_the_first_login_the_second_is_told_of_none(tmp_path: Path) -> None:
    one, two = (Access(tmp_path, closed=True) for _ in range(2))
    assert one.first_login() is not None and two.accounts == ()
    assert two.first_login() is None
    assert two.accounts == one.accounts and len(one.accounts) == 1


async def test_a_gateway_ends_no_session_that_another_takes(tmp_path: Path) -> None:
    """It has no access code, or another one, and its clock may be a month ahead; the plant's says what is old."""
    now = 1e9
    here = Access(tmp_path, closed=True, code="4711-secret", clock=lambda: now, plants_clock=lambda: now)
    account, _ = await here.add_account("anna", "admin", None)
    token, _ = await here.add_token("press", "viewer", None, 86_400.0, "a test")
    kinds: dict[SessionKind, str] = {"account": "anna", "code": "access code", "device": "press", "token": token.id}
    for kind, of in kinds.items():
        stamp = account.stamp if kind == "account" else ""
        await here.open_session(kind, of, stamp=stamp, address="a", browser="b")
    far = Access(tmp_path, closed=True, clock=lambda: now + 40 * 86_400, plants_clock=lambda: now)
    await far.close()
    await here.close()

    def stored() -> set[str]:
        return {one.kind for one in FileDocument(tmp_path / "access" / "sessions.json", SESSIONS).contents}

    assert stored() == {*kinds}
    later = Access(tmp_path, closed=True, clock=lambda: now, plants_clock=lambda: now + 8 * 86_400)
    await later.close()
    assert stored() == {"code", "device"}
    # Who lost the logins for a while does not know whose they are.
    again = Access(tmp_path, closed=True, clock=lambda: now, plants_clock=lambda: now)
    await again.open_session("account", "anna", stamp=account.stamp, address="a", browser="b")
    (tmp_path / "access" / "accounts.json").write_bytes(b"{}")
    lost = Access(tmp_path, closed=True, clock=lambda: now, plants_clock=lambda: now)
    assert lost.accounts == ()
    await lost.close()
    assert "account" in stored()


async def test_numbers_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.access.kept.MOST_TOKENS", 3)
    monkeypatch.setattr("server.access.kept.MOST_ACCOUNTS", 2)
    monkeypatch.setattr("server.access.kept.MOST_OF_ONE", 4)
    now = [1e9]
    access = Access(tmp_path, closed=True, clock=lambda: now[0])
    for number in range(3):
        await access.add_token(f"t{number}", "viewer", None, None, "a test")
    with pytest.raises(AccessRefused, match="revoke one first"):
        await access.add_token("t3", "viewer", None, None, "a test")
    for name in ("anna", "bo"):
        await access.add_account(name, "admin", None)
    with pytest.raises(AccessRefused, match="remove one first"):
        await access.add_account("cy", "admin", None)
    cookies = []
    for number in range(8):
        now[0] += 10
        account = access.accounts[number % 2]
        open_session = access.open_session("account", account.name, stamp=account.stamp, address="a", browser="b" * 999)
        cookies.append(await open_session)
    assert len(access.sessions) == 8
    for _ in range(4):
        now[0] += 10
        account = access.accounts[0]
        await access.open_session("account", "anna", stamp=account.stamp, address="a", browser="b")
    assert [access.by_session(cookie, "a") is not None for cookie in cookies] == [False, True] * 4
    assert max(len(session.browser) for session in access.sessions) == 200
    pairings = [access.make_pairing("press", "press")[1] for _ in range(60)]
    assert [access.pairings.look(secret) is not None for secret in pairings] == [False] * 10 + [True] * 50
    await access.close()


def test_who_pairs_phones_without_end_logs_nobody_else_out() -> None:
    def session(number: int, by: str | None) -> Session:
        kind: SessionKind = "account" if by is None else "device"
        return Session(f"{by}{number}", f"{by}{number}", kind, "x", "", 1.0, 9e9, 10.0 + number, "a", "b", by=by)

    found = [session(0, None), session(0, "bo"), *(session(number, "anna") for number in range(1, 1500))]
    left = fewest({one.digest: one for one in found}, {}, 2000.0)
    assert {(one.kind, one.by) for one in left} == {("account", None), ("device", "bo"), ("device", "anna")}
    assert len(left) == MOST_PHONES + 2


def test_names_and_secrets() -> None:
    for name in ("anna", "anna.b@plant", "A-1_x", "x" * 64):
        assert check_name(name) == name
    for name in ("", "-anna", "a b", "änna", "x" * 65, "a/b", "a\n"):
        with pytest.raises(ValueError, match="a name has"):
            check_name(name)
    made = {make_secret("dvt_") for _ in range(100)}
    assert len(made) == 100 and all(len(one) == 47 for one in made)
