"""Where models and figures are written: folders that are there already, disks that are full, names that are odd."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

import detector
from detector import files, model_folder
from detector.errors import OUT_OF_MEMORY
from server import cli
from tests.training.commands.test_commands import QUICK, run
from tests.training.conftest import draw_part, write_picture
from training.commands import arguments as arguments_module
from training.commands import train as train_command
from training.train import OutputError, require_model_or_nothing


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good parts to learn from, two of each kind to measure on."""
    folder = tmp_path_factory.mktemp("few") / "disc"
    for number in range(6):
        write_picture(folder / f"train/good/{number}.png", draw_part(number))
    for number in range(2):
        write_picture(folder / f"test/good/{number}.png", draw_part(100 + number))
        write_picture(folder / f"test/spot/{number}.png", draw_part(200 + number, defect=True))
    return folder


@pytest.fixture(scope="module")
def taught(few: Path, tmp_path_factory: pytest.TempPathFactory) -> detector.TaughtModel:
    output = tmp_path_factory.mktemp("models") / "disc"
    assert run("train", few, "--output", output, *QUICK) == 0
    return detector.load_taught(output)


def test_a_folder_that_is_there_is_written_into_and_stays_the_same_one(
    taught: detector.TaughtModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mounted disk cannot be renamed over, and a shell that is in the folder would be left in a deleted one."""
    disk = tmp_path / "disk"
    (disk / "lost+found").mkdir(parents=True)
    (disk / ".Trash").mkdir()
    (tmp_path / "link").symlink_to(disk)
    before = disk.stat().st_ino
    monkeypatch.chdir(disk)
    for output in (Path(), tmp_path / "link", disk):
        require_model_or_nothing(output)
        taught.save(output)
        assert detector.load(output).hash == taught.hash
        assert disk.stat().st_ino == before and Path.cwd() == disk
        (disk / model_folder.MANIFEST).unlink()  # a crash in the middle leaves the tensors; that is no obstacle
    assert (tmp_path / "link").is_symlink()
    assert (disk / "lost+found").is_dir() and (disk / ".Trash").is_dir()


def test_a_folder_in_one_that_cannot_be_written_is_written_into(
    taught: detector.TaughtModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "parent" / "model"
    output.mkdir(parents=True)
    refuse_writing_to(tmp_path / "parent", monkeypatch)
    require_model_or_nothing(output)
    taught.save(output)
    assert detector.load(output).hash == taught.hash
    with pytest.raises(OutputError, match=r"parent cannot be written \(Read-only file system\)"):
        require_model_or_nothing(tmp_path / "parent" / "another")


def refuse_writing_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a disk mounted read-only does, for root too."""

    def refusing(name: str) -> Callable[..., Any]:
        original = getattr(os, name)

        def guarded(path: Any, *rest: Any, **options: Any) -> Any:
            writing = name != "open" or (rest and rest[0] & (os.O_WRONLY | os.O_RDWR))
            if isinstance(path, str | Path) and Path(path).parent == folder and writing:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return original(path, *rest, **options)

        return guarded

    for name in ("mkdir", "open", "rename", "replace"):
        monkeypatch.setattr(os, name, refusing(name))


def test_what_cannot_be_written_is_found_before_teaching(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def taught_anyway(*_: object, **__: object) -> None:
        raise AssertionError("pictures were learned first")

    monkeypatch.setattr(detector, "fit", taught_anyway)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"sun")
    refuse_writing_to(tmp_path, monkeypatch)
    for output in ("model", "gone", "holiday"):
        assert run("train", few, "--output", tmp_path / output, *QUICK) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "cannot be written (Read-only file system)" in errors[0]
    assert "is a link to a folder that is not there" in errors[1]
    assert "exists and is not a model folder" in errors[2]


def test_a_full_disk_leaves_an_empty_folder_empty(
    taught: detector.TaughtModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes, *, mode: int = 0o644) -> None:
        if path.name == model_folder.MANIFEST:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        files.write_atomically(path, data, mode=mode)

    monkeypatch.setattr(model_folder, "write_atomically", full)
    with pytest.raises(detector.ModelError, match="No space left on device"):
        taught.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_export_goes_into_a_folder_that_is_there(
    few: Path, taught: detector.TaughtModel, tmp_path: Path, capsys: Any
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    taught.save(tmp_path / "model")
    before = disk.stat().st_ino
    assert run("export", tmp_path / "model", few, "--output", disk) == 0
    assert disk.stat().st_ino == before
    assert detector.load(disk).hash == taught.hash
    assert (disk / "openvino" / "model.xml").is_file()
    assert not [entry for entry in disk.iterdir() if entry.name.startswith(".")]


def test_figures_that_find_no_room_are_told_in_words(
    few: Path, taught: detector.TaughtModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def full(path: Path, data: bytes, *, mode: int = 0o644) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    taught.save(tmp_path / "model")
    monkeypatch.setattr(arguments_module, "write_atomically", full)
    report = tmp_path / "report.json"
    assert run("evaluate", tmp_path / "model", few, "--json", report) == 2
    error = capsys.readouterr().err
    assert f"{report} cannot be written: No space left on device. Make room, or give another --json." in error


LATIN_1 = os.fsdecode(b"caf\xe9")


def test_names_that_are_no_unicode_are_learned_measured_and_written(few: Path, tmp_path: Path, capsys: Any) -> None:
    parts = tmp_path / LATIN_1
    try:
        for path in few.rglob("*.png"):
            copy = parts / path.relative_to(few).with_name(f"{LATIN_1}{path.name}")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    except OSError as error:
        pytest.skip(f"this disk has no such names: {error}")
    model, report = tmp_path / f"{LATIN_1} model", tmp_path / "report.json"
    for arguments in (
        ["train", parts, "--output", model, *QUICK],
        ["evaluate", model, parts, "--json", report],
        ["export", model, parts, "--output", tmp_path / f"{LATIN_1} export"],
    ):
        assert cli.main([str(argument) for argument in arguments]) == 0
    assert "caf\\udce9/train/good" in capsys.readouterr().out
    assert detector.load(model).category == "caf\\xe9"
    figures = json.loads(report.read_text("utf-8"))
    assert {Path(picture["path"]) for picture in figures["pictures"]} == set(parts.glob("test/*/*"))


@pytest.mark.parametrize("fault", [MemoryError(), cv2.error("Insufficient memory")], ids=["of Python", "of OpenCV"])
def test_running_out_of_memory_is_said_as_such(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, fault: Exception
) -> None:
    if isinstance(fault, cv2.error):
        fault.code = cv2.Error.StsNoMem

    def exhausted(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(train_command, "train", exhausted)
    assert run("train", few, "--output", tmp_path / "model", *QUICK) == 2
    assert capsys.readouterr().err == f"defectvision: {OUT_OF_MEMORY}\n"
