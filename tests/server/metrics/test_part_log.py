"""The log names the first part of a row that was not judged, and the one that ended it."""

from __future__ import annotations

import logging

import pytest

from server.metrics import PartLog
from server.streams import Hub
from tests.server.metrics.test_totals import part


def test_a_row_is_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    hub = Hub()
    PartLog(hub)
    for number in range(50):
        hub.publish(part("press", "FAILED", f"id{number}"))
    hub.publish(part("other", "NORMAL", "fine"))
    hub.publish(part("press", "NORMAL", "id50"))
    first, last = (record.getMessage() for record in caplog.records)
    assert "stream=press id=id0 " in first and "stream=press id=id50 failed=50 last_failed=id49" in last
