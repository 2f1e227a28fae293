"""Machines around the server, over HTTP: what is inspected arrives there, and no secret comes back."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from websockets.asyncio.client import connect

from tests.server.fakes import BAD, GOOD, FakeModel, http, receive_result, serving, until
from tests.server.sinks.receiver import never, plainly, receiving

pytest.importorskip("httpx", reason="the extra webhook is not installed")

SECRET = "whsec_" + base64.b64encode(b"s3cret-Pa55word-of-the-mes").decode()
TOKEN = "Bearer t0ken-of-the-mes"


def wanted(url: str, **more: Any) -> dict[str, Any]:
    settings = {"url": url, "secret": SECRET, "authorization": TOKEN}
    return {"kind": "webhook", "name": "mes", "enabled": True, "settings": settings} | more


async def test_what_is_inspected_arrives_signed_and_no_secret_comes_back(
    model: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with receiving() as receiver, serving(model, tmp_path) as server, http(server) as client:
        draft = {name: value for name, value in wanted(receiver.url).items() if name != "enabled"}
        tried = (await client.post("/api/sinks/test", json=draft)).json()
        assert tried["ok"] and "with 204" in tried["words"]
        assert (await client.get("/api/sinks")).json()["sinks"] == [], "a test keeps nothing"
        added = await client.post("/api/sinks", json=wanted(receiver.url))
        assert added.status_code == 201 and added.json()["secrets"] == ["authorization", "secret"]
        async with connect(f"{server.ws}/ws/stream?name=press") as stream:
            for frame, verdict in ((GOOD, "NORMAL"), (GOOD, "NORMAL"), (BAD, "ANOMALY")):
                await stream.send(frame)
                assert (await receive_result(stream)).verdict == verdict
            await until(lambda: len(receiver.got) >= 4)
        said = [Verifier(SECRET).verify(body, headers) for headers, body in receiver.got]
        assert [(one["type"], one["data"].get("verdict")) for one in said[:4]] == [
            ("test", None),
            ("stream.state", None),
            ("verdict.changed", "NORMAL"),
            ("verdict.changed", "ANOMALY"),
        ]
        assert all(headers["authorization"] == TOKEN for headers, _ in receiver.got)
        id = added.json()["id"]
        changed = await client.patch(f"/api/sinks/{id}", json={"name": "mes-2", "told": {"parts": "rejects"}})
        assert changed.status_code == 200 and changed.json()["told"]["parts"] == "rejects"
        elsewhere = await client.patch(f"/api/sinks/{id}", json={"settings": {"url": "http://127.0.0.1:1/"}})
        assert elsewhere.status_code == 422 and "give Authorization header and Signing secret" in elsewhere.text
        told = [added.text, changed.text, elsewhere.text]
        told += [(await client.get(path)).text for path in ("/api/sinks", "/health", "/api/settings")]
        assert not any(secret in text for secret in (SECRET, TOKEN) for text in (*told, caplog.text))
        assert (await client.delete(f"/api/sinks/{id}")).json() == {"deleted": id}
        assert (await client.delete(f"/api/sinks/{id}")).status_code == 404


async def test_health_says_who_is_not_told_and_a_shutdown_waits_for_nobody(model: FakeModel, tmp_path: Path) -> None:
    async with receiving(plainly(500)) as refuses, receiving(never) as hangs:
        async with serving(model, tmp_path) as server, http(server) as client:
            await client.post("/api/sinks", json=wanted(refuses.url))
            await client.post("/api/sinks", json=wanted(hangs.url, name="archive"))
            async with connect(f"{server.ws}/ws/stream?name=press") as stream:
                await stream.send(BAD)
                assert (await receive_result(stream)).verdict == "ANOMALY"
            await until(lambda: bool(refuses.got) and bool(hangs.got))
            while not (warnings := (await client.get("/health")).json()["warnings"]):
                pass
            assert "mes is not told: it answers 500 Internal Server Error" in warnings[0]
            assert await server.stop() < 10, "a second, and what a busy machine takes"
        kept = [*(tmp_path / "sinks").iterdir()]
        assert len(kept) == 2
        assert len(json.loads((tmp_path / "sinks.json").read_text())["sinks"]) == 2
