"""Cameras from the page: added, tried, seen and removed, by whoever means well and by whoever does not."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from server.app import create_app
from server.cameras import CaptureError, Device, check_source
from server.kept_cameras import MOST, trials
from server.settings import PulledCamera, Settings
from tests.running import Running
from tests.server.camera_fakes import free_port, picture, write_pictures
from tests.server.cameras.test_mjpeg import camera as mjpeg_camera
from tests.server.cameras.test_mjpeg import jpeg, plain
from tests.server.fakes import FakeModel, http, listed, listed_when, serving

SECRET = "s3cret"


class Paced(BaseHTTPRequestHandler):
    """MJPEG until nobody listens any more, to whoever knows the password."""

    def do_GET(self) -> None:
        if "Authorization" not in self.headers:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        frame = plain(jpeg(picture(40)))
        try:
            while True:
                self.wfile.write(frame)
                time.sleep(0.02)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def live_camera() -> Iterator[str]:
    """The address of a camera that sends, login included."""
    with mjpeg_camera("", [], Paced) as address:
        yield address.replace("://", f"://operator:{SECRET}@")


async def cameras(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    answer = await client.get("/api/cameras")
    assert answer.status_code == 200 and SECRET not in answer.text
    return {camera["name"]: camera for camera in answer.json()["cameras"]}


async def test_cameras_of_genicam_are_looked_for(
    model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device("Acme M7/1", "Acme", "M7", "1", "10.0.0.9", "GigEVision")
    monkeypatch.setattr(trials, "look_around", lambda: [device])
    async with serving(model, tmp_path) as server, http(server) as client:
        (found,) = (await client.get("/api/cameras/found")).json()["cameras"]
        assert found["source"] == "genicam://Acme%20M7%2F1" and found["address"] == "10.0.0.9"
        check_source(found["source"])

        def fail() -> list[Device]:
            raise CaptureError("they need Aravis")

        monkeypatch.setattr(trials, "look_around", fail)
        refused = await client.get("/api/cameras/found")
        assert (refused.status_code, refused.json()["error"]) == (501, "they need Aravis")


async def test_another_site_s_page_has_nobody_look_for_cameras(
    model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def look_around() -> list[Device]:
        looked.append("around")
        return []

    monkeypatch.setattr(trials, "look_around", look_around)
    async with serving(model, tmp_path) as server, http(server) as client:
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
            asked = await client.get("/api/cameras/found", headers={"Sec-Fetch-Site": site})
            assert asked.status_code == status, site
    assert looked == ["around"] * 2


async def test_one_is_tried_added_inspected_and_removed(
    model: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    line = PulledCamera("line", str(write_pictures(tmp_path / "pictures", [40, 60])), fps=30)
    data, told = tmp_path / "data", []
    with live_camera() as address:
        wanted = {"name": "press", "source": address, "width": 32}
        async with serving(model, data, cameras=(line,)) as server, http(server) as client:
            tried = (await client.post("/api/cameras/test", json=wanted)).json()
            assert (tried["ok"], tried["problem"], tried["width"], tried["height"]) == (True, None, 32, 24)
            assert 0 < tried["fps"] < 240
            shown = cv2.imdecode(np.frombuffer(base64.b64decode(tried["picture"]), np.uint8), cv2.IMREAD_COLOR)
            assert shown is not None and shown.shape == (24, 32, 3) and abs(float(shown.mean()) - 40) < 3
            assert list(await cameras(client)) == ["line"], "a test keeps nothing"

            added = await client.post("/api/cameras", json=wanted)
            assert added.status_code == 201
            told.append(added.text)
            assert added.json()["from"] == "page" and added.json()["source"].startswith("http://***@127.0.0.1")
            stream = await listed_when(server, "press", lambda one: one is not None and one["inspected"] > 2)
            assert stream is not None and stream["transport"] == "camera"
            seen = await cameras(client)
            assert (seen["line"]["from"], seen["press"]["from"]) == ("CAMERAS", "page")
            assert seen["press"]["state"] == "live" and seen["press"]["width"] == 32
            told += [(await client.get(path)).text for path in ("/api/cameras", "/api/streams", "/health")]
            await server.stop()

        async with serving(model, data) as server, http(server) as client:  # and after a restart
            await listed_when(server, "press", lambda one: one is not None and one["inspected"] > 0)
            before = time.monotonic()
            assert (await client.delete("/api/cameras/press")).json() == {"deleted": "press"}
            assert time.monotonic() - before < 5, "a second, and what a busy machine takes"
            assert await listed(server, "press") is None and not await cameras(client)
            assert (await client.delete("/api/cameras/press")).status_code == 404
    assert not any(SECRET in text for text in told) and SECRET not in caplog.text


async def test_one_that_is_not_there_is_said_by_the_test_and_may_be_added_all_the_same(
    model: FakeModel, tmp_path: Path
) -> None:
    wanted = {"name": "press", "source": f"rtsp://operator:{SECRET}@127.0.0.1:{free_port()}/live"}
    async with serving(model, tmp_path) as server, http(server) as client:
        tried = await client.post("/api/cameras/test", json=wanted)
        assert tried.status_code == 200 and not tried.json()["ok"] and SECRET not in tried.text
        assert "nothing listens there" in tried.json()["problem"] and tried.json()["picture"] is None
        assert (await client.post("/api/cameras", json=wanted)).status_code == 201
        await listed_when(server, "press", lambda one: one is not None and one["camera"]["state"] == "retrying")
        assert (await cameras(client))["press"]["last_error"]


async def test_names_are_nobody_else_s(model: FakeModel, tmp_path: Path) -> None:
    line = PulledCamera("line", str(write_pictures(tmp_path / "pictures", [40])), fps=30)
    source = f"http://127.0.0.1:{free_port()}/"
    async with serving(model, tmp_path / "data", cameras=(line,)) as server, http(server) as client:
        for name in ("line", "phone"):
            async with connect(f"{server.ws}/ws/stream?name=phone"):
                await listed_when(server, "phone", lambda one: one is not None)
                refused = await client.post("/api/cameras", json={"name": name, "source": source})
                assert refused.status_code == 409 and "choose another" in refused.json()["error"]
        refused = await client.delete("/api/cameras/line")
        assert refused.status_code == 409 and "setting CAMERAS" in refused.json()["error"]
        assert (await client.post("/api/cameras", json={"name": "press", "source": source})).status_code == 201
        async with connect(f"{server.ws}/ws/stream?name=press") as thief:
            with pytest.raises(ConnectionClosed) as closed:
                await thief.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        await client.delete("/api/cameras/press")
        async with connect(f"{server.ws}/ws/stream?name=press"):
            stream = await listed_when(server, "press", lambda one: one is not None)
            assert stream is not None and stream["transport"] == "websocket", "it is free again"


HOSTILE: list[tuple[object, int]] = [
    ({"name": "press", "source": "/etc/passwd"}, 422),
    ({"name": "press", "source": "file:///etc/passwd"}, 422),
    ({"name": "press", "source": "concat:/etc/passwd|/etc/shadow"}, 422),
    ({"name": "press", "source": "concat://etc/passwd"}, 422),
    ({"name": "press", "source": "subfile,,start,0,end,9,,:///etc/passwd"}, 422),
    ({"name": "press", "source": "crypto+file:///etc/passwd"}, 422),
    ({"name": "press", "source": "data"}, 422),
    ({"name": "press", "source": "/dev/video0"}, 422),
    ({"name": "press", "source": "1900"}, 422),
    ({"name": "press", "source": ""}, 422),
    ({"name": "press", "source": 0}, 422),
    ({"name": "press", "source": None}, 422),
    ({"name": "press", "source": f"ftp://operator:{SECRET}@camera/x"}, 422),
    ({"name": "press", "source": f"rtsp://operator:{SECRET}#1@camera/x"}, 422),
    ({"name": "press", "source": "http://camera/" + "a" * 3000}, 422),
    ({"name": "a b", "source": "0"}, 422),
    ({"name": "../press", "source": "0"}, 422),
    ({"name": "", "source": "0"}, 422),
    ({"name": "p" * 65, "source": "0"}, 422),
    ({"name": "press", "source": "0", "width": 100_000}, 422),
    ({"name": "press", "source": "0", "height": -1}, 422),
    ({"name": "press", "source": "0", "fps": 0}, 422),
    ({"name": "press", "source": "0", "fps": 1e300}, 422),
    ({"name": "press", "source": "0", "crop": "1,2,3"}, 422),
    ({"name": "press", "source": "0", "crop": "1,2,3," + "9" * 100}, 422),
    ({"name": "press", "source": "0", "patience": 1e9}, 422),
    ({"name": "press", "source": "0", "protocol_whitelist": "file"}, 422),
    ({"source": "0"}, 422),
    ({}, 422),
    ([], 422),
    (None, 422),
    ({"name": "press", "source": "0", "crop": "x" * 20_000}, 413),
]


async def test_nothing_is_opened_that_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr(trials, "Trial", never)
    monkeypatch.setattr("server.app.CameraStream", never)
    transport = httpx.ASGITransport(app=create_app(Settings(data_dir=tmp_path)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for path, (body, status) in itertools.product(("/api/cameras", "/api/cameras/test"), HOSTILE):
            answer = await client.post(path, content=json.dumps(body))
            assert answer.status_code == status, (body, answer.text)
            assert set(answer.json()) == {"error"} and SECRET not in answer.text
        for content in (b"", b"{", b"\xff\xfe", b"[" * 10_000, b'{"name":' * 2000):
            assert (await client.post("/api/cameras", content=content)).status_code == 422
        assert not (tmp_path / "cameras.json").exists() and not await cameras(client)
        for name in ("..%2F..%2Fetc%2Fpasswd", "%00", "a%20b", "x" * 65):
            assert (await client.delete(f"/api/cameras/{name}")).status_code == 404


async def test_there_is_an_end_of_them(model: FakeModel, tmp_path: Path) -> None:
    source = f"http://127.0.0.1:{free_port()}/"
    async with serving(model, tmp_path) as server, http(server) as client:
        asked = (client.post("/api/cameras", json={"name": f"c{number}", "source": source}) for number in range(40))
        statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
        assert sorted(set(statuses)) == [201, 409] and statuses.count(201) == MOST
        body = (await client.get("/api/cameras")).json()
        assert len(body["cameras"]) == MOST and body["room"] == 0
        assert (await client.get("/health")).status_code == 200
        assert await server.stop() < 3


async def test_two_are_tried_at_once_and_a_third_is_told_to_wait(
    model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    source = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/"
    monkeypatch.setattr(trials, "WITHIN_S", 1.0)
    async with serving(model, tmp_path) as server, http(server) as client:
        wanted = {"name": "press", "source": source}
        answers = await asyncio.gather(*(client.post("/api/cameras/test", json=wanted) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503]
        for answer in answers:
            if answer.status_code == 200:
                assert not answer.json()["ok"] and "no picture came in time" in answer.json()["problem"]
            else:
                assert "try again" in answer.json()["error"] and answer.headers["Retry-After"]
    silent.close()


async def test_a_damaged_list_is_said_on_health_and_nothing_else_breaks(model: FakeModel, tmp_path: Path) -> None:
    (tmp_path / "cameras.json").write_bytes(b'{"version": 1, "cameras": [{"source": "rtsp://operator:s3cret@')
    line = PulledCamera("line", str(write_pictures(tmp_path / "pictures", [40])), fps=30)
    async with serving(model, tmp_path, cameras=(line,)) as server, http(server) as client:
        health = await client.get("/health")
        assert any("cameras.json was damaged" in warning for warning in health.json()["warnings"])
        assert SECRET not in health.text
        await listed_when(server, "line", lambda one: one is not None and one["inspected"] > 0)
        assert (await client.post("/api/cameras", json={"name": "press", "source": "http://127.0.0.1:1/"})).is_success
        assert not (await client.get("/health")).json()["warnings"]


async def test_one_that_the_setting_hides_is_listed_with_the_reason(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server, http(server) as client:
        await client.post("/api/cameras", json={"name": "line", "source": "http://127.0.0.1:1/"})
        await server.stop()
    line = PulledCamera("line", str(write_pictures(tmp_path / "pictures", [40])), fps=30)
    async with serving(model, tmp_path, cameras=(line,)) as server, http(server) as client:
        given, hidden = (await client.get("/api/cameras")).json()["cameras"]
        assert (given["from"], hidden["from"], hidden["state"]) == ("CAMERAS", "page", "stopped")
        assert "is not run" in hidden["last_error"] and hidden["last_error"] in await warnings(server)
        assert (await client.delete("/api/cameras/line")).status_code == 200
        assert not await warnings(server)


async def warnings(server: Running) -> list[str]:
    async with http(server) as client:
        told: list[str] = (await client.get("/health")).json()["warnings"]
        return told
