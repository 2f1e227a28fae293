"""HTTP, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import threading
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

import detector
from server.app import create_app
from server.ground import kept_file
from server.inspection import calibrations
from server.settings import Settings
from server.streams.pool import MAX_REQUESTS
from tests.running import Running, running
from tests.server.fakes import (
    BAD,
    BROKEN,
    GOOD,
    THRESHOLD,
    WAIT_S,
    FakeModel,
    healthy,
    http,
    part,
    picture,
    receive_result,
    serving,
    until,
)

NORMAL = [part(brightness) for brightness in (40, 50, 60)]
"""Raw scores 40, 50 and 60: mean 50, standard deviation 10."""


@pytest.fixture
async def server(model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(model, tmp_path, max_upload_mb=0.2) as server:
        yield server


@pytest.fixture
async def client(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with http(server) as client:
        yield client


def uploads(pictures: list[bytes], field: str = "files") -> list[tuple[str, tuple[str, bytes]]]:
    return [(field, (f"part-{number}.png", data)) for number, data in enumerate(pictures)]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, but those that are written whatever happens."""
    always = ("history.db", "calendar.json", "audit-")
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(always))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}  # the history has a life of its own


# --- /predict ---


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
async def test_a_picture_is_judged(client: httpx.AsyncClient, suffix: str) -> None:
    answer = await client.post("/predict", files={"file": ("a", picture(150, suffix=suffix, width=200, height=100))})
    assert answer.status_code == 200
    body = answer.json()
    assert body["raw_score"] == pytest.approx(150, abs=3)
    assert body["anomaly_score"] == pytest.approx(0.9, abs=0.02)
    assert body | {"is_anomaly": True, "threshold": THRESHOLD, "model_category": "fake part"} == body
    assert body["runtime"] == "openvino"
    heatmap, overlay = (_image(body[name]) for name in ("heatmap_b64", "overlay_b64"))
    assert heatmap.shape == (100, 200) and overlay.shape == (100, 200, 3)
    assert set(heatmap.ravel()) <= set(range(188, 197)), "128 is the threshold"


async def test_a_good_picture_looks_cold(client: httpx.AsyncClient) -> None:
    body = (await client.post("/predict", files={"file": ("a.png", GOOD)})).json()
    assert not body["is_anomaly"]
    assert set(_image(body["heatmap_b64"]).ravel()) == {64}
    assert set(_image(body["overlay_b64"]).ravel()) == {50}, "nothing is drawn over a good part"


async def test_answers_are_made_no_larger_than_a_screen(client: httpx.AsyncClient) -> None:
    body = (await client.post("/predict", files={"file": ("a.png", picture(50, width=4000, height=1000))})).json()
    assert _image(body["overlay_b64"]).shape == (320, 1280, 3)


def _image(text: str) -> np.ndarray[Any, Any]:
    data = base64.b64decode(text, validate=True)
    assert data.startswith(b"\x89PNG")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def _png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header tells of another size."""
    header = b"IHDR" + struct.pack(">II", width, height) + GOOD[24:29]
    return GOOD[:12] + bytes(header) + struct.pack(">I", zlib.crc32(header)) + GOOD[33:]


async def test_what_is_not_a_whole_picture_is_refused(client: httpx.AsyncClient, model: FakeModel) -> None:
    broken = {
        "text": BROKEN,
        "empty": b"",
        "png cut": GOOD[:-20],
        "png header": GOOD[:40],
        "jpeg cut": picture(50, suffix=".jpg")[:-2],
        "webp cut": picture(50, suffix=".webp")[:-5],
        "bmp": picture(50, suffix=".bmp"),
        "tiny": picture(50, width=8, height=8),
        "3600 megapixels": _png_of_size(60_000, 60_000),
        "the largest a PNG can be": _png_of_size(2**31 - 1, 2**31 - 1),
        "256 megapixels": _png_of_size(16_000, 16_000),
        "no pixels": _png_of_size(0, 0),
    }
    for name, data in broken.items():
        answer = await client.post("/predict", files={"file": ("a.png", data)})
        assert answer.status_code == 422, name
        assert "picture" in answer.json()["error"], name
    assert model.detected == 0


async def test_a_form_without_the_file_is_refused(client: httpx.AsyncClient) -> None:
    answers = [
        await client.post("/predict"),
        await client.post("/predict", json={"file": "x"}),
        await client.post("/predict", files={"picture": ("a.png", GOOD)}),
        await client.post("/predict", data={"file": "text"}, files={"other": ("a.png", GOOD)}),
        await client.post("/predict", content=b"x", headers={"Content-Type": "multipart/form-data"}),
        await client.post("/predict", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=b"}),
        await client.post("/predict", files=uploads([GOOD, GOOD], "file")),
    ]
    assert [answer.status_code for answer in answers] == [422] * 7
    assert all("error" in answer.json() for answer in answers)


async def test_requests_over_the_bound_are_told_to_come_back(server: Running, model: FakeModel) -> None:
    model.gate.clear()
    async with http(server) as client:
        sent = {
            asyncio.create_task(client.post("/predict", files={"file": ("a.png", GOOD)}))
            for _ in range(MAX_REQUESTS + 1)
        }
        done, waiting = await asyncio.wait(sent, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = [task.result() for task in done]
        assert refused.status_code == 503 and "try again" in refused.json()["error"]
        assert refused.headers["Retry-After"] == "1"
        model.gate.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}


# --- sizes ---


async def test_an_upload_over_the_limit_is_refused_before_it_is_read(server: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    async with asyncio.timeout(WAIT_S):
        answer = await reader.read()  # until the server closes: it does not wait for the body
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"MAX_UPLOAD_MB" in answer


async def test_an_upload_without_a_length_is_cut_off(server: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    sent, chunk = 0, b"10000\r\n" + bytes(65536) + b"\r\n"
    answer = asyncio.create_task(reader.read(12))
    async with asyncio.timeout(WAIT_S):
        while not answer.done() and sent < 50_000_000:
            writer.write(chunk)
            sent += len(chunk)
            await asyncio.wait({answer}, timeout=0.005)
    writer.transport.abort()
    assert await answer in (b"HTTP/1.1 413", b"HTTP/1.1 422")
    assert sent < 10_000_000


async def test_the_limit_is_that_of_a_file(client: httpx.AsyncClient) -> None:
    assert (await client.post("/predict", files={"file": ("a", GOOD + bytes(190_000))})).status_code == 200
    assert (await client.post("/predict", files={"file": ("a", GOOD + bytes(201_000))})).status_code == 413
    many = uploads([part(40 + number) + bytes(150_000) for number in range(4)])
    assert (await client.post("/calibrate", files=many)).status_code == 200
    answer = await client.post("/calibrate", files=[*many, ("files", ("big.png", GOOD + bytes(201_000)))])
    assert answer.status_code == 413 and "big.png" in answer.json()["error"]


# --- /calibrate ---


async def test_a_calibration_is_in_force_at_once_and_after_a_restart(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path) as server, http(server) as client:
        async with connect(f"{server.ws}/ws/stream") as camera:
            answer = await client.post("/calibrate", files=uploads(NORMAL))
            assert answer.status_code == 200
            body = answer.json()
            assert body["new_threshold"] == body["threshold"] == pytest.approx(80)
            assert (body["mean_score"], body["std_score"], body["n_images"]) == (
                pytest.approx(50),
                pytest.approx(10),
                3,
            )
            assert (body["threshold_source"], body["warning"]) == ("calibration", None)
            await camera.send(picture(90))
            result = await receive_result(camera)
            assert (result.verdict, result.threshold_source) == ("ANOMALY", "calibration")
        health = await healthy(server)
        assert health["threshold"] == pytest.approx(80) and health["threshold_source"] == "calibration"
        assert health["calibration"] | {"k": 3.0, "n_images": 3} == health["calibration"]
    async with serving(model, tmp_path) as server, http(server) as client:
        assert (await healthy(server))["threshold"] == pytest.approx(80)
        answer = await client.delete("/calibration")
        assert answer.json() == {"threshold": THRESHOLD, "threshold_source": "model"}
        assert (await healthy(server))["calibration"] is None
    async with serving(model, tmp_path) as server:
        assert (await healthy(server))["threshold_source"] == "model"


@pytest.mark.parametrize(("where", "threshold"), [({"params": {"k": "1"}}, 60), ({"data": {"k": "2.5"}}, 75)])
async def test_k_comes_as_query_or_form_field(client: httpx.AsyncClient, where: Any, threshold: float) -> None:
    answer = await client.post("/calibrate", files=uploads(NORMAL), **where)
    assert answer.json()["new_threshold"] == pytest.approx(threshold)


@pytest.mark.parametrize(
    ("files", "data", "told"),
    [
        ([], {}, ""),
        ([GOOD], {}, "at least 2"),
        ([GOOD, BROKEN, BAD], {}, "part-1.png"),
        ([GOOD, GOOD[:-20]], {}, "part-1.png"),
        (NORMAL, {"k": "-1"}, "k is"),
        (NORMAL, {"k": "nan"}, "k is"),
        (NORMAL, {"k": "inf"}, "k is"),
        (NORMAL, {"k": "1e308"}, "k is '1e308': it must be a number from 1 to 10"),
        (NORMAL, {"k": "10.5"}, "k is"),
        (NORMAL, {"k": "three"}, "k is"),
        (NORMAL, {"k": ""}, "k is"),
        ([part(0, 1), part(0, 2)], {}, "nothing was changed"),
    ],
)
async def test_a_calibration_that_cannot_be_changes_nothing(
    server: Running, client: httpx.AsyncClient, tmp_path: Path, files: list[bytes], data: dict[str, str], told: str
) -> None:
    assert (await client.post("/calibrate", files=uploads(NORMAL))).status_code == 200
    before, health = snapshot(tmp_path), await healthy(server)
    answer = await client.post("/calibrate", files=uploads(files), data=data)
    assert answer.status_code == 422
    assert told in answer.json()["error"]
    assert snapshot(tmp_path) == before
    assert await healthy(server) == health


async def test_one_picture_again_and_again_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/calibrate", files=uploads([part(50)] * 3))
    assert answer.status_code == 422 and "one part lying still" in answer.json()["error"]
    assert answer.json()["judgement"]["refused"]


async def test_the_environment_stays_in_force(model: FakeModel, tmp_path: Path) -> None:
    async with serving(model, tmp_path, threshold=70.0) as server, http(server) as client:
        body = (await client.post("/calibrate", files=uploads(NORMAL))).json()
        assert (body["new_threshold"], body["threshold"], body["threshold_source"]) == (
            pytest.approx(80),
            70,
            "environment",
        )
        assert "THRESHOLD" in body["warning"]
        health = await healthy(server)
        assert (health["threshold"], health["threshold_source"]) == (70, "environment")
        assert health["calibration"] is not None
        assert (await client.delete("/calibration")).json() == {"threshold": 70, "threshold_source": "environment"}


async def test_a_model_that_brings_no_threshold_passes_nothing_until_it_is_calibrated(tmp_path: Path) -> None:
    async with serving(FakeModel(threshold=float("nan")), tmp_path) as server, http(server) as client:
        health = await healthy(server)
        assert (health["threshold"], health["threshold_source"]) == (0, "uncalibrated")
        assert ["calibrate" in warning for warning in health["warnings"]] == [True]
        body = (await client.post("/predict", files={"file": GOOD})).json()
        assert (body["is_anomaly"], body["anomaly_score"], body["raw_score"]) == (True, 1.0, 50)
        body = (await client.post("/calibrate", files=uploads(NORMAL))).json()
        assert (body["threshold_source"], body["warning"]) == ("calibration", None)
        assert not (await client.post("/predict", files={"file": GOOD})).json()["is_anomaly"]
        health = await healthy(server)
        assert (health["threshold_source"], health["warnings"]) == ("calibration", [])
        assert (await client.delete("/calibration")).json() == {"threshold": 0, "threshold_source": "uncalibrated"}


@pytest.mark.parametrize("other", [{"hash": "b" * 64}, {"runtime": "torch"}], ids=["model", "runtime"])
async def test_a_calibration_is_not_applied_to_another(model: FakeModel, tmp_path: Path, other: dict[str, str]) -> None:
    async with serving(model, tmp_path) as server, http(server) as client:
        await client.post("/calibrate", files=uploads(NORMAL))
    async with serving(FakeModel(**other), tmp_path) as server:  # type: ignore[arg-type]
        health = await healthy(server)
        assert (health["threshold_source"], health["calibration"]) == ("model", None)


async def test_calibrations_at_once_leave_one_of_them_in_force(
    server: Running, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    pairs = [uploads([part(40 + number), part(50 + number)]) for number in range(6)]
    answers = await asyncio.gather(*(client.post("/calibrate", files=pair) for pair in pairs))
    assert [answer.status_code for answer in answers] == [200] * 6
    threshold = (await healthy(server))["threshold"]
    assert threshold in [answer.json()["new_threshold"] for answer in answers]
    (stored,) = json.loads((tmp_path / calibrations.FILE).read_bytes())["contents"]["calibrations"]
    assert stored["threshold"] == threshold
    assert list(snapshot(tmp_path)) == [calibrations.FILE], "no temporary file is left"


async def test_a_full_disk_changes_nothing_and_is_told(
    server: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_file, "write_atomically", full)
    answer = await client.post("/calibrate", files=uploads(NORMAL))
    assert answer.status_code == 507 and "No space left" in answer.json()["error"]
    assert (await healthy(server))["threshold_source"] == "model"


# --- /health ---


async def test_health_tells_the_model_in_use(server: Running, model: FakeModel) -> None:
    health = await healthy(server)
    told = {"status": "ok", "reason": None, "progress": None, "model_category": "fake part", "runtime": "openvino"}
    assert health | told == health
    told_too = {
        "image_size": 64,
        "input_size": [64, 64],
        "backbone": None,
        "model_hash": model.hash,
        "threshold": THRESHOLD,
        "threshold_source": "model",
    }
    assert health | told_too | {"calibration": None, "simulated": False, "warnings": []} == health


async def test_a_damaged_calibration_is_set_aside_and_told(model: FakeModel, tmp_path: Path) -> None:
    (tmp_path / calibrations.FILE).write_bytes(b"{half a fi")
    async with serving(model, tmp_path) as server, http(server) as client:
        health = await healthy(server)
        (warning,) = health["warnings"]
        assert "calibrate again" in warning and health["threshold_source"] == "model"
        assert (tmp_path / "calibration.json.damaged-1").read_bytes() == b"{half a fi"
        assert (await client.post("/calibrate", files=uploads(NORMAL))).status_code == 200
    async with serving(model, tmp_path) as server:
        health = await healthy(server)
        assert (health["warnings"], health["threshold_source"]) == ([], "calibration")


async def test_while_the_model_is_made_everything_says_so(model: FakeModel, tmp_path: Path) -> None:
    made = threading.Event()

    def make() -> FakeModel:
        assert made.wait(WAIT_S)
        return model

    async with serving(make, tmp_path) as server, http(server) as client:
        try:
            health = await healthy(server, 503)
            assert health["status"] == "teaching" and health["reason"]
            for answer in (
                await client.post("/predict", files={"file": ("a.png", GOOD)}),
                await client.post("/calibrate", files=uploads(NORMAL)),
                await client.delete("/calibration"),
            ):
                assert answer.status_code == 503 and health["reason"] in answer.json()["error"]
            assert (await client.get("/")).status_code == 200
            async with connect(f"{server.ws}/ws/stream") as camera:
                for _ in range(3):
                    await camera.send(BAD)
                made.set()
                assert (await receive_result(camera)).is_anomaly, (
                    "a frame that waits is inspected when the model is there"
                )
        finally:
            made.set()
        assert (await healthy(server))["status"] == "ok"


@pytest.mark.parametrize("fault", ["missing", "empty", "damaged", "size"])
async def test_a_model_that_cannot_be_used_is_told_with_its_reason(
    tmp_path: Path, model_folder: Path, fault: str
) -> None:
    folder = tmp_path / "model"
    settings = Settings(data_dir=tmp_path / "data", model_path=folder, image_size=320 if fault == "size" else None)
    if fault != "missing":
        folder.mkdir()
    if fault in ("damaged", "size"):
        for name, data in snapshot(model_folder).items():
            (folder / name).write_bytes(data[:-100] if fault == "damaged" else data)
    async with running(create_app(settings), settings) as server, http(server) as client:
        await _until_error(client)
        answer = await client.get("/health")
        assert answer.status_code == 503
        assert str(folder) in answer.json()["reason"] or folder.name in answer.json()["reason"]
        assert (await client.post("/predict", files={"file": ("a.png", GOOD)})).status_code == 503


async def _until_error(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(WAIT_S):
        while (await client.get("/health")).json()["status"] != "error":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_real_model_is_served(model_folder: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, model_path=model_folder)
    model = detector.load(model_folder)
    frame = np.random.default_rng(5).integers(0, 255, (80, 80, 3), np.uint8)
    data = bytes(cv2.imencode(".png", frame)[1].tobytes())
    async with running(create_app(settings), settings) as server, http(server) as client:
        health = await healthy(server)
        assert (health["model_hash"], health["model_category"]) == (model.hash, "noise")
        assert health["backbone"] == "efficientnet-lite0"
        body = (await client.post("/predict", files={"file": ("a.png", data)})).json()
        assert body["raw_score"] == pytest.approx(model.detect(frame).score)
        async with connect(f"{server.ws}/ws/stream") as camera:
            await camera.send(data)
            assert (await receive_result(camera)).raw_score == pytest.approx(body["raw_score"])


# --- the page, and what is refused ---


async def test_the_page_and_all_it_loads_come_from_here(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html")
    static = Path(__file__).parents[3] / "static"
    names = [str(path.relative_to(static)) for path in static.rglob("*") if path.is_file()]
    assert {"shell/app.js", "live/view.js", "teach/view.js"} <= {*names}
    for answer in [page, *[await client.get(f"/static/{name}") for name in names]]:
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "http://" not in answer.headers["Content-Security-Policy"]


async def test_what_is_not_there_is_not_found(server: Running) -> None:
    outside = ["/static/../server/app.py", "/static/%2e%2e/pyproject.toml", "/static//etc/passwd"]
    for path in [*outside, "/static/", "/nothing", "/redoc"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(WAIT_S):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 404 "), path
        assert b'{"error":"there is nothing at this address: /docs lists what there is"}' in answer, path


async def test_a_wrong_method_is_refused_in_the_same_words(client: httpx.AsyncClient) -> None:
    answer = await client.get("/predict")
    assert answer.status_code == 405
    assert answer.json() == {"error": "GET is not taken here, but POST: see /docs"}


async def test_an_unexpected_failure_tells_no_secrets(client: httpx.AsyncClient, model: FakeModel) -> None:
    model.fails = RuntimeError("the password is 123")
    answer = await client.post("/predict", files={"file": ("a.png", GOOD)})
    assert answer.status_code == 500
    assert "log" in answer.json()["error"] and "123" not in answer.text


async def test_the_list_of_streams_is_empty_at_first(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/streams")
    assert (answer.status_code, answer.json()) == (200, {"streams": []})
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_client_that_goes_away_in_the_middle_harms_nothing(server: Running, model: FakeModel) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n"
        b'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name="file"'
    )
    await writer.drain()
    writer.transport.abort()
    await until(lambda: not server.server.server_state.connections)
    async with http(server) as client:
        assert (await client.post("/predict", files={"file": ("a.png", GOOD)})).status_code == 200
    assert model.detected == 1
    assert reader is not None
