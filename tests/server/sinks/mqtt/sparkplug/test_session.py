"""Births, numbers and aliases, read by another library than ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pysparkplug = pytest.importorskip("pysparkplug", reason="Sparkplug is read by pysparkplug")

from server.sinks.mqtt.publication import Publication  # noqa: E402
from server.sinks.mqtt.sparkplug.devices import METRICS, DeviceTold, told  # noqa: E402
from server.sinks.mqtt.sparkplug.payload import DataType, Metric, asks_for, encode  # noqa: E402
from server.sinks.mqtt.sparkplug.session import REBIRTH, Session  # noqa: E402
from tests.server.fakes import status  # noqa: E402
from tests.server.sinks.fakes import part, result  # noqa: E402
from tests.server.sinks.mqtt.sparkplug.host import Host  # noqa: E402

NOW = 1_800_000_000_000


def read(host: Host, publications: list[Publication]) -> Host:
    for one in publications:
        host.read(one.topic, one.payload)
    return host


def test_births_say_everything_and_data_what_changed() -> None:
    session, host = Session("Plant1", "line4", 7), Host()
    after, values = told(
        part(part="A-7", verdict="ANOMALY", at="2026-11-26T10:00:00.100+00:00").message, "part", DeviceTold(), None
    )
    read(host, session.birth({"a": {"State": "live"}}, NOW))
    read(host, session.data("a", values, NOW + 5, NOW + 5))
    assert not host.wrong
    birth, device = host.values("NBIRTH")[0], host.values("DBIRTH", "a")[0]
    assert birth == {"bdSeq": 7, REBIRTH: False, "Streams": 1}
    assert {*device} == {*METRICS} and device["State"] == "live" and device["Part/Id"] is None
    (data,) = host.values("DDATA", "a")
    assert (data["Verdict"], data["Part/Id"], data["Counts/Rejected"]) == ("ANOMALY", "A-7", 1)
    assert data["Part/At"].isoformat() == "2026-11-26T10:00:00.100000+00:00"
    assert after.values["Verdict"] == "ANOMALY"
    assert host.historical == [False, False, False]


def test_what_waited_is_told_as_history() -> None:
    session, host = Session("Plant1", "line4", 7), Host()
    read(host, session.birth({"a": {}}, NOW))
    read(host, session.data("a", {"Verdict": "NORMAL"}, NOW - 60_000, NOW))
    assert host.historical[-1] and not host.wrong


def test_numbers_run_from_0_to_255_and_on_from_0_and_a_birth_begins_anew() -> None:
    session, host = Session("Plant1", "line4", 255), Host()
    for _ in range(2):
        read(host, session.birth({"a": {}, "b": {}}, NOW))
        for _ in range(300):
            read(host, session.data("a", {"Part/Number": 1}, NOW, NOW))
        read(host, session.device_death("b", NOW))
        assert host.devices == {"a"}
        read(host, session.device_birth("b", {}, NOW))
        assert host.values("NDATA")[-1] == {"Streams": 2}
    assert not host.wrong
    death = session.death(NOW)
    assert death.qos == 1 and not death.retain
    read(host, [death])
    assert not host.is_alive
    assert host.values("NDEATH") == [{"bdSeq": 255}]


def test_the_death_of_a_former_session_kills_nobody() -> None:
    host = read(Host(), Session("Plant1", "line4", 8).birth({}, NOW))
    read(host, [Session("Plant1", "line4", 7).death(NOW)])
    assert host.is_alive


def test_state_recipes_and_verdicts_of_frames() -> None:
    now, values = told(status("a", "silent"), "state", DeviceTold(), None)
    assert values["State"] == "silent" and values["Recipe/Name"] == "fake part" and not now.is_gone
    _, values = told(result(verdict="ANOMALY").message, "verdict", now, None)
    assert values == {"Verdict": "ANOMALY", "Threshold": 1.0}
    assert told(result().message, "result", now, None) == (now, {})
    by_parts, values = told(part(picture="/api/x").message, "part", now, "https://plant.example/")
    frame = result(verdict="NORMAL", recipe="r-1").message
    assert told(frame, "verdict", by_parts, None)[1] == {}
    another = result(verdict="ANOMALY", recipe="r-2").message
    assert told(another, "verdict", by_parts, None)[1]["Verdict"] == "ANOMALY", "though no change was told"
    gone, _ = told(status("a", "waiting"), "state", by_parts, None)
    assert told(frame, "verdict", gone, None)[1]["Verdict"] == "NORMAL"
    assert values["Part/Picture"] == "https://plant.example/api/x"


VALUES: dict[DataType, Any] = {
    DataType.INT64: st.integers(-(2**63), 2**63 - 1),
    DataType.UINT64: st.integers(0, 2**64 - 1),
    DataType.DOUBLE: st.floats(allow_nan=False),
    DataType.BOOLEAN: st.booleans(),
    DataType.STRING: st.text(),
}


@given(st.one_of(*(st.tuples(st.just(kind), values | st.none()) for kind, values in VALUES.items())))
def test_every_value_is_read_as_it_was_written(said: tuple[DataType, Any]) -> None:
    kind, value = said
    raw = encode([Metric("x", kind, value, NOW, 3)], NOW, 0)
    (metric,) = pysparkplug.NBirth.decode(raw).metrics
    assert metric.value == value or (value is None and metric.is_null)
    assert (metric.name, metric.alias, metric.timestamp) == ("x", 3, NOW)


def rebirth(value: object = True, name: str = REBIRTH) -> bytes:
    kind = pysparkplug.DataType.BOOLEAN
    metric = pysparkplug.Metric(timestamp=NOW, name=name, datatype=kind, value=value)
    return bytes(pysparkplug.NCmd(timestamp=NOW, metrics=(metric,)).encode(include_dtypes=True))


def test_a_rebirth_is_understood_and_nothing_else() -> None:
    assert asks_for(rebirth(), REBIRTH)
    assert not asks_for(rebirth(value=False), REBIRTH)
    assert not asks_for(rebirth(name="Node Control/Reboot"), REBIRTH)
    assert not asks_for(rebirth() + b" " * 20_000, REBIRTH)


@given(st.binary(max_size=300))
def test_whatever_comes_as_a_command_does_no_harm(raw: bytes) -> None:
    assert asks_for(raw, REBIRTH) in (True, False)
    assert asks_for(rebirth()[: len(raw)] + raw, REBIRTH) in (True, False)
