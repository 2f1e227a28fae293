"""The OpenAPI document and the JSON Schema of the messages, against the server that runs."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Mount, Route, WebSocketRoute
from websockets.asyncio.client import connect

from server.app import create_app
from server.cameras import CaptureError, Device
from server.ground import kept_file
from server.kept_cameras import trials
from server.settings import PulledCamera, Settings
from server.sinks import sinks
from server.streams import stream_calibration
from server.streams.pool import MAX_REQUESTS
from server.teaching import library
from server.web import openapi
from tests.running import Running, running
from tests.server.fakes import BAD, BROKEN, GOOD, WAIT_S, FakeModel, healthy, http, part, serving, write_parts

CODE = "a code nobody guesses"
JSON, SDP = "application/json", "application/sdp"
Ask = Callable[..., Coroutine[Any, Any, httpx.Response]]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("data")))
    return openapi.describe(app.routes)


def test_it_is_an_openapi_document(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    identifiers = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(identifiers) == len(set(identifiers))
    assert json.loads(json.dumps(document)) == document


def test_every_route_is_in_it(tmp_path: Path, document: dict[str, Any]) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    routes = {
        (route.path, method) for route in app.routes if isinstance(route, Route) for method in route.methods or ()
    }
    described = {(path, method.upper()) for path, operations in document["paths"].items() for method in operations}
    assert {one for one in routes if one[1] != "HEAD"} == {one for one in described if one[0] != "/enter"}
    others = [route for route in app.routes if not isinstance(route, Route)]
    assert all(isinstance(route, WebSocketRoute | Mount) for route in others)


async def test_the_page_sets_code_as_code(open_server: Running) -> None:
    async with http(open_server) as client:
        page = (await client.get("/docs")).text
    assert "`" not in page
    for code in ("raw_score", "WS /ws/live/NAME", "next", "GET /api/streams"):
        assert f"<code>{code}</code>" in page, code


class Checked:
    """A client that holds every answer against the document."""

    def __init__(self, client: httpx.AsyncClient, document: dict[str, Any]) -> None:
        self.client, self.document = client, document
        self.seen: set[tuple[str, str, int]] = set()

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = await self.client.request(method, path, follow_redirects=False, **options)
        self.check(method, answer)
        return answer

    def check(self, method: str, answer: httpx.Response) -> None:
        path = answer.request.url.path
        fitting = [one for one in self.document["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", one), path)]
        template = path if path in fitting else fitting[0]
        operation = self.document["paths"][template][method.lower()]
        assert answer.status_code != 500, answer.text
        described = operation["responses"].get(str(answer.status_code))
        assert described, f"{method} {path} answered {answer.status_code}, which is not described: {answer.text[:200]}"
        content, given = described.get("content", {}), answer.headers.get("content-type", "").partition(";")[0]
        if content:
            assert given in content
            if given == JSON:
                self.valid(answer.json(), content[JSON]["schema"])
        for header in described.get("headers", {}):
            assert header in answer.headers
        self.seen.add((template, method.lower(), answer.status_code))

    def valid(self, body: Any, schema: dict[str, Any]) -> None:
        Draft202012Validator({**self.document, **schema}).validate(body)
        name = schema.get("$ref", "").rpartition("/")[2]
        if name:
            described = set(self.document["components"]["schemas"][name]["properties"])
            assert set(body) <= described, "every field is described"


def parts(*pictures: bytes, name: str = "files") -> list[tuple[str, tuple[str, bytes]]]:
    return [(name, (f"{number}.png", data)) for number, data in enumerate(pictures)]


@pytest.fixture
async def open_server(model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    camera = PulledCamera("press", str(write_parts(tmp_path / "pictures", range(40, 60))), fps=50)
    async with serving(model, tmp_path / "data", cameras=(camera,), max_upload_mb=0.2, watchdog_s=0.3) as server:
        yield server


async def test_what_the_server_answers_is_what_the_document_says(
    open_server: Running,
    model: FakeModel,
    tmp_path: Path,
    document: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every status that is described is provoked, but for those that take another server, a stuck disk or a bug."""
    monkeypatch.setattr(stream_calibration, "SILENCE_S", 0.2)
    async with http(open_server) as client:
        checked = Checked(client, document)
        ask = checked.ask
        for path in (
            "/",
            "/phone",
            "/docs",
            "/openapi.json",
            "/asyncapi.json",
            "/schema.json",
            "/health",
            "/api/streams",
            "/metrics",
            "/api/settings",
            "/ca",
            "/teach",
            "/recipes",
            "/history",
            "/settings",
            "/panel/press",
            "/panel/no%20name",
            "/phone?stream=no%20name",
        ):
            await ask("GET", path)
        for path in ("/enter", "/api/connection", "/ws/stream", "/ws/live/press", "/kiosk/press", "/kiosk/no%20name"):
            await ask("GET", path)
        await _predict(ask, client)
        await _calibrate(ask, open_server, monkeypatch)
        await _recipes(ask, monkeypatch)
        await _cameras(ask, monkeypatch)
        await _sinks(ask, monkeypatch)
        await _streams(ask)
        await _archive(ask, open_server)
        await ask("POST", "/webrtc/offer", json={"sdp": "nothing", "type": "offer"})
        await ask("POST", "/webrtc/offer", content=b"x" * 300_000)
        for content, kind in ((b"nothing", SDP), (b"x" * 300_000, SDP), (b"nothing", JSON)):
            await ask("POST", "/whip/press", content=content, headers={"Content-Type": kind})
        for path, method in (("/whip/press", "OPTIONS"), ("/whip/press/x", "OPTIONS"), ("/whip/press/x", "DELETE")):
            await ask(method, path)
        for path, method in (("/", "GET"), ("/health", "GET"), ("/predict", "POST"), ("/calibration", "DELETE")):
            await ask(method, path, headers={"Host": "evil.example"})
        model.gate.clear()
        await ask("POST", "/predict", files=parts(GOOD, name="file"))
        await ask("GET", "/health")
        model.gate.set()

    async with _closed(model, tmp_path) as server, http(server) as client:
        strange = Checked(client, document)
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                answer = await strange.ask(method.upper(), path.format_map(defaultdict(lambda: "x")))
                assert (answer.status_code != 401) == (operation.get("security") == []), path
        await strange.ask("GET", "/enter", params={"code": "wrong"})
        await strange.ask("POST", "/enter", data={"code": CODE})
        await strange.ask("GET", "/enter", params={"code": CODE})
        client.cookies.clear()
        await strange.ask("POST", "/enter", data={"code": "wrong"})
        await strange.ask("POST", "/enter", data={"code": "x" * 9000})
        for number in range(20):
            await strange.ask("GET", "/api/streams", headers={"Authorization": f"Bearer wrong {number}"})

    described = {
        (path, method, int(status))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for status in operation["responses"]
    }
    left = {one for one in described - checked.seen - strange.seen if one[2] not in openapi.EVERYWHERE}
    left = {one for one in left if not one[0].startswith("/api/teaching")}  # test_teach.py holds all of them
    left = {one for one in left if not one[0].startswith(OF_ACCESS)}  # test_access_routes.py
    left = {one for one in left if one[0] != "/api/backup"}  # backup/test_backup_route.py
    pictures = ("/api/history/{id}/", "/api/history/teach")  # of the others test_history.py holds all
    left = {one for one in left if one[0].startswith(pictures) or not one[0].startswith("/api/history")}
    assert left - NOT_PROVOKED == set() == NOT_PROVOKED - left, (
        sorted(left - NOT_PROVOKED),
        sorted(NOT_PROVOKED - left),
    )
    everywhere = {status for _, _, status in checked.seen | strange.seen} & set(openapi.EVERYWHERE)
    assert everywhere >= {401, 403, 429}


OF_ACCESS = ("/api/me", "/api/logout", "/api/users", "/api/tokens", "/api/sessions", "/api/pairings", "/api/audit")

NOT_PROVOKED = {
    ("/api/cameras", "post", 503),  # takes drivers that hang: tests/server/kept_cameras
    ("/api/cameras/test", "post", 503),  # test_camera_list.py
    ("/api/cameras/found", "get", 503),  # tests/server/kept_cameras
    ("/ca", "get", 200),  # takes a certificate authority: tests/server/test_serve.py
    ("/calibrate", "post", 503),  # as /predict: test_watchdog.py
    ("/calibration", "delete", 503),  # before there is a model: test_routes.py
    ("/api/streams/{name}/calibrate", "post", 503),
    ("/api/streams/{name}/calibrate", "post", 507),
    ("/calibration", "delete", 507),
    ("/calibration/undo", "post", 503),
    ("/calibration/undo", "post", 507),
    ("/api/calibration/history", "get", 503),
    ("/api/calibration/drafts/{id}", "post", 409),  # takes a second model: test_calibration.py
    ("/api/calibration/drafts/{id}", "post", 503),
    ("/api/calibration/drafts/{id}/apply", "post", 409),
    ("/api/calibration/drafts/{id}/apply", "post", 503),
    ("/api/calibration/drafts/{id}/apply", "post", 507),
    ("/webrtc/offer", "post", 200),  # takes a browser or aiortc: test_webrtc.py
    ("/webrtc/offer", "post", 503),
    ("/whip/{name}", "post", 201),  # test_whip.py
    ("/whip/{name}", "post", 503),
    ("/whip/{name}/{session}", "delete", 200),
    *((f"/api/frames/{{frame}}/{said}", "post", status) for said in ("good", "bad") for status in (200, 503, 507)),
    *(("/api/frames/{frame}/nothing", "post", status) for status in (409, 503, 507)),  # test_recipes.py
    ("/api/recipes/{recipe}/corrections/{correction}", "delete", 200),
    ("/api/recipes/{recipe}/corrections/{correction}", "delete", 507),
    ("/api/recipes/{recipe}/corrections/{correction}/picture", "get", 200),
    *((f"/api/history/{{id}}/{said}", "post", status) for said in ("good", "bad") for status in (200, 503, 507)),
    *(  # of a plant: tests/server/plant/test_archive.py
        (f"/api/history/{{id}}/{picture}", "get", 503)
        for picture in ("frame", "heatmap", "overlay", "picture", "thumbnail")
    ),
    *(("/api/history/{id}/nothing", "post", status) for status in (409, 503, 507)),  # test_archived.py
    *(("/api/history/teach", "post", status) for status in (200, 201, 409, 503, 507)),
    *((path, "get", 503) for path in ("/api/numbers", "/api/numbers.csv")),  # test_numbers.py
    ("/api/recipes", "post", 201),  # takes a model that was taught: test_recipes.py
    ("/api/recipes", "post", 503),  # as /predict
    ("/api/recipes", "post", 507),
    ("/api/recipes/{recipe}/picture", "get", 200),  # test_teach.py
    ("/api/recipes/{recipe}", "delete", 200),
    ("/api/recipes/{recipe}", "delete", 507),
    ("/api/recipes/{recipe}/copy", "post", 201),
    ("/api/recipes/{recipe}/copy", "post", 507),
    ("/api/recipes/{recipe}/file", "get", 200),
    ("/api/recipes/{recipe}/file", "get", 507),
    ("/api/recipes/default", "post", 409),
    ("/api/streams/{name}/recipe", "post", 409),
    *(("/api/streams/{name}/trigger", "post", status) for status in (200, 202, 504)),  # test_triggers.py
}


async def _streams(ask: Ask) -> None:
    await ask("POST", "/api/streams/press/part", json={"part": "A"})
    await ask("POST", "/api/streams/press/part", json={"part": ""})
    await ask("POST", "/api/streams/press/part", json={"part": "x" * 2000})
    await ask("POST", "/api/streams/press/reset")
    for path in ("reset", "part"):
        await ask("POST", f"/api/streams/gone/{path}", json={"part": "A"})
    await ask("POST", "/api/streams/gone/trigger", json={})
    await ask("POST", "/api/streams/press/trigger", json={})
    await ask("POST", "/api/streams/press/trigger", json={"part": ""})
    await ask("POST", "/api/streams/press/trigger", json={"part": "x" * 2000})
    for stream, asked in (("gone", []), ("press", [[0, 0]]), ("press", [[0, 0], [1, 0], [1, 1]])):
        await ask("POST", f"/api/streams/{stream}/gate", json={"gate": asked})
    await ask("POST", "/api/streams/press/gate", content=b"x" * 70_000)
    await ask("POST", "/api/streams/press/gate", json={"frame": "gone"})
    (frame, *_) = (await ask("GET", "/api/streams/press/frames", params={"kind": "recent"})).json()["frames"]
    await ask("GET", "/api/streams/press/frames", params={"kind": "all"})
    for path in ("picture", "heatmap"):
        assert (await ask("GET", f"/{frame[path]}")).status_code == 200
        await ask("GET", f"/api/frames/none/{path}")
    for said in ("good", "bad"):
        await ask("POST", f"/api/frames/none/{said}", json={})
        await ask("POST", f"/api/frames/{frame['id']}/{said}", json={})
        await ask("POST", f"/api/frames/{frame['id']}/{said}", json={"place": "there"})
        await ask("POST", f"/api/frames/{frame['id']}/{said}", content=b"x" * 70_000)
    for id in ("none", frame["id"]):
        await ask("POST", f"/api/frames/{id}/nothing", json={"seen": 7})
        await ask("POST", f"/api/frames/{id}/nothing", content=b"x" * 70_000)
        await ask("POST", f"/api/frames/{id}/nothing")
    for recipe in ("none", frame["recipe"]):
        at = f"/api/recipes/{recipe}/corrections"
        await ask("GET", at)
        await ask("DELETE", f"{at}/none", params={"version": 1})
        await ask("GET", f"{at}/none/picture")
    await ask("DELETE", f"{at}/none", params={"version": frame["recipe_version"]})
    await ask("DELETE", f"{at}/none")


def _closed(model: FakeModel, folder: Path) -> Any:
    settings = Settings(data_dir=folder / "closed", access_code=CODE)
    return running(create_app(settings, code=CODE, make_model=lambda: model), settings)  # type: ignore[arg-type, return-value]


async def _archive(ask: Ask, server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=alarming") as camera, asyncio.timeout(WAIT_S):
        await camera.send(BAD)
        while True:
            found = (await ask("GET", "/api/history", params={"stream": "alarming"})).json()["entries"]
            if found and found[0]["picture_kept"]:
                break
            await asyncio.sleep(0.02)
    at = f"/api/history/{found[0]['id']}"
    for path in ("picture", "heatmap", "overlay", "thumbnail"):
        tag = (await ask("GET", f"{at}/{path}")).headers["etag"]
        assert (await ask("GET", f"{at}/{path}", headers={"If-None-Match": tag})).status_code == 304
        await ask("GET", f"/api/history/none/{path}")
    for id in (found[0]["id"], "none"):
        await ask("GET", f"/api/history/{id}/frame")
        for said in ("good", "bad"):
            await ask("POST", f"/api/history/{id}/{said}", json={})
            await ask("POST", f"/api/history/{id}/{said}", json={"place": "there"})
            await ask("POST", f"/api/history/{id}/{said}", content=b"x" * 70_000)
        await ask("POST", f"/api/history/{id}/nothing", json={"seen": 7})
        await ask("POST", f"/api/history/{id}/nothing", content=b"x" * 70_000)
        await ask("POST", f"/api/history/{id}/nothing")
    teach = "/api/history/teach"
    await ask("POST", teach, json={"ids": ["none"], "name": "x"})
    await ask("POST", teach, json={"ids": [found[0]["id"]], "teaching": "none"})
    await ask("POST", teach, content=b"x" * 70_000)
    for path in ("/api/archive", "/api/numbers", "/api/numbers.csv", "/report"):
        await ask("GET", path)
    for path in ("/api/numbers?by=x", "/api/numbers.csv?since=x", "/report?at=x"):
        await ask("GET", path)


async def _predict(ask: Ask, client: httpx.AsyncClient) -> None:
    await ask("POST", "/predict", files=parts(BAD, name="file"))
    await ask("POST", "/predict", files=parts(BROKEN, name="file"))
    await ask("POST", "/predict", files=parts(b"x" * 300_000, name="file"))


def _no_driver() -> list[Device]:
    raise CaptureError("they need Aravis")


async def _cameras(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"name": "side", "source": "http://127.0.0.1:1/"}

    for path in ("/api/cameras", "/api/cameras/test"):
        await ask("POST", path, json=wanted | {"source": "/etc/passwd"})
        await ask("POST", path, content=b"x" * 20_000)
    await ask("POST", "/api/cameras/test", json=wanted)
    await ask("POST", "/api/cameras", json=wanted)
    await ask("POST", "/api/cameras", json=wanted)
    await ask("GET", "/api/cameras")
    device = Device("Acme-1", "Acme", "M7", "1", "10.0.0.9", "GigEVision")
    for found in (lambda: [device], _no_driver):
        monkeypatch.setattr(trials, "look_around", found)
        await ask("GET", "/api/cameras/found")
    with monkeypatch.context() as patch:
        patch.setattr(kept_file, "write_atomically", _full)
        await ask("POST", "/api/cameras", json=wanted | {"name": "other"})
        await ask("DELETE", "/api/cameras/side")
    for name in ("press", "side", "side"):
        await ask("DELETE", f"/api/cameras/{name}")


async def _sinks(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"kind": "folder", "name": "mes", "settings": {}}
    there = (await ask("POST", "/api/sinks", json=wanted)).json()["id"]
    await ask("POST", "/api/sinks", json=wanted)
    await ask("GET", "/api/sinks")
    for method, path in (("POST", "/api/sinks"), ("POST", "/api/sinks/test"), ("PATCH", f"/api/sinks/{there}")):
        await ask(method, path, json={"kind": "gone"})
        await ask(method, path, content=b"x" * 300_000)
    await ask("POST", "/api/sinks", json=wanted | {"name": "other"})
    await ask("POST", "/api/sinks/test", json=wanted)
    await ask("POST", "/api/sinks/test", json=wanted | {"id": "gone"})
    await ask("PATCH", f"/api/sinks/{there}", json={"enabled": True})
    await ask("PATCH", f"/api/sinks/{there}", json={"name": "other"})
    for id in (there, "gone"):
        await ask("POST", f"/api/sinks/{id}/test")
        with monkeypatch.context() as patch:
            patch.setattr(sinks, "MOST_TESTS", 0)
            await ask("POST", f"/api/sinks/{id}/test")
            await ask("POST", "/api/sinks/test", json=wanted)
    with monkeypatch.context() as patch:
        patch.setattr(kept_file, "write_atomically", _full)
        await ask("POST", "/api/sinks", json=wanted | {"name": "third"})
        await ask("PATCH", f"/api/sinks/{there}", json={"name": "third"})
        await ask("DELETE", f"/api/sinks/{there}")
    for id in (there, "gone"):
        await ask("DELETE", f"/api/sinks/{id}")
    await ask("PATCH", "/api/sinks/gone", json={})


async def _calibrate(ask: Ask, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    good = [part(brightness) for brightness in (40, 50, 60)]
    assert (await ask("POST", "/calibration/undo")).status_code == 409
    await ask("POST", "/calibrate", files=parts(*good))
    await ask("GET", "/health")
    await ask("GET", "/api/streams")
    await ask("POST", "/calibration/undo")
    await ask("GET", "/api/calibration/history")
    await _drafts(ask, good)
    warned = await ask("POST", "/calibrate", files=parts(*good, part(150)))
    assert warned.status_code == 409 and warned.json()["judgement"]["suspects"]
    await ask("POST", "/calibrate", files=parts(GOOD))
    await ask("POST", "/calibrate", files=parts(b"x" * 5_000_000))
    await ask("DELETE", "/calibration")
    await ask("POST", "/api/streams/press/calibrate", params={"n": 2, "seconds": 0})
    await ask("POST", "/api/streams/gone/calibrate")
    await ask("POST", "/api/streams/press/calibrate", params={"n": "many"})
    async with connect(f"{server.ws}/ws/stream?name=quiet"):
        await ask("POST", "/api/streams/quiet/calibrate", params={"n": 2, "seconds": 0})

    with monkeypatch.context() as patch:
        patch.setattr(kept_file, "write_atomically", _full)
        await ask("POST", "/calibrate", params={"include_suspects": "true"}, files=parts(*good))


def _full(path: Path, data: bytes, *, mode: int) -> None:
    raise OSError(28, "No space left on device")


async def _recipes(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those that take a model that was taught: test_recipes.py."""
    (recipe,) = (await ask("GET", "/api/recipes")).json()["recipes"]
    one, version = f"/api/recipes/{recipe['id']}", recipe["version"]
    with monkeypatch.context() as patch:
        patch.setattr(library, "MOST_WAITING", 0)
        await ask("PATCH", one, json={"version": version, "name": "another name"})
        await ask("DELETE", one, params={"version": version})
        await ask("POST", f"{one}/copy", json={"name": "a copy"})
        await ask("POST", f"{one}/restore", json={"version": version, "to": 1})
        await ask("GET", f"{one}/file")
        await ask("GET", f"{one}/corrections")
        await ask("DELETE", f"{one}/corrections/{'0' * 12}", params={"version": version})
        await ask("GET", f"{one}/corrections/{'0' * 12}/picture")
        for choice in ("/api/streams/press/recipe", "/api/recipes/default"):
            await ask("POST", choice, json={"recipe": None})
    await ask("GET", one)
    await ask("PATCH", one, json={"version": version, "name": "another name"})
    await ask("PATCH", one, json={"version": version, "name": "a third one"})
    await ask("PATCH", one, json={"version": version + 1, "name": ""})
    await ask("PATCH", one, content=b"x" * 70_000)
    await ask("POST", f"{one}/restore", json={"version": version + 1, "to": 1})
    await ask("POST", f"{one}/restore", json={"version": version + 1, "to": 1})
    await ask("POST", f"{one}/restore", json={"version": version + 2, "to": 99})
    await ask("POST", f"{one}/restore", content=b"x" * 70_000)
    await ask("GET", f"{one}/history")
    await ask("POST", f"{one}/copy", json={"name": "a copy"})
    await ask("POST", f"{one}/copy", json={})
    await ask("POST", f"{one}/copy", content=b"x" * 70_000)
    await ask("GET", f"{one}/file")
    await ask("DELETE", one)
    await ask("DELETE", one, params={"version": version + 2})
    await ask("POST", "/api/recipes", files=parts(BROKEN, name="file"))
    await ask("POST", "/api/recipes", files=parts(b"x" * 5_000_000, name="file"))
    await ask("POST", "/api/streams/press/recipe", json={"recipe": recipe["id"]})
    await ask("POST", "/api/streams/no%20name/recipe", json={"recipe": None})
    for choice in ("/api/streams/press/recipe", "/api/recipes/default"):
        await ask("POST", choice, json={"recipe": None})
        await ask("POST", choice, json={"recipe": "none"})
        await ask("POST", choice, json={})
        await ask("POST", choice, content=b"x" * 70_000)
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", "?version=1"), ("GET", "/history"), ("GET", "/file")):
        body = {"version": 1, "name": "x"} if method == "PATCH" else None
        await ask(method, f"/api/recipes/none{path}", json=body)
    await ask("GET", "/api/recipes/none/picture")
    await ask("POST", "/api/recipes/none/copy", json={"name": "x"})
    await ask("POST", "/api/recipes/none/restore", json={"version": 1, "to": 1})
    with monkeypatch.context() as patch:
        patch.setattr(kept_file, "write_atomically", _full)
        await ask("PATCH", one, json={"version": version + 2, "name": "x"})
        await ask("POST", f"{one}/restore", json={"version": version + 2, "to": 1})
        for choice in ("/api/streams/press/recipe", "/api/recipes/default"):
            await ask("POST", choice, json={"recipe": None})


async def _drafts(ask: Ask, good: list[bytes]) -> None:
    dry = (await ask("POST", "/calibrate", params={"dry_run": "true"}, files=parts(*good))).json()
    path = f"/api/calibration/drafts/{dry['draft']}"
    await ask("POST", path, json={"leave_out": [0]})
    await ask("POST", path, json={"leave_out": [99]})
    await ask("POST", path, content=b"x" * 20_000)
    await ask("POST", path, json={"leave_out": [0, 1]})
    assert (await ask("POST", f"{path}/apply")).status_code == 422
    await ask("POST", path, json={"leave_out": []})
    assert (await ask("POST", f"{path}/apply")).status_code == 200
    for method, gone in (("POST", path), ("POST", f"{path}/apply"), ("DELETE", path)):
        assert (await ask(method, gone)).status_code == 404
    again = (await ask("POST", "/calibrate", params={"dry_run": "true"}, files=parts(*good))).json()
    await ask("DELETE", f"/api/calibration/drafts/{again['draft']}")


async def test_while_there_is_no_model_the_answers_are_described_too(
    model: FakeModel, tmp_path: Path, document: dict[str, Any]
) -> None:
    def never() -> Any:
        model.gate.wait(WAIT_S)
        raise RuntimeError("the test is over")

    model.gate.clear()
    async with serving(never, tmp_path) as server, http(server) as client:
        checked = Checked(client, document)
        await healthy(server, 503)
        for method, path in (
            ("GET", "/health"),
            ("POST", "/predict"),
            ("POST", "/calibrate"),
            ("POST", "/api/streams/press/calibrate"),
            ("DELETE", "/calibration"),
            ("POST", "/calibration/undo"),
            ("GET", "/api/calibration/history"),
            ("POST", "/api/calibration/drafts/x"),
            ("POST", "/api/calibration/drafts/x/apply"),
        ):
            assert (await checked.ask(method, path)).status_code == 503
        model.gate.set()


async def test_a_busy_server_answers_as_described(model: FakeModel, tmp_path: Path, document: dict[str, Any]) -> None:
    async with serving(model, tmp_path) as server, http(server) as client:
        checked = Checked(client, document)
        model.gate.clear()
        asked = [
            asyncio.create_task(checked.ask("POST", "/predict", files=parts(GOOD, name="file")))
            for _ in range(MAX_REQUESTS + 1)
        ]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        model.gate.set()
        statuses = sorted(answer.status_code for answer in await asyncio.gather(*asked))
        assert statuses == [200] * MAX_REQUESTS + [503]


async def test_what_is_served_is_what_was_described(open_server: Running, document: dict[str, Any]) -> None:
    async with http(open_server) as client:
        assert (await client.get("/openapi.json")).json() == document
        page = (await client.get("/docs")).text
        for path, operations in document["paths"].items():
            for method in operations:
                assert f"{method.upper()} {path}" in page
        for name in document["components"]["schemas"]:
            assert f'id="{name}"' in page
        assert "http://" not in page.replace("https://json-schema.org", ""), "nothing comes from elsewhere"


async def test_a_running_server_s_messages_are_valid_and_others_are_not(
    open_server: Running,
) -> None:
    async with http(open_server) as client:
        schema = (await client.get("/schema.json")).json()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    kinds: dict[str, dict[str, Any]] = {}
    async with (
        connect(f"{open_server.ws}/ws/live/robot?picture=1") as viewer,
        connect(f"{open_server.ws}/ws/stream?name=robot") as robot,
        asyncio.timeout(WAIT_S),
    ):
        await robot.send(GOOD)
        await robot.recv()
        await robot.send(BROKEN)
        while len(kinds) < 3:
            message = json.loads(await viewer.recv())
            validator.validate(message)
            kinds[message["type"]] = message
    assert set(kinds) == {"result", "error", "status"}
    for message in kinds.values():
        for name in message:
            assert not validator.is_valid({key: value for key, value in message.items() if key != name}) or name in (
                "picture",
                "simulated",
                "calibration",
                "since_calibration",
                "recipe",
                "recipe_name",
                "recipe_version",
                "parts_by",
                "heatmap",
                "part",
                "repeated",
            )
            assert not validator.is_valid(message | {name: {"not": "that"}})
        assert validator.is_valid(message | {"field_of_a_later_version": 1})
    for wrong in (
        {},
        [],
        None,
        "result",
        7,
        {"type": "result"},
        {"type": "frame"},
        kinds["status"] | {"type": "error"},
    ):
        assert not validator.is_valid(wrong)
    assert not validator.is_valid(kinds["result"] | {"score": 1.5})
    assert not validator.is_valid(kinds["result"] | {"inspected": -1})
    assert not validator.is_valid(kinds["status"] | {"state": "asleep"})
