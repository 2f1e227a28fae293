"""The log names the first part that was not judged, and how many were not once all is well again."""

from __future__ import annotations

import logging

import pytest

from server.metrics import PartLog
from server.metrics.part_log import CALM
from server.streams import Hub
from tests.server.metrics.test_totals import part


@pytest.fixture
def hub(caplog: pytest.LogCaptureFixture) -> Hub:
    caplog.set_level(logging.INFO)
    hub = Hub()
    PartLog(hub)
    return hub


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_trouble_is_two_lines(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(50):
        hub.publish(part("press", "FAILED", f"id{number}"))
    for number in range(50, 50 + 2 * CALM):
        hub.publish(part("other", "NORMAL", "fine"))
        hub.publish(part("press", "NORMAL", f"id{number}"))
    first, last = lines(caplog)
    assert "stream=press id=id0 " in first
    assert f"stream=press id=id{49 + CALM} failed=50 of=50 last_failed=id49" in last


@pytest.mark.parametrize("every", [2, 3, CALM])
def test_a_line_that_judges_some_of_its_parts_does_not_fill_the_log(
    hub: Hub, caplog: pytest.LogCaptureFixture, every: int
) -> None:
    for number in range(300):
        hub.publish(part("press", "NORMAL" if number % every else "FAILED", f"id{number}"))
    assert len(lines(caplog)) == 1
    for number in range(CALM):
        hub.publish(part("press", "ANOMALY", f"later{number}"))
    _, last = lines(caplog)
    assert f"failed={-(-300 // every)} of={1 + (299 // every) * every} " in last


def test_what_is_well_is_no_line(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    for verdict in ("NORMAL", "ANOMALY") * 50:
        hub.publish(part("press", verdict, "fine"))
    assert lines(caplog) == []
