"""One process, one folder: whoever comes second is told who was first, and what a crash leaves is in nobody's way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from detector import folder_lock
from detector.folder_lock import FILE, FolderInUse, hold, holder

HOLD = """
import sys, time
from pathlib import Path
from detector.folder_lock import hold
lock = hold(Path(sys.argv[1]), "a test")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "_TRY_S", 0.001)


def test_the_second_is_told_who_was_first(tmp_path: Path) -> None:
    lock = hold(tmp_path, "at http://localhost:0/")
    lock.say("at http://localhost:8000/")
    with pytest.raises(FolderInUse) as refusal:
        hold(tmp_path, "the second")
    words = str(refusal.value)
    assert words.startswith(f"process {os.getpid()} on ") and "at http://localhost:8000/, since 20" in words
    assert holder(tmp_path) == holder(tmp_path / "model" / "of" / "a part") == words
    lock.release()
    assert holder(tmp_path) is None
    hold(tmp_path, "the second").release()


def test_what_a_killed_process_leaves_is_in_nobody_s_way(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        assert str(process.pid) in str(holder(tmp_path))
        with pytest.raises(FolderInUse, match=f"process {process.pid} on .*, a test, since"):
            hold(tmp_path, "the second")
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / FILE).exists()
    assert holder(tmp_path) is None
    hold(tmp_path, "the second").release()


def test_a_child_that_lives_on_does_not_hold_it(tmp_path: Path) -> None:
    lock = hold(tmp_path, "a test")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False):
        lock.release()
        hold(tmp_path, "the second").release()


@pytest.mark.parametrize("words", [b"", b"\xff\x00\n\x1b[2J", b"x" * 100_000])
def test_whatever_stands_in_the_file_is_one_short_sentence(tmp_path: Path, words: bytes) -> None:
    lock = hold(tmp_path, "a test")
    (tmp_path / FILE).write_bytes(words)
    told = holder(tmp_path)
    assert told is not None and 0 < len(told) <= 400 and told.isprintable()
    lock.release()


def test_a_file_of_another_user_is_locked_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE).write_text("process 1 on line4, a server, since ever\n")
    really = os.open

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return really(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    lock = hold(tmp_path, "a test")
    with pytest.raises(FolderInUse):
        hold(tmp_path, "the second")
    lock.release()
