"""The audit log: a chain that shows what was changed, goes on from file to file, and stops nothing when it cannot."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.access import Chain, Happened, verify
from server.access.audit import MANY, MOST_WAITING, Audit
from server.access.audit_chain import BEGINNING, _append, files_of, newest, verify_file
from server.access.identity import EVERYBODY, Identity
from server.words import Role


def happened(what: str = "changed something") -> Happened:
    return Happened("2026-11-26T12:00:00.000+00:00", "anna", what)


def log_of(folder: Path, entries: int = 5, **bounds: Any) -> Chain:
    chain = Chain(folder, **bounds)
    for number in range(entries):
        chain.add([happened(f"did {number}")])
    return chain


def test_a_chain_goes_on_after_a_restart_and_beside_another_process(tmp_path: Path) -> None:
    one = log_of(tmp_path)
    other = Chain(tmp_path)  # the command, while the server runs
    other.add([happened("by the command")])
    one.add([happened("and on"), happened("at once")])
    found = verify(tmp_path)
    assert (found.entries, found.first, found.last, found.broken) == (8, 1, 8, ())
    assert found.head == one.head().hash
    (path,) = files_of(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    first, second = (json.loads(line) for line in path.read_text().splitlines()[:2])
    assert first["prev"] == BEGINNING and second["prev"] == first["hash"]
    assert [entry.seq for entry in newest(tmp_path, None, 3)] == [8, 7, 6]
    assert [entry.seq for entry in newest(tmp_path, 3, 9)] == [2, 1]


def _change(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace("did 1", "did nothing"), *lines[2:]]


def _rehash(lines: list[str]) -> list[str]:
    """Somebody who knows how it is made, and changes one line only."""
    from server.access.audit_chain import _entry, chained

    entry = _entry(lines[1].encode())
    assert entry is not None
    forged = chained(happened("did nothing"), entry.seq, entry.prev)
    import msgspec

    return [lines[0], msgspec.json.encode(forged).decode(), *lines[2:]]


DAMAGES: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "changed": (_change, "line 2 was changed"),
    "changed with a new hash": (_rehash, "line 3 (number 3) does not follow"),
    "taken out": (lambda lines: [lines[0], *lines[2:]], "number 3, after 1"),
    "put in twice": (lambda lines: [lines[0], *lines], "number 1, after 1"),
    "in another order": (lambda lines: [lines[1], lines[0], *lines[2:]], "number 1, after 2"),
    "no JSON": (lambda lines: [lines[0], "x" * 50, *lines[2:]], "line 2 was changed"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_where_the_chain_is_broken_is_said(tmp_path: Path, name: str) -> None:
    log_of(tmp_path)
    damage, words = DAMAGES[name]
    (path,) = files_of(tmp_path)
    path.write_text("\n".join(damage(path.read_text().splitlines())) + "\n")
    broken = verify(tmp_path).broken
    assert broken and any(words in one for one in broken), broken
    Chain(tmp_path).add([happened()])
    assert len(verify(tmp_path).broken) == len(broken), "what comes after holds"


@pytest.mark.parametrize("put_in", [b'"who":"eve",', b'"by":"eve",', b" "])
def test_what_is_put_into_a_line_does_not_go_unnoticed(tmp_path: Path, put_in: bytes) -> None:
    log_of(tmp_path, 3)
    (path,) = files_of(tmp_path)
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first[:1] + put_in + first[1:], *rest]))
    assert verify(tmp_path).broken, "another reader takes what stands there first, or in plain sight"


@settings(max_examples=60)
@given(st.data())
def test_no_changed_byte_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("log")
    log_of(folder, 3)
    (path,) = files_of(folder)
    text = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(text) - 2))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[at]))
    text[at] = other
    path.write_bytes(text)
    assert verify(folder).broken or other == ord("\n"), at


def test_a_line_that_a_crash_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    log_of(tmp_path)
    (path,) = files_of(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq":6,"at":"2026')
    Chain(tmp_path).add([happened()])
    assert verify(tmp_path).broken == () and verify(tmp_path).last == 6


def test_files_are_bounded_and_the_chain_goes_on_through_them(tmp_path: Path) -> None:
    chain = log_of(tmp_path, 60, largest_file=1500, most_files=4)
    assert len(files_of(tmp_path)) <= 4
    assert all(path.stat().st_size < 3000 for path in files_of(tmp_path))
    found = verify(tmp_path)
    assert found.broken == () and found.last == 60 and found.first is not None and found.first > 1
    chain.add([happened() for _ in range(40)])
    assert verify(tmp_path).last == 100 and verify(tmp_path).broken == ()
    whole = tmp_path / "downloaded"
    whole.write_bytes(b"".join(path.read_bytes() for path in files_of(tmp_path)))
    assert verify_file(whole).broken == ()
    files_of(tmp_path)[1].unlink()
    assert "are missing" in verify(tmp_path).broken[0]


def test_what_does_not_fit_on_the_disk_leaves_no_half_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = log_of(tmp_path)
    (path,) = files_of(tmp_path)
    before = path.read_bytes()
    write = "server.access.audit_chain.os.write"
    real = __import__("os").write
    monkeypatch.setattr(write, lambda descriptor, data: real(descriptor, data[:10]))
    with pytest.raises(OSError, match="no space"):
        chain.add([happened()])
    monkeypatch.undo()
    assert path.read_bytes() == before
    chain.add([happened()])
    assert verify(tmp_path).last == 6


# --- beside a server


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_full_disk_stops_nothing_and_what_was_lost_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("server.access.audit_chain._append", full)
    audit = Audit(tmp_path)
    for number in range(MOST_WAITING + 7):
        audit.note(EVERYBODY, f"did {number}", address="10.0.0.1")
    await audit.written()
    assert audit.warning == (
        f"the audit log cannot be written (No space left on device): {MOST_WAITING} wait, 7 entries lost; "
        "inspection goes on"
    )
    monkeypatch.setattr("server.access.audit_chain._append", _append)
    audit.sweep()
    await audit.written()
    assert audit.warning is None
    found = verify(tmp_path / "audit")
    assert (found.last, found.broken) == (MOST_WAITING + 1, ())
    assert newest(tmp_path / "audit", None, 1)[0].detail.startswith("7 entries could not be written")
    await audit.close()


async def test_who_may_little_cannot_wash_the_log_out(tmp_path: Path) -> None:
    at = [0.0]
    audit = Audit(tmp_path, lambda: at[0])
    viewer, bo = Identity("panel", Role.VIEWER, "token"), Identity("bo", Role.OPERATOR, "session")
    for number in range(300):
        audit.note(viewer, "logged in", address=f"10.0.0.{number % 9}")
    audit.note(bo, "logged in", address="10.0.1.1")
    await audit.written()
    found = await audit.read(None, 1000)
    assert [one.who for one in found] == ["bo", *["panel"] * 61], "sixty, and that there are more"
    at[0] += 61
    audit.sweep()
    (told,) = await audit.read(None, 1)
    assert (told.who, told.what, told.detail) == ("panel", "logged in", "239 times more")
    for number in range(3000):  # under ever new names
        audit.note(Identity(f"phone-{number}", Role.OPERATOR, "device"), "paired a phone", address="10.0.0.1")
    await audit.written()
    assert len(await audit.read(None, 4000)) < 700 and audit.warning is None
    for _ in range(80):
        audit.note(EVERYBODY, "changed a login", address="10.0.1.2")
    await audit.written()
    found = await audit.read(None, 81)
    assert [one.what for one in found] == ["changed a login"] * 80 + ["paired a phone"] and found[-1].who == MANY[0]
    at[0] += 3600
    audit.sweep()
    assert not audit._whole_at and not audit._repeated
    await audit.close()


async def test_a_phone_that_is_called_like_a_login_spends_none_of_its_allowance(tmp_path: Path) -> None:
    audit = Audit(tmp_path, lambda: 0.0)
    for _ in range(100):
        audit.note(Identity("bo", Role.OPERATOR, "device"), "chose a recipe", address="10.0.0.1")
    for _ in range(60):
        audit.note(Identity("bo", Role.OPERATOR, "session"), "chose a recipe", address="10.0.0.2")
    await audit.written()
    found = await audit.read(None, 1000)
    assert [one.who for one in found] == ["bo"] * 60 + ["phone bo"] * 61
    await audit.close()


async def test_failures_of_strangers_are_collapsed_and_cannot_wash_the_log_out(tmp_path: Path) -> None:
    clock = Clock()
    audit = Audit(tmp_path, clock)
    for _ in range(500):
        audit.note_repeated("anna", "failed to log in", address="10.0.0.1")
    for number in range(3000):
        audit.note_repeated("somebody unknown", "failed to log in", address=f"172.16.{number // 250}.{number % 250}")
    await audit.written()
    assert verify(tmp_path / "audit").entries == 21, "twenty of their own, and all others together"
    clock.now += 61
    audit.sweep()
    await audit.written()
    entries = newest(tmp_path / "audit", None, 100)
    assert next(one.detail for one in entries if one.who == "anna" and one.detail) == "499 times more"
    assert next(one.detail for one in entries if one.who == MANY[0] and one.detail) == "2,980 times more"
    assert len(entries) == 23 and not audit._repeated
    await audit.close()


async def test_what_waits_at_the_end_is_written(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    for number in range(50):
        audit.note(EVERYBODY, f"did {number}", address="10.0.0.1")
    audit.note_repeated("anna", "failed to log in", address="10.0.0.1")
    audit.note_repeated("anna", "failed to log in", address="10.0.0.1")
    async with asyncio.timeout(20):
        await audit.close()
    assert verify(tmp_path / "audit").entries == 52


async def test_what_the_line_chose_is_in_it_once_a_minute(tmp_path: Path) -> None:
    clock = [0.0]
    audit = Audit(tmp_path, lambda: clock[0])
    for recipe in ("discs", "plates", "discs"):
        audit.note_line("modbus press", "Choose a recipe", recipe, "press")
    audit.note_line("MQTT", "Choose a recipe", "discs", "lathe")
    clock[0] = 61.0
    audit.sweep()
    found = await audit.read(None, 10)
    assert {(one.who, one.how, one.address) for one in found} == {
        ("modbus press", "line", "stream press"),
        ("MQTT", "line", "stream lathe"),
    }
    assert sorted(one.detail for one in found) == ["2 times more", "discs", "discs"]
    await audit.close()
