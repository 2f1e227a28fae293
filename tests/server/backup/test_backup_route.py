"""A backup fetched from the running server: by an admin alone, one at a time, and nothing of it is left."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from websockets.asyncio.client import connect

from server.app import create_app
from server.backup import BackupError, making, restore, to_be_fetched
from server.settings import Settings
from server.web import openapi
from tests.running import Running, running
from tests.server.fakes import WAIT_S, FakeModel, http, until
from tests.server.web.test_openapi import Checked

CAMERA = {"name": "press", "source": "rtsp://me:secret@127.0.0.1:9/x"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", host="0.0.0.0")


@pytest.fixture
def app(settings: Settings) -> Starlette:
    return create_app(settings, make_model=FakeModel)  # type: ignore[arg-type]


@pytest.fixture
async def server(app: Starlette, settings: Settings) -> AsyncIterator[Running]:
    async with running(app, settings) as server:
        yield server


@pytest.fixture
async def client(app: Starlette, server: Running) -> AsyncIterator[httpx.AsyncClient]:
    """An admin's machine."""
    _, secret = await app.state.access.add_token("nightly", "admin", None, None, "a test")
    async with httpx.AsyncClient(
        base_url=server.http, headers={"Authorization": f"Bearer {secret}"}, trust_env=False, timeout=60
    ) as client:
        yield client


def unfinished(settings: Settings) -> list[Path]:
    return list(settings.data_dir.glob(".backup.*"))


async def audited(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    entries = (await client.get("/api/audit")).json()["entries"]
    return [one for one in entries if one["path"] == "/api/backup"]


async def test_it_is_fetched_noted_restored_and_gone(
    client: httpx.AsyncClient, settings: Settings, tmp_path: Path
) -> None:
    assert (await client.post("/api/cameras", json=CAMERA)).status_code == 201
    answer = await client.get("/api/backup")
    assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="defectvision-20')
    (tmp_path / "b.zip").write_bytes(answer.content)
    done = restore(tmp_path / "b.zip", tmp_path / "other")
    assert done.files and "secret" in (tmp_path / "other" / "cameras.json").read_text()
    await until(lambda: not unfinished(settings))
    (entry,) = await audited(client)
    assert (entry["who"], entry["method"], entry["status"]) == ("nightly", "GET", 200)


async def test_a_piece_of_one_is_not_sent_as_that_of_another(client: httpx.AsyncClient) -> None:
    """Each is made anew: what a download that goes on got would fit nothing it has."""
    for wanted in ("bytes=1000-", "bytes=0-0,5-9", "bytes=x"):
        while (answer := await client.get("/api/backup", headers={"Range": wanted})).status_code == 503:
            pass  # what is left of the one before is being removed
        assert (answer.status_code, answer.headers["Accept-Ranges"]) == (200, "none")
        assert answer.content.startswith(b"PK") and "Content-Range" not in answer.headers


async def test_without_a_thread_it_is_refused_and_made_later(
    client: httpx.AsyncClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        start = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name == "backup":
                raise RuntimeError("can't start new thread")
            start(thread)

        patch.setattr(threading.Thread, "start", refuse)
        refused = await client.get("/api/backup")
        assert refused.status_code == 507 and "another thread" in refused.text
    assert (await client.get("/api/backup")).status_code == 200
    await until(lambda: not unfinished(settings))


async def test_one_at_a_time_and_who_is_refused_is_told_why(
    client: httpx.AsyncClient, settings: Settings, app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = Checked(client, openapi.describe(app.routes))
    go_on, made = threading.Event(), making._made

    def slow(*about: Any) -> Any:
        assert go_on.wait(60)
        return made(*about)

    monkeypatch.setattr(making, "_made", slow)
    first = asyncio.create_task(checked.ask("GET", "/api/backup"))
    await until(lambda: bool(unfinished(settings)))
    assert "try again when it is done" in (await checked.ask("GET", "/api/backup")).text
    go_on.set()
    assert (await first).status_code == 200
    await until(lambda: not unfinished(settings))
    for where in ("cross-site", "same-site"):
        assert (await checked.ask("GET", "/api/backup", headers={"Sec-Fetch-Site": where})).status_code == 403
    monkeypatch.setattr(making, "ROOM", 1 << 60)
    refused = await checked.ask("GET", "/api/backup")
    assert refused.status_code == 507 and "there is no room for a backup" in refused.text
    assert len(await audited(client)) == 1, "what was refused told nobody anything"
    assert {status for path, _, status in checked.seen if path == "/api/backup"} == {200, 403, 503, 507}


async def test_a_download_that_is_broken_off_leaves_nothing_and_is_noted(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    (settings.data_dir / "models").mkdir(exist_ok=True)
    with (settings.data_dir / "models" / "large.safetensors").open("wb") as file:
        file.truncate(200_000_000)  # more than all buffers on the way hold
    async with client.stream("GET", "/api/backup") as answer:
        assert answer.status_code == 200 and unfinished(settings)
    await until(lambda: not unfinished(settings))
    assert len(await audited(client)) == 1


async def test_over_a_websocket_it_is_refused_before_it_is_made(tmp_path: Path, model: FakeModel) -> None:
    settings = Settings(data_dir=tmp_path)
    app = create_app(settings, make_model=lambda: model)  # type: ignore[arg-type, return-value]
    async with running(app, settings) as server, connect(f"{server.ws}/ws/api") as socket:
        await socket.send(json.dumps({"method": "GET", "path": "/api/backup"}))
        answer = json.loads(await socket.recv())
    assert answer["status"] == 406 and "over HTTP" in answer["body"]["error"]


async def test_a_stop_does_not_wait_for_a_backup(
    tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, left = threading.Event(), threading.Event(), threading.Event()

    def slow(data: Path, target: Path, pictures: bool, wanted: Any) -> None:
        began.set()
        assert go_on.wait(60)
        assert not wanted()
        left.set()
        raise making.GivenUp("it was given up")

    monkeypatch.setattr(making, "_made", slow)
    settings = Settings(data_dir=tmp_path)
    app = create_app(settings, make_model=lambda: model)  # type: ignore[arg-type, return-value]
    async with running(app, settings) as server, http(server) as client:
        asking = asyncio.create_task(client.get("/api/backup"))
        await until(began.is_set)
        await server.stop()
        await asyncio.wait([asking], timeout=WAIT_S)
        assert asking.done() and not left.is_set(), "nobody waited for what hangs"
        go_on.set()
        await until(left.is_set)
        await until(lambda: not unfinished(settings))


async def test_a_stop_in_the_middle_of_a_large_file_leaves_nothing(tmp_path: Path, model: FakeModel) -> None:
    """It holds secrets: it does not lie there until the next start."""
    (tmp_path / "models").mkdir()
    with (tmp_path / "models" / "large.safetensors").open("wb") as file:
        file.truncate(400_000_000)
    settings = Settings(data_dir=tmp_path)
    app = create_app(settings, make_model=lambda: model)  # type: ignore[arg-type, return-value]
    async with running(app, settings) as server, http(server) as client:
        asking = asyncio.create_task(client.get("/api/backup"))
        await until(
            lambda: any(one.stat().st_size > 3_000_000 for one in tmp_path.glob(".backup.*/.defectvision-backup.*"))
        )
        await server.stop()
        await until(lambda: not unfinished(settings))
        await asyncio.wait([asking], timeout=WAIT_S)
        assert asking.done()


async def test_a_stop_while_it_is_fetched_leaves_nothing(
    app: Starlette, client: httpx.AsyncClient, settings: Settings
) -> None:
    (settings.data_dir / "models").mkdir(exist_ok=True)
    with (settings.data_dir / "models" / "large.safetensors").open("wb") as file:
        file.truncate(200_000_000)
    async with client.stream("GET", "/api/backup") as fetched:
        assert fetched.status_code == 200 and unfinished(settings)
        app.state.backups.stop()
        await until(lambda: not unfinished(settings))


def test_what_goes_wrong_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackupError, match="no data directory"), to_be_fetched(tmp_path / "none", lambda: True):
        pass
    (tmp_path / "recipes.json").write_text("{}")
    with pytest.raises(making.GivenUp), to_be_fetched(tmp_path, lambda: False):
        pass

    def full(*about: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1 << 60))
    monkeypatch.setattr(making, "_add", full)
    with pytest.raises(BackupError, match="make room"), to_be_fetched(tmp_path, lambda: True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["recipes.json"]
