"""Streams that appear in Home Assistant by themselves, and go again."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from server.sinks.mqtt import home_assistant
from server.sinks.mqtt.settings import MqttSettings
from server.sinks.mqtt.sink import MqttSink
from server.sinks.mqtt.topics import Topics
from tests.server.sinks.mqtt.mosquitto import Mosquitto, kept_at, listening, needs_mosquitto
from tests.server.sinks.mqtt.plant import FakeLine, around, running

TOPICS = Topics("defectvision/line4")


def test_a_stream_is_a_device_with_its_entities() -> None:
    said = home_assistant.device(TOPICS, "a", True, "https://plant.example/")
    assert {*said} == {"device", "origin", "qos", "components"} and said["origin"]["name"] == "DefectVision"
    assert {name: one["platform"] for name, one in said["components"].items()} == {
        "verdict": "sensor",
        "parts": "sensor",
        "rejects": "sensor",
        "problem": "binary_sensor",
        "state": "sensor",
        "connected": "binary_sensor",
        "trigger": "button",
    }
    ids = [one["unique_id"] for one in said["components"].values()]
    assert len({*ids}) == len(ids)
    assert said["components"]["trigger"]["command_topic"] == "defectvision/line4/a/trigger"
    assert "trigger" not in home_assistant.device(TOPICS, "a", False, None)["components"]


def test_templates_read_what_is_told_and_what_was_cleared() -> None:
    jinja2 = pytest.importorskip("jinja2")
    for one in home_assistant.device(TOPICS, "a", True, None)["components"].values():
        templates = [one.get("value_template"), *(each.get("value_template") for each in one.get("availability", []))]
        for template in filter(None, templates):
            made = jinja2.Environment().from_string(template)
            said = {"verdict": "ANOMALY", "parts": 3, "rejected": 1, "state": "live"}
            assert made.render(value_json=said) in ("ANOMALY", "3", "1", "live", "ON", "online")
            assert made.render() in ("None", "OFF", "offline"), "the topic was cleared"


def test_ids_are_of_the_characters_that_are_taken_and_nobody_elses() -> None:
    ids = [TOPICS.object_id(name) for name in ("a.b", "a_b", "a-b", "A.b")]
    assert len({*ids}) == 4 and all(re.fullmatch(r"[A-Za-z0-9_-]+", one) for one in ids)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto")).start()
    yield broker
    broker.kill()


@needs_mosquitto
async def test_they_appear_stay_while_the_server_is_away_and_go_when_it_is_switched_off(broker: Mosquitto) -> None:
    node = f"n{uuid.uuid4().hex[:8]}"
    names = Topics(f"defectvision/{node}")
    line = FakeLine(["a"])

    def sink(**other: Any) -> MqttSink:
        settings = MqttSettings(host="127.0.0.1", port=broker.port, node=node, **other)
        return MqttSink(settings, around(line))

    async def devices(prefix: str = "homeassistant") -> set[str]:
        return {topic for topic in await kept_at(broker.port, f"{prefix}/#") if node in topic}

    async with running(lambda: sink(home_assistant=True)) as life:
        line.running.append("b")
        life.tell(line.status("b"))
        await life.until_told()
        assert await devices() == {names.discovery("a"), names.discovery("b")}
        said = json.loads((await kept_at(broker.port, "homeassistant/#"))[names.discovery("a")])
        assert said["device"]["name"] == "DefectVision a"
    assert len(await devices()) == 2, "a server that is away is not one that is no more"

    # Home Assistant listens elsewhere now
    async with listening(broker.port, "homeassistant/#", identifier="ha") as heard:
        async with running(lambda: sink(home_assistant=True, discovery_prefix="ha")):
            await heard.until(lambda: heard.last(names.discovery("a")) == b"" == heard.last(names.discovery("b")))
        assert await devices() == set() and len(await devices("ha")) == 2

    moved = Topics(f"defectvision/{node}", "ha")
    async with listening(broker.port, "ha/#", identifier="ha") as heard, running(sink):
        await heard.until(lambda: heard.last(moved.discovery("a")) == b"" == heard.last(moved.discovery("b")))
        kept = await kept_at(broker.port, f"defectvision/{node}/#")
    assert await devices("ha") == set() and not any("discovery" in topic for topic in kept)


@needs_mosquitto
@pytest.mark.parametrize("payload", [b"\xff", b"[]", b'{"prefix": "#"}', b'{"prefix": "a/+/b"}', b"{" * 3_000])
async def test_a_reminder_that_is_not_ours_does_no_harm(broker: Mosquitto, payload: bytes) -> None:
    node = f"n{uuid.uuid4().hex[:8]}"
    reminder = f"defectvision/{node}/a/discovery"
    settings = MqttSettings(host="127.0.0.1", port=broker.port, node=node)
    async with listening(broker.port, f"defectvision/{node}/#", identifier="ha") as heard:
        await heard.client.publish(reminder, payload, qos=1, retain=True)
        async with running(lambda: MqttSink(settings, around(FakeLine()))) as life:
            await heard.until(lambda: heard.last(reminder) == b"")
    assert not life.errors
