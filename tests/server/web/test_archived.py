"""Archived pictures over HTTP: seen again, told what they were, taught from."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import cv2
import httpx
import msgspec
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from websockets.asyncio.client import connect

from detector.images import decode, encode_jpeg
from server.archive import Archive, Limits
from server.streams import Told
from server.teaching import Teachings
from server.web import ERRORS, Archived, answer_error
from tests.detector.parts import draw_part
from tests.server.archive.pictures import inspected
from tests.server.archive.test_archive import Line
from tests.server.archive.test_archive import part as part_result
from tests.server.fakes import WAIT_S, asked_by_anybody
from tests.server.teaching.fakes import FakeLearner, FakeLibrary, part
from tests.server.web.test_recipes import inspecting, only, score


async def entries(
    client: httpx.AsyncClient, fit: Callable[[list[dict[str, Any]]], bool], **asked: str
) -> list[dict[str, Any]]:
    """Entries of the history, newest first, once they are as wanted."""
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = await client.get("/api/history", params=asked)
            if answer.status_code == 200 and fit(found := answer.json()["entries"]):
                return list(found)
            await asyncio.sleep(0.02)


async def test_from_a_part_to_its_picture_its_disposition_and_the_report(disc_folder: Path, tmp_path: Path) -> None:
    odd = draw_part(50, defect=True)
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        for name, frame in (("P-1", odd), ("P-2", draw_part(60)), ("P-3", odd[:, ::-1].copy()), ("P-4", odd)):
            await client.post("/api/streams/press/part", json={"part": name})
            await score(c, frame)
        (second, first) = await entries(
            client, lambda some: [one["picture_kept"] for one in some] == [True, True], verdict="ANOMALY"
        )
        assert (first["part"], second["part"]) == ("P-1", "P-3") and first["picture"] == first["id"]

        at = f"/api/history/{first['id']}"
        picture = await client.get(f"{at}/picture")
        assert picture.headers["content-type"] == "image/jpeg" and "immutable" in picture.headers["cache-control"]
        overlay = await client.get(f"{at}/overlay")
        assert decode(overlay.content).shape == decode(picture.content).shape
        heat = decode((await client.get(f"{at}/heatmap")).content)
        assert heat.max() > 128 and max(heat.shape) <= 64
        small = await client.get(f"{at}/thumbnail")
        assert max(decode(small.content).shape) <= 320 and small.headers["content-type"] == "image/jpeg"
        for path in ("picture", "overlay", "heatmap", "thumbnail", "frame"):
            assert (await client.get(f"/api/history/none/{path}")).status_code == 404
            assert (await client.get(f"/api/history/..%2F..%2Fserver.lock/{path}")).status_code == 404

        frame = (await client.get(f"{at}/frame")).json()
        assert frame["can_correct"] and frame["part"] == "P-1" and frame["picture"] == f"{at[1:]}/picture"
        assert frame["heatmap"] == f"{at[1:]}/overlay"
        told = (await client.post(f"{at}/good", json={"dry_run": True})).json()
        assert not told["applied"] and "this part passes then" in told["cost"]["sentence"]
        done = await client.post(f"{at}/good", json={"version": told["version"]})
        assert done.status_code == 200 and done.json()["applied"]
        assert (await client.post(f"{at}/bad", json={})).status_code == 409
        await entries(client, lambda some: some[-1]["disposition"] == "false_reject", verdict="ANOMALY")
        assert (await client.get(f"{at}/frame")).json()["disposition"] == "good"
        passed = await score(c, odd)
        assert passed.raw_score < passed.threshold
        back = (await client.post(f"{at}/nothing")).json()
        assert (back["disposition"], back["correction"]) == (None, None)
        assert (await only(client))["model"]["forgiven"] == 0
        assert (await client.get(at)).json()["entry"]["disposition"] is None

        await client.post(f"{at}/disposition", json={"disposition": "confirmed"})
        numbers = (await client.get("/api/numbers")).json()
        whole = numbers["all"]
        assert (whole["total"], whole["rejected"], whole["confirmed"], whole["false_rejects"]) == (3, 2, 1, 0)
        assert whole["first_pass_yield"] == pytest.approx(1 / 3, abs=1e-4) and len(numbers["rows"]) == 1
        assert whole["cycle_worst_ms"] > 0
        by_recipe = (await client.get("/api/numbers", params={"by": "all", "each": "stream,recipe"})).json()["rows"]
        assert [(row["stream"], row["total"]) for row in by_recipe] == [("press", 3)]
        page = (await client.get("/report")).text
        assert "Parts</dt><dd>3<" in page and "P-1" in page and f"api/history/{first['id']}/thumbnail" in page
        state = (await client.get("/api/archive")).json()
        assert state["pictures"] >= 2 and state["problem"] is None and state["limit_days"] == 90

        await asyncio.to_thread(shutil.rmtree, tmp_path / "archive")
        assert (await client.get(f"{at}/picture")).status_code == 404
        await entries(client, lambda some: not some[-1]["picture_kept"], verdict="ANOMALY")


async def test_a_frame_that_was_told_on_live_is_told_in_the_history(disc_folder: Path, tmp_path: Path) -> None:
    """And an alarm that goes on names its frame: nobody forgives another than he sees."""
    odd = draw_part(50, defect=True)
    worse = odd.copy()
    cv2.circle(worse, (60, 60), 22, (250, 250, 250), -1)
    async with inspecting(disc_folder, tmp_path) as (server, client), connect(f"{server.ws}/ws/stream?name=press") as c:
        await score(c, draw_part(60))
        await score(c, odd)
        (alarm,) = await entries(client, lambda some: len(some) == 1 and some[0]["picture_kept"], verdict="ANOMALY")
        at = f"/api/history/{alarm['id']}"
        assert alarm["kind"] == "change"
        picture = await client.get(f"{at}/picture")
        tag = {"If-None-Match": picture.headers["etag"]}
        assert (await client.get(f"{at}/picture", headers=tag)).status_code == 304
        before = (await client.get(f"{at}/frame")).json()["picture"]
        await score(c, worse)
        async with asyncio.timeout(WAIT_S):
            while (await client.get(f"{at}/frame")).json()["picture"] == before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await client.get(f"{at}/picture", headers=tag)).status_code == 200
        _, _, meant = before.partition("?frame=")
        refused = await client.post(f"{at}/good?frame={meant}", json={})
        assert refused.status_code == 409 and "went on" in refused.json()["error"]
        (kept,) = (await client.get("/api/streams/press/frames")).json()["frames"]
        said = await client.post(f"/api/frames/{kept['id']}/bad", json={"learn": False})
        assert said.status_code == 200
        await entries(client, lambda some: some[0]["disposition"] == "confirmed", verdict="ANOMALY")
        samples = await entries(client, lambda some: len(some) == 1 and some[0]["picture_kept"], kind="sample")
        assert samples[0]["verdict"] == "NORMAL"
        escape = await client.post(f"/api/history/{samples[0]['id']}/bad", json={"learn": False})
        assert escape.status_code == 200
        await entries(client, lambda some: some[0]["disposition"] == "escape", kind="sample")


async def test_what_is_said_is_noted_with_the_frame_that_was_meant_however_long_that_takes(tmp_path: Path) -> None:
    archive = Archive(tmp_path, Limits(1 << 40, 90, 0))
    line = Line(archive)

    class Slow:
        async def say(self, request: Any, source: Any, id: str, kind: Any) -> Response:
            line.see(19)  # the alarm goes on while the model learns
            await archive.say(id, kind, "c1")
            return Response()

    nothing = cast(Any, None)
    app = Starlette(routes=Archived(archive, nothing, cast(Any, Slow()), nothing, nothing, nothing).routes)
    first = line.see(12)
    before = await archive.read(first)
    assert before is not None
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(asked_by_anybody(app)), base_url="http://test"
    ) as client:
        said = await client.post(f"/api/history/{first}/good?frame={before.facts.frame}", json={})
    after = await archive.read(first)
    assert said.status_code == 200 and after is not None
    assert (after.facts.frame, after.facts.correction) == (before.facts.frame, "c1")
    await archive.stop()


class TaughtFrom:
    """A client of the routes alone, with a library and a process that learns which are made up."""

    def __init__(self, folder: Path) -> None:
        self.archive = Archive(folder, Limits(1 << 40, 90, 0))
        self.library = FakeLibrary(folder)
        self.teachings = Teachings(folder / "data", self.library, lambda name: None, make_learner=FakeLearner)
        nothing = cast(Any, None)
        routes = Archived(self.archive, nothing, nothing, self.teachings, self.library, nothing).routes
        app = Starlette(routes=routes, exception_handlers=dict.fromkeys(ERRORS, answer_error))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(asked_by_anybody(app)), base_url="http://test")

    async def ask(self, **body: Any) -> httpx.Response:
        return await self.client.post("/api/history/teach", json=body)

    async def keep(self, id: str, picture: Any) -> None:
        """Archive a picture of a part that was good."""
        found = inspected(4)
        assert found.kept is not None
        kept = replace(found.kept, picture=encode_jpeg(np.asarray(picture), quality=90))
        self.archive.hear(Told(msgspec.structs.replace(part_result(id), verdict="NORMAL"), replace(found, kept=kept)))
        async with asyncio.timeout(WAIT_S):
            while not [*self.archive.folder.root.glob(f"*/{id}.zip")]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
async def taught(tmp_path: Path) -> AsyncIterator[TaughtFrom]:
    made = TaughtFrom(tmp_path)
    made.archive.start()
    for number in range(4):
        await made.keep(f"p{number}", part(number))
    yield made
    await made.teachings.close()
    await made.archive.stop()


async def test_a_teaching_begins_with_selected_pictures_and_gets_more(taught: TaughtFrom) -> None:
    begun = await taught.ask(ids=["p0", "p1", "gone"], name="bracket")
    assert begun.status_code == 201, begun.text
    body = begun.json()
    assert (body["name"], body["stream"], len(body["pictures"])) == ("bracket", None, 2)
    more = await taught.ask(ids=["p2", "p3"], teaching=body["id"])
    assert more.status_code == 200 and len(more.json()["pictures"]) == 4


async def test_a_picture_that_is_not_taken_is_told_by_time_stream_and_part(taught: TaughtFrom) -> None:
    await taught.keep("dark", np.zeros((120, 160, 3), np.uint8))
    facts = taught.archive.folder.read("dark")
    assert facts is not None
    begun = await taught.ask(ids=["p0", "dark"], name="bracket")
    at = datetime.fromisoformat(facts.facts.at).astimezone(UTC)
    (note,) = (one for one in begun.json()["notes"] if "UTC" in one)
    assert note.startswith(f"{at:%Y-%m-%d %H:%M:%S} UTC, press, part P-7: ")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"ids": ["p0"]}, 422),
        ({"ids": ["p0"], "name": "x", "teaching": "y"}, 422),
        ({"ids": [], "name": "x"}, 422),
        ({"ids": ["p0"] * 301, "name": "x"}, 422),
        ({"ids": ["gone"], "name": "x"}, 422),
        ({"ids": ["p0"], "name": ""}, 422),
        ({"ids": ["p0"], "teaching": "none"}, 404),
        ({"ids": ["p0"], "more_of": "none"}, 404),
        ({"ids": ["x" * 129], "name": "x"}, 422),
    ],
)
async def test_what_cannot_be_taught_from(taught: TaughtFrom, body: dict[str, Any], status: int) -> None:
    answer = await taught.ask(**body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert taught.teachings.all == []
