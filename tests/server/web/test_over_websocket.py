"""All of HTTP's JSON over one WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.app import create_app
from server.settings import Settings
from server.web.over_websocket import LONGEST_MESSAGE, ApiSocket
from tests.running import Running, running
from tests.server.fakes import BAD, GOOD, WAIT_S, FakeModel, close_code, http, receive_result, serving


@pytest.fixture
async def server(model: FakeModel, tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(model, tmp_path) as server:
        yield server


async def ask(socket: ClientConnection, method: str, path: str, **more: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"method": method, "path": path, **more}))
    async with asyncio.timeout(WAIT_S):
        answer: dict[str, Any] = json.loads(await socket.recv())
    return answer


async def test_what_http_answers_is_answered_here_in_order(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press") as sender, connect(f"{server.ws}/ws/api") as socket:
        await sender.send(GOOD)
        await receive_result(sender)
        for number, path in enumerate(("/health", "/api/streams", "/api/recipes")):
            await socket.send(json.dumps({"id": {"n": number}, "method": "GET", "path": path}))
        answers = [json.loads(await socket.recv()) for _ in range(3)]
        assert [one["id"] for one in answers] == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert {one["status"] for one in answers} == {200}
        assert answers[0]["body"]["model_hash"] == "a" * 64
        assert answers[1]["body"]["streams"][0]["name"] == "press"
        (recipe,) = answers[2]["body"]["recipes"]
        said = await ask(socket, "POST", "/api/streams/press/part", body={"part": "A-7"})
        assert said == {"id": None, "status": 200, "body": {"stream": "press", "part": "A-7"}}
        await sender.send(BAD)
        assert (await receive_result(sender)).part == "A-7"
        patch = {"version": recipe["version"], "name": "bottles", "why": "over here"}
        changed = await ask(socket, "PATCH", f"/api/recipes/{recipe['id']}", body=patch)
        assert (changed["status"], changed["body"].get("name", changed["body"])) == (200, "bottles")
        assert (await ask(socket, "PATCH", f"/api/recipes/{recipe['id']}", body=patch))["status"] == 409
        reset = await ask(socket, "POST", "/api/streams/press/reset")
        assert (reset["status"], reset["body"]["parts"], reset["body"]["yield"]) == (200, 0, None)


ABSURD = {
    "nothing": ("", 422),
    "no JSON": ("hello", 422),
    "a list": ("[]", 422),
    "no path": ('{"method": "GET"}', 422),
    "no such method": ('{"method": "TRACE", "path": "/health"}', 422),
    "a number": ('{"method": "GET", "path": 7}', 422),
    "more than is known": ('{"method": "GET", "path": "/health", "headers": {"authorization": "x"}}', 422),
    "a long id": (json.dumps({"id": "x" * 1000, "method": "GET", "path": "/health"}), 422),
    "deep": ('{"id": %s, "method": "GET", "path": "/health"}' % ("[" * 20_000 + "]" * 20_000), 422),
    "deep body": ('{"method": "POST", "path": "/api/recipes/default", "body": %s}' % ("[" * 30_000), 422),
    "a blank": ('{"method": "GET", "path": "/api/a b"}', 422),
    "a line": ('{"method": "GET", "path": "/api/a\\nHost: evil"}', 422),
    "no ASCII": ('{"method": "GET", "path": "/api/é"}', 422),
    "too long": (json.dumps({"method": "GET", "path": "/api/" + "x" * 2000}), 414),
    "a long query": (json.dumps({"method": "GET", "path": "/api/streams?" + "x" * 5000}), 414),
    "outside": ('{"method": "GET", "path": "/etc/passwd"}', 404),
    "relative": ('{"method": "GET", "path": "api/streams"}', 404),
    "absolute": ('{"method": "GET", "path": "http://evil.example/api/streams"}', 404),
    "climbing": ('{"method": "GET", "path": "/api/../static/live/app.js"}', 404),
    "climbing in disguise": ('{"method": "GET", "path": "/api/%2e%2e/static/live/app.js"}', 404),
    "a page": ('{"method": "GET", "path": "/"}', 404),
    "static": ('{"method": "GET", "path": "/static/favicon.svg"}', 404),
    "a WebSocket": ('{"method": "GET", "path": "/ws/live/press"}', 404),
    "itself": ('{"method": "GET", "path": "/ws/api"}', 404),
    "an upload": ('{"method": "POST", "path": "/predict", "body": "x"}', 404),
    "upload of a recipe": ('{"method": "POST", "path": "/api/recipes", "body": {}}', 422),
    "not there": ('{"method": "GET", "path": "/api/nothing"}', 404),
    "not taken": ('{"method": "DELETE", "path": "/api/streams"}', 405),
    "another's body": ('{"method": "POST", "path": "/api/streams/press/part", "body": [1]}', 422),
}


async def test_what_cannot_be_is_refused_in_words_and_the_connection_goes_on(server: Running) -> None:
    async with connect(f"{server.ws}/ws/api") as socket:
        for name, (text, status) in ABSURD.items():
            await socket.send(text)
            answer = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))
            assert answer["status"] == status, (name, answer)
            assert isinstance(answer["body"]["error"], str), name
        assert (await ask(socket, "GET", "/health"))["status"] == 200


async def test_what_is_no_json_is_asked_for_over_http(server: Running) -> None:
    async with connect(f"{server.ws}/ws/stream?name=press") as sender, connect(f"{server.ws}/ws/api") as socket:
        await sender.send(BAD)
        await receive_result(sender)
        (alarm,) = (await ask(socket, "GET", "/api/streams/press/frames"))["body"]["frames"]
        answer = await ask(socket, "GET", f"/{alarm['picture']}")
        assert answer["status"] == 406 and "image/jpeg" in answer["body"]["error"]
        async with http(server) as client:
            assert (await client.get(alarm["picture"])).headers["content-type"] == "image/jpeg"


async def test_lines_of_json_are_no_json(server: Running) -> None:
    async with connect(f"{server.ws}/ws/api") as socket:
        answer = await ask(socket, "GET", "/api/audit.jsonl")
    assert answer["status"] == 406 and "application/jsonl" in answer["body"]["error"]


@pytest.mark.parametrize(
    ("message", "code"), [(b"{}", 1008), ("x" * (LONGEST_MESSAGE + 1), 1009), ("x" * 5_000_000, 1009)]
)
async def test_binary_and_large_messages_end_it(server: Running, message: str | bytes, code: int) -> None:
    async with connect(f"{server.ws}/ws/api") as socket:
        await socket.send(message)
        assert await close_code(socket) == code


async def test_a_flood_waits_and_costs_others_nothing(server: Running) -> None:
    async with (
        connect(f"{server.ws}/ws/api") as flooding,
        connect(f"{server.ws}/ws/stream?name=press") as sender,
    ):
        text = json.dumps({"method": "GET", "path": "/api/streams", "id": "x" * 60})

        async def flood() -> None:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await flooding.send(text)

        task = asyncio.create_task(flood())
        for _ in range(5):
            await sender.send(GOOD)
            assert (await receive_result(sender)).verdict == "NORMAL"
        task.cancel()
        flooding.transport.abort()  # what it has written and nobody read yet is megabytes


async def test_who_leaves_is_waited_for_no_longer(server: Running, model: FakeModel) -> None:
    """A capture for a calibration asks whether anybody waits for it; its places are few."""
    async with connect(f"{server.ws}/ws/stream?name=press") as sender:
        for _ in range(12):
            async with connect(f"{server.ws}/ws/api") as socket:
                path = "/api/streams/press/calibrate?n=200&seconds=600"
                await socket.send(json.dumps({"method": "POST", "path": path}))
            await sender.send(GOOD)
            await receive_result(sender)
        async with connect(f"{server.ws}/ws/api") as socket, asyncio.timeout(WAIT_S):
            await socket.send(json.dumps({"method": "POST", "path": path}))
            waiting = asyncio.ensure_future(socket.recv())
            for _ in range(3):
                await sender.send(GOOD)
                await receive_result(sender)
            assert not waiting.done(), "it is captured, not refused"
            waiting.cancel()


async def test_it_is_behind_the_access_code_like_everything_else(model: FakeModel, tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path, access_code="a code nobody guesses")
    app = create_app(chosen, code=chosen.access_code, make_model=lambda: model)  # type: ignore[arg-type, return-value]
    async with running(app, chosen) as server:
        with pytest.raises(InvalidStatus, match="401"):
            await connect(f"{server.ws}/ws/api")
        bearer = {"Authorization": f"Bearer {chosen.access_code}"}
        with pytest.raises(InvalidStatus, match="403"):
            await connect(f"{server.ws}/ws/api", origin="http://evil.example", additional_headers=bearer)  # type: ignore[arg-type]
        async with connect(f"{server.ws}/ws/api", additional_headers=bearer) as socket:
            health = await ask(socket, "GET", "/health")
            assert "version" in health["body"], "and says as much as to whoever showed it"
        async with connect(f"{server.ws}/ws/api?code=a%20code%20nobody%20guesses") as socket:
            assert "version" in (await ask(socket, "GET", "/health"))["body"]


class Scripted:
    """A WebSocket that says some texts and leaves."""

    def __init__(self, texts: list[str]) -> None:
        self.scope = {"type": "websocket", "headers": [(b"host", b"localhost"), (b"cookie", b"secret")], "state": {}}
        self.texts, self.heard = texts, list[dict[str, Any]]()

    async def accept(self) -> None:
        pass

    async def receive(self) -> dict[str, Any]:
        if not self.texts:
            return {"type": "websocket.disconnect"}
        return {"type": "websocket.receive", "text": self.texts.pop(0)}

    async def send_text(self, text: str) -> None:
        self.heard.append(json.loads(text))

    async def close(self, code: int, reason: str) -> None:
        self.texts = []


ANY_PATH = st.text(max_size=60) | st.text("/api%.2e?", max_size=60)
ANY_BODY = st.none() | st.text() | st.dictionaries(st.text(), st.integers())
ANY_REQUEST = st.fixed_dictionaries(
    {"method": st.sampled_from(["GET", "POST", "PUT", ""]), "path": ANY_PATH},
    optional={"id": st.integers() | st.text(), "body": ANY_BODY},
)


@settings(deadline=None)
@given(st.lists(st.text(max_size=200) | st.builds(json.dumps, ANY_REQUEST), max_size=5))
def test_whatever_is_said_is_answered_once_and_reaches_no_other_path(texts: list[str]) -> None:
    asked: list[tuple[str, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() and not any(name == b"cookie" for name, _ in scope["headers"])
        asked.append((scope["method"], scope["path"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}"})

    socket = Scripted(list(texts))
    asyncio.run(ApiSocket(app).serve(socket))  # type: ignore[arg-type]
    assert len(socket.heard) == len(texts)
    assert all(path.startswith(("/api/", "/calibration/")) or path in ("/health", "/calibration") for _, path in asked)


async def test_a_route_that_fails_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("out of memory")

    socket = Scripted([json.dumps({"id": 1, "method": "GET", "path": "/health"})])
    await ApiSocket(app).serve(socket)  # type: ignore[arg-type]
    (answer,) = socket.heard
    assert answer["status"] == 500 and "log" in answer["body"]["error"] and "out of memory" in caplog.text
