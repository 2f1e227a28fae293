"""Capturing for a calibration on a running stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect

from detector.images import decode
from detector.thresholds import KSigma
from server.inspection import Calibrations, Captured, Inspection, ModelReplaced
from server.recipes import Regions
from server.settings import PulledCamera
from server.streams import stream_calibration
from server.streams.hub import Hub
from server.streams.open_stream import OpenStream
from server.streams.pool import InferencePool
from server.streams.stream_calibration import StreamWentAway
from server.streams.streams import Streams
from server.words.messages import Simulated
from tests.running import Running
from tests.server.fakes import GOOD, FakeModel, http, part, serving, until, write_parts

PARTS = (39, 44, 49, 42, 46, 41, 45, 43, 47, 40, 48, 38)  # eight in a row, wherever they begin, are eight parts


async def calibrate(server: Running, path: str) -> httpx.Response:
    async with http(server) as client:
        return await client.post(path)


async def test_the_scores_are_those_of_the_inspected_frames(model: FakeModel, tmp_path: Path) -> None:
    camera = PulledCamera("press", str(write_parts(tmp_path / "pictures", PARTS)), fps=15)
    async with serving(model, tmp_path, cameras=(camera,)) as server:
        answer = await calibrate(server, "/api/streams/press/calibrate?n=8&k=2&seconds=0")
        body = answer.json()
        assert answer.status_code == 200, body
        assert body["n_images"] == 8
        assert 40 <= body["mean_score"] <= 48
        assert body["new_threshold"] == pytest.approx(body["mean_score"] + 2 * body["std_score"])
        assert (body["threshold"], body["threshold_source"]) == (body["new_threshold"], "calibration")


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


@pytest.fixture
async def streams(model: FakeModel, tmp_path: Path) -> AsyncIterator[Streams]:
    inspection, pool = Inspection(Calibrations(tmp_path)), InferencePool(1)
    inspection.use(model)  # type: ignore[arg-type]
    pool.start()
    yield Streams(pool, Hub(), inspection)
    pool.close()


async def offered(opened: OpenStream, brightnesses: Sequence[int], defects: Sequence[str | None] = ()) -> None:
    """Each is inspected before the next one comes."""
    for number, brightness in enumerate(brightnesses):
        simulated = Simulated(number, defects[number]) if defects else None
        before = opened.stream.inspected
        opened.offer(partial(decode, part(brightness, number)), simulated)
        await until(lambda before=before: opened.stream.inspected > before)  # type: ignore[misc]


async def capturing(opened: OpenStream, n: int, seconds: float = 0.0) -> asyncio.Task[Captured]:
    task = asyncio.create_task(opened.capture(n, seconds))
    await until(lambda: bool(opened.captures))
    return task


async def test_a_capture_keeps_scores_looks_and_pictures_of_the_same_frames(streams: Streams) -> None:
    opened = streams.open("press", "websocket")
    await offered(opened, [30, 31])
    task = await capturing(opened, 3)
    await offered(opened, [40, 41, 42, 43])
    captured = await task
    assert captured.scores == (40, 41, 42)
    assert len(captured.looks) == len(captured.pictures) == 3
    assert all(picture.startswith(b"\xff\xd8") for picture in captured.pictures)
    assert captured.recent[:5] == (30, 31, 40, 41, 42)
    assert (captured.stream, captured.transport, captured.model) == ("press", "websocket", ("a" * 64, "openvino"))
    assert not opened.captures


async def test_a_camera_that_leaves_ends_it(streams: Streams) -> None:
    opened = streams.open("press", "websocket")
    task = await capturing(opened, 5)
    await offered(opened, [40])
    opened.close()
    with pytest.raises(StreamWentAway, match="went away"):
        await task
    assert not opened.captures


async def test_another_camera_that_takes_the_name_over_ends_it(streams: Streams) -> None:
    """Frames of both in one calibration would be of two places."""
    opened = streams.open("press", "websocket")
    task = await capturing(opened, 5)
    await offered(opened, [40])
    newer = streams.open("press", "websocket")
    await offered(newer, [90, 91, 92, 93, 94])
    with pytest.raises(StreamWentAway, match="took press over"):
        await task


async def test_another_model_ends_it(streams: Streams) -> None:
    opened = streams.open("press", "websocket")
    task = await capturing(opened, 5)
    await offered(opened, [40])
    streams.inspection.use(FakeModel(hash="b" * 64))  # type: ignore[arg-type]
    await offered(opened, [41])
    with pytest.raises(StreamWentAway, match="another model"):
        await task


async def test_other_regions_end_it_and_what_is_made_of_it(streams: Streams, model: FakeModel) -> None:
    """Scores under two regions make no threshold together, nor one for the other."""
    opened, inspection = streams.open("press", "websocket"), streams.inspection
    task = await capturing(opened, 2)
    await offered(opened, [40, 41])
    captured = await task
    draft = inspection.judge(captured, KSigma(3))
    task = await capturing(opened, 2)
    await offered(opened, [40])
    (recipe,) = inspection.recipes
    corner = Regions(ignore=(((0.0, 0.0), (0.3, 0.0), (0.3, 0.3)),))
    inspection.use(model, msgspec.structs.replace(recipe, version=2, regions=corner))  # type: ignore[arg-type]
    await offered(opened, [41])
    with pytest.raises(StreamWentAway, match="region"):
        await task
    calibration = draft.judgement.calibration
    assert calibration is not None
    with pytest.raises(ModelReplaced, match="other regions"):
        inspection.set(draft, calibration, who="me", why="a test")
    assert inspection.threshold.source == "model"


async def test_what_came_of_frames_in_other_regions_is_not_held_against_a_calibration(
    streams: Streams, model: FakeModel
) -> None:
    opened, inspection = streams.open("press", "websocket"), streams.inspection
    task = await capturing(opened, 2)
    await offered(opened, [40, 41])
    draft = inspection.judge(await task, KSigma(3))
    assert draft.judgement.calibration is not None
    inspection.set(draft, draft.judgement.calibration, who="me", why="a test")
    await offered(opened, [40])
    assert streams.status("press").since_calibration and streams.list()[0].since_calibration
    (recipe,) = inspection.recipes
    corner = Regions(ignore=(((0.0, 0.0), (0.3, 0.0), (0.3, 0.3)),))
    inspection.use(model, msgspec.structs.replace(recipe, version=2, regions=corner))  # type: ignore[arg-type]
    status = streams.status("press")
    assert status.calibration, "it stays in force, with a warning"
    assert status.since_calibration is msgspec.UNSET and streams.list()[0].since_calibration is None
    task = await capturing(opened, 2)
    await offered(opened, [40, 41])
    captured = await task
    assert captured.recent == captured.scores


async def test_two_captures_at_once_see_the_same_frames(streams: Streams) -> None:
    opened = streams.open("press", "websocket")
    first, second = await capturing(opened, 2), await capturing(opened, 3)
    await until(lambda: len(opened.captures) == 2)
    await offered(opened, [40, 41, 42])
    assert (await first).scores == (40, 41) and (await second).scores == (40, 41, 42)


async def test_known_simulated_defects_are_left_out_and_counted(streams: Streams) -> None:
    opened = streams.open("line", "simulated")
    task = await capturing(opened, 2)
    await offered(opened, [40, 150, 41], [None, "dent", None])
    captured = await task
    assert captured.scores == (40, 41) and captured.known_defects == 1


async def test_frames_are_spread_over_the_time(streams: Streams) -> None:
    opened, start = streams.open("press", "websocket"), asyncio.get_running_loop().time()
    task = await capturing(opened, 3, 0.3)
    number = 0
    while not task.done():
        await offered(opened, [40 + number % 5])
        number += 1
    assert len((await task).scores) == 3
    assert asyncio.get_running_loop().time() - start >= 0.2
