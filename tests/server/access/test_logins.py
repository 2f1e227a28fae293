"""Passwords that are tried: slowed down by address and by login, and the right one enters."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from server.access import Access, PasswordsBusy, passwords
from server.access.access import OWN_TRIES
from server.access.changes import AccessRefused
from server.access.identity import Identity
from server.access.logins import Logins, TooManyTries
from server.access.passwords import AT_ONCE, MOST_WAITING, Passwords, check_password, hashed, is_password, make_password
from server.words import Role

PASSWORD = "seven green boats"


class Time:
    """A clock that runs while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def logins(tmp_path: Path, time: Time) -> Logins:
    access = Access(tmp_path, closed=True)
    access.store_account("anna", "engineer", PASSWORD)
    access.store_account("bo", "viewer", PASSWORD)
    return Logins(access, time.clock, time.sleep)


async def guess(logins: Logins, address: str, times: int, name: str = "anna") -> int:
    """Guesses that were looked at."""
    looked = 0
    for number in range(times):
        try:
            assert await logins.log_in(name, f"guess {number} from {address}", address) is None
        except TooManyTries as error:
            assert error.wait_s > 0
        looked += 1
    return looked


async def test_an_address_has_ten_free_and_is_slowed_down_then(logins: Logins, time: Time) -> None:
    await guess(logins, "10.0.0.1", 10)
    assert time.waits == []
    with pytest.raises(TooManyTries) as error:
        await logins.log_in("anna", "one more", "10.0.0.1")
    assert error.value.wait_s == 30
    await guess(logins, "10.0.0.1", 5)
    assert time.waits and all(wait > 0 for wait in time.waits)


async def test_the_right_one_enters_from_where_a_stranger_guesses(logins: Logins) -> None:
    await guess(logins, "10.0.0.1", 30)
    account = await logins.log_in("anna", PASSWORD, "10.0.0.1")
    assert account is not None and account.name == "anna"


async def test_the_owner_at_a_known_address_waits_for_no_stranger(logins: Logins, time: Time) -> None:
    assert await logins.log_in("anna", PASSWORD, "10.0.0.7") is not None
    for number in range(40):
        await guess(logins, f"172.16.0.{number}", 3)
    assert time.waits, "strangers wait for turns of this login"
    time.waits.clear()
    assert await logins.log_in("anna", PASSWORD, "10.0.0.7") is not None
    assert time.waits == []


async def test_the_owner_at_a_new_address_gets_a_turn(logins: Logins, time: Time) -> None:
    """A guesser holds one place in the queue of a login, however often he asks."""
    for number in range(12):
        await guess(logins, f"172.16.0.{number}", 1)
    released = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await released.wait()

    logins._sleep = sleep
    guessing = [asyncio.create_task(logins.log_in("anna", f"x{n}", "172.16.0.1")) for n in range(50)]
    await asyncio.sleep(0)
    owner = asyncio.create_task(logins.log_in("anna", PASSWORD, "10.0.0.9"))
    await asyncio.sleep(0)
    released.set()
    account = await owner
    assert account is not None
    outcomes = await asyncio.gather(*guessing, return_exceptions=True)
    assert sum(isinstance(one, TooManyTries) for one in outcomes) >= 49


async def test_guesses_at_one_login_hold_up_no_other(logins: Logins, time: Time) -> None:
    for number in range(20):
        await guess(logins, f"172.16.0.{number}", 2)
    time.waits.clear()
    assert await logins.log_in("bo", PASSWORD, "10.0.0.9") is not None
    assert time.waits == []


async def test_how_long_it_takes_does_not_tell_who_has_a_login(logins: Logins, time: Time) -> None:
    """After guesses at many names that nobody has, one more waits no longer than a login that nobody tried."""
    for number in range(40):
        await guess(logins, f"172.16.0.{number}", 1, name=f"nobody-{number}")
    time.waits.clear()
    await guess(logins, "10.0.0.8", 1, name="no-one")
    await guess(logins, "10.0.0.9", 1, name="bo")
    assert time.waits == []
    for name in ("bo", "no-one"):
        time.waits.clear()
        for number in range(20):
            await guess(logins, f"172.17.{len(name)}.{number}", 1, name=name)
        assert time.waits, "guesses at one name wait, whether somebody has it or not"


async def test_names_that_nobody_has_take_no_memory(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.access.logins.UNKNOWN_NAMES", 8)
    for number in range(200):
        await guess(logins, f"10.1.0.{number}", 1, name=f"nobody-{number}")
    assert len(logins._accounts) <= 8
    for number in range(100):
        await logins.log_in("anna", PASSWORD, f"10.2.0.{number}")
    assert len(logins._accounts["anna"].right) == 32 and not logins._accounts["anna"].waiting


# --- hashing


def test_what_is_kept_tells_the_right_password_only() -> None:
    kept = hashed("pässwörter sind gut")
    assert kept.startswith("$argon2id$") and is_password(kept, "pässwörter sind gut")
    assert is_password(kept, "pa\u0308sswo\u0308rter sind gut"), "typed on another keyboard"
    for wrong in ("", "pässwörter sind gu", "x" * 100_000, "\ud800"):
        assert not is_password(kept, wrong)
    assert not is_password(None, "anything") and not is_password("no hash", "anything")
    assert hashed("a" * 10) != hashed("a" * 10)


def test_the_product_hashes_with_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (passwords.MEMORY_KIB, passwords.PASSES) >= (19 * 1024, 2)
    made = {make_password() for _ in range(50)}
    assert len(made) == 50 and all(check_password(one, "anna") == one for one in made)


async def test_so_many_are_hashed_at_once_and_no_more_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, running, most = threading.Event(), [0], [0]

    def slow(kept: str | None, given: str) -> bool:
        running[0] += 1
        most[0] = max(most[0], running[0])
        gate.wait(20)
        running[0] -= 1
        return True

    monkeypatch.setattr(passwords, "is_password", slow)
    hashing = Passwords()
    waiting = [asyncio.create_task(hashing.verify("kept", "given")) for _ in range(AT_ONCE + MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(PasswordsBusy, match="try again"):
        await hashing.verify("kept", "given")
    gate.set()
    assert all(await asyncio.gather(*waiting)) and most[0] <= AT_ONCE
    assert await hashing.verify("kept", "given")
    hashing.close()


# --- one's own password


ANNA = Identity("anna", Role.ENGINEER, "session", account="anna", session="s-1")


@pytest.fixture
def access(tmp_path: Path) -> Access:
    access = Access(tmp_path, closed=True)
    access.store_account("anna", "engineer", PASSWORD)
    return access


async def test_a_session_that_tries_many_at_once_has_five_tries_as_well(access: Access) -> None:
    tries = [access.is_own_password(ANNA, f"guess {number}") for number in range(AT_ONCE + MOST_WAITING)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert answers.count(None) == OWN_TRIES
    assert all(isinstance(one, AccessRefused) for one in answers if one is not None)


async def test_who_knows_ones_own_password_spends_no_try(access: Access) -> None:
    for _ in range(2 * OWN_TRIES):
        assert await access.is_own_password(ANNA, PASSWORD) is not None
    for number in range(OWN_TRIES):
        assert await access.is_own_password(ANNA, f"guess {number}") is None


NEW = "another good one"


async def test_a_login_puts_no_old_password_over_a_new_one(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    hash = access.passwords.hash

    async def slowly(password: str) -> str:
        access.store_password("anna", NEW)  # an admin, meanwhile
        return await hash(password)

    with monkeypatch.context() as weak:
        weak.setattr("server.access.access.is_weakly_hashed", lambda kept: True)
        weak.setattr(access.passwords, "hash", slowly)
        assert await access.is_password_of("anna", PASSWORD) is not None, "it was right when it was asked"
    assert await access.is_password_of("anna", PASSWORD) is None
    assert await access.is_password_of("anna", NEW) is not None


async def test_who_changes_ones_own_password_puts_none_over_an_admin_s(access: Access) -> None:
    account = await access.is_own_password(ANNA, PASSWORD)
    access.store_password("anna", NEW)
    with pytest.raises(AccessRefused, match="changed meanwhile"):
        await access.set_password("anna", "a third good one", since=account)
    assert await access.is_password_of("anna", NEW) is not None


async def test_a_session_that_ends_while_a_password_is_written_stays_ended(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = access.accounts[0].stamp
    secret = await access.open_session("account", "anna", stamp=stamp, address="10.0.0.1", browser="a test")
    (session,) = access.sessions
    loop, change = asyncio.get_running_loop(), access._accounts.change

    def meanwhile(step: Any) -> None:
        loop.call_soon_threadsafe(access._sessions.end, [session.digest])
        change(step)

    monkeypatch.setattr(access._accounts, "change", meanwhile)
    await access.set_password("anna", NEW, keep=session.id)
    assert access.by_session(secret, "10.0.0.1") is None
    with pytest.raises(AccessRefused, match="logged out meanwhile"):
        await access.set_password("anna", PASSWORD, keep=session.id)
    assert await access.is_password_of("anna", NEW) is not None
