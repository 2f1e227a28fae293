"""Today's server opens what every earlier format left, and there is a way back (``upgrades/README.md``)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from detector import VERSION, ModelError, load
from detector.files import write_atomically
from server import cli
from server.app import create_app
from server.backup import BackupError, going_back
from server.backup.going_back import UNFINISHED, go_back
from server.ground import keep_before_upgrade
from server.inspection.calibration_file import VERSION as CALIBRATIONS
from server.recipes.recipe_book import VERSION as RECIPES
from server.records.database import Database
from server.records.taking_back import WayBack
from server.settings import Settings
from tests.running import running
from tests.server.fakes import FakeModel, http

OLD = Path(__file__).parent / "upgrades"
KEPT = f"before-upgrade-{VERSION}"


def copy_of(commit: str, folder: Path) -> Path:
    """The data directory that a commit left."""
    data = folder / "data"
    shutil.copytree(OLD / commit, data, ignore=shutil.ignore_patterns("model"))
    if (packed := data / "history.db.gz").exists():
        (data / "history.db").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    if (data / "recipes.json").exists():
        shutil.copytree(OLD / "models", data / "models")
    return data


def version_of(path: Path) -> int:
    return int(json.loads(path.read_bytes())["version"])


async def opened(data: Path) -> dict[str, Any]:
    """What a server says that opened it, a model of the same hash given."""
    key = json.loads((data / "calibration.json").read_bytes())
    hash = next((one.partition(":")[0] for one in key.get("calibrations", {})), "a" * 64)
    model = FakeModel(hash=hash)
    settings = Settings(data_dir=data)
    found: dict[str, Any] = {}
    async with running(create_app(settings, make_model=lambda: model), settings) as server, http(server) as client:  # type: ignore[arg-type, return-value]

        async def health() -> dict[str, Any]:
            body: dict[str, Any] = (await client.get("/health")).json()
            return body

        while (found := await health())["status"] == "teaching":
            pass
        found["recipes"] = (await client.get("/api/recipes")).json()
        found["cameras"] = (await client.get("/api/cameras")).json()
        found["sinks"] = (await client.get("/api/sinks")).json()
        if (data / "history.db").exists():
            while (answer := await client.get("/api/history")).status_code == 503:
                pass
            found["history"] = answer.json()
    return found


@pytest.mark.parametrize("commit", ["b0ec51c", "46fe6c4", "87e8562", "a1b6d46"])
async def test_it_opens_what_an_earlier_commit_left_and_there_is_a_way_back(commit: str, tmp_path: Path) -> None:
    data = copy_of(commit, tmp_path)
    before = {path.name: path.read_bytes() for path in data.iterdir() if path.suffix == ".json"}
    older = {name for name in before if version_of(data / name) < _today(name)}
    found = await opened(data)
    assert found["status"] == "ok" and not [one for one in found["warnings"] if "damaged" in one], found["warnings"]
    assert not list(data.glob("*.damaged-*"))
    if "recipes.json" in before:
        assert "washer" in json.dumps(found["recipes"]) and "press" in json.dumps(found["cameras"])
    else:
        assert found["threshold_source"] == "calibration"
    if "sinks.json" in before:
        assert "mes" in json.dumps(found["sinks"]) and "part-0" in json.dumps(found["history"])
    for name in before:
        assert version_of(data / name) == _today(name)
    # And back.
    kept = {path.name: path.read_bytes() for path in (data / KEPT).iterdir()} if older else {}
    assert kept == {name: before[name] for name in older}, "as the older software wrote them, to the byte"
    if not older:
        with pytest.raises(BackupError, match="wrote nothing anew"):
            go_back(data)
        return
    done = go_back(data)
    assert set(done.files) == older
    assert {name: (data / name).read_bytes() for name in before} == before
    assert {version_of(done.aside / name) for name in older} == {_today(name) for name in older}, (
        "nothing is thrown away"
    )
    again = await opened(data)
    assert again["status"] == "ok" and (data / KEPT).is_dir(), "the next upgrade keeps them anew"


def _today(name: str) -> int:
    return {"calibration.json": CALIBRATIONS, "recipes.json": RECIPES}.get(name, 1)


@pytest.mark.parametrize("commit", ["b0ec51c", "46fe6c4"])
def test_a_model_of_an_earlier_format_says_what_to_do(commit: str) -> None:
    with pytest.raises(ModelError, match="teach it again"):
        load(OLD / commit / "model")


async def test_where_the_way_back_cannot_be_kept_nothing_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = copy_of("b0ec51c", tmp_path)
    before = (data / "calibration.json").read_bytes()
    (data / KEPT).write_text("in its place")
    assert (await opened(data))["threshold_source"] == "calibration"
    assert (data / "calibration.json").read_bytes() == before


def test_only_what_this_version_wrote_anew_is_put_back(tmp_path: Path) -> None:
    """What an upgrade long ago kept is of that time: of what was taught and calibrated since there is nothing in it."""
    data = copy_of("b0ec51c", tmp_path)
    before = (data / "calibration.json").read_bytes()
    long_ago = data / "before-upgrade-9.9"
    long_ago.mkdir()
    (long_ago / "calibration.json").write_bytes(b"of long ago")
    with pytest.raises(BackupError, match=r"before-upgrade-9\.9 is of upgrades before"):
        go_back(data)
    keep_before_upgrade(data / "recipes.json", b"of the version before")
    os.utime(data / KEPT, (0, 0))
    assert go_back(data).files == ("recipes.json",)
    assert (data / "recipes.json").read_bytes() == b"of the version before"
    assert (data / "calibration.json").read_bytes() == before and long_ago.is_dir()


def test_who_went_back_and_comes_again_comes_from_what_he_has_now(tmp_path: Path) -> None:
    for data in (b"of January", b"of June"):
        keep_before_upgrade(tmp_path / "recipes.json", data)
    go_back(tmp_path)
    assert (tmp_path / "recipes.json").read_bytes() == b"of June"


class Going:
    """A history that is to go back by one version."""

    def __init__(self) -> None:
        self.version = 5

    def goal(self, begun: str | None) -> str:
        return begun if begun == str(self.version) else str(self.version - 1)

    def take_back(self, aside: Path, goal: str) -> str:
        self.version = int(goal)
        return f"the history, in {goal}"


def test_one_that_was_killed_in_between_is_finished_and_goes_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes, history, replace = tmp_path / "recipes.json", Going(), Path.replace
    keep_before_upgrade(recipes, b"older")
    recipes.write_bytes(b"today's")

    def killed(path: Path, target: Path) -> Path:
        if target == recipes:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as kill, pytest.raises(KeyboardInterrupt):
        kill.setattr(Path, "replace", killed)
        go_back(tmp_path, history=history)
    assert (history.version, recipes.read_bytes()) == (4, b"today's")
    assert go_back(tmp_path, history=history).files == ("the history, in 4", "recipes.json")
    assert (history.version, recipes.read_bytes()) == (4, b"older")
    go_back(tmp_path, history=history)
    assert history.version == 3, "that one was done, and this is another"
    for other in (b'{"software": "0.0.1", "history": "3"}', b"{"):
        (tmp_path / UNFINISHED).write_bytes(other)
        before = history.version
        go_back(tmp_path, history=history)
        assert history.version == before - 1 and not (tmp_path / UNFINISHED).exists()


@pytest.mark.parametrize("with_history", [False, True])
@pytest.mark.parametrize("until", [0, 1, 2, 3])
def test_on_a_disk_that_fills_nothing_is_taken_back_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: int, with_history: bool
) -> None:
    for name in ("calibration.json", "recipes.json"):
        keep_before_upgrade(tmp_path / name, b"older")
        (tmp_path / name).write_bytes(b"today's")
    left, history = [until], Going()

    def full(path: Path, data: bytes, **more: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_atomically(path, data, **more)

    with monkeypatch.context() as fills, pytest.raises(BackupError, match="No space left"):
        fills.setattr(going_back, "write_atomically", full)
        go_back(tmp_path, history=history if with_history else None)
    assert {(tmp_path / name).read_bytes() for name in ("calibration.json", "recipes.json")} == {b"today's"}
    assert history.version == 5 and (tmp_path / KEPT).is_dir()
    assert not list(tmp_path.glob("before-downgrade-*")) and not list(tmp_path.glob(".downgrade*"))
    done = go_back(tmp_path)
    assert {path.read_bytes() for path in done.aside.glob("*.json")} == {b"today's"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to others")
def test_what_root_takes_back_belongs_to_the_server_s_user(tmp_path: Path) -> None:
    data = copy_of("a1b6d46", tmp_path)
    asyncio.run(Database(data, None).open())
    keep_before_upgrade(data / "recipes.json", b"older")
    for path in (data, *data.rglob("*")):
        os.chown(path, 65534, 65534)
    keep_before_upgrade(data / "calibration.json", b"older")
    go_back(data, history=WayBack(data, None, None))
    assert {path.stat().st_uid for path in data.rglob("*")} == {65534}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = copy_of("b0ec51c", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("server.logs.set_up", lambda: None)
    assert cli.main(["downgrade"]) == 1 and "reads what is there" in capsys.readouterr().err
    (data / KEPT).mkdir()
    (data / KEPT / "calibration.json").write_bytes(b"older")
    assert cli.main(["downgrade", "--history"]) == 1 and "there is no history.db" in capsys.readouterr().err
    assert not list(data.glob("before-downgrade-*")) and (data / KEPT).is_dir(), "nothing has changed"
    assert cli.main(["downgrade"]) == 0
    assert "calibration.json" in capsys.readouterr().out
    assert (data / "calibration.json").read_bytes() == b"older"


async def test_a_history_goes_back_with_all_it_has_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its tables are then what that version made, to the column and index; and today's server takes it on."""
    data = copy_of("a1b6d46", tmp_path)
    then = tables_of(data)
    found = await opened(data)
    entries = found["history"]["entries"]
    assert entries and tables_of(data) != then
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("server.logs.set_up", lambda: None)
    for version, words in (("0009", "can be brought back to 0001, not to '0009'"), ("", "from version 0002 to 0001")):
        command = ["downgrade", "--history", *([version] if version else [])]
        done = await asyncio.to_thread(cli.main, command)
        said = capsys.readouterr()
        assert words in said.err + said.out and done == (1 if version else 0)
    assert tables_of(data) == then
    (aside,) = data.glob("before-downgrade-*")
    assert (aside / "history.db").exists(), "as it was"
    assert await asyncio.to_thread(cli.main, ["downgrade", "--history"]) == 1
    assert "every DefectVision reads it" in capsys.readouterr().err
    again = await opened(data)
    assert again["history"]["entries"] == entries


def tables_of(data: Path) -> dict[str, object]:
    """Columns of each table and index, and how many rows each table has."""
    with contextlib.closing(sqlite3.connect(data / "history.db")) as database:
        made = database.execute(
            "SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
        found: dict[str, object] = {}
        for kind, name, table in made:
            if kind == "index":
                found[name] = table, [one[2] for one in database.execute(f"PRAGMA index_info({name})")]
            else:
                columns = [one[1:] for one in database.execute(f"PRAGMA table_info({name})")]
                found[name] = columns, database.execute(f"SELECT count(*) FROM {name}").fetchone()
        return found
