"""Cameras the server pulls itself: ``CAMERAS``."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from server.cameras import camera as camera_module
from server.cameras.arrivals import Frames, Grabbed
from server.ingest.pulled_camera import CameraStream
from server.inspection import Calibrations, Inspection
from server.settings import PulledCamera, SettingsError, read_settings
from server.streams import Hub, InferencePool, Streams
from server.streams.slot import Counters
from tests.running import Running
from tests.server.camera_fakes import free_port, picture, write_pictures
from tests.server.cameras.test_mjpeg import camera as mjpeg_camera
from tests.server.cameras.test_mjpeg import jpeg
from tests.server.fakes import WAIT_S, FakeModel, http, serving, until


async def streams(server: Running) -> dict[str, dict[str, object]]:
    async with http(server) as client:
        answer = await client.get("/api/streams")
    assert "secret" not in answer.text
    return {stream["name"]: stream for stream in answer.json()["streams"]}


async def test_a_folder_is_inspected_and_a_dead_camera_beside_it_harms_nobody(model: FakeModel, tmp_path: Path) -> None:
    cameras = (
        PulledCamera("press", str(write_pictures(tmp_path / "pictures", [40, 60])), fps=30),
        PulledCamera("gone", f"rtsp://user:secret@127.0.0.1:{free_port()}/stream"),
    )
    async with serving(model, tmp_path, cameras=cameras) as server:
        async with connect(f"{server.ws}/ws/live/press?picture=1") as viewer:
            assert json.loads(await viewer.recv())["state"] == "live"
            results = list[dict[str, Any]]()
            while len(results) < 4:  # on a busy machine some are dropped, which is told too
                said = json.loads(await viewer.recv())
                results += [said] if "verdict" in said else []
        assert {result["verdict"] for result in results} == {"NORMAL"}
        # The one that is repeated, and the one that was in work, may be of before anybody asked for pictures.
        assert all(result["picture"]["data"] for result in results[2:])

        seen = await streams(server)
        while seen["gone"]["camera"]["state"] != "retrying":  # type: ignore[index]
            seen = await streams(server)
        press, gone = seen["press"], seen["gone"]
        assert press["transport"] == gone["transport"] == "camera"
        assert press["camera"]["state"] == "live"  # type: ignore[index]
        assert gone["camera"]["source"] == "rtsp://***@127.0.0.1:" + gone["camera"]["source"].split(":")[-1]  # type: ignore[index]
        assert gone["camera"]["retry_in_s"] is not None  # type: ignore[index]
        assert gone["camera"]["last_error"]  # type: ignore[index]
        assert gone["received"] == 0
        seconds = await server.stop()
    assert seconds < 2


async def test_its_name_belongs_to_it(model: FakeModel, tmp_path: Path) -> None:
    camera = PulledCamera("press", str(write_pictures(tmp_path / "pictures", [40])), fps=30)
    async with (
        serving(model, tmp_path, cameras=(camera,)) as server,
        connect(f"{server.ws}/ws/stream?name=press") as thief,
    ):
        with pytest.raises(ConnectionClosed) as closed:
            await thief.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert "choose another" in closed.value.rcvd.reason


async def test_damaged_frames_are_failed_and_never_judged(model: FakeModel, tmp_path: Path) -> None:
    whole = jpeg(picture(40))
    with mjpeg_camera("image/jpeg", [whole, whole[:300]] * 200) as address:
        async with serving(model, tmp_path, cameras=(PulledCamera("press", address, patience=30),)) as server:
            while (await streams(server))["press"]["failed"] < 5:  # type: ignore[operator]
                pass
            press = (await streams(server))["press"]
    assert press["received"] >= press["inspected"] + press["failed"]  # type: ignore[operator]


async def test_the_newest_frame_wins_while_the_detector_is_busy(model: FakeModel, tmp_path: Path) -> None:
    model.gate.clear()
    camera = PulledCamera("press", str(write_pictures(tmp_path / "pictures", [40, 60])), fps=60)
    async with serving(model, tmp_path, cameras=(camera,)) as server:
        await until(lambda: model.detected == 1)
        while (await streams(server))["press"]["dropped"] < 5:  # type: ignore[operator]
            pass
        press = (await streams(server))["press"]
        assert press["inspected"] == 0
        model.gate.set()
        while (await streams(server))["press"]["inspected"] == 0:
            pass


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("press=rtsp://x", "JSON list"),
        ('[{"name": "a b", "source": "0"}]', "1 to 64 characters"),
        ('[{"name": "a", "source": "0"}, {"name": "a", "source": "1"}]', "same name"),
        ('[{"name": "a", "source": "ftp://user:secret@x/y"}]', "CAMERAS cannot be used"),
        ('[{"name": "a", "source": "0", "crop": "1,2"}]', "X,Y,W,H"),
        ('[{"name": "a", "source": "0", "fps": 0}]', "fps"),
        ('[{"name": "a", "source": "0", "patience": 0}]', "patience must be 1 to 3600 seconds"),
        ('[{"name": "a", "source": "rtsp://admin:secret#1@cam"}]', "%23"),
        ('[{"name": "a", "source": "0", "speed": 3}]', "unknown field"),
    ],
)
def test_what_cannot_be_used_is_said_without_secrets(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as error:
        read_settings({"CAMERAS": text})
    assert "secret" not in str(error.value)


async def test_what_a_frame_had_waited_on_its_way_is_of_its_latency(
    model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def late(*_: object, **__: object) -> Frames:
        while not over.wait(0.02):
            yield Grabbed(None, lambda: picture(40), time.monotonic() - 0.7)

    monkeypatch.setattr(camera_module, "grab", late)
    async with serving(model, tmp_path, cameras=(PulledCamera("press", "0"),)) as server:
        while (await streams(server))["press"]["inspected"] < 80:  # type: ignore[operator]
            pass
        press = (await streams(server))["press"]  # no frame came before its stream began: of the last 30 none did
        over.set()
    assert press["latency_ms"] >= 700  # type: ignore[operator]


async def test_frames_that_a_busy_event_loop_did_not_take_were_dropped(
    model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, over = threading.Event(), threading.Event()

    def three(*_: object, **__: object) -> Frames:
        for _ in range(3):
            yield Grabbed(None, lambda: picture(40))
        sent.set()
        over.wait()

    monkeypatch.setattr(camera_module, "grab", three)
    inspection, pool = Inspection(Calibrations(tmp_path)), InferencePool(1)
    inspection.use(model)  # type: ignore[arg-type]
    pool.start()
    opened = Streams(pool, Hub(), inspection)
    camera = CameraStream(PulledCamera("press", "0"), opened, 10_000)
    assert sent.wait(WAIT_S)  # the event loop does nothing else meanwhile
    stream = opened.get("press")
    assert stream is not None
    await until(lambda: stream.stream.inspected == 1)
    over.set()
    await camera.stop()
    pool.close()
    assert stream.stream.counters == Counters(received=3, inspected=1, dropped=2, failed=0)


async def test_frames_that_waited_are_dropped_and_that_is_seen(model: FakeModel, tmp_path: Path) -> None:
    over = threading.Event()

    def parts() -> Iterator[bytes]:
        yield jpeg(picture(40)) * 5  # at once: four have waited
        over.wait()

    with mjpeg_camera("image/jpeg", parts()) as address:
        async with serving(model, tmp_path, cameras=(PulledCamera("press", address, patience=30),)) as server:
            while (await streams(server))["press"]["inspected"] == 0:
                pass
            press = (await streams(server))["press"]
            async with http(server) as client:
                (listed,) = (await client.get("/api/cameras")).json()["cameras"]
                figures = (await client.get("/metrics")).text
            over.set()
    assert (press["received"], press["inspected"], press["dropped"]) == (5, 1, 4)
    assert press["camera"]["dropped"] == listed["dropped"] == 4  # type: ignore[index]
    assert 'defectvision_camera_dropped_total{stream="press"} 4' in figures
