"""What a broker is told of what happens: without one."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect

from detector.extras import to_install
from server.sinks import Sinks
from server.sinks.kinds import KINDS
from server.sinks.mqtt.memory import Memory
from server.sinks.mqtt.publication import Publication
from server.sinks.mqtt.seen import Seen
from server.sinks.mqtt.settings import MqttSettings, SparkplugSettings, check_mqtt, check_sparkplug
from server.sinks.mqtt.told import StreamTold, tell
from server.sinks.mqtt.topics import Topics
from server.sinks.sink import Outgoing
from server.streams import Told
from server.words import Change, Status
from tests.server.fakes import FakeModel, http, picture, receive_result, serving, status, until
from tests.server.sinks.fakes import part, result
from tests.server.sinks.mqtt.plant import OTHER, FakeLine

TOPICS = Topics("defectvision/line4")


def topics(publications: list[Publication]) -> list[str]:
    return [one.topic.removeprefix("defectvision/line4/") for one in publications]


def test_each_event_has_its_topic() -> None:
    told, said = tell(part(verdict="ANOMALY").message, "part", StreamTold(), TOPICS, None)
    assert topics(said) == ["a/part", "a/verdict"]
    frame = result(verdict="NORMAL", recipe="r-1").message
    assert tell(frame, "verdict", told, TOPICS, None) == (told, []), "of a part's frame"
    change = Change("a", "recipe", "2026-11-26T10:00:00+00:00", "r-2", "can", 1, "b" * 64, 1.0, "model", None)
    told, said = tell(change, "change", told, TOPICS, None)
    assert topics(said) == ["a/change"]
    told, said = tell(frame, "verdict", told, TOPICS, None)
    assert topics(said) == ["a/verdict"] and told.verdict is not None and told.verdict.parts == 1


@pytest.mark.parametrize("other", [{"recipe": "r-2"}, {"recipe": "r-1", "recipe_version": 2}])
def test_parts_of_one_recipe_silence_no_frame_of_another_also_where_no_change_was_told(other: dict[str, Any]) -> None:
    by_parts, _ = tell(part().message, "part", StreamTold(), TOPICS, None)
    told, said = tell(result(verdict="ANOMALY", **other).message, "verdict", by_parts, TOPICS, None)
    assert topics(said) == ["a/verdict"] and told.verdict is not None and told.verdict.verdict == "ANOMALY"


def test_results_are_told_without_pictures_and_are_no_change_of_verdict() -> None:
    told, (said,) = tell(result().message, "result", StreamTold(), TOPICS, None)
    assert topics([said]) == ["a/result"] and not said.retain
    assert b"heatmap" not in said.payload and told == StreamTold()


def test_pictures_are_addresses() -> None:
    found = []
    for address in (None, "https://plant.example/line4/"):
        message = part(picture="/api/parts/7/picture").message
        _, said = tell(message, "part", StreamTold(), TOPICS, address)
        found += [json.loads(one.payload)["picture"] for one in said]
    assert found == ["/api/parts/7/picture"] * 2 + ["https://plant.example/line4/api/parts/7/picture"] * 2


def test_failed_parts_are_counted_apart() -> None:
    told = StreamTold()
    for verdict in ("NORMAL", "ANOMALY", "FAILED", "ANOMALY"):
        message = part(verdict=verdict, score=None, raw_score=None, why="no frame came").message
        told, _ = tell(message, "part", told, TOPICS, None)
    assert told.verdict is not None
    assert (told.verdict.parts, told.verdict.rejected, told.verdict.failed) == (4, 2, 1)


def test_a_stream_that_goes_is_forgotten_before_it_is_said_to_be_gone() -> None:
    told, said = tell(status("a", "live"), "state", StreamTold(), TOPICS, None)
    assert topics(said) == ["a/state"] and said[0].retain and not told.is_gone
    told, said = tell(status("a", "waiting"), "state", told, TOPICS, None)
    assert topics(said) == ["a/verdict", "a/state", "a/state"]
    assert [one.payload == b"" for one in said] == [True, True, False]
    assert [one.retain for one in said] == [True, True, False]
    assert told.is_gone and told.verdict is None


def test_a_state_of_then_is_none_of_now() -> None:
    line = FakeLine(["a"])
    seen, live = Seen(line, (), 9), line.status("a")
    line.camera = "silent"
    silent = line.status("a")
    line.recipe = OTHER
    now = line.status("a")
    assert [seen.is_stale(outgoing(one)) for one in (live, silent, now)] == [True, True, False]
    line.running = []
    gone = line.status("a")
    assert [seen.is_stale(outgoing(one)) for one in (now, gone)] == [True, False]
    line.running = ["a"]
    assert seen.is_stale(outgoing(gone)) and not seen.is_stale(outgoing(part())), "a part is of its time"
    assert not Seen(None, (), 9).is_stale(outgoing(live))


def outgoing(told: Told) -> Outgoing:
    return Outgoing(told.message)


def test_topics_are_read_as_they_are_written() -> None:
    assert TOPICS.read("defectvision/line4/a.b/trigger") == ("a.b", "trigger")
    for other in ("defectvision/line44/a/trigger", "defectvision/line4", "defectvision/line4/ä/trigger", "x"):
        assert TOPICS.read(other) is None
    assert TOPICS.read("defectvision/line4/status") == ("status", "")


def test_what_is_remembered_is_bounded() -> None:
    memory: Memory[list[int]] = Memory(list, 2)
    memory.of("a").append(1)
    memory.set("b", [2])
    assert memory.of("a") == [1]
    memory.of("c")
    assert memory.names == ("a", "c")


@pytest.mark.skipif(find_spec("aiomqtt") is not None, reason="they are run")
def test_at_a_broker() -> None:
    pytest.skip(f"the tests at a broker need aiomqtt: {to_install('mqtt')}")


GOOD = {"host": "broker.plant.example", "node": "line4"}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({}, None),
        ({"prefix": "plant/hall-2/inspection"}, None),
        ({"host": "mqtt://broker"}, "Broker: its name or address alone"),
        ({"host": "user@broker"}, "Broker: its name or address alone"),
        ({"node": "line 4"}, "This server's name: it has letters"),
        ({"node": "a/b"}, "This server's name: it has letters"),
        ({"prefix": ""}, "Prefix: up to 8 levels"),
        ({"prefix": "a/#"}, "Prefix: up to 8 levels"),
        ({"prefix": "/a"}, "Prefix: up to 8 levels"),
        ({"prefix": "a/" * 9 + "a"}, "Prefix: up to 8 levels"),
        ({"discovery_prefix": "+"}, "Discovery prefix: up to 8 levels"),
        ({"password": "x"}, "User: a password needs one"),
        ({"ca": "-----BEGIN CERTIFICATE-----"}, "Authority: it is of use with TLS only"),
        ({"tls": True, "ca": "/etc/ca.pem"}, "Authority: PEM text is wanted"),
        ({"client_id": "a\x00"}, "User and client id: characters that can be printed only"),
    ],
)
def test_settings_that_cannot_be(other: dict[str, Any], words: str | None) -> None:
    settings = msgspec.convert(GOOD | other, MqttSettings)
    if words is None:
        check_mqtt(settings)
        return
    with pytest.raises(ValueError) as refusal:
        check_mqtt(settings)
    assert str(refusal.value).startswith(words)


def test_names_of_sparkplug_may_be_of_many_words() -> None:
    check_sparkplug(SparkplugSettings(host="broker", group="Plant 1", node="Linie Süd"))
    for name in ("a/b", "a+", "#", "a\n"):
        with pytest.raises(ValueError, match=r"^Group: 1 to 64 characters, none of"):
            check_sparkplug(SparkplugSettings(host="broker", group=name, node="line4"))


@pytest.mark.parametrize("name", ["mqtt", "sparkplug"])
def test_a_form_can_be_made_of_them_and_no_password_is_in_it(name: str) -> None:
    kind = KINDS[name]
    assert kind.secrets == {"password"} and kind.extra == "mqtt"
    assert [one.name for one in kind.fields if one.required] == ["host"] + (
        ["node"] if name == "mqtt" else ["group", "node"]
    )
    assert all(one.title for one in kind.fields)


async def test_what_the_server_tells_of_its_streams_is_how_they_stand(model: FakeModel, tmp_path: Path) -> None:
    """Otherwise it would be taken for a state of then."""
    told: list[tuple[Status, bool]] = []
    async with serving(model, tmp_path, silent_after_s=0.1) as server:
        app: Any = server.server.config.app  # type: ignore[attr-defined]
        (sinks,) = (one for one in app.state.watched if isinstance(one, Sinks))
        seen = Seen(sinks.line, (), 9)

        def hear(one: Told) -> None:
            if isinstance(one.message, Status) and one.message.stream == "press":
                told.append((one.message, seen.is_stale(outgoing(one))))

        app.state.hub.listen(hear)
        async with connect(f"{server.ws}/ws/stream?name=press") as sender, http(server) as client:
            await sender.send(picture())
            await receive_result(sender)
            await until(lambda: told[-1][0].state == "silent")
            (recipe,) = (await client.get("/api/recipes")).json()["recipes"]
            change = {"version": recipe["version"], "parts": {"by": "trigger", "frames": 1}}
            answer = await client.patch(f"/api/recipes/{recipe['id']}", json=change)
            assert answer.status_code == 200, answer.text
            await until(lambda: told[-1][0].parts_by == "trigger")
        await until(lambda: told[-1][0].state == "waiting")
    assert {one.state for one, _ in told} == {"live", "silent", "waiting"}
    assert not [one for one, is_stale in told if is_stale]
