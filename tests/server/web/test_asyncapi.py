"""The AsyncAPI document against AsyncAPI's own schema, and against what a server that runs says.

``asyncapi-3.0.0.schema.json.gz`` is that schema as npm's ``@asyncapi/specs`` 6.11.1 has it (Apache License 2.0),
without its examples.
"""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import connect

from server.app import create_app
from server.settings import Settings
from server.web import asyncapi
from server.words import Message
from tests.server.fakes import BROKEN, GOOD, FakeModel, http, serving

SCHEMA = Path(__file__).with_name("asyncapi-3.0.0.schema.json.gz")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncapi.describe()


def refs(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [one for key, inner in value.items() for one in ([inner] if key == "$ref" else refs(inner))]
    return [one for inner in value for one in refs(inner)] if isinstance(value, list) else []


def test_it_is_an_asyncapi_document(document: dict[str, Any]) -> None:
    checks = Draft7Validator(json.loads(gzip.decompress(SCHEMA.read_bytes())))
    assert [error.message for error in checks.iter_errors(document)] == []
    spoiled = copy.deepcopy(document)
    spoiled["operations"]["tell"]["action"] = "shout"
    assert not checks.is_valid(spoiled)
    for ref in refs(document):
        found: Any = document
        for step in ref.removeprefix("#/").split("/"):
            found = found[step]


def test_every_websocket_is_a_channel_and_every_message_is_said_on_one(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    routes = {
        route.path for route in create_app(Settings(data_dir=tmp_path)).routes if isinstance(route, WebSocketRoute)
    }
    channels = document["channels"].values()
    assert {channel["address"] for channel in channels} - {None} == routes
    said = {name for channel in channels for name in channel["messages"]}
    assert said == set(document["components"]["messages"])
    assert {kind.__struct_config__.tag for kind in get_args(Message)} <= said
    used = {ref.rpartition("/")[2] for one in document["operations"].values() for ref in refs(one["messages"])}
    assert used | {"answer"} == said


class Channel:
    """Holds what is said on one against the document."""

    def __init__(self, document: dict[str, Any], name: str, action: str) -> None:
        operations = [
            one
            for one in document["operations"].values()
            if one["action"] == action and one["channel"]["$ref"] == f"#/channels/{name}"
        ]
        names = [ref.rpartition("/")[2] for one in operations for ref in refs(one["messages"])]
        payloads = {name: document["components"]["messages"][name]["payload"] for name in names}
        self._checks = {
            name: Draft202012Validator({"components": document["components"], **payload})
            for name, payload in payloads.items()
        }
        self.heard: set[str] = set()

    def check(self, text: str | bytes) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(text)
        fitting = [name for name, checks in self._checks.items() if checks.is_valid(message)]
        assert len(fitting) == 1, f"{text[:300]!r} is {fitting or 'none of the messages of its channel'}"
        self.heard.add(fitting[0])
        return message


async def test_what_is_heard_is_what_the_document_says(
    model: FakeModel, tmp_path: Path, document: dict[str, Any]
) -> None:
    live, sender, own = (
        Channel(document, "live", "send"),
        Channel(document, "stream", "send"),
        Channel(document, "stream", "receive"),
    )
    async with serving(model, tmp_path) as server, asyncio.timeout(30):
        async with http(server) as client:
            assert (await client.get("/asyncapi.json")).json() == document
        async with connect(f"{server.ws}/ws/live/press?heartbeat=1") as listens:
            async with connect(f"{server.ws}/ws/stream?name=press") as sends:
                for said in ({"part": "A1"}, {"trigger": "T1", "part": None}):
                    await sends.send(json.dumps(said))
                    own.check(json.dumps(said))
                while not sender.heard >= {"result", "error"}:
                    await sends.send(BROKEN if "result" in sender.heard else GOOD)
                    sender.check(await sends.recv())
            while not live.heard >= {"status", "result", "error", "heartbeat"}:
                live.check(await listens.recv())
        async with connect(f"{server.ws}/ws/api") as asks:
            answer = document["components"]["messages"]["answer"]["payload"]
            checks = Draft202012Validator({"components": document["components"], **answer})
            for request in ({"id": 7, "method": "GET", "path": "/health"}, {"method": "GET", "path": "/nothing"}):
                Channel(document, "api", "receive").check(json.dumps(request))
                await asks.send(json.dumps(request))
                checks.validate(json.loads(await asks.recv()))
    assert own.heard == {"partSaid", "triggerSaid"} and "trigger" in sender.heard


def test_the_documentation_names_each_channel_s_close_codes(document: dict[str, Any]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
    for codes in (channel.get("x-close-codes", {}) for channel in document["channels"].values()):
        assert all(re.search(rf"\b{code}\b", page) for code in codes)
