"""At a real broker, which is frozen, killed, and refuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.sinks import Choice, Draft, Sinks
from server.sinks.choice import Chooser
from server.sinks.mqtt import broker as broker_module
from server.sinks.mqtt.broker import connected
from server.sinks.mqtt.publication import Publication
from server.sinks.mqtt.settings import MqttSettings
from server.sinks.mqtt.sink import MqttSink
from server.sinks.outbox import BoundedOutbox
from server.streams import Hub, Told
from server.words import Change
from tests.server.sinks.fakes import part, result
from tests.server.sinks.mqtt.mosquitto import Mosquitto, kept_at, listening, needs_mosquitto
from tests.server.sinks.mqtt.plant import OTHER, FakeLine, Running, around, running

pytestmark = needs_mosquitto


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A broker that nobody stops; each test has a node of its own there."""
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto")).start()
    yield broker
    broker.kill()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker to be stopped; it remembers who listens, but for whom it is killed in mid-sentence."""
    lines = ["persistence true", f"persistence_location {tmp_path}/", "autosave_on_changes true", "autosave_interval 1"]
    broker = Mosquitto(tmp_path, lines).start()
    yield broker
    broker.kill()


@pytest.fixture
def node() -> str:
    return f"n{uuid.uuid4().hex[:8]}"


def settings(broker: Mosquitto, node: str, **other: Any) -> MqttSettings:
    return MqttSettings(**({"host": "127.0.0.1", "port": broker.port, "node": node} | other))


def making(line: FakeLine | None, chosen: MqttSettings, address: str | None = None) -> Callable[[], MqttSink]:
    return lambda: MqttSink(chosen, around(line, address))


def ids(payloads: list[bytes]) -> list[str]:
    return [json.loads(payload)["id"] for payload in payloads]


def first_of_each(found: list[str]) -> list[str]:
    return [*dict.fromkeys(found)]


async def test_each_part_is_one_message_and_the_last_verdict_is_kept(shared: Mosquitto, node: str) -> None:
    base = f"defectvision/{node}"
    make = making(FakeLine(), settings(shared, node), "https://plant.example/line4/")
    async with listening(shared.port, f"{base}/#") as heard, running(make) as life:
        good = part(part="A-7")
        bad = part(part="A-8", verdict="ANOMALY", picture="/api/parts/2/picture")
        life.tell(good, bad)
        await life.until_told()
        await heard.until(lambda: len(heard.of(f"{base}/a/verdict")) == 2)
        kept = await kept_at(shared.port, f"{base}/#")
    told = [json.loads(payload) for payload in heard.of(f"{base}/a/part")]
    assert [(one["type"], one["part"], one["verdict"]) for one in told] == [
        ("part", "A-7", "NORMAL"),
        ("part", "A-8", "ANOMALY"),
    ]
    assert told[1]["picture"] == "https://plant.example/line4/api/parts/2/picture"
    assert "heatmap" not in told[1]
    assert set(kept) == {f"{base}/status", f"{base}/a/state", f"{base}/a/verdict"}
    assert kept[f"{base}/status"] == b"online"
    assert json.loads(kept[f"{base}/a/state"])["state"] == "live"
    last = json.loads(kept[f"{base}/a/verdict"])
    assert (last["verdict"], last["of"], last["part"]) == ("ANOMALY", "part", "A-8")
    assert (last["parts"], last["rejected"], last["failed"]) == (2, 1, 0)


async def test_messages_say_what_they_are_and_how_long_they_hold(shared: Mosquitto, node: str) -> None:
    async with (
        listening(shared.port, f"defectvision/{node}/a/part") as heard,
        running(making(FakeLine(), settings(shared, node))) as life,
    ):
        life.tell(part())
        await heard.until(lambda: bool(heard.messages))
    properties = heard.messages[0].properties
    assert properties is not None
    assert properties.ContentType == "application/json"
    assert 86_300 < properties.MessageExpiryInterval <= 86_400
    assert heard.messages[0].qos == 1 and not heard.messages[0].retain


async def test_free_running_streams_tell_changes_of_verdict(shared: Mosquitto, node: str) -> None:
    base = f"defectvision/{node}"
    async with (
        listening(shared.port, f"{base}/#") as heard,
        running(making(FakeLine(), settings(shared, node))) as life,
    ):
        life.tell(result(verdict="NORMAL"), result(verdict="NORMAL"), result(verdict="ANOMALY", is_anomaly=True))
        await life.until_told()
        await heard.until(lambda: len(heard.of(f"{base}/a/verdict")) == 2)
        said = [json.loads(payload) for payload in heard.of(f"{base}/a/verdict")]
    assert [(one["verdict"], one["of"]) for one in said] == [("NORMAL", "frame"), ("ANOMALY", "frame")]
    assert not heard.of(f"{base}/a/part")


async def test_a_stream_that_goes_leaves_nothing_behind(shared: Mosquitto, node: str) -> None:
    base, line = f"defectvision/{node}", FakeLine(["a", "b"])
    async with listening(shared.port, f"{base}/#") as heard, running(making(line, settings(shared, node))) as life:
        life.tell(part(stream="b"))
        await life.until_told()
        line.running.remove("b")
        life.tell(line.status("b"))
        await life.until_told()
        await heard.until(lambda: b"waiting" in (heard.last(f"{base}/b/state") or b""))
        kept = await kept_at(shared.port, f"{base}/#")
    assert set(kept) == {f"{base}/status", f"{base}/a/state"}


async def test_a_hundred_streams_are_told_of(shared: Mosquitto, node: str) -> None:
    names = [f"s{number}" for number in range(100)]
    async with running(making(FakeLine(names), settings(shared, node, home_assistant=True))):
        kept = await kept_at(shared.port, f"defectvision/{node}/+/state")
        devices = await kept_at(shared.port, "homeassistant/#")
    assert {*kept} == {f"defectvision/{node}/{one}/state" for one in names}
    assert len([topic for topic in devices if node in topic]) == 100
    assert {*await kept_at(shared.port, f"defectvision/{node}/+/state")} == set()


async def test_changes_are_told(shared: Mosquitto, node: str) -> None:
    change = Change("a", "recipe", "2026-11-26T10:00:00.000+00:00", "r-2", "bottle", 3, "b" * 64, 2.0, "recipe", "Ann")
    async with (
        listening(shared.port, f"defectvision/{node}/a/change") as heard,
        running(making(FakeLine(), settings(shared, node))) as life,
    ):
        life.tell(Told(change))
        await heard.until(lambda: bool(heard.messages))
    assert json.loads(heard.of(f"defectvision/{node}/a/change")[0])["recipe"] == "r-2"


async def test_at_a_clean_end_it_is_offline_and_nothing_else_is_kept(shared: Mosquitto, node: str) -> None:
    async with running(making(FakeLine(), settings(shared, node))) as life:
        life.tell(part())
        await life.until_told()
    assert await kept_at(shared.port, f"defectvision/{node}/#") == {f"defectvision/{node}/status": b"offline"}


async def test_what_a_killed_run_has_left_is_cleared_by_the_next(shared: Mosquitto, node: str) -> None:
    base = f"defectvision/{node}"
    async with listening(shared.port, f"{base}/#") as heard:
        for topic in ("gone/state", "gone/verdict", "a/verdict"):
            await heard.client.publish(f"{base}/{topic}", b'{"verdict":"NORMAL"}', qos=1, retain=True)
        async with running(making(FakeLine(), settings(shared, node))):
            await heard.until(lambda: all(heard.last(f"{base}/{one}") == b"" for one in ("gone/state", "gone/verdict")))
            await heard.until(lambda: heard.last(f"{base}/a/verdict") == b"")
            assert set(await kept_at(shared.port, f"{base}/#")) == {f"{base}/status", f"{base}/a/state"}


async def test_whoever_says_that_we_are_offline_while_we_are_not_is_corrected(shared: Mosquitto, node: str) -> None:
    topic = f"defectvision/{node}/status"
    async with running(making(FakeLine(), settings(shared, node))), listening(shared.port, topic) as heard:
        await heard.client.publish(topic, b"offline", qos=1, retain=True)
        await heard.until(lambda: heard.last(topic) == b"online" and b"offline" in heard.of(topic))


async def test_streams_of_which_no_event_says_that_they_came_or_went(shared: Mosquitto, node: str) -> None:
    base, line = f"defectvision/{node}", FakeLine(["a"])
    async with listening(shared.port, f"{base}/#") as heard, running(making(line, settings(shared, node))) as life:
        life.tell(part())
        await life.until_told()
        line.running = ["b"]
        await heard.until(lambda: heard.last(f"{base}/a/verdict") == b"" and bool(heard.last(f"{base}/b/state")))
        assert {*await kept_at(shared.port, f"{base}/#")} == {f"{base}/status", f"{base}/b/state"}
        line.running = ["a", "b"]
        await heard.until(lambda: b"live" in (heard.last(f"{base}/a/state") or b""))


async def test_how_a_stream_stands_is_seen_where_no_event_says_so(shared: Mosquitto, node: str) -> None:
    topic, line = f"defectvision/{node}/a/state", FakeLine()
    untold = Running(BoundedOutbox(Chooser(Choice(state=False))))
    make = making(line, settings(shared, node))
    async with listening(shared.port, topic) as heard, running(make, begin=untold) as life:
        await heard.until(lambda: b"r-1" in (heard.last(topic) or b""))
        line.recipe, line.camera = OTHER, "silent"
        life.tell(line.status("a"))
        await heard.until(lambda: b"r-2" in (heard.last(topic) or b""))
        said = json.loads(heard.of(topic)[-1])
    assert (said["state"], said["recipe_name"], said["recipe_version"]) == ("silent", "can", 1)


async def test_what_was_told_before_it_was_switched_off_is_not_told_as_of_now(shared: Mosquitto, node: str) -> None:
    base, line = f"defectvision/{node}", FakeLine()
    make = making(line, settings(shared, node))
    async with running(make) as life:
        life.tell(line.status("a"), part(verdict="ANOMALY"))
        await life.until_told()
    line.recipe, line.camera = OTHER, "silent"
    async with listening(shared.port, f"{base}/#") as heard, running(make) as life:
        kept = await kept_at(shared.port, f"{base}/#")
        assert set(kept) == {f"{base}/status", f"{base}/a/state"}
        said = json.loads(kept[f"{base}/a/state"])
        assert (said["state"], said["recipe"]) == ("silent", "r-2")
        assert not any(heard.of(f"{base}/a/verdict")), "the one of before"
        life.tell(result(verdict="NORMAL", recipe="r-2"), part())
        await life.until_told()
        await heard.until(lambda: len(heard.of(f"{base}/a/verdict")) == 2)
    assert json.loads(heard.of(f"{base}/a/verdict")[1])["parts"] == 2, "counted on"


async def test_of_a_stream_that_went_and_came_while_the_broker_was_away_the_verdict_of_before_goes(
    own: Mosquitto, node: str
) -> None:
    base, line = f"defectvision/{node}", FakeLine()
    async with running(making(line, settings(own, node))) as life:
        life.tell(part())
        await life.until_told()
        own.kill()
        line.running = []
        went = line.status("a")
        line.running, line.recipe = ["a"], OTHER
        life.tell(went, line.status("a"))
        own.start()
        await life.until_told()
        kept = await kept_at(own.port, f"{base}/#")
        assert set(kept) == {f"{base}/status", f"{base}/a/state"}
        assert json.loads(kept[f"{base}/a/state"])["recipe"] == "r-2"


# a broker that goes


async def test_while_a_broker_is_frozen_nothing_is_lost_and_order_is_kept(
    own: Mosquitto, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "ANSWER_S", 0.4)
    topic = f"defectvision/{node}/a/part"
    told = [part() for _ in range(60)]
    async with listening(own.port, topic) as heard, running(making(FakeLine(), settings(own, node))) as life:
        life.tell(*told[:20])
        await life.until(lambda: life.box.delivered > 5)
        own.freeze()
        life.tell(*told[20:40])
        await life.until(lambda: bool(life.errors))
        own.thaw()
        life.tell(*told[40:])
        await life.until_told()
        await heard.until(lambda: len({*ids(heard.of(topic))}) == 60)
    assert first_of_each(ids(heard.of(topic))) == [one.message.id for one in told]  # type: ignore[union-attr]
    assert life.box.dropped == 0
    assert "hanging" in life.errors[0] or "does not answer" in life.errors[0]


async def test_while_a_broker_is_dead_nothing_is_lost_and_it_is_told_everything_at_once_when_it_is_back(
    own: Mosquitto, node: str
) -> None:
    base = f"defectvision/{node}"
    told = [part() for _ in range(40)]
    make = making(FakeLine(), settings(own, node))
    async with listening(own.port, f"{base}/a/part", identifier="mes", stays=True) as before, running(make) as life:
        life.tell(*told[:20])
        await before.until(lambda: len(before.of(f"{base}/a/part")) == 20)
        await life.until_told()
        own.kill()
        life.tell(*told[20:])
        await life.until(lambda: len(life.errors) > 1)
        assert life.box.waiting == 20
        own.start()
        async with listening(own.port, f"{base}/a/part", identifier="mes", stays=True) as after:
            await life.until_told()
            await after.until(lambda: len({*ids(after.of(f"{base}/a/part"))}) >= 20)
            kept = await kept_at(own.port, f"{base}/#")
    found = ids(before.of(f"{base}/a/part")) + ids(after.of(f"{base}/a/part"))
    assert first_of_each(found) == [one.message.id for one in told]  # type: ignore[union-attr]
    assert kept[f"{base}/status"] == b"online" and f"{base}/a/state" in kept
    assert json.loads(kept[f"{base}/a/verdict"])["parts"] == 40, "each is counted once"
    assert any("lost" in error or "cannot be reached" in error for error in life.errors)


async def test_a_broker_that_forgot_everything_is_told_the_last_verdict_again(tmp_path: Path, node: str) -> None:
    broker = Mosquitto(tmp_path).start()
    try:
        async with running(making(FakeLine(), settings(broker, node))) as life:
            life.tell(part(part="A-9"))
            await life.until_told()
            broker.kill()
            broker.start()
            await life.until(lambda: len(life.up) == 2)
            kept = await kept_at(broker.port, f"defectvision/{node}/#")
        assert json.loads(kept[f"defectvision/{node}/a/verdict"])["part"] == "A-9"
    finally:
        broker.kill()


async def test_others_hear_that_the_server_died(shared: Mosquitto, node: str) -> None:
    topic = f"defectvision/{node}/status"
    async with listening(shared.port, topic) as heard:
        sink = making(FakeLine(), settings(shared, node))()
        async with running(lambda: sink):
            await heard.until(lambda: heard.last(topic) == b"online")
            async with listening(shared.port, "nothing", identifier=f"defectvision-{node}"):
                # The broker ends our connection, as it does when it hears nothing any more.
                await heard.until(lambda: b"offline" in heard.of(topic))


async def test_the_will_is_handed_out_when_the_server_is_gone_without_a_word(shared: Mosquitto, node: str) -> None:
    will = Publication(f"defectvision/{node}/status", b"offline", retain=True, content_type="text/plain")
    async with (
        listening(shared.port, will.topic) as heard,
        connected(settings(shared, node), f"defectvision-{node}", will) as broker,
    ):
        sock = broker._paho.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)  # as the system does for a process that was killed
        await heard.until(lambda: heard.last(will.topic) == b"offline")
    assert await kept_at(shared.port, will.topic) == {will.topic: b"offline"}


async def test_when_the_plant_asks_for_a_stop_while_the_broker_is_frozen_it_ends_all_the_same(
    own: Mosquitto, node: str
) -> None:
    async with running(making(FakeLine(), settings(own, node))) as life:
        own.freeze()
        life.tell(part())
    # running() asserts that it ended within a second
    own.thaw()


async def test_a_sink_that_is_stopped_while_it_connects_leaves_no_connection(own: Mosquitto, node: str) -> None:
    own.freeze()
    box = BoundedOutbox(Chooser(Choice()))
    task = asyncio.create_task(making(FakeLine(), settings(own, node))().run(box.turn()))
    await until(lambda: own.port in connected_to())  # the kernel has taken it, the broker has not
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    own.thaw()
    await until(lambda: own.port not in connected_to())


async def until(true: Callable[[], bool]) -> None:
    """Looks again and again: of what is asked nobody is told."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def connected_to() -> list[int]:
    """Ports that this process is connected to."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(path.stat().st_mode):
                with socket.socket(fileno=os.dup(int(path.name))) as one:
                    found += [one.getpeername()[1]] if one.family == socket.AF_INET else []
    return found


# as the server has it


async def test_it_is_set_up_tried_told_and_removed_as_the_page_does_it(
    shared: Mosquitto, node: str, tmp_path: Path
) -> None:
    base, hub, line = f"defectvision/{node}", Hub(), FakeLine(["a", "b"])
    sinks = Sinks(tmp_path, hub, line=line, address="https://plant.example/")
    sinks.start()
    chosen = {"host": "127.0.0.1", "port": shared.port, "node": node}
    draft = Draft("mqtt", "broker", True, Choice(streams=("a",)), chosen)
    try:
        assert "came back" in await sinks.try_out(draft)
        stored = await sinks.add(draft, "a test")
        await until(lambda: sinks.state(stored.id).state == "up")
        async with listening(shared.port, f"{base}/a/part") as heard:
            hub.publish(part(stream="b").message)
            hub.publish(part(picture="api/x").message)
            await heard.until(lambda: bool(heard.messages))
        await until(lambda: sinks.state(stored.id).delivered == 1)
        assert json.loads(heard.of(f"{base}/a/part")[0])["picture"] == "https://plant.example/api/x"
        assert {*await kept_at(shared.port, f"{base}/#")} == {f"{base}/status", f"{base}/a/state", f"{base}/a/verdict"}
        await sinks.remove(stored.id, "a test")
        assert await kept_at(shared.port, f"{base}/#") == {f"{base}/status": b"offline"}
    finally:
        await sinks.stop()
