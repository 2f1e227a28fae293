"""At a real broker, with a host that is not ours."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pysparkplug = pytest.importorskip("pysparkplug", reason="Sparkplug is read by pysparkplug")

from server.sinks.mqtt import broker as broker_module  # noqa: E402
from server.sinks.mqtt.settings import SparkplugSettings  # noqa: E402
from server.sinks.mqtt.sparkplug import SparkplugSink  # noqa: E402
from tests.server.sinks.fakes import part  # noqa: E402
from tests.server.sinks.mqtt.mosquitto import Heard, Mosquitto, listening, needs_mosquitto  # noqa: E402
from tests.server.sinks.mqtt.plant import OTHER, FakeLine, around, running  # noqa: E402
from tests.server.sinks.mqtt.sparkplug.host import Host  # noqa: E402
from tests.server.sinks.mqtt.sparkplug.test_session import rebirth  # noqa: E402

pytestmark = needs_mosquitto


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto")).start()
    yield broker
    broker.kill()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.kill()


@pytest.fixture
def node() -> str:
    return f"n{uuid.uuid4().hex[:8]}"


def making(broker: Mosquitto, node: str, line: FakeLine) -> Callable[[], SparkplugSink]:
    settings = SparkplugSettings(host="127.0.0.1", port=broker.port, group="Plant1", node=node)
    return lambda: SparkplugSink(settings, around(line))


async def test_a_node_is_born_tells_its_parts_and_dies(shared: Mosquitto, node: str) -> None:
    host, line = Host(), FakeLine(["a", "b"])
    async with listening(shared.port, f"spBv1.0/Plant1/+/{node}/#") as heard:
        async with running(making(shared, node, line)) as life:
            life.tell(part(part="A-7"), part(part="A-8", verdict="ANOMALY"))
            await life.until_told()
            line.running = ["a", "c"]
            life.tell(line.status("b"), line.status("c"))
            await life.until_told()
            await heard.until(lambda: host.hear(heard).devices == {"a", "c"})
        await heard.until(lambda: not host.hear(heard).is_alive)
    assert not host.wrong
    assert [values["Part/Id"] for values in host.values("DDATA", "a")] == ["A-7", "A-8"]
    assert host.values("DDATA", "a")[-1]["Counts/Rejected"] == 1
    assert len(host.values("NBIRTH")) == 1
    assert host.values("NDEATH")[0]["bdSeq"] == host.values("NBIRTH")[0]["bdSeq"]


async def test_streams_of_which_no_event_says_that_they_came_or_went(shared: Mosquitto, node: str) -> None:
    host, line = Host(), FakeLine(["a"])
    async with listening(shared.port, f"spBv1.0/Plant1/+/{node}/#") as heard, running(making(shared, node, line)):
        await heard.until(lambda: host.hear(heard).devices == {"a"})
        line.running = ["b"]
        await heard.until(lambda: host.hear(heard).devices == {"b"})
    assert not host.wrong


async def test_how_a_stream_stands_is_seen_and_nothing_of_before_is_born(shared: Mosquitto, node: str) -> None:
    host, line = Host(), FakeLine()
    async with listening(shared.port, f"spBv1.0/Plant1/+/{node}/#") as heard:
        async with running(making(shared, node, line)) as life:
            life.tell(line.status("a"), part(verdict="ANOMALY"))
            await life.until_told()
            line.recipe = OTHER
            await heard.until(lambda: "r-2" in [one.get("Recipe/Id") for one in host.hear(heard).values("DDATA", "a")])
        line.camera = "silent"
        async with running(making(shared, node, line)):
            await heard.until(lambda: len(host.hear(heard).values("DBIRTH", "a")) == 2)
    assert not host.wrong
    again = host.values("DBIRTH", "a")[1]
    assert (again["State"], again["Recipe/Id"], again["Counts/Parts"]) == ("silent", "r-2", 1)
    assert again["Verdict"] is None and again["Part/Verdict"] is None


async def test_a_birth_that_is_asked_for_tells_everything_again(shared: Mosquitto, node: str) -> None:
    host = Host()
    async with (
        listening(shared.port, f"spBv1.0/Plant1/+/{node}/#") as heard,
        running(making(shared, node, FakeLine())) as life,
    ):
        life.tell(part(part="A-7"))
        await life.until_told()
        command = f"spBv1.0/Plant1/NCMD/{node}"
        async with listening(shared.port, "nothing", identifier="scada") as scada:
            for payload in (b"\xff\xff", b"", rebirth()):
                await scada.client.publish(command, payload, qos=1)
        await heard.until(lambda: len([one for one in heard.messages if "DBIRTH" in str(one.topic)]) == 2)
        heard.messages[:] = [one for one in heard.messages if "NCMD" not in str(one.topic)]
        host.hear(heard)
    assert not host.wrong
    first, second = host.values("NBIRTH")
    assert first == second, "the number of the session stays"
    assert host.values("DBIRTH", "a")[1]["Part/Id"] == "A-7"


async def test_while_a_broker_is_frozen_or_dead_nothing_is_lost(
    own: Mosquitto, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "ANSWER_S", 0.4)
    host, told = Host(), [part(part=f"A-{number}") for number in range(60)]
    async with (
        listening(own.port, f"spBv1.0/Plant1/+/{node}/#") as heard,
        running(making(own, node, FakeLine())) as life,
    ):
        life.tell(*told[:20])
        await life.until(lambda: life.box.delivered > 5)
        own.freeze()
        life.tell(*told[20:])
        await life.until(lambda: bool(life.errors))
        own.thaw()
        await life.until_told()
        await heard.until(lambda: len(parts(host.hear(heard))) == 60)
        assert not host.wrong
        assert parts(host) == [f"A-{number}" for number in range(60)]
        assert any(host.historical), "what waited is history"
        life.tell(part(part="A-60"))
        await heard.until(lambda: len(parts(host.hear(heard))) == 61)
        assert not host.historical[-1]
        own.kill()
        life.tell(part(part="A-61"))
        await life.until(lambda: len(life.errors) > 2)
        own.start()
        async with listening(own.port, f"spBv1.0/Plant1/+/{node}/#") as later:
            await life.until_told()
            async with listening(own.port, "nothing", identifier="scada") as scada:
                await scada.client.publish(f"spBv1.0/Plant1/NCMD/{node}", rebirth(), qos=1)
            await later.until(lambda: "A-61" in [values["Part/Id"] for values in born(later)])


def born(heard: Heard) -> list[dict[str, Any]]:
    """What births of a device said."""
    found = []
    for one in heard.messages:
        if "DBIRTH" in str(one.topic):
            read = pysparkplug.DBirth.decode(bytes(one.payload))  # type: ignore[arg-type]
            found.append({metric.name: metric.value for metric in read.metrics})
    return found


def parts(host: Host) -> list[str]:
    """Ids of the parts that were told, each where it came first: births repeat the last one."""
    return [*dict.fromkeys(values["Part/Id"] for _, _, values in host.said if values.get("Part/Id"))]


async def test_it_is_tried_without_being_taken_for_the_node(shared: Mosquitto, node: str) -> None:
    async with listening(shared.port, f"spBv1.0/Plant1/+/{node}/#") as heard:
        said = await making(shared, node, FakeLine())().test()
        assert said.startswith(f"The broker 127.0.0.1:{shared.port} lets us in and hear spBv1.0/Plant1/NCMD/{node}")
        await heard.client.publish(f"spBv1.0/Plant1/end/{node}", b"")
        await heard.until(lambda: bool(heard.messages))
    assert [str(one.topic) for one in heard.messages] == [f"spBv1.0/Plant1/end/{node}"]
