from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from detector.files import (
    give_to_owner,
    in_turn,
    read_at_most,
    remove_leftovers,
    set_aside,
    temporary_beside,
    write_atomically,
)


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    for data in (b"first", b"", b"second"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_is_never_readable_by_others(tmp_path: Path) -> None:
    write_atomically(tmp_path / "key.pem", b"secret", mode=0o600)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(b"old")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, fails)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        steps.append("sync a folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync the file")
        fsync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    write_atomically(tmp_path / "a", b"1")
    assert steps == ["sync the file", "rename", "sync a folder"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "a", b"1")


def test_set_aside_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    for number in (1, 2, 3):
        path.write_text(str(number))
        assert set_aside(path) == tmp_path / f"calibration.json.damaged-{number}"
    assert not path.exists()
    assert [(tmp_path / f"calibration.json.damaged-{n}").read_text() for n in (1, 2, 3)] == ["1", "2", "3"]


def test_of_many_set_aside_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    (tmp_path / "calibration.json.damaged-1.txt").write_text("somebody's own")
    for number in range(1, 31):
        path.write_text(str(number))
        assert set_aside(path).name == f"calibration.json.damaged-{number}"
    kept = {entry.name: entry.read_text() for entry in tmp_path.iterdir()}
    assert kept.pop("calibration.json.damaged-1.txt") == "somebody's own"
    assert kept == {f"calibration.json.damaged-{number}": str(number) for number in range(22, 31)}


def abandoned(path: Path, hours: float) -> Path:
    """What a crash left unfinished of a file, so long ago."""
    temporary = temporary_beside(path)
    temporary.write_text("half")
    then = time.time() - 3600 * hours
    os.utime(temporary, (then, then))
    return temporary


def test_what_a_crash_left_goes_when_the_file_is_next_written(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    old, young, another = abandoned(path, 2), abandoned(path, 0.5), abandoned(tmp_path / "access_code", 2)
    write_atomically(path, b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, young, another]) and old not in tmp_path.iterdir()


def test_leftovers_are_known_by_their_names(tmp_path: Path) -> None:
    kept = [".hidden", "a.12345678.tmp", ".a.1234567.tmp", ".a.1234567g.tmp", ".a.12345678.tmp.gz", "model"]
    for name in kept:
        (tmp_path / name).write_text("somebody's own")
    half = temporary_beside(tmp_path / "model")
    half.mkdir()
    (half / "memory_bank-0123.safetensors").write_bytes(bytes(1000))
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "precious").write_text("")
    temporary_beside(tmp_path / "link").symlink_to(outside)
    abandoned(tmp_path / "calibration.json", 0)
    (tmp_path / ".history.db.before-1.12345678.tmp-journal").touch()
    remove_leftovers(tmp_path, older_than_s=0)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(kept)
    assert (outside / "precious").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to others")
def test_what_root_writes_into_somebodys_folder_is_his(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    write_atomically(tmp_path / "accounts.json", b"{}", mode=0o600)
    assert (tmp_path / "accounts.json").stat().st_uid == 65534
    (tmp_path / "precious").write_text("root's")
    (tmp_path / "other_name").hardlink_to(tmp_path / "precious")
    give_to_owner(tmp_path, tmp_path / "other_name")
    assert (tmp_path / "precious").stat().st_uid == 0, "whoever may write there could name any file"


def test_leftovers_of_a_missing_folder_are_none(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "none")


def test_one_at_a_time_is_in_a_folder(tmp_path: Path) -> None:
    inside = threading.Event()

    def enter() -> None:
        with in_turn(tmp_path):
            inside.set()

    with in_turn(tmp_path):
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not inside.wait(0.2)
    assert inside.wait(20)
    waiting.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match=r"no file|Is a directory"):
            read_at_most(path, 10)
    (tmp_path / "long").write_bytes(b"0123456789ab")
    assert read_at_most(tmp_path / "long", 10) == b"0123456789"
    with pytest.raises(FileNotFoundError):
        read_at_most(tmp_path / "none", 10)
