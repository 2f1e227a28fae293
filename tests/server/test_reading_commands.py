"""Commands that say something change nothing: not what is damaged, of an older version, or open to others."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from server import access, cli, inspection, logs, recipes
from server.access import ACCOUNTS_FILE, Access

COMMANDS = (("user", "list"), ("audit", "verify"), ("doctor",))


def all_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """What lies in a folder: rights, time and bytes of each file, and the folders."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
        if path.is_file()
        else (path.stat().st_mode, 0, b"")
        for path in folder.rglob("*")
    }


def whole(data: Path) -> None:
    Access(data, closed=True).store_account("ada", "admin", "seven green boats")


def damaged(data: Path) -> None:
    for name in (*access.DOCUMENTS, *inspection.DOCUMENTS, *recipes.DOCUMENTS):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_bytes(b"{")


def newer(data: Path) -> None:
    (data / ACCOUNTS_FILE).parent.mkdir()
    (data / ACCOUNTS_FILE).write_bytes(b'{"version": 99}')


def open_to_others(data: Path) -> None:
    whole(data)
    (data / ACCOUNTS_FILE).chmod(0o644)


@pytest.mark.parametrize("make", [lambda data: None, whole, damaged, newer, open_to_others])
def test_commands_that_read_leave_files_alone(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "set_up", lambda: None)
    data = tmp_path / "data"
    data.mkdir()
    make(data)
    with contextlib.closing(sqlite3.connect(data / "history.db")) as history:
        history.execute("PRAGMA journal_mode=WAL")
        history.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY)")
    before = all_of(data)
    for command in COMMANDS:
        cli.main([*command, "--data-dir", str(data)])
        assert all_of(data) == before, command


@pytest.mark.parametrize(("make", "words"), [(damaged, "is damaged"), (newer, "is of a newer version")])
def test_logins_that_cannot_be_listed_are_said(
    tmp_path: Path, make: Callable[[Path], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path)
    assert cli.main(["user", "list", "--data-dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"defectvision: {tmp_path / ACCOUNTS_FILE} {words} (") and "user add" in line


def test_that_logins_were_set_aside_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged(tmp_path)
    (tmp_path / ACCOUNTS_FILE).rename(tmp_path / f"{ACCOUNTS_FILE}.damaged-1")
    assert cli.main(["user", "list", "--data-dir", str(tmp_path)]) == 0
    assert "accounts.json.damaged-1 was set aside as damaged" in capsys.readouterr().err
