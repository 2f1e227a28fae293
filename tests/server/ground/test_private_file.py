"""Folders that only their owner may enter, also where root makes them for him."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.ground import private_file


def test_a_folder_is_closed_to_others_whether_it_is_new_or_not(tmp_path: Path) -> None:
    for _ in range(2):
        private_file.make_folder(tmp_path / "sinks" / "7" / "pki")
        assert (tmp_path / "sinks" / "7" / "pki").stat().st_mode & 0o777 == 0o700
        (tmp_path / "sinks" / "7" / "pki").chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to others")
def test_each_folder_that_root_makes_belongs_to_whose_place_it_is(tmp_path: Path) -> None:
    (tmp_path / "data" / "own").mkdir(parents=True)
    os.chown(tmp_path / "data", 65534, 65534)
    for folder in ("sinks/7/pki", "own/access"):
        private_file.make_folder(tmp_path / "data" / folder)
    owners = {str(path.relative_to(tmp_path)): path.stat().st_uid for path in tmp_path.rglob("*")}
    assert {name for name, owner in owners.items() if owner == 65534} == {
        "data",
        "data/sinks",
        "data/sinks/7",
        "data/sinks/7/pki",
    }
