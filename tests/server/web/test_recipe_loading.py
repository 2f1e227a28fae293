"""Which models are loaded, and what it means to streams that one has to be loaded first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from websockets.asyncio.client import connect

import detector
from detector import Detector
from detector.model_folder import write
from server.recipes import RecipeBook
from server.teaching import loading
from server.teaching.models import Models
from tests.server.fakes import WAIT_S, receive_result
from tests.server.web.recipe_files import recipe_file
from tests.server.web.test_recipes import inspecting, loaded, png

FRAME = png(np.full((64, 64, 3), 100, np.uint8))


@pytest.fixture(scope="module")
def files(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Recipe files of four models, which are others because their parts are called otherwise."""
    folder, model = tmp_path_factory.mktemp("models"), detector.load_taught(model_folder)
    for name in "abcd":
        manifest = msgspec.structs.replace(model.manifest, category=name)
        write(folder / name, manifest, model.head, model.backbone)
    return [recipe_file(folder / name, name) for name in "abcd"]


@pytest.fixture(autouse=True)
def one_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MOST_IDLE", 1)


async def taken_in(client: httpx.AsyncClient, files: list[bytes]) -> list[dict[str, Any]]:
    return [(await client.post("/api/recipes", files={"file": ("x.zip", file)})).json() for file in files]


async def those_loaded(client: httpx.AsyncClient) -> set[str]:
    return {one["name"] for one in (await client.get("/api/recipes")).json()["recipes"] if one["is_loaded"]}


async def until_loaded(client: httpx.AsyncClient, names: set[str]) -> None:
    async with asyncio.timeout(WAIT_S):
        while await those_loaded(client) != names:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def choose(client: httpx.AsyncClient, stream: str, recipe: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(f"/api/streams/{stream}/recipe", json={"recipe": recipe["id"]})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_only_what_streams_need_and_what_was_used_last_is_loaded(
    model_folder: Path, files: list[bytes], tmp_path: Path
) -> None:
    async with inspecting(model_folder, tmp_path) as (server, client):
        a, b, c, d = await taken_in(client, files)
        assert await those_loaded(client) == {"noise", "d"}
        for one in (a, b, c):  # of what is not loaded all is known that is shown
            found = (await client.get(f"/api/recipes/{one['id']}")).json()
            assert found == {**one, "is_loaded": False} and found["problem"] is None and found["threshold"] > 0
        await choose(client, "press", a)
        assert await those_loaded(client) == {"noise", "a"}
        async with connect(f"{server.ws}/ws/stream?name=press") as press:
            await press.send(FRAME)
            assert (await receive_result(press)).recipe == a["id"]
            await choose(client, "belt", b)
            await choose(client, "belt", c)
            assert await those_loaded(client) == {"noise", "a", "c"}
            await choose(client, "saw", d)
            assert await those_loaded(client) == {"noise", "a", "d"}
            async with connect(f"{server.ws}/ws/stream?name=belt") as belt:  # its frame waits until c is loaded
                await belt.send(FRAME)
                result = await receive_result(belt)
                assert (result.recipe, result.failed) == (c["id"], 0)
                assert await those_loaded(client) == {"noise", "a", "c", "d"}
        await until_loaded(client, {"noise", "c"})  # which was used last

    async with inspecting(model_folder, tmp_path) as (server, client):  # after a restart: where it was chosen last
        assert (await loaded(client, d["id"]))["is_loaded"] and await those_loaded(client) == {"noise", "d"}
        assert (await client.get(f"/api/recipes/{a['id']}")).json()["problem"] is None


async def test_while_one_is_loaded_streams_and_switches_go_on(
    model_folder: Path, files: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, fetch = threading.Event(), Models.fetch

    def slowly(models: Models, taught: str) -> Detector:
        assert gate.wait(WAIT_S)
        return fetch(models, taught)

    async with inspecting(model_folder, tmp_path) as (server, client):
        a, b, _ = await taken_in(client, files[:3])
        await choose(client, "belt", b)
        async with (
            connect(f"{server.ws}/ws/stream?name=press") as press,
            connect(f"{server.ws}/ws/stream?name=belt") as belt,
        ):
            await press.send(FRAME)
            before = await receive_result(press)
            await belt.send(FRAME)
            assert (await receive_result(belt)).recipe == b["id"]
            monkeypatch.setattr(Models, "fetch", slowly)
            switching = asyncio.create_task(choose(client, "press", a))
            for stream in ("saw", "belt"):  # to those that are loaded
                await client.post(f"/api/streams/{stream}/recipe", json={"recipe": None})
                await choose(client, stream, b)
            await press.send(FRAME)
            assert (await receive_result(press)).recipe == before.recipe != a["id"]
            assert not switching.done() and await those_loaded(client) >= {"noise", "b"}
            gate.set()
            await switching
            await press.send(FRAME)
            assert (await receive_result(press)).recipe == a["id"]


async def test_a_model_that_cannot_be_loaded_is_said_and_nothing_else_is_used_instead(
    model_folder: Path, files: list[bytes], tmp_path: Path
) -> None:
    async with inspecting(model_folder, tmp_path) as (server, client):
        a, _ = await taken_in(client, files[:2])
        await choose(client, "press", a)
        await taken_in(client, files[2:])  # now a rests, and nothing of it stays
        (bank,) = (tmp_path / "models" / a["model"]["taught"] / "model").glob("memory_bank-*")
        bank.write_bytes(b"damaged")
        refused = await client.post("/api/streams/saw/recipe", json={"recipe": a["id"]})
        assert refused.status_code == 409 and "damaged" in refused.json()["error"]
        async with connect(f"{server.ws}/ws/stream?name=press") as press:
            await press.send(FRAME)
            assert "a cannot be used" in str(await press.recv())


async def edit(data: Path, change: Callable[[RecipeBook], None]) -> None:
    await asyncio.to_thread(lambda: change(RecipeBook(data)))


@pytest.mark.parametrize("who", ["one stream", "all"])
async def test_a_stream_whose_recipe_is_not_here_is_not_inspected_with_another(
    who: str, model_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a recipes.json says that was edited, or put back from another time."""
    missing = "f" * 12
    await edit(tmp_path, lambda book: book.choose("press", missing) if who == "one stream" else None)
    await edit(tmp_path, lambda book: book.choose_default(missing) if who == "all" else None)
    settings_up = inspecting(model_folder, tmp_path, status=200 if who == "one stream" else 503)
    async with settings_up as (server, client), connect(f"{server.ws}/ws/stream?name=press") as press:
        if who == "all":
            health = (await client.get("/health")).json()
            assert health["status"] == "error" and "is not here any more" in health["reason"]
            await press.send(FRAME)
            assert "not here any more: choose another one" in str(await press.recv())
            given = (await client.get("/api/recipes")).json()["recipes"][0]["id"]
            assert (await client.post("/api/recipes/default", json={"recipe": given})).status_code == 200
        else:
            await press.send(FRAME)
            assert "not here any more: choose another one" in str(await press.recv())
            assert (await client.post("/api/streams/press/recipe", json={"recipe": None})).status_code == 200
        await press.send(FRAME)
        assert (await receive_result(press)).recipe.startswith("given-")
    told = [record for record in caplog.records if "is not here any more" in record.getMessage()]
    assert len(told) == 1


async def test_a_stream_that_is_away_while_its_recipe_is_deleted_comes_back_uninspected(
    model_folder: Path, files: list[bytes], tmp_path: Path
) -> None:
    for is_restarted in (False, True):
        async with inspecting(model_folder, tmp_path) as (server, client):
            if not is_restarted:
                (a,) = await taken_in(client, files[:1])
                await choose(client, "press", a)
                deleted = await client.delete(f"/api/recipes/{a['id']}", params={"version": 1})
                assert deleted.json() == {"deleted": a["id"], "streams": ["press"]}
            async with (
                connect(f"{server.ws}/ws/live/press") as listener,
                connect(f"{server.ws}/ws/stream?name=press") as press,
            ):
                await press.send(FRAME)
                words = str(await press.recv())
                assert "choose another one" in words and ("was deleted" in words or is_restarted)
                assert '"result"' not in str(await listener.recv()) + str(await listener.recv())
            if is_restarted:
                assert (await client.post("/api/streams/press/recipe", json={"recipe": None})).status_code == 200
                async with connect(f"{server.ws}/ws/stream?name=press") as press:
                    await press.send(FRAME)
                    assert (await receive_result(press)).recipe.startswith("given-")


async def test_where_recipes_json_is_damaged_no_stream_is_inspected_until_somebody_chooses(
    model_folder: Path, files: list[bytes], tmp_path: Path
) -> None:
    """Edited by hand, or by a disk: which product lies on which line is not known any more."""
    async with inspecting(model_folder, tmp_path) as (_, client):
        (a,) = await taken_in(client, files[:1])
        await choose(client, "press", a)
    (tmp_path / "recipes.json").write_bytes((tmp_path / "recipes.json").read_bytes().replace(b'"press"', b'"saw"'))
    for is_first in (True, False):  # after a change and a restart it is no other
        async with inspecting(model_folder, tmp_path, status=503) as (server, client):
            health = (await client.get("/health")).json()
            assert "not known which recipe" in health["reason"]
            assert any("put the file back" in words for words in health["warnings"]) is is_first
            async with connect(f"{server.ws}/ws/live/press") as live, connect(f"{server.ws}/ws/stream?name=press") as c:
                await c.send(FRAME)
                assert "not known which recipe" in str(await c.recv())
                assert '"result"' not in str(await live.recv()) + str(await live.recv())
                (given,) = [one for one in (await client.get("/api/recipes")).json()["recipes"] if one["is_given"]]
                if is_first:
                    await client.patch(f"/api/recipes/{given['id']}", json={"version": 1, "name": "renamed"})
                    continue
                assert (await client.post("/api/recipes/default", json={"recipe": given["id"]})).status_code == 200
                await c.send(FRAME)
                assert (await receive_result(c)).recipe == given["id"]
