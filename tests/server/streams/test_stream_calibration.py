"""Calibrating on a running stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect

from server.settings import PulledCamera
from server.streams import stream_calibration
from server.streams.hub import Hub
from server.streams.stream_calibration import StreamWentAway, normal_scores
from server.words.messages import Result, Simulated
from tests.running import Running
from tests.server.camera_fakes import write_pictures
from tests.server.fakes import GOOD, RESULT, FakeModel, http, serving, until


def result(raw_score: float, defect: str | None = None) -> Result:
    return msgspec.structs.replace(RESULT, stream="press", raw_score=raw_score, simulated=Simulated(0, defect))


async def calibrate(server: Running, path: str) -> httpx.Response:
    async with http(server) as client:
        return await client.post(path)


async def test_the_scores_are_those_of_the_inspected_frames(model: FakeModel, tmp_path: Path) -> None:
    camera = PulledCamera("press", str(write_pictures(tmp_path / "pictures", [40, 60])), fps=100)
    async with serving(model, tmp_path, cameras=(camera,)) as server:
        answer = await calibrate(server, "/api/streams/press/calibrate?n=8&k=2&seconds=0")
        body = answer.json()
        assert answer.status_code == 200, body
        assert body["n_images"] == 8
        assert 40 <= body["mean_score"] <= 60
        assert body["new_threshold"] == pytest.approx(body["mean_score"] + 2 * body["std_score"])
        assert (body["threshold"], body["threshold_source"]) == (body["new_threshold"], "calibration")


async def test_a_threshold_far_above_the_model_s_is_questioned(model: FakeModel, tmp_path: Path) -> None:
    camera = PulledCamera("press", str(write_pictures(tmp_path / "pictures", [20, 250])), fps=100)
    async with serving(model, tmp_path, cameras=(camera,)) as server:
        body = (await calibrate(server, "/api/streams/press/calibrate?n=8&k=9&seconds=0")).json()
    assert "times the model's default" in body["warning"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/streams/gone/calibrate", 404, "no stream gone"),
        ("/api/streams/robot/calibrate?n=1", 422, "from 2 to 200"),
        ("/api/streams/robot/calibrate?n=x", 422, "from 2 to 200"),
        ("/api/streams/robot/calibrate?seconds=nan", 422, "from 0 to 600"),
        ("/api/streams/robot/calibrate?k=-1", 422, "from 1 to 10"),
    ],
)
async def test_what_cannot_be_done_is_said(
    path: str, status: int, words: str, model: FakeModel, tmp_path: Path
) -> None:
    async with serving(model, tmp_path) as server, connect(f"{server.ws}/ws/stream?name=robot"):
        answer = await calibrate(server, path)
        assert (answer.status_code, words in answer.json()["error"]) == (status, True)
        assert not (tmp_path / "calibration.json").exists()


async def test_a_silent_stream_is_given_up_and_nothing_changes(
    model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_calibration, "SILENCE_S", 0.2)
    async with serving(model, tmp_path) as server, connect(f"{server.ws}/ws/stream?name=robot") as robot:
        await robot.send(GOOD)
        answer = await calibrate(server, "/api/streams/robot/calibrate?n=5&seconds=0")
        assert answer.status_code == 409
        assert "nothing was changed" in answer.json()["error"]
        assert not (tmp_path / "calibration.json").exists()


async def test_a_camera_that_leaves_ends_it() -> None:
    hub = Hub()
    collecting = asyncio.create_task(normal_scores(hub, "press", 2, 0.0))
    await until(lambda: hub.listeners("press") == 1)
    hub.publish(result(5.0))
    hub.publish_state("press", "waiting")
    with pytest.raises(StreamWentAway, match="went away"):
        await collecting
    assert not hub.listeners("press")


async def test_known_simulated_defects_are_left_out_and_frames_are_spread() -> None:
    hub, start = Hub(), asyncio.get_running_loop().time()
    collecting = asyncio.create_task(normal_scores(hub, "press", 2, 0.2))
    await until(lambda: hub.listeners("press") == 1)
    hub.publish(result(50.0, "dent"))
    while not collecting.done():
        hub.publish(result(5.0))
        await asyncio.sleep(0)
    assert await collecting == [5.0, 5.0]
    assert asyncio.get_running_loop().time() - start >= 0.1
