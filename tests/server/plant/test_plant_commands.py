"""``defectvision plant``: a data directory of before becomes the first gateway of a plant."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect

from server import cli
from server.app import create_app
from server.ground import DatabaseAddress
from server.plant import ObjectStore, StoreAddress
from server.plant.link import Link
from server.settings import Settings, read_settings
from tests.detector.parts import draw_part
from tests.running import running
from tests.server.fakes import healthy, http
from tests.server.plant.test_gateways import _inspects_with, copied, until
from tests.server.records.postgres import PASSWORD, USER
from tests.server.web.test_recipes import score


@pytest.fixture
def environment(
    address: DatabaseAddress, mounted: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Of a gateway whose data directory is the one returned; a bare server's until PLANT_STORE is set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "old"))
    url = f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{address.port}/{address.database}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("PLANT_STORE", str(mounted))
    return tmp_path / "old"


async def alone(folder: Path, model: Path) -> dict[str, Any]:
    """A server that belongs to no plant, with a recipe of its own; the recipe."""
    settings = Settings(data_dir=folder, model_path=model, max_frame_age_ms=1e6)
    async with running(create_app(settings), settings) as server, http(server) as client:
        await healthy(server)
        return await copied(client)


async def test_what_a_server_had_is_the_plants(
    environment: Path, mounted: StoreAddress, tmp_path: Path, disc_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await alone(environment, disc_folder)
    assert cli.main(["plant", "status"]) == 0
    assert "has not joined" in capsys.readouterr().out
    assert cli.main(["plant", "make"]) == 0
    assert "start it, then the others" in capsys.readouterr().out
    stored = {one.name.rpartition("/")[2] for one in ObjectStore(mounted).below("models")}
    assert stored - {"clock"} == {"model.zip"}
    assert cli.main(["plant", "status"]) == 0
    out = capsys.readouterr().out
    assert "belongs to the plant" in out and "recipes.json  version 1" in out
    assert cli.main(["plant", "make"]) == 2
    assert "belongs to the plant already" in capsys.readouterr().err
    read = read_settings()
    settings = Settings(
        data_dir=tmp_path / "new",
        database_url=read.database_url,
        plant_store=mounted,
        gateway_name="new",
        max_frame_age_ms=1e6,
    )
    async with running(create_app(settings), settings) as server, http(server) as client:
        await until(lambda: _inspects_with(client, made["id"]))
        async with connect(f"{server.ws}/ws/stream?name=press") as stream:
            assert (await score(stream, draw_part(1))).recipe == made["id"]
    capsys.readouterr()
    assert cli.main(["plant", "status"]) == 0
    assert "gateway new on " in capsys.readouterr().out


async def test_a_plant_is_made_once_and_of_whole_files(
    environment: Path, tmp_path: Path, disc_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await alone(environment, disc_folder)
    shutil.copytree(environment, tmp_path / "other")
    (environment / "recipes.json").write_text("{")
    assert cli.main(["plant", "make"]) == 2
    assert "damaged" in capsys.readouterr().err and not (environment / "plant.json").exists()
    shutil.rmtree(environment)
    shutil.copytree(tmp_path / "other", environment)
    assert cli.main(["plant", "make"]) == 0
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DATA_DIR", str(tmp_path / "other"))
        with pytest.MonkeyPatch.context() as alone_again:
            alone_again.delenv("PLANT_STORE")
            assert cli.main(["user", "add", "ada", "--role", "engineer"]) == 0
        assert cli.main(["plant", "make"]) == 2
        assert "has recipes or logins already: nothing was changed" in capsys.readouterr().err


def test_a_login_made_on_one_machine_is_the_plants(
    environment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    assert cli.main(["user", "add", "ada", "--role", "engineer"]) == 0
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "new"))
    capsys.readouterr()
    assert cli.main(["user", "list"]) == 0
    assert "ada" in capsys.readouterr().out


@pytest.mark.parametrize("without", ["PLANT_STORE", "DATABASE_URL"])
def test_a_plant_needs_both_settings(
    environment: Path, without: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(without)
    environment.mkdir()
    assert cli.main(["plant", "status"]) == 2
    assert "DATABASE_URL" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["plant", "status"], ["user", "list"], ["doctor"]])
def test_who_only_looks_makes_no_plant(
    environment: Path, mounted: StoreAddress, address: DatabaseAddress, command: list[str]
) -> None:
    environment.mkdir()
    before = [*environment.rglob("*")], [*Path(mounted.place).rglob("*")]
    cli.main(command)
    assert ([*environment.rglob("*")], [*Path(mounted.place).rglob("*")]) == before
    link = Link(address)
    try:
        assert link.ask(_tables) == []
    finally:
        link.close()


async def _tables(connection: Any) -> list[str]:
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return [row["tablename"] for row in rows]


def test_the_status_of_a_plant_that_is_away_is_a_failure(
    environment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.mkdir()
    (environment / "plant.json").write_text('{"plant": "0123456789abcdef0123456789abcdef"}')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("DATABASE_URL", f"postgresql://line:secret@127.0.0.1:{port}/plant")
    assert cli.main(["plant", "status"]) == 2
    said = capsys.readouterr()
    assert "cannot be used" in said.err and "secret" not in said.err and not said.out
