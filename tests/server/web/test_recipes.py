"""Recipes and corrections over HTTP, with a model that was really taught."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect

import detector
from server.app import create_app
from server.settings import Settings
from server.teaching import library
from server.words import Result
from tests.detector.parts import draw_part, draw_parts
from tests.running import Running, running
from tests.server.fakes import WAIT_S, healthy, http, listed, receive_result

GONE = "f" * 12


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, smaller."""
    folder = tmp_path_factory.mktemp("models") / "other"
    detector.fit(draw_parts(8), image_size=128, coreset_size=50, category="another").save(folder)
    return folder


@contextlib.asynccontextmanager
async def inspecting(
    model: Path, data: Path, *, status: int = 200, **more: Any
) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    """A server with a model, once its health says so."""
    settings = Settings(data_dir=data, model_path=model, max_frame_age_ms=1e6, max_upload_mb=20, **more)
    async with running(create_app(settings), settings) as server, http(server) as client:
        if status == 200:
            await healthy(server)
        else:
            async with asyncio.timeout(WAIT_S):
                while (await healthy(server, status))["status"] != "error":  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        yield server, client


def png(frame: np.ndarray[Any, Any]) -> bytes:
    return bytes(cv2.imencode(".png", frame)[1].tobytes())


async def score(connection: ClientConnection, frame: np.ndarray[Any, Any]) -> Result:
    await connection.send(png(frame))
    return await receive_result(connection)


async def alarms(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return list((await client.get("/api/streams/press/frames", params={"kind": "alarm"})).json()["frames"])


async def the_alarm(client: httpx.AsyncClient) -> dict[str, Any]:
    return (await alarms(client))[0]


async def loaded(client: httpx.AsyncClient, recipe: str) -> dict[str, Any]:
    """A recipe once it is known whether it can be used."""
    while True:
        found = dict((await client.get(f"/api/recipes/{recipe}")).json())
        if found["problem"] != "the model is being loaded":
            return found
        await asyncio.sleep(0.02)


async def only(client: httpx.AsyncClient) -> dict[str, Any]:
    (recipe,) = (await client.get("/api/recipes")).json()["recipes"]
    return dict(recipe)


async def test_what_was_forgiven_passes_and_undone_scores_are_the_same_bit_for_bit(
    disc_folder: Path, tmp_path: Path
) -> None:
    odd, other = draw_part(50, defect=True), draw_part(51, defect=True)[:, ::-1].copy()
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        before = [await score(c, frame) for frame in (odd, draw_part(60), other)]
        assert [result.verdict for result in before] == ["ANOMALY", "NORMAL", "ANOMALY"]
        frames = (await client.get("/api/streams/press/frames", params={"kind": "alarm"})).json()["frames"]
        good, bad = f"/api/frames/{frames[1]['id']}", f"/api/frames/{frames[0]['id']}"
        known = await client.post(f"{bad}/bad", json={"learn": False})
        assert known.status_code == 200 and known.json()["applied"]

        told = (await client.post(f"{good}/good", json={"dry_run": True})).json()
        assert not told["applied"] and told["cost"]["raw_score_then"] <= told["cost"]["threshold"]
        assert told["cost"]["defects"] == 1 and "this part passes then" in told["cost"]["sentence"]
        done = (await client.post(f"{good}/good", json={"version": told["version"], "why": "a label"})).json()
        assert done["applied"] and done["cost"] == told["cost"]
        after = [await score(c, frame) for frame in (odd, draw_part(60), other)]
        assert after[0].verdict == "NORMAL" and after[0].recipe_version == done["version"]
        assert after[0].model != before[0].model and after[2].verdict == "ANOMALY"
        assert (await client.post(f"{good}/good", json={})).status_code == 409  # it was said already

        recipe = await only(client)
        assert (recipe["model"]["forgiven"], recipe["model"]["remembered"]) == (1, 1)
        corrections = (await client.get(f"/api/recipes/{recipe['id']}/corrections")).json()
        assert [one["kind"] for one in corrections["corrections"]] == ["good", "bad"]
        picture = await client.get(f"/{corrections['corrections'][0]['picture']}")
        assert picture.headers["content-type"] == "image/jpeg" and picture.content[:2] == b"\xff\xd8"
        one = f"/api/recipes/{recipe['id']}/corrections/{done['correction']}"
        assert (await client.delete(one, params={"version": recipe["version"] - 1})).status_code == 409
        undone = await client.delete(one, params={"version": recipe["version"]})
        assert undone.status_code == 200
        said = {frame["id"]: frame["disposition"] for frame in await alarms(client)}
        assert (said[frames[0]["id"]], said[frames[1]["id"]]) == ("bad", None), "undone, it is undecided again"
        again = [await score(c, frame) for frame in (odd, draw_part(60), other)]
        assert [result.raw_score for result in again] == [result.raw_score for result in before]
        assert (await client.delete(one, params={"version": undone.json()["version"]})).status_code == 422

        history = (await client.get(f"/api/recipes/{recipe['id']}/history")).json()
        assert [step["action"] for step in history] == ["correction undone", "forgiven", "remembered"]
        assert history[1]["why"] == "a label" and "a frame of press" in history[1]["on"] and history[1]["can_restore"]
        back = await client.post(
            f"/api/recipes/{recipe['id']}/restore", json={"version": history[0]["to_version"], "to": done["version"]}
        )
        assert back.status_code == 200 and (await score(c, odd)).raw_score == after[0].raw_score
        assert frames[1]["id"] in [frame["id"] for frame in await alarms(client) if frame["disposition"] == "good"]

    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        assert (await score(c, odd)).raw_score == after[0].raw_score  # after a restart too


async def test_an_escape_that_is_remembered_alarms(disc_folder: Path, tmp_path: Path) -> None:
    escape = draw_part(70, defect=True)
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        recipe = await only(client)
        raised = await client.patch(
            f"/api/recipes/{recipe['id']}", json={"version": recipe["version"], "rule": {"raw": 1000.0}}
        )
        assert raised.json()["threshold_source"] == "recipe"
        back = raised.json()["by_hand"]
        assert back["version"] == recipe["version"] and back["threshold"] == recipe["threshold"]
        assert (back["threshold_source"], recipe["by_hand"]) == ("model", None)
        assert (await score(c, escape)).verdict == "NORMAL"
        (frame,) = (await client.get("/api/streams/press/frames", params={"kind": "recent"})).json()["frames"]
        place = [[0.5, 0.25], [0.75, 0.25], [0.75, 0.5], [0.5, 0.5]]
        told = (await client.post(f"/api/frames/{frame['id']}/bad", json={"place": place, "dry_run": True})).json()
        assert told["cost"]["raw_score_then"] > 1000 and "this part alarms then" in told["cost"]["sentence"]
        done = await client.post(f"/api/frames/{frame['id']}/bad", json={"place": place, "version": told["version"]})
        assert done.status_code == 200
        assert (await score(c, escape)).verdict == "ANOMALY" and (await score(c, draw_part(71))).verdict == "NORMAL"
        taken_back = await client.post(f"/api/frames/{frame['id']}/nothing")
        assert taken_back.json()["disposition"] is None
        assert (await score(c, escape)).verdict == "NORMAL"


async def test_what_a_recipe_ignores_is_not_remembered_in_place_of_the_defect(
    disc_folder: Path, tmp_path: Path
) -> None:
    escape = draw_part(70)
    height, width = escape.shape[:2]
    cv2.line(escape, (width // 2, height // 2), (width * 6 // 10, height * 6 // 10), (200, 60, 60), 4)
    there = np.s_[height * 75 // 100 : height * 95 // 100, width * 5 // 100 : width * 25 // 100]
    escape[there] = np.random.default_rng(0).integers(0, 256, escape[there].shape, np.uint8)  # deviates most
    label = [[0.0, 0.6], [0.4, 0.6], [0.4, 1.0], [0.0, 1.0]]
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        recipe = await only(client)
        wanted = {"version": recipe["version"], "rule": {"raw": 1000.0}, "regions": {"ignore": [label]}}
        assert (await client.patch(f"/api/recipes/{recipe['id']}", json=wanted)).status_code == 200
        assert (await score(c, escape)).verdict == "NORMAL"
        (frame,) = (await client.get("/api/streams/press/frames", params={"kind": "recent"})).json()["frames"]
        done = (await client.post(f"/api/frames/{frame['id']}/bad", json={})).json()
        assert done["applied"] and "this part alarms then" in done["cost"]["sentence"]
        assert (await score(c, escape)).verdict == "ANOMALY"


async def test_what_cannot_be_said_of_a_frame_is_refused(disc_folder: Path, tmp_path: Path) -> None:
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        await score(c, draw_part(50, defect=True))
        frame = await the_alarm(client)
        good = f"/api/frames/{frame['id']}/good"
        for place, why in (
            ([], "3 to 64 corners"),
            ([[0, 0], [1, 1], [1, 0], [0, 1]], "cross each other"),
            ([[0, 0], [2, 0], [1, 1]], "lies on the frame"),
        ):
            refused = await client.post(good, json={"place": place})
            assert refused.status_code == 422 and why in refused.json()["error"]
        assert (await client.post(good, json={"version": 99})).status_code == 409
        assert (await client.post(f"/api/frames/{GONE}/good", json={})).status_code == 404
        assert (await client.post(good, content=b"{")).status_code == 422
        assert (await client.post(good, content=b"[" * 70_000)).status_code == 413
        recipe = await only(client)
        assert recipe["version"] == 1 and recipe["model"]["forgiven"] == 0


async def test_regions_rules_and_two_who_change_at_once(disc_folder: Path, tmp_path: Path) -> None:
    odd = draw_part(50, defect=True)
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        assert (await score(c, odd)).verdict == "ANOMALY"
        recipe = await only(client)
        path = f"/api/recipes/{recipe['id']}"
        place = [[0.2, 0.0], [1.0, 0.0], [1.0, 0.8], [0.2, 0.8]]  # what deviates is seen some patches around it
        ignoring = await client.patch(path, json={"version": 1, "regions": {"ignore": [place]}, "why": "a label"})
        assert ignoring.status_code == 200 and ignoring.json()["version"] == 2
        result = await score(c, odd)
        assert result.verdict == "NORMAL" and (result.recipe, result.recipe_version) == (recipe["id"], 2)
        late = await client.patch(path, json={"version": 1, "name": "mine"})
        assert late.status_code == 409 and "a label" in late.json()["error"]
        everything = [[0, 0], [1, 0], [1, 1], [0, 1]]
        nothing = await client.patch(path, json={"version": 2, "regions": {"ignore": [everything]}})
        assert nothing.status_code == 422 and "nothing of what the model looks at" in nothing.json()["error"]
        for bad in (
            {},
            {"name": ""},
            {"rule": {}},
            {"decision": {"kind": "other"}},
            {"regions": {"include": [[[0, 0]]]}},
        ):
            assert (await client.patch(path, json={"version": 2, **bad})).status_code == 422
        window = await client.patch(path, json={"version": 2, "decision": {"kind": "n_of_m", "n": 2, "m": 2}})
        assert window.status_code == 200
        back = await client.post(f"{path}/restore", json={"version": 3, "to": 1})
        assert back.json()["regions"] == {"include": [], "ignore": []} and back.json()["version"] == 4
        assert (await score(c, odd)).verdict == "ANOMALY"


async def test_a_calibration_made_in_other_regions_is_told_of_and_stays_in_force(
    disc_folder: Path, tmp_path: Path
) -> None:
    noise = [np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8) for number in range(12)]
    files = [("files", (f"{number}.png", png(cv2.resize(one, (128, 128))))) for number, one in enumerate(noise)]
    place = [[0.2, 0.0], [1.0, 0.0], [1.0, 0.8], [0.2, 0.8]]
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        await score(c, draw_part(60))
        path = f"/api/recipes/{(await only(client))['id']}"

        async def calibrate() -> None:
            made = await client.post("/calibrate", files=files, params={"k": 3, "include_suspects": "true"})
            assert made.status_code == 200, made.text

        async def is_told() -> bool:
            stream = await listed(server, "press")
            assert stream is not None
            recipe, health = await only(client), await healthy(server)
            told = (stream["warnings"], health["warnings"], [recipe["threshold_warning"] or ""])
            (found,) = {any("other regions" in words for words in one) for one in told}
            return found

        await calibrate()
        before = await only(client)
        assert before["threshold_source"] == "calibration" and not await is_told()
        regions: dict[str, Any] = {"version": before["version"], "regions": {"ignore": [place]}}
        changed = (await client.patch(path, json=regions)).json()
        assert await is_told() and changed["threshold"] == before["threshold"]
        back = {"version": changed["version"], "to": before["version"]}
        assert (await client.post(f"{path}/restore", json=back)).status_code == 200 and not await is_told()
        regions["version"] = changed["version"] + 1
        assert (await client.patch(path, json=regions)).status_code == 200 and await is_told()
        await calibrate()
        assert not await is_told()


async def test_a_recipe_file_goes_from_one_server_to_another(
    disc_folder: Path, other_folder: Path, tmp_path: Path
) -> None:
    odd, good = draw_part(50, defect=True), draw_part(60)
    async with inspecting(disc_folder, tmp_path / "a") as (server, client):
        async with connect(f"{server.ws}/ws/stream?name=press") as c:
            await score(c, odd)
            frame = await the_alarm(client)
            done = await client.post(f"/api/frames/{frame['id']}/good", json={})
            assert done.status_code == 200
            here = [(await score(c, one)).raw_score for one in (odd, good)]
        recipe = await only(client)
        file = await client.get(f"/api/recipes/{recipe['id']}/file")
        assert file.headers["content-type"] == "application/zip"
        copy = await client.post(f"/api/recipes/{recipe['id']}/copy", json={"name": "a copy"})
        assert copy.status_code == 201 and copy.json()["model"]["forgiven"] == 1
        version = copy.json()["version"]
        assert (
            await client.delete(f"/api/recipes/{copy.json()['id']}", params={"version": version})
        ).status_code == 200

    async with inspecting(other_folder, tmp_path / "b") as (server, client):
        taken = await client.post("/api/recipes", files={"file": ("disc.zip", file.content)})
        assert taken.status_code == 201, taken.text
        new = taken.json()
        assert new["model"]["hash"] == recipe["model"]["hash"] and not new["is_default"]
        chosen = await client.post("/api/streams/press/recipe", json={"recipe": new["id"]})
        assert chosen.status_code == 200
        async with (
            connect(f"{server.ws}/ws/stream?name=press") as c,
            connect(f"{server.ws}/ws/stream?name=belt") as beside,
        ):
            there = [await score(c, one) for one in (odd, good)]
            assert [result.raw_score for result in there] == here
            assert (await score(beside, good)).recipe != new["id"] == there[0].recipe
            used = await client.delete(f"/api/recipes/{new['id']}", params={"version": 1})
            assert used.status_code == 409 and "in use on press" in used.json()["error"]
            switched = await client.post("/api/streams/press/recipe", json={"recipe": None})
            assert switched.status_code == 200
            assert (await score(c, good)).recipe != new["id"]  # the stream went on


def repacked(data: bytes, **changed: bytes | None) -> bytes:
    """A recipe file with other entries (None: without one)."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if name not in changed:
                new.writestr(name, old.read(name))
        for name, content in changed.items():
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


async def test_recipe_files_that_are_none_are_refused_and_leave_nothing(disc_folder: Path, tmp_path: Path) -> None:
    async with inspecting(disc_folder, tmp_path) as (_, client):
        recipe = await only(client)
        whole = (await client.get(f"/api/recipes/{recipe['id']}/file")).content
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            about = archive.read("recipe.json")
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model/manifest.json", b"0" * 30_000_000)
        files = {
            "not a ZIP": b"hello",
            "cut off": whole[: len(whole) // 2],
            "climbs out": repacked(whole, **{"../../evil": b"x"}),
            "hidden": repacked(whole, **{"model/.hidden": b"x"}),
            "absolute": repacked(whole, **{"/etc/passwd": b"x"}),
            "another file": repacked(whole, **{"model/more.bin": b"x"}),
            "without what it says": repacked(whole, **{"recipe.json": None}),
            "of another version": repacked(whole, **{"recipe.json": about.replace(b'"version": 2', b'"version": 9')}),
            "changed": repacked(whole, **{"model/manifest.json": b"{}"}),
            "missing": repacked(whole, **{"model/manifest.json": None}),
            "a bomb": bomb.getvalue(),
        }
        for what, data in files.items():
            refused = await client.post("/api/recipes", files={"file": ("x.zip", data)})
            assert refused.status_code == 422, (what, refused.text)
        assert len((await client.get("/api/recipes")).json()["recipes"]) == 1
        assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file()]


async def test_who_takes_back_what_he_saw_takes_back_nothing_that_was_said_since(
    disc_folder: Path, tmp_path: Path
) -> None:
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        await score(c, draw_part(50, defect=True))
        frame = f"/api/frames/{(await the_alarm(client))['id']}"
        mine = (await client.post(f"{frame}/good", json={})).json()["correction"]
        assert (await client.post(f"{frame}/nothing", json={"seen": mine})).status_code == 200, "by another page"
        theirs = (await client.post(f"{frame}/bad", json={})).json()["correction"]
        for seen in (mine, None):
            late = await client.post(f"{frame}/nothing", json={"seen": seen})
            assert late.status_code == 409 and "something else" in late.json()["error"]
        assert (await the_alarm(client))["correction"] == theirs and (await only(client))["model"]["remembered"] == 1
        for _ in range(2):  # what is taken back already is no other word
            assert (await client.post(f"{frame}/nothing", json={"seen": theirs})).status_code == 200
        assert (await the_alarm(client))["disposition"] is None and (await only(client))["model"]["remembered"] == 0


async def test_of_two_who_say_something_of_a_frame_at_once_one_is_told(disc_folder: Path, tmp_path: Path) -> None:
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        await score(c, draw_part(50, defect=True))
        frame = f"/api/frames/{(await the_alarm(client))['id']}"
        said = await asyncio.gather(*(client.post(f"{frame}/{kind}", json={}) for kind in ("good", "bad", "good")))
        assert sorted(answer.status_code for answer in said) == [200, 409, 409]
        (done,) = (answer.json() for answer in said if answer.status_code == 200)
        recipe = await only(client)
        corrections = (await client.get(f"/api/recipes/{recipe['id']}/corrections")).json()["corrections"]
        assert [one["id"] for one in corrections] == [done["correction"]] and recipe["version"] == done["version"]
        taken_back = await asyncio.gather(*(client.post(f"{frame}/nothing") for _ in range(3)))
        assert 200 in (codes := {answer.status_code for answer in taken_back}) and codes <= {200, 409}
        assert (await only(client))["model"]["forgiven"] + (await only(client))["model"]["remembered"] == 0


async def test_a_changed_recipe_file_changes_nothing_that_is_here(disc_folder: Path, tmp_path: Path) -> None:
    """Of a model and a correction that are here already: what recipes name by them is never another."""
    odd = draw_part(50, defect=True)
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        await score(c, odd)
        done = (await client.post(f"/api/frames/{(await the_alarm(client))['id']}/good", json={})).json()
        forgiven = (await score(c, odd)).raw_score
        whole = (await client.get(f"/api/recipes/{(await only(client))['id']}/file")).content
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            about = json.loads(archive.read("recipe.json"))
            name = f"corrections/{done['correction']}.safetensors"
            said = archive.read(name)
        changed = said[:-1] + bytes([said[-1] ^ 1])
        about["files"][name] = hashlib.sha256(changed).hexdigest()
        evil = repacked(whole, **{name: changed, "recipe.json": json.dumps(about).encode()})
        refused = await client.post("/api/recipes", files={"file": ("x.zip", evil)})
        assert refused.status_code == 422 and "there is another correction" in refused.json()["error"]
        again = await client.post("/api/recipes", files={"file": ("\u202ea\x1b.zip", whole)})
        assert again.status_code == 201 and again.json()["why"] == "from the file a.zip"
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        assert (await score(c, odd)).raw_score == forgiven


async def test_models_outlive_a_damaged_recipes_json(disc_folder: Path, other_folder: Path, tmp_path: Path) -> None:
    book = tmp_path / "recipes.json"
    async with inspecting(disc_folder, tmp_path) as (_, client):
        recipe = await only(client)
        copied = await client.post(f"/api/recipes/{recipe['id']}/copy", json={"name": "a copy"})
        assert copied.status_code == 201
    whole = book.read_bytes()
    book.write_bytes(whole[: len(whole) // 2])
    async with inspecting(disc_folder, tmp_path, status=503) as (_, client):
        assert len((await client.get("/api/recipes")).json()["recipes"]) == 1
        other = (await client.post(f"/api/recipes/{recipe['id']}/copy", json={"name": "another"})).json()
        gone = await client.delete(f"/api/recipes/{other['id']}", params={"version": 1})
        assert gone.status_code == 200
    book.write_bytes(whole)  # "put the file back and start again"
    (tmp_path / "recipes.json.damaged-1").unlink()
    async with inspecting(other_folder, tmp_path) as (_, client):
        found = await loaded(client, copied.json()["id"])
        assert found["problem"] is None and found["model"]["hash"] == recipe["model"]["hash"]


@pytest.mark.parametrize("damage", ["a folder", "a pipe", "gone"])
async def test_of_a_damaged_model_the_stream_says_why_and_others_are_inspected(
    damage: str, disc_folder: Path, other_folder: Path, tmp_path: Path
) -> None:
    async with inspecting(disc_folder, tmp_path) as (_, client):
        recipe = await only(client)
        copies = [(await client.post(f"/api/recipes/{recipe['id']}/copy", json={"name": name})).json() for name in "ab"]
        assert (await client.post("/api/streams/press/recipe", json={"recipe": copies[0]["id"]})).status_code == 200
    (manifest,) = (tmp_path / "models").rglob("manifest.json")
    manifest.unlink()
    match damage:
        case "a folder":
            manifest.mkdir()
        case "a pipe":
            os.mkfifo(manifest)
        case "gone":
            shutil.rmtree(manifest.parents[1])
    async with inspecting(other_folder, tmp_path) as (server, client):
        for copy in copies:
            found = await loaded(client, copy["id"])
            assert f"{copy['name']} cannot be used" in found["problem"] and found["model"] is None
        async with connect(f"{server.ws}/ws/live/press") as listener, connect(f"{server.ws}/ws/stream?name=press") as c:
            await c.send(png(draw_part(60)))
            assert "result" not in [json.loads(await listener.recv())["type"] for _ in range(2)]
        async with connect(f"{server.ws}/ws/stream?name=belt") as beside:
            assert (await score(beside, draw_part(60))).recipe not in [copy["id"] for copy in copies]


async def test_reasons_are_told_without_what_cannot_be_printed(disc_folder: Path, tmp_path: Path) -> None:
    async with inspecting(disc_folder, tmp_path) as (_, client):
        path = f"/api/recipes/{(await only(client))['id']}"
        changed = await client.patch(path, json={"version": 1, "name": "x", "why": " a\x00\x1b[31m\n\u202eb "})
        assert changed.json()["why"] == "a [31m b"
        late = await client.patch(path, json={"version": 1, "name": "y"})
        assert late.status_code == 409 and late.json()["error"].isprintable()


async def test_who_changes_too_much_at_once_is_told_and_everything_else_goes_on(
    disc_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "MOST_WAITING", 3)
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        await score(c, draw_part(50, defect=True))
        frame, recipe = (await the_alarm(client))["id"], await only(client)
        answers = await asyncio.gather(
            *(client.post(f"/api/frames/{frame}/good", json={"dry_run": True}) for _ in range(12)),
            *(client.get(f"/api/recipes/{recipe['id']}/file") for _ in range(12)),
        )
        assert {answer.status_code for answer in answers} == {200, 503}
        assert (await client.patch(f"/api/recipes/{recipe['id']}", json={"version": 1, "name": "x"})).is_success


NUMBERS = ["NaN", "Infinity", "1e308", "1e309", "1" + "0" * 5000, "-1e-300", '"0.5"', "null", "true", "[0]"]


async def test_numbers_that_are_none_change_nothing(disc_folder: Path, tmp_path: Path) -> None:
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        await score(c, draw_part(50, defect=True))
        recipe, frame = await only(client), (await the_alarm(client))["id"]
        path = f"/api/recipes/{recipe['id']}"
        for number in NUMBERS:
            corners = f"[[{number},0],[1,0],[1,1]]"
            for address, body in (
                (path, f'{{"version":1,"regions":{{"ignore":[{corners}]}}}}'),
                (path, f'{{"version":1,"rule":{{"one_in":{number}}}}}'),
                (path, f'{{"version":{number},"name":"x"}}'),
                (f"/api/frames/{frame}/good", f'{{"place":{corners}}}'),
            ):
                method = "PATCH" if address == path else "POST"
                refused = await client.request(method, address, content=body.encode())
                assert refused.status_code == 422 and len(refused.text) < 500, (address, number, refused.text)
        for many in (b"[0,1]," * 9000, b"[[0,1]]," * 7000):
            body = b'{"version":1,"regions":{"ignore":[[' + many + b"[0,0]]]}}"
            assert (await client.patch(path, content=body)).status_code == 422
        assert (await client.patch(path, content=b"[" * 60_000)).status_code == 422
        assert await only(client) == recipe


@pytest.mark.parametrize(
    ("name", "kept"),
    [("a\r\nSet-Cookie: b", "a Set-Cookie: b"), ("\u202ea", None), ("\x00", None), ("x" * 60_000, None), (" ", None),
     ("../../etc", "../../etc"), ("\U0001f600", "\U0001f600"), ("<script>", "<script>")],
)  # fmt: skip
async def test_names_are_printed_in_one_line_and_name_no_file(
    name: str, kept: str | None, disc_folder: Path, tmp_path: Path
) -> None:
    async with inspecting(disc_folder, tmp_path) as (_, client):
        path = f"/api/recipes/{(await only(client))['id']}"
        changed = await client.patch(path, json={"version": 1, "name": name})
        begun = await client.post("/api/teaching", json={"name": name})
        assert (changed.status_code, begun.status_code) == ((200, 201) if kept else (422, 422))
        if kept is not None:
            assert changed.json()["name"] == begun.json()["name"] == kept
            said = (await client.get(f"{path}/file")).headers["content-disposition"]
            assert said.isascii() and said.count('"') == 2 and "/" not in said and ".." not in said.split('"')[1][:3]


async def test_of_many_who_change_a_version_over_http_and_websocket_one_does(disc_folder: Path, tmp_path: Path) -> None:
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/api") as socket:
        path = f"/api/recipes/{(await only(client))['id']}"

        async def over_websocket(number: int) -> None:
            body = {"version": 1, "name": f"over WebSocket {number}"}
            await socket.send(json.dumps({"id": number, "method": "PATCH", "path": path, "body": body}))

        async def over_http(number: int) -> int:
            return (await client.patch(path, json={"version": 1, "name": f"over HTTP {number}"})).status_code

        sent = asyncio.gather(*(over_websocket(number) for number in range(5)))
        codes = await asyncio.gather(*(over_http(number) for number in range(5)))
        await sent
        codes += [json.loads(await socket.recv())["status"] for _ in range(5)]
        assert sorted(codes) == [200] + [409] * 9
        assert len((await client.get(f"{path}/history")).json()) == 1 and (await only(client))["version"] == 2
