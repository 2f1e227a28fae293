"""Which of several thresholds decides."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from server.inspection.inspected import NO_RECIPE
from server.inspection.threshold import InUse, Threshold
from server.recipes import ThresholdRule
from tests.server.fakes import FakeModel
from tests.server.inspection.test_calibrations import stored

FOR_ALL = stored(threshold=12.0)
PRESS = stored(threshold=8.0, alone=True, stream="press", transport="webrtc")
VIDEO = stored(threshold=10.0, transport="webrtc", stream="gate")


def in_use(*calibrations: Any, environment: float | None = None) -> InUse:
    return InUse(NO_RECIPE, FakeModel(), "key", calibrations, environment, math.nan)


def value(threshold: Threshold) -> float:
    return threshold.value


@pytest.mark.parametrize(
    ("stream", "was", "passes_at", "alarms_at"),
    [
        ("press", PRESS, 8.0, 12.0),
        ("gate", FOR_ALL, 12.0, 12.0),
        ("gate", VIDEO, 10.0, 12.0),
        ("gate", None, 10.0, 12.0),
        ("gate", stored(threshold=99.0), 10.0, 12.0),  # recalibrated since
    ],
)
def test_a_frame_passes_by_what_holds_where_it_came_and_alarms_by_the_highest(
    stream: str, was: Any, passes_at: float, alarms_at: float
) -> None:
    known = in_use(FOR_ALL, VIDEO, PRESS)
    of_frame = Threshold(0.0, "calibration", math.nan, was)
    assert value(known.passed_by(stream, of_frame)) == passes_at
    assert value(known.highest(stream)) == alarms_at


def test_one_for_all_is_both() -> None:
    for known in (
        in_use(FOR_ALL, PRESS, environment=7.0),
        replace((one := in_use(FOR_ALL, PRESS)), recipe=one.with_rule(ThresholdRule(raw=7.0)).recipe),
    ):
        assert value(known.passed_by("press", known.newest())) == value(known.highest("gate")) == 7.0
