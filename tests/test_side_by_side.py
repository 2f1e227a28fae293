"""What several processes of tests share, and in which order they begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import LEFT_OUT, LONGEST
from tests.once import made_once, shared_folder
from tests.running import ROOT


class Factory(pytest.TempPathFactory):
    """Of one process of several; its own folder lies in one that they all see."""

    def __init__(self, own: Path) -> None:
        self._own = own

    def getbasetemp(self) -> Path:
        return self._own


def test_what_one_process_has_made_the_others_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    one, other = Factory(tmp_path / "popen-gw0"), Factory(tmp_path / "popen-gw1")
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "model").write_text("taught")

    folders = {made_once(factory, "model", make) for factory in (one, other, one)}
    (folder,) = folders
    assert len(made) == 1 and (folder / "model").read_text() == "taught" and folder.is_relative_to(tmp_path)
    monkeypatch.delenv("PYTEST_XDIST_WORKER")
    assert shared_folder(one) == tmp_path / "popen-gw0", "a process alone shares with nobody"


def test_what_could_not_be_made_is_made_by_the_next(tmp_path: Path) -> None:
    factory = Factory(tmp_path)

    def half(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        made_once(factory, "model", half)
    folder = made_once(factory, "model", lambda folder: (folder / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_the_modules_that_are_named_are_there() -> None:
    named = [*LONGEST, *(place for places in LEFT_OUT.values() for place in places)]
    assert [place for place in named if not (ROOT / place).exists()] == []
