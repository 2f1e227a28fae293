"""Messages: JSON, schema and documentation say the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from server.words.messages import (
    CameraInfo,
    Error,
    Goodbye,
    Heatmap,
    Message,
    Picture,
    Result,
    Simulated,
    Status,
    StreamInfo,
    encode,
    reference,
    schema,
)
from tests.server.fakes import read

ROOT = Path(__file__).parents[3]

count = st.integers(0, 2**53)
number = st.floats(0, 1e9)
text = st.text(st.characters(exclude_categories=["Cs"]))
heatmaps = st.builds(Heatmap, count, count, text)
pictures = st.builds(Picture, count, count, text)
simulated = st.builds(Simulated, count, st.none() | text)
results = st.builds(
    Result,
    stream=text,
    seq=count,
    score=number,
    raw_score=number,
    threshold=number,
    threshold_source=st.sampled_from(["environment", "calibration", "model", "uncalibrated"]),
    is_anomaly=st.booleans(),
    verdict=st.sampled_from(["NORMAL", "ANOMALY"]),
    received=count,
    inspected=count,
    dropped=count,
    failed=count,
    anomalies=count,
    latency_ms=number,
    heatmap=heatmaps,
    picture=st.just(UNSET) | pictures,
    simulated=st.just(UNSET) | simulated,
)
errors = st.builds(
    Error, stream=text, seq=count, error=text, received=count, inspected=count, dropped=count, failed=count
)
statuses = st.builds(Status, text, st.sampled_from(["live", "silent", "waiting"]))


goodbyes = st.builds(Goodbye, text, st.integers(1000, 4999), text)


@given(results | errors | statuses | goodbyes)
def test_every_message_is_what_the_schema_says(message: Message) -> None:
    assert read(encode(message)) == message
    _check(json.loads(encode(message)), schema()[type(message).__name__])


def _check(value: Any, rules: dict[str, Any]) -> None:
    """As much of JSON schema as ours uses."""
    if "$ref" in rules:
        _check(value, schema()[rules["$ref"].rpartition("/")[2]])
    elif "anyOf" in rules:
        fits = []
        for rule in rules["anyOf"]:
            try:
                _check(value, rule)
                fits.append(rule)
            except AssertionError:
                pass
        assert fits, value
    elif "enum" in rules:
        assert value in rules["enum"]
    elif rules["type"] == "object":
        assert set(rules["required"]) <= set(value) <= set(rules["properties"])
        for name, member in value.items():
            _check(member, rules["properties"][name])
    else:
        types = {"string": str, "integer": int, "number": float | int, "boolean": bool, "null": type(None)}
        assert isinstance(value, types[rules["type"]])


def test_field_order_is_the_order_on_the_wire() -> None:
    assert list(json.loads(encode(Status("a", "live")))) == ["type", "stream", "state"]


def test_what_is_absent_is_not_null() -> None:
    error = Error("a", 0, "broken", 1, 0, 0, 1)
    assert b"null" not in msgspec.json.encode(error)


@pytest.mark.parametrize("struct", [*get_args(Message), StreamInfo, CameraInfo, Heatmap, Picture, Simulated])
def test_every_field_is_described(struct: type[msgspec.Struct]) -> None:
    for name in struct.__struct_fields__:
        assert f"| `{name}` | " in reference()


def test_the_documentation_agrees() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()
    tables = page.partition("<!-- messages -->\n")[2].partition("\n<!-- /messages -->")[0]
    assert tables == reference(), "put the output of `python -m server.words.messages` between the marks"


def test_the_command_prints_the_tables() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "server.words.messages"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == reference() + "\n"
