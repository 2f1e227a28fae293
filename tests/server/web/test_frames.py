"""Kept frames, part ids and resets over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from websockets.asyncio.client import connect

from tests.running import Running
from tests.server.fakes import BAD, GOOD, FakeModel, http, picture, receive_result, serving


@pytest.fixture
async def server(model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(model, tmp_path) as server:
        yield server


async def test_alarms_are_kept_with_picture_and_heat_map_and_outlive_their_stream(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press") as sender:
        for frame in (GOOD, picture(150, width=800, height=600), GOOD):
            await sender.send(frame)
            result = await receive_result(sender)
    async with http(server) as client:
        body = (await client.get("/api/streams/press/frames")).json()
        (alarm,) = body["frames"]
        assert body["forgotten"] == 0 and (await client.get("/api/streams/nobody/frames")).json()["frames"] == []
        latest = (await client.get("/api/streams/press/frames?kind=recent")).json()["frames"]
        assert latest and latest[0]["raw_score"] == 50
        assert (alarm["stream"], alarm["kind"], alarm["verdict"], alarm["part"]) == ("press", "alarm", "ANOMALY", None)
        assert (alarm["raw_score"], alarm["threshold"], alarm["recipe"]) == (150, 100, result.recipe)
        assert not alarm["can_correct"], "the quick detector cannot learn"
        for name, kind in (("picture", "image/jpeg"), ("heatmap", "image/png")):
            answer = await client.get(alarm[name])
            assert answer.headers["content-type"] == kind and "immutable" in answer.headers["cache-control"]
            image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
            assert image is not None and image.shape == (480, 640, 3)
        for path in ("/api/frames/none/picture", "/api/frames/none/heatmap"):
            assert (await client.get(path)).status_code == 404
        assert (await client.get("/api/streams/press/frames?kind=all")).status_code == 422


async def test_parts_are_said_and_counted_anew(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press") as sender, http(server) as client:
        for part in ("A", "B"):
            assert (await client.post("/api/streams/press/part", json={"part": part})).json()["part"] == part
            await sender.send(BAD)
            assert (await receive_result(sender)).part == part
        (stream,) = (await client.get("/api/streams")).json()["streams"]
        assert (stream["parts"], stream["parts_rejected"], stream["yield"]) == (2, 2, 0)
        after = (await client.post("/api/streams/press/reset")).json()
        assert (after["parts"], after["parts_rejected"], after["yield"]) == (0, 0, None)
        assert after["anomalies"] == 2, "frame counters are the connection's"
        alarms = (await client.get("/api/streams/press/frames")).json()["frames"]
        assert [alarm["part"] for alarm in alarms] == ["B", "A"]
        for absurd in ({"part": ""}, {"part": "x" * 129}, {"part": "a\n"}, {"part": 7}, {}, {"part": "A", "x": 1}):
            assert (await client.post("/api/streams/press/part", json=absurd)).status_code == 422, absurd
        assert (await client.post("/api/streams/press/part", json={"part": "x" * 2000})).status_code == 413
        for path in ("reset", "part"):
            assert (await client.post(f"/api/streams/gone/{path}", json={"part": "A"})).status_code == 404
