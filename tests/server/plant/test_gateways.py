"""Two whole servers of one plant: what is done at one holds at the other."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import threading
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from websockets.asyncio.client import connect

from detector import TaughtModel
from server.app import create_app
from server.ground import DatabaseAddress
from server.plant import ObjectStore, Plant, PlantError, StoreAddress
from server.plant import plant as plant_module
from server.recipes import ModelKeep, ThresholdRule
from server.replicas.packed_model import Packed, unpacked
from server.settings import Pool, Settings
from server.teaching.in_force import InForce
from server.teaching.others import TaughtMeanwhile
from tests.detector.parts import draw_part, draw_parts
from tests.running import running
from tests.server.fakes import WAIT_S, healthy, http
from tests.server.plant.killed import Gateway
from tests.server.records.postgres import PostgreSQL
from tests.server.replicas.stand_in import StandIn
from tests.server.web.test_recipes import png, score


@pytest.fixture
def gateway(
    address: DatabaseAddress, store: StoreAddress, tmp_path: Path, disc_folder: Path
) -> Callable[..., contextlib.AbstractAsyncContextManager[tuple[Any, httpx.AsyncClient]]]:
    """Runs a gateway of the plant under a name; ``first`` has the model that is taught."""

    @contextlib.asynccontextmanager
    async def gateway(
        name: str, *, first: bool = False, code: str | None = None, pool: Pool = "threads"
    ) -> AsyncIterator[tuple[Any, httpx.AsyncClient]]:
        settings = Settings(
            data_dir=tmp_path / name,
            model_path=disc_folder if first else None,
            max_frame_age_ms=1e6,
            database_url=address,
            plant_store=store,
            gateway_name=name,
            pool=pool,
        )
        async with running(create_app(settings, code=code), settings) as server, http(server) as client:
            if first:
                await healthy(server)
            yield server, client

    return gateway


async def until(what: Callable[[], Any]) -> Any:
    """Wait for something that is asked again and again; for its answer, once that is not empty."""
    async with asyncio.timeout(WAIT_S):
        while not (found := await what()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return found


def made_there(packed: Packed, base: Any, threads: int | None) -> TaughtModel:
    """A model on a replica of a stand-in cluster."""
    return unpacked(packed, base, threads=threads)


async def copied(client: httpx.AsyncClient) -> dict[str, Any]:
    """A recipe of its own at the first gateway, by default for all streams."""
    given = (await client.get("/api/recipes")).json()["recipes"][0]
    made = (await client.post(f"/api/recipes/{given['id']}/copy", json={"name": "discs"})).json()
    answer = await client.post("/api/recipes/default", json={"recipe": made["id"]})
    assert answer.status_code == 200, answer.text
    return dict(made)


@pytest.mark.parametrize("store", ["mounted", "bucket"], indirect=True)
async def test_a_recipe_of_one_gateway_inspects_at_the_other(gateway: Any) -> None:
    async with gateway("one", first=True) as (one, at_one), gateway("two") as (two, at_two):
        made = await copied(at_one)

        async def there() -> Any:
            return (await at_two.get(f"/api/recipes/{made['id']}")).json().get("id")

        await until(there)
        await until(lambda: _inspects_with(at_two, made["id"]))
        async with (
            connect(f"{one.ws}/ws/stream?name=press") as mine,
            connect(f"{two.ws}/ws/stream?name=lathe") as far,
        ):
            for seed in (1, 2):
                frame = draw_part(seed)
                here, elsewhere = await score(mine, frame), await score(far, frame)
                assert (here.raw_score, here.threshold) == (elsewhere.raw_score, elsewhere.threshold)
                assert here.recipe == elsewhere.recipe == made["id"]
        # Renamed at the second, seen at the first; and of two who change the same version, one is told.
        version = (await at_two.get(f"/api/recipes/{made['id']}")).json()["version"]
        answer = await at_two.patch(f"/api/recipes/{made['id']}", json={"version": version, "name": "plates"})
        assert answer.status_code == 200, answer.text
        late = await at_one.patch(f"/api/recipes/{made['id']}", json={"version": version, "name": "rings"})
        assert late.status_code == 409, late.text

        async def renamed() -> bool:
            return bool((await at_one.get(f"/api/recipes/{made['id']}")).json()["name"] == "plates")

        await until(renamed)


async def test_a_recipe_chosen_or_deleted_at_one_gateway_is_so_at_the_other(gateway: Any) -> None:
    async with gateway("one", first=True) as (_, at_one), gateway("two") as (two, at_two):
        made = await copied(at_one)
        await until(lambda: _inspects_with(at_two, made["id"]))
        other = (await at_one.post(f"/api/recipes/{made['id']}/copy", json={"name": "plates"})).json()
        async with connect(f"{two.ws}/ws/stream?name=lathe") as far:
            assert (await score(far, draw_part(1))).recipe == made["id"]
            chosen = await at_one.post("/api/streams/lathe/recipe", json={"recipe": other["id"]})
            assert chosen.status_code == 200, chosen.text

            async def is_chosen() -> bool:
                return (await score(far, draw_part(1))).recipe == other["id"]

            await until(is_chosen)
            # In use at the second gateway, which the first cannot know: deleted, and said there, never another's.
            gone = await at_one.delete(f"/api/recipes/{other['id']}", params={"version": other["version"]})
            assert gone.status_code < 300, gone.text

            async def is_not_inspected() -> bool:
                await far.send(png(draw_part(1)))
                return "choose another one" in str(await far.recv())

            await until(is_not_inspected)
        assert (await at_two.get(f"/api/recipes/{other['id']}")).status_code == 404


async def test_a_stream_that_none_was_chosen_for_is_never_judged_by_another_recipe(gateway: Any) -> None:
    """The first gateway has a model of its own, the second inspects with the plant's first recipe."""
    async with gateway("one", first=True) as (_, at_one), gateway("two") as (two, at_two):
        given = (await at_one.get("/api/recipes")).json()["recipes"][0]
        bolts, nuts = [
            (await at_one.post(f"/api/recipes/{given['id']}/copy", json={"name": name})).json()
            for name in ("bolts", "nuts")
        ]
        await until(lambda: _inspects_with(at_two, bolts["id"]))
        refused = await at_one.delete(f"/api/recipes/{bolts['id']}", params={"version": bolts["version"]})
        assert refused.status_code == 409 and "the plant's first recipe" in refused.text
        chosen = await at_one.post("/api/recipes/default", json={"recipe": nuts["id"]})
        assert chosen.status_code == 200, chosen.text
        await until(lambda: _inspects_with(at_two, nuts["id"]))
        # Back to what was given at the first: the second has no such model, and takes none in its place.
        given_again = await at_one.post("/api/recipes/default", json={"recipe": None})
        assert given_again.status_code == 200 and given_again.json()["default"] == given["id"]
        async with connect(f"{two.ws}/ws/stream?name=lathe") as far:

            async def is_not_inspected() -> bool:
                await far.send(png(draw_part(1)))
                return "the recipe that was chosen is not here any more" in str(await far.recv())

            await until(is_not_inspected)


@pytest.mark.parametrize("pool", ["threads", "ray"])
async def test_what_is_forgiven_at_one_gateway_passes_at_the_other(
    gateway: Any, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.app.RayCluster", lambda *_: StandIn(make=made_there))
    async with gateway("one", first=True, pool=pool) as (one, at_one), gateway("two", pool=pool) as (two, at_two):
        made = await copied(at_one)
        await until(lambda: _inspects_with(at_two, made["id"]))
        bad = draw_part(3, defect=True)
        async with (
            connect(f"{one.ws}/ws/stream?name=press") as mine,
            connect(f"{two.ws}/ws/stream?name=lathe") as far,
        ):
            before = await score(far, bad)
            assert (await score(mine, bad)).raw_score == before.raw_score
            frames = (await at_one.get("/api/streams/press/frames", params={"kind": "alarm"})).json()["frames"]
            told = await at_one.post(f"/api/frames/{frames[0]['id']}/good", json={})
            assert told.status_code == 200, told.text
            here = await score(mine, bad)
            assert here.raw_score < before.raw_score

            async def same() -> bool:
                return (await score(far, bad)).raw_score == here.raw_score

            await until(same)


async def test_a_calibration_holds_at_all_gateways(gateway: Any) -> None:
    async with gateway("one", first=True) as (_, at_one), gateway("two") as (_, at_two):
        made = await copied(at_one)
        await until(lambda: _inspects_with(at_two, made["id"]))
        files = [("files", (f"{number}.png", png(part), "image/png")) for number, part in enumerate(draw_parts(30))]
        answer = await at_one.post("/calibrate", files=files, data={"k": "4"})
        assert answer.status_code == 200, answer.text

        async def hold() -> bool:
            of = [(await client.get("/health")).json() for client in (at_one, at_two)]
            same = of[0]["threshold"] == of[1]["threshold"]
            return bool(same and [one["threshold_source"] for one in of] == ["calibration"] * 2)

        await until(hold)
        gone = await at_two.delete("/calibration")
        assert gone.status_code < 300, gone.text

        async def none_again() -> bool:
            return bool((await at_one.get("/health")).json()["threshold_source"] != "calibration")

        await until(none_again)


async def test_logins_are_the_plants(gateway: Any) -> None:
    async with (
        gateway("one", first=True, code="4711-secret") as (_, at_one),
        gateway("two", code="4711-secret") as (two, at_two),
    ):
        key = {"Authorization": "Bearer 4711-secret"}
        made = await at_one.post("/api/users", json={"name": "ada", "role": "engineer"}, headers=key)
        assert made.status_code in (200, 201), made.text
        password = made.json()["password"]

        async def logs_in() -> Any:
            form = {"name": "ada", "password": password}
            answer = await at_two.post("/enter", data=form, headers={"Origin": two.http})
            return answer if answer.status_code == 303 else None

        answer = await until(logs_in)
        cookies = dict(answer.cookies)
        assert (await at_two.get("/api/me", cookies=cookies)).json()["role"] == "engineer"

        async def let_in_here() -> bool:
            return bool((await at_one.get("/api/me", cookies=cookies)).json().get("name") == "ada")

        await until(let_in_here)
        removed = await at_two.delete("/api/users/ada", headers=key)
        assert removed.status_code < 300, removed.text

        async def is_out() -> bool:
            return bool((await at_one.get("/api/me", cookies=cookies)).json().get("name") != "ada")

        await until(is_out)


async def test_without_the_database_a_gateway_inspects_on_and_starts(gateway: Any, postgresql: PostgreSQL) -> None:
    async with gateway("one", first=True) as (_, at_one):
        made = await copied(at_one)
        async with gateway("two") as (_, at_two):
            await until(lambda: _inspects_with(at_two, made["id"]))
    postgresql.kill()
    try:
        async with gateway("two") as (two, at_two):
            await until(lambda: _inspects_with(at_two, made["id"]))
            async with connect(f"{two.ws}/ws/stream?name=lathe") as stream:
                assert (await score(stream, draw_part(1))).recipe == made["id"]
            version = (await at_two.get(f"/api/recipes/{made['id']}")).json()["version"]
            answer = await at_two.patch(f"/api/recipes/{made['id']}", json={"version": version, "name": "plates"})
            assert answer.status_code == 507 and "which the plant's gateways share" in answer.text
            assert "goes on with what it knows" in (await at_two.get("/health")).text
        with pytest.raises(PlantError, match="belongs to no plant yet"):
            async with gateway("three"):
                pass
    finally:
        postgresql.start()


async def test_without_the_store_nothing_new_is_made_and_all_else_goes_on(gateway: Any, tmp_path: Path) -> None:
    async with gateway("one", first=True) as (one, at_one):
        made = await copied(at_one)
        bad = draw_part(3, defect=True)
        async with connect(f"{one.ws}/ws/stream?name=press") as stream:
            before = await score(stream, bad)
            frames = (await at_one.get("/api/streams/press/frames", params={"kind": "alarm"})).json()["frames"]
            (tmp_path / "mounted").rename(tmp_path / "away")
            (tmp_path / "mounted").write_text("where the share was mounted")
            refused = await at_one.post(f"/api/frames/{frames[0]['id']}/good", json={})
            assert refused.status_code == 507 and "which the plant's gateways share, cannot be used" in refused.text
            assert (await score(stream, bad)).raw_score == before.raw_score
            version = (await at_one.get(f"/api/recipes/{made['id']}")).json()["version"]
            renamed = await at_one.patch(f"/api/recipes/{made['id']}", json={"version": version, "name": "plates"})
            assert renamed.status_code == 200, renamed.text  # nothing of it is new for the store
            (tmp_path / "mounted").unlink()
            (tmp_path / "away").rename(tmp_path / "mounted")
            done = await at_one.post(f"/api/frames/{frames[0]['id']}/good", json={})
            assert done.status_code == 200, done.text
            assert (await score(stream, bad)).raw_score < before.raw_score


async def test_a_model_that_is_damaged_in_the_store_is_said_and_fetched_once_it_is_whole(
    gateway: Any, store: StoreAddress, tmp_path: Path
) -> None:
    async with gateway("one", first=True) as (_, at_one):
        made = await copied(at_one)
        files = ObjectStore(store)
        (name,) = [one.name for one in files.below("models") if one.name.endswith("model.zip")]
        await asyncio.to_thread(files.get, name, tmp_path / "whole", most=10**9)
        other = io.BytesIO()
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr("../../model.json", b"{}")
        (tmp_path / "damaged").write_bytes(other.getvalue())
        await asyncio.to_thread(files.put, name, tmp_path / "damaged")
        async with gateway("two") as (_, at_two):

            async def has_a_problem() -> bool:
                return "its model is not here" in (await at_two.get(f"/api/recipes/{made['id']}")).text

            await until(has_a_problem)
            assert "names files that cannot be" in (await at_two.get("/health")).text
            assert not (tmp_path / "model.json").exists()
            await asyncio.to_thread(files.put, name, tmp_path / "whole")
            await until(lambda: _inspects_with(at_two, made["id"]))
            assert "cannot be fetched" not in (await at_two.get("/health")).text


async def test_what_is_found_nowhere_is_tried_again_until_somebody_puts_it_back(
    gateway: Any, store: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model, or a correction; the first gateway has both."""
    monkeypatch.setattr("server.app.FETCH_AGAIN_S", 0.2)
    async with gateway("one", first=True) as (one, at_one):
        made = await copied(at_one)
        async with connect(f"{one.ws}/ws/stream?name=press") as stream:
            await score(stream, draw_part(3, defect=True))
            frames = (await at_one.get("/api/streams/press/frames", params={"kind": "alarm"})).json()["frames"]
            done = await at_one.post(f"/api/frames/{frames[0]['id']}/good", json={})
            assert done.status_code == 200, done.text
        files = ObjectStore(store)
        for name in [each.name for each in files.below("models")]:
            await asyncio.to_thread(files.remove, name)
    async with gateway("two") as (_, at_two):

        async def is_said() -> bool:
            return "discs inspects with is neither here nor in the plant's store" in (await at_two.get("/health")).text

        await until(is_said)
        async with gateway("one", first=True):  # which puts it back at its start
            await until(lambda: _inspects_with(at_two, made["id"]))
            assert not await is_said()


def hanging(monkeypatch: pytest.MonkeyPatch, what: str) -> tuple[threading.Event, threading.Event]:
    """Let a step of the model keep wait: set once it does, and to be set for it to go on."""
    hangs, may_go_on, step = threading.Event(), threading.Event(), getattr(ModelKeep, what)

    def hang(*given: Any) -> Any:
        hangs.set()
        may_go_on.wait(WAIT_S)
        return step(*given)

    monkeypatch.setattr(ModelKeep, what, hang)
    return hangs, may_go_on


async def test_others_do_not_wait_for_a_store_that_hangs(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is here comes into force at once, and what is changed here is not kept waiting."""
    async with gateway("one", first=True) as (_, at_one), gateway("two") as (two, at_two):
        made = await copied(at_one)
        await until(lambda: _inspects_with(at_two, made["id"]))
        hangs, may_go_on = hanging(monkeypatch, "look_for_shared")
        try:
            for name in ("plates", "rings"):
                version = (await at_one.get(f"/api/recipes/{made['id']}")).json()["version"]
                change = {"version": version, "name": name}
                assert (await at_one.patch(f"/api/recipes/{made['id']}", json=change)).status_code == 200
                async with connect(f"{two.ws}/ws/stream?name=lathe") as far:

                    async def is_renamed(far: Any = far, version: int = version) -> bool:
                        return (await score(far, draw_part(1))).recipe_version == version + 1

                    await until(is_renamed)
            assert await asyncio.to_thread(hangs.wait, WAIT_S)
            change = {"version": version + 1, "name": "washers"}
            assert (await at_two.patch(f"/api/recipes/{made['id']}", json=change)).status_code == 200
        finally:
            may_go_on.set()


async def test_others_are_followed_while_the_store_hangs_at_a_start(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway("one", first=True) as (_, at_one):
        path = f"/api/recipes/{(made := await copied(at_one))['id']}"
        async with gateway("two") as (_, at_two):
            await until(lambda: _inspects_with(at_two, made["id"]))
        hangs, may_go_on = hanging(monkeypatch, "look_for_shared")
        async with gateway("two") as (_, at_two):
            try:
                assert await asyncio.to_thread(hangs.wait, WAIT_S)
                change = {"version": made["version"], "name": "rings"}
                assert (await at_one.patch(path, json=change)).status_code == 200

                async def is_renamed() -> bool:
                    return bool((await at_two.get(path)).json()["name"] == "rings")

                await until(is_renamed)
            finally:
                may_go_on.set()


async def test_nobody_waits_while_the_version_to_go_back_to_is_fetched(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway("one", first=True) as (_, at_one):
        path = f"/api/recipes/{(made := await copied(at_one))['id']}"
        first = made["version"]
        assert (await at_one.patch(path, json={"version": first, "name": "rings"})).status_code == 200
        monkeypatch.setattr(ModelKeep, "is_here", lambda *_, **__: False)
        hangs, may_go_on = hanging(monkeypatch, "bring")
        restored = asyncio.create_task(at_one.post(f"{path}/restore", json={"version": first + 1, "to": first}))
        try:
            assert await asyncio.to_thread(hangs.wait, WAIT_S)
            change = {"version": first + 1, "name": "washers"}
            assert (await at_one.patch(path, json=change)).status_code == 200
            assert not may_go_on.is_set() and not restored.done()
        finally:
            may_go_on.set()
        assert (await restored).status_code == 409, "it is looked at again: somebody has changed it since"


async def test_the_model_of_a_copy_is_stored_anew_before_it_is_named(gateway: Any, tmp_path: Path) -> None:
    """The gateway that deletes what it is a copy of may not know of the copy."""
    async with gateway("one", first=True) as (_, at_one):
        made = await copied(at_one)
        (stored,) = (tmp_path / "mounted").rglob("model.zip")
        os.utime(stored, (1.0, 1.0))
        again = await at_one.post(f"/api/recipes/{made['id']}/copy", json={"name": "plates"})
        assert again.status_code < 300 and stored.stat().st_mtime > 1.0, again.text


async def test_pictures_that_another_gateway_has_are_fetched_beside_the_event_loop(
    address: DatabaseAddress, store: StoreAddress, tmp_path: Path, disc_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateways = [one := await Gateway(tmp_path, "one", store, address).open()]
    try:
        place = one.library.temporary()
        shutil.copytree(disc_folder, place / "model")
        (place / "pictures").mkdir()
        (place / "pictures" / "1.png").write_bytes(png(draw_part(1)))
        names: dict[str, Any] = {"stream": None, "who": "me", "why": "", "on": ""}
        recipe, _ = await one.library.add_taught("discs", place / "model", place / "pictures", **names)
        gateways.append(two := await Gateway(tmp_path, "two", store, address).open())
        bring = two.library.keep.bring_pictures
        threads: list[threading.Thread] = []

        def brought(taught: str) -> None:
            threads.append(threading.current_thread())
            bring(taught)

        monkeypatch.setattr(two.library.keep, "bring_pictures", brought)
        earlier = await two.library.pictures_of(recipe)
        assert [path.name for path in earlier.pictures] == ["1.png"]
        assert earlier.taught == two.find("discs").model.taught
        assert threads and threading.main_thread() not in threads
        # What was taught on other pictures than those of the model in force does not replace it.
        with pytest.raises(TaughtMeanwhile, match="another model meanwhile, by me"):
            await two.library.taught_more(recipe, place / "model", place / "pictures", of="0" * 64, **names)
        assert two.find("discs").version == 1
        # A threshold put by hand is for the scores of the model that it was put for.
        rule = two.find("discs").rule
        await two.library.change(recipe, 1, rule=ThresholdRule(raw=8.2), who="me", why="")
        again = two.library.temporary()
        shutil.copytree(disc_folder, again / "model")
        (again / "pictures").mkdir()
        (again / "pictures" / "1.png").write_bytes(png(draw_part(1)))
        taught = two.find("discs").model.taught
        _, promised = await two.library.taught_more(recipe, again / "model", again / "pictures", of=taught, **names)
        assert two.find("discs").rule == rule and "the threshold put by hand, 8.2," in promised
    finally:
        for gateway in gateways:
            gateway.library.close()
            gateway.plant.close()


async def test_what_a_change_takes_in_of_another_gateway_comes_into_force(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway("one", first=True) as (one, at_one), gateway("two") as (_, at_two):
        discs = await copied(at_one)
        plates = (await at_one.post(f"/api/recipes/{discs['id']}/copy", json={"name": "plates"})).json()

        async def there() -> Any:
            return (await at_two.get(f"/api/recipes/{plates['id']}")).json().get("id")

        await until(there)
        monkeypatch.setattr(plant_module, "LOOK_S", 3600.0)  # from here on nobody looks before he changes something
        await asyncio.sleep(1.0)
        changed = await at_two.patch(
            f"/api/recipes/{discs['id']}", json={"version": discs["version"], "rule": {"raw": 1234.5}}
        )
        assert changed.status_code == 200, changed.text
        renamed = await at_one.patch(
            f"/api/recipes/{plates['id']}", json={"version": plates["version"], "name": "rings"}
        )
        assert renamed.status_code == 200, renamed.text
        async with connect(f"{one.ws}/ws/stream?name=press") as stream:

            async def judged_anew() -> bool:
                found = await score(stream, draw_part(1))
                assert (found.recipe_version, found.threshold == 1234.5) in ((1, False), (2, True))
                return bool(found.threshold == 1234.5)

            await until(judged_anew)


async def test_what_could_not_be_put_in_force_is_said_and_tried_again(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.app.FETCH_AGAIN_S", 0.2)
    async with gateway("one", first=True) as (_, at_one), gateway("two") as (_, at_two):
        with monkeypatch.context() as patched:
            patched.setattr(InForce, "renew", AsyncMock(side_effect=RuntimeError("of no kind that anybody knows")))
            made = await copied(at_one)

            async def is_said() -> bool:
                return "of no kind that anybody knows): it is tried again" in (await at_two.get("/health")).text

            await until(is_said)
        await until(lambda: _inspects_with(at_two, made["id"]))
        assert "it is tried again" not in (await at_two.get("/health")).text


async def test_the_end_waits_for_no_database(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, ended, close = threading.Event(), list[bool](), Plant.close

    def hangs(plant: Plant) -> None:
        ended.append(may_end.wait(WAIT_S))
        close(plant)

    monkeypatch.setattr(Plant, "close", hangs)
    async with gateway("one", first=True):
        pass
    was_left_behind = not ended
    may_end.set()
    assert was_left_behind


async def _inspects_with(client: httpx.AsyncClient, recipe: str) -> bool:
    found = (await client.get(f"/api/recipes/{recipe}")).json()
    listed = (await client.get("/api/recipes")).json()
    return found.get("problem", "?") is None and listed["default"] == recipe
