"""What a plant asks: read from anybody, answered in words; and at a real broker."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from server.sinks.mqtt import commands
from server.sinks.mqtt import sink as sink_module
from server.sinks.mqtt.commands import LONGEST, Pace, Refused, read_recipe, read_trigger, trigger
from server.sinks.mqtt.settings import MqttSettings
from server.sinks.mqtt.sink import MqttSink
from server.sinks.mqtt.topics import Topics
from tests.server.sinks.fakes import part
from tests.server.sinks.mqtt.mosquitto import Heard, Mosquitto, listening, needs_mosquitto
from tests.server.sinks.mqtt.plant import FakeLine, around, running

# without a broker


def test_a_trigger_says_which_part_or_nothing() -> None:
    assert read_trigger(b"") == read_trigger(b"{}") == commands.TriggerAsked()
    assert read_trigger(b'{"part": "A-7", "trigger_id": "17"}') == commands.TriggerAsked("A-7", "17")


@pytest.mark.parametrize(
    "payload",
    [
        b"on",
        b"[]",
        b'{"part": 7}',
        b'{"part": ""}',
        b'{"part": "a\\u0000b"}',
        b'{"partt": "A-7"}',
        b'{"part": "' + b"x" * 129 + b'"}',
        b'{"trigger_id": "' + b"x" * 129 + b'"}',
        b"\xff\xfe",
        b"[" * LONGEST,
        b'{"a":' * 400,
        b" " * (LONGEST + 1),
    ],
)
def test_what_is_no_trigger_is_refused_in_words(payload: bytes) -> None:
    line = FakeLine()
    answer = trigger(line, "a", payload)
    assert not answer.accepted and isinstance(answer.why, str) and answer.why
    assert not line.triggers and line.missed_on == ["a"], "another part may be under the camera"


@given(st.binary(max_size=4_000))
def test_whatever_comes_is_a_command_or_refused(payload: bytes) -> None:
    line = FakeLine()
    assert trigger(line, "a", payload).accepted == bool(line.triggers)
    try:
        recipe = read_recipe(payload)
    except Refused as refusal:
        assert 0 < len(str(refusal)) < 200
    else:
        assert 0 < len(recipe) <= commands.LONGEST_RECIPE


VALUE = st.none() | st.integers() | st.text(max_size=9) | st.lists(st.none(), max_size=2)
JSON = VALUE | st.dictionaries(st.sampled_from(["part", "trigger_id", "x"]), VALUE, max_size=3)


@given(JSON)
def test_whatever_json_comes_is_a_command_or_refused(said: Any) -> None:
    line = FakeLine()
    assert trigger(line, "a", json.dumps(said).encode()).accepted == bool(line.triggers)


async def test_what_the_line_refuses_is_said_in_its_words() -> None:
    answer = trigger(FakeLine(refusal="it is busy with part A-6"), "a", b'{"part": "A-7", "trigger_id": "17"}')
    assert (answer.accepted, answer.why, answer.part, answer.trigger_id) == (
        False,
        "it is busy with part A-6",
        "A-7",
        "17",
    )
    assert not trigger(None, "a", b"").accepted
    answer = await commands.choose_recipe(FakeLine(), "a", b'{"recipe": "nothing"}')
    assert (answer.accepted, answer.why) == (False, "there is no recipe nothing")


def test_so_many_a_second_and_no_more() -> None:
    now = 0.0
    pace = Pace(10, clock=lambda: now)
    assert [pace.takes_one() for _ in range(15)] == [True] * 10 + [False] * 5
    assert pace.refusal() == "5 commands were refused: 10 a second are taken"
    assert pace.refusal() is None
    now = 0.1
    assert pace.takes_one() and not pace.takes_one()
    assert pace.refusal() == "1 command was refused: 10 a second are taken"
    now = 100.0
    assert [pace.takes_one() for _ in range(11)] == [True] * 10 + [False]


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "#",
        "a/+",
        "$SYS/x",
        "defectvision/line4",
        "defectvision/line4/a/trigger",
        "defectvision/line4/status",
        "homeassistant/device/x/config",
        "spBv1.0/Plant1/NCMD/line4",
        "x" * 257,
        "a\x00b",
    ],
)
def test_nobody_is_answered_where_it_would_be_taken_for_something_else(topic: str) -> None:
    assert not Topics("defectvision/line4").may_answer_on(topic)


def test_answers_go_where_they_are_asked_to_go() -> None:
    assert Topics("defectvision/line4").may_answer_on("plc/7/answers")
    assert Topics("defectvision/line4").may_answer_on("defectvision/line44/answers")


# at a broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto")).start()
    yield broker
    broker.kill()


@pytest.fixture
def node() -> str:
    return f"n{uuid.uuid4().hex[:8]}"


def settings_of(broker: Mosquitto, node: str, **other: Any) -> MqttSettings:
    return MqttSettings(host="127.0.0.1", port=broker.port, node=node, **({"commands": True} | other))


def asking(topic: str, correlation: bytes) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic, properties.CorrelationData = topic, correlation
    return properties


async def answers(heard: Heard, topic: str, number: int = 1) -> list[dict[str, Any]]:
    await heard.until(lambda: len(heard.of(topic)) >= number)
    return [json.loads(payload) for payload in heard.of(topic)]


@needs_mosquitto
async def test_a_trigger_is_handed_to_the_line_and_answered_where_it_was_asked_for(
    broker: Mosquitto, node: str
) -> None:
    line, base = FakeLine(), f"defectvision/{node}"
    async with (
        running(lambda: MqttSink(settings_of(broker, node), around(line))),
        listening(broker.port, f"plc/{node}") as plc,
    ):
        await plc.client.publish(
            f"{base}/a/trigger",
            b'{"part": "A-7", "trigger_id": "17"}',
            qos=1,
            properties=asking(f"plc/{node}", b"\x01\x02"),
        )
        (answer,) = await answers(plc, f"plc/{node}")
    assert answer == {"accepted": True, "stream": "a", "trigger": 1, "part": "A-7", "trigger_id": "17"}
    properties = plc.messages[0].properties
    assert properties is not None and properties.CorrelationData == b"\x01\x02"
    assert line.triggers == [("a", "A-7", "17", "mqtt")]


@needs_mosquitto
async def test_refusals_are_answered_too_and_whoever_names_no_topic_finds_them_beside(
    broker: Mosquitto, node: str
) -> None:
    line, base = FakeLine(refusal="it is busy"), f"defectvision/{node}"
    async with (
        running(lambda: MqttSink(settings_of(broker, node), around(line))),
        listening(broker.port, f"{base}/+/answer") as heard,
    ):
        await heard.client.publish(f"{base}/a/trigger", b"", qos=1)
        await heard.client.publish(f"{base}/a/trigger", b"\xff", qos=1, properties=asking(f"{base}/a/trigger", b"1"))
        busy, unread = await answers(heard, f"{base}/a/answer", 2)
        await heard.client.publish(f"{base}/nobody/trigger", b"{}", qos=1)
        (nobody,) = await answers(heard, f"{base}/nobody/answer")
    assert busy == {"accepted": False, "stream": "a", "why": "it is busy"}
    assert unread["why"].startswith("it cannot be read: send {")
    assert nobody["why"] == "there is no stream nobody"


@needs_mosquitto
async def test_a_command_that_the_broker_kept_is_not_obeyed(broker: Mosquitto, node: str) -> None:
    line, topic = FakeLine(), f"defectvision/{node}/a/trigger"
    async with listening(broker.port, f"defectvision/{node}/#") as heard:
        await heard.client.publish(topic, b'{"trigger_id": "kept"}', qos=1, retain=True)
        async with running(lambda: MqttSink(settings_of(broker, node), around(line))):
            await heard.client.publish(topic, b'{"trigger_id": "now"}', qos=1)
            (answer,) = await answers(heard, f"defectvision/{node}/a/answer")
        await heard.client.publish(topic, b"", qos=1, retain=True)
    assert answer["trigger_id"] == "now"
    assert [asked[2] for asked in line.triggers] == ["now"]


@needs_mosquitto
async def test_recipes_are_chosen_one_change_at_a_time(broker: Mosquitto, node: str) -> None:
    line, base = FakeLine(gate=asyncio.Event()), f"defectvision/{node}"
    assert line.gate is not None
    async with (
        running(lambda: MqttSink(settings_of(broker, node), around(line))) as life,
        listening(broker.port, f"{base}/+/answer") as heard,
    ):
        await heard.client.publish(f"{base}/a/recipe", b'{"recipe": "bottle"}', qos=1)
        await heard.client.publish(f"{base}/a/recipe", b'{"recipe": "can"}', qos=1)
        (refused,) = await answers(heard, f"{base}/a/answer")
        await heard.client.publish(f"{base}/a/trigger", b"", qos=1)  # is not held up
        _, triggered = await answers(heard, f"{base}/a/answer", 2)
        line.gate.set()
        *_, chosen = await answers(heard, f"{base}/a/answer", 3)
        assert life.box.waiting == 0
    assert refused["why"] == "another change of recipe is under way: wait for it"
    assert triggered["trigger"] == 1
    assert chosen == {"accepted": True, "stream": "a", "recipe": "id-of-bottle"}
    assert line.chosen == [("a", "bottle")]


@needs_mosquitto
async def test_a_flood_of_triggers_is_refused_in_words_and_holds_up_nobody(
    broker: Mosquitto, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "Pace", lambda: Pace(5))  # this machine may be too busy for fifty a second
    line, base = FakeLine(), f"defectvision/{node}"
    async with (
        running(lambda: MqttSink(settings_of(broker, node), around(line))) as life,
        listening(broker.port, f"{base}/a/answer") as heard,
    ):
        for _ in range(500):
            heard.client._client.publish(f"{base}/a/trigger", b"{}")  # all at once
        life.tell(part())
        await life.until_told()
        await heard.until(lambda: any(b"refused" in said for said in heard.of(f"{base}/a/answer")))
    said = [json.loads(payload) for payload in heard.of(f"{base}/a/answer")]
    why = next(one["why"] for one in said if not one["accepted"])
    assert why.endswith("commands were refused: 5 a second are taken")
    assert 5 <= len(line.triggers) < 500
    assert line.missed_on and {*line.missed_on} == {"a"}, "each that was refused ends the part in work"
    assert not life.errors


@needs_mosquitto
async def test_where_commands_are_switched_off_nobody_is_heard(broker: Mosquitto, node: str) -> None:
    line, base = FakeLine(), f"defectvision/{node}"
    async with (
        running(lambda: MqttSink(settings_of(broker, node, commands=False), around(line))),
        listening(broker.port, f"{base}/status") as heard,
    ):
        await heard.client.publish(f"{base}/a/trigger", b"", qos=1)
        await heard.client.publish(f"{base}/status", b"offline", qos=1)
        await heard.until(lambda: heard.last(f"{base}/status") == b"online" and len(heard.messages) > 1)
    assert not line.triggers


@needs_mosquitto
@pytest.mark.parametrize("payload", [b"x" * 100_000, b"\x00" * 3_000])
async def test_commands_too_large_do_no_harm(broker: Mosquitto, node: str, payload: bytes) -> None:
    line, base = FakeLine(), f"defectvision/{node}"
    async with (
        running(lambda: MqttSink(settings_of(broker, node), around(line))) as life,
        listening(broker.port, f"{base}/a/answer") as heard,
    ):
        await heard.client.publish(f"{base}/a/trigger", payload, qos=1)
        await heard.client.publish(f"{base}/a/trigger", b"{}", qos=1)
        await heard.until(lambda: any(json.loads(one)["accepted"] for one in heard.of(f"{base}/a/answer")))
    assert len(line.triggers) == 1 and not life.errors
