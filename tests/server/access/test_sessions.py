"""Sessions that cannot be stored: who is in stays in, who is out stays out, and memory is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from server.access.documents import SHARED_FILES
from server.access.kept import SESSIONS, Session
from server.access.sessions import KnownSessions

NOW = 2000.0
MOST = 30


def session(digest: str) -> Session:
    return Session(digest, digest, "code", "access code", "", 1.0, 9e9, NOW, "10.0.0.1", "a test")


async def do(step: Callable[[], None]) -> None:
    step()


async def full(step: Callable[[], None]) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownSessions:
    monkeypatch.setattr("server.access.kept.MOST_SESSIONS", MOST)
    return KnownSessions(SHARED_FILES.keep(tmp_path / "access" / "sessions.json", SESSIONS))


async def stored(known: KnownSessions) -> list[str]:
    await known.store(do, NOW)
    known.index()
    return sorted(one.digest for one in known)


async def test_a_login_ends_the_session_of_before_also_where_that_was_not_stored(known: KnownSessions) -> None:
    for new, old in (("first", None), ("second", "first")):
        known.put(session(new), old)
        with pytest.raises(OSError, match="No space"):
            await known.store(full, NOW)
    assert known.get("first") is None and known.get("second") is not None
    assert await stored(known) == ["second"]


async def test_who_was_thrown_out_stays_out_however_many_come_in_while_the_disk_is_full(known: KnownSessions) -> None:
    for name in ("revoked", "replaced", "stays"):
        known.put(session(name))
    assert await stored(known) == ["replaced", "revoked", "stays"]
    known.end(["revoked"])
    known.put(session("new"), "replaced")
    for number in range(3 * MOST):
        known.put(session(f"s{number}"), f"s{number - 1}" if number % 3 else None)
        assert known.get(f"s{number}") is not None
    assert known.get("revoked") is None and known.get("replaced") is None and known.get("stays") is not None
    assert len(known._unstored) <= 2 * MOST + 2
    assert "revoked" not in await stored(known)


async def test_who_is_thrown_out_while_he_is_being_stored_stays_out(known: KnownSessions) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(step: Callable[[], None]) -> None:
        begun.set()
        await go_on.wait()
        step()
        known.index()

    known.put(session("revoked"))
    writing = asyncio.create_task(known.store(slowly, NOW))
    await begun.wait()
    known.end(["revoked"])
    for number in range(2 * MOST + 2):
        known.put(session(f"s{number}"), f"s{number - 1}" if number % 2 else None)
    go_on.set()
    await writing
    assert known.get("revoked") is None
    assert "revoked" not in await stored(known)
