"""``defectvision user`` and ``defectvision audit``."""

from __future__ import annotations

import asyncio
import io
import os
import re
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from server import cli, logs
from server.access import Access, passwords
from server.access.passwords import is_password


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(1, 8, 1))
    monkeypatch.setattr(logs, "set_up", lambda: None)
    passwords._nobodys.cache_clear()


def run(folder: Path, *arguments: str) -> int:
    return cli.main([*arguments, "--data-dir", str(folder)])


def test_who_lost_the_password_gets_back_in_from_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "user", "list") == 0
    assert "There are no logins" in capsys.readouterr().err
    assert run(tmp_path, "user", "add", "boss") == 0
    (first,) = re.findall(r"Password: (\S+)", capsys.readouterr().out)
    assert run(tmp_path, "user", "add", "anna", "--role", "operator") == 0
    assert run(tmp_path, "user", "password", "boss") == 0
    (second,) = re.findall(r"Password: (\S+)", capsys.readouterr().out.splitlines()[-1])
    boss, anna = Access(tmp_path, closed=True).accounts
    assert (boss.role, anna.role) == ("admin", "operator")
    assert is_password(boss.password, second) and not is_password(boss.password, first)
    assert run(tmp_path, "user", "list") == 0
    assert re.search(r"boss +admin .*\nanna +operator", capsys.readouterr().out)
    assert run(tmp_path, "user", "remove", "anna") == 0
    assert run(tmp_path, "user", "remove", "boss") == 2
    assert "last admin" in capsys.readouterr().err
    assert run(tmp_path, "audit", "verify") == 0
    assert "4 entries, 1 to 4" in (out := capsys.readouterr().out) and "The chain holds." in out


@pytest.mark.parametrize("with_phones", [False, True])
def test_a_login_is_removed_with_the_phones_that_it_paired_or_says_how_many_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], with_phones: bool
) -> None:
    run(tmp_path, "user", "add", "boss")
    run(tmp_path, "user", "add", "anna", "--role", "operator")

    async def pair() -> None:
        access = Access(tmp_path, closed=True)
        for by in ("anna", "anna", "boss"):
            about = {"role": "operator", "streams": ("press",), "by": by}
            await access.open_session("device", "phone", address="", browser="", **about)  # type: ignore[arg-type]
        await access.close()

    asyncio.run(pair())
    capsys.readouterr()
    assert run(tmp_path, "user", "remove", "anna", *(["--phones"] if with_phones else [])) == 0
    out = capsys.readouterr().out
    assert ("2 phones that it paired: revoked." in out) is with_phones and "2 phones that it paired" in out
    assert len(Access(tmp_path, closed=True).sessions) == (1 if with_phones else 3)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to others")
def test_what_root_makes_belongs_to_the_server_s_user(tmp_path: Path) -> None:
    """The server adds lines to the same log."""
    os.chown(tmp_path, 65534, 65534)
    assert run(tmp_path, "user", "add", "boss") == 0
    assert [*tmp_path.glob("audit/*.jsonl")] and {path.stat().st_uid for path in tmp_path.rglob("*")} == {65534}


def test_a_password_may_be_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("seven green boats\n"))
    assert run(tmp_path, "user", "add", "boss", "--ask") == 0
    assert "Password" not in capsys.readouterr().out
    assert is_password(Access(tmp_path, closed=True).accounts[0].password, "seven green boats")
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert run(tmp_path, "user", "password", "boss", "--ask") == 2
    assert "10 to 200 characters" in capsys.readouterr().err


def test_errors_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (("user", "password", "nobody"), "no account of that name"),
        (("user", "add", "a b"), "a name has"),
        (("audit", "verify", str(tmp_path / "gone.jsonl")), "No such file"),
    ):
        assert run(tmp_path, *arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("defectvision: ") and words in line
    assert cli.main(["user", "list", "--data-dir", str(tmp_path / "nowhere")]) == 2
    assert "give the server's with --data-dir" in capsys.readouterr().err


def test_a_broken_chain_is_said_and_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("boss", "anna", "bo"):
        run(tmp_path, "user", "add", name)
    (log,) = (tmp_path / "audit").iterdir()
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0], lines[2]]) + "\n")
    capsys.readouterr()
    assert run(tmp_path, "audit", "verify") == 1
    out = capsys.readouterr().out
    assert "line 2 is number 3, after 1" in out and "The chain is broken." in out
    assert run(tmp_path, "audit", "verify", str(log)) == 1
