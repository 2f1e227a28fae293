"""A detector that hangs, seen from outside."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from websockets.asyncio.client import connect

from detector.images import encode_png, wall
from server.settings import Settings
from server.streams.pool import LOOKS
from server.streams.turns import SLOW_S
from server.words import Error, Result
from tests.server.fakes import BAD, GOOD, WAIT_S, FakeModel, healthy, http, listed, part, receive, serving, until


def test_what_hangs_is_noticed_within_five_seconds_as_it_comes() -> None:
    assert SLOW_S + Settings().watchdog_s * (1 + 1 / LOOKS) < 5


async def test_a_hung_worker_is_shown_replaced_and_its_late_verdict_is_never_one(
    model: FakeModel, tmp_path: Path
) -> None:
    async with (
        serving(model, tmp_path, watchdog_s=0.3) as server,
        connect(f"{server.ws}/ws/stream?name=press") as press,
        connect(f"{server.ws}/ws/stream?name=robot") as robot,
        http(server) as client,
    ):
        await press.send(GOOD)
        assert isinstance(await receive(press), Result)
        model.gate.clear()
        await press.send(BAD)
        error = await receive(press)
        assert isinstance(error, Error) and (error.failed, error.received) == (1, 2)
        health = await healthy(server, 503)
        assert health["status"] == "hung" and "press" in health["reason"] and "restart" in health["reason"]
        assert any("hangs" in warning for warning in health["warnings"])
        assert (await client.get("/health")).status_code == 503

        late, model.gate = model.gate, threading.Event()
        model.gate.set()
        await robot.send(GOOD)
        assert isinstance(await receive(robot), Result), "other streams go on"
        await press.send(GOOD)
        again = await receive(press)
        assert isinstance(again, Result) and (again.verdict, again.inspected, again.failed) == ("NORMAL", 2, 1)

        late.set()
        async with asyncio.timeout(WAIT_S):
            while (await client.get("/health")).json()["warnings"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stream = await listed(server, "press")
        assert stream is not None and (stream["last_verdict"], stream["anomalies"]) == ("NORMAL", 0)
        assert stream["received"] == stream["inspected"] + stream["dropped"] + stream["failed"] == 3


async def test_a_picture_that_hangs_is_answered(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path, watchdog_s=0.2) as server, http(server) as client:
        model.gate.clear()
        start = time.perf_counter()
        answer = await client.post("/predict", files={"file": ("a.png", GOOD)})
        assert (answer.status_code, "given up" in answer.json()["error"]) == (503, True)
        assert time.perf_counter() - start < WAIT_S / 2
        calibration = [("files", (f"{number}.png", GOOD)) for number in range(3)]
        model.gate.clear()
        answer = await client.post("/calibrate", files=calibration)
        assert answer.status_code == 503 and not (tmp_path / "calibration.json").exists()
        model.gate.set()
        assert (await healthy(server, 503))["status"] == "hung", "shown for a while, however quickly it is over"


async def test_health_stays_quick_while_every_worker_hangs(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path, watchdog_s=0.2) as server, http(server) as client:
        model.gate.clear()
        pending = [asyncio.create_task(client.post("/predict", files={"file": ("a.png", GOOD)})) for _ in range(6)]
        answers: list[httpx.Response] = await asyncio.gather(*pending)
        assert {answer.status_code for answer in answers} == {503}
        assert (await healthy(server, 503))["status"] == "hung"


async def test_a_large_picture_in_its_decoder_is_no_hung_worker(
    model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow.py"
    again = f"runpy.run_path({str(wall._PROGRAM)!r}, run_name='__main__')"
    slow.write_text(f"import runpy, time\ntime.sleep(1.5)\n{again}\n")
    wall._close_all()
    monkeypatch.setattr(wall, "_PROGRAM", slow)
    async with serving(model, tmp_path, watchdog_s=0.5) as server, http(server) as client:
        picture = encode_png(np.full((48, 64, 3), 50, np.uint8))
        answer = await client.post("/predict", files={"file": ("a.png", picture)})
        assert answer.status_code == 200, answer.text
        assert (await client.get("/health")).status_code == 200
        wall._close_all()
        files = [("files", (f"{number}.png", part(50 + number))) for number in range(2)]
        assert (await client.post("/calibrate", files=files)).status_code == 200
    wall._close_all()


async def test_a_picture_in_work_is_answered_when_the_server_stops(
    model: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(model, tmp_path) as server, http(server) as client:
        model.gate.clear()
        app = server.server.config.app
        assert isinstance(app, Starlette)
        posted = asyncio.create_task(client.post("/predict", files={"file": ("a.png", GOOD)}))
        await until(lambda: bool(app.state.pool._in_work))
        await server.stop()
        answer = await posted
        assert (answer.status_code, "stopping" in answer.json()["error"]) == (503, True)
        assert "Exception" not in caplog.text
        model.gate.set()
