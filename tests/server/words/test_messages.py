"""Messages: JSON, schema and documentation say the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import UNSET

from server.ingest.webrtc import peer
from server.words.messages import (
    CameraInfo,
    Change,
    Error,
    Goodbye,
    Heartbeat,
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
VALIDATOR = Draft202012Validator(schema())

count = st.integers(0, 2**53)
number = st.floats(0, 1e9)
share = st.floats(0, 1)
text = st.text(st.characters(exclude_categories=["Cs"]))
heatmaps = st.builds(Heatmap, count, count, text)
pictures = st.builds(Picture, count, count, text)
simulated = st.builds(Simulated, count, st.none() | text)
results = st.builds(
    Result,
    stream=text,
    seq=count,
    score=share,
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
    at=text,
    recipe=text,
    recipe_version=count,
    model=text,
    heatmap=st.just(UNSET) | heatmaps,
    picture=st.just(UNSET) | pictures,
    simulated=st.just(UNSET) | simulated,
    part=st.just(UNSET) | text,
    repeated=st.just(UNSET) | st.booleans(),
)
errors = st.builds(
    Error, stream=text, seq=count, error=text, received=count, inspected=count, dropped=count, failed=count
)
states = st.sampled_from(["live", "silent", "waiting", "teaching"])
statuses = st.builds(Status, text, states)
heartbeats = st.builds(
    Heartbeat,
    text,
    text,
    states,
    st.none() | st.sampled_from(["NORMAL", "ANOMALY"]),
    st.none() | text,
    st.none() | number,
)
changes = st.builds(
    Change,
    text,
    st.sampled_from(["threshold", "recipe", "model"]),
    text,
    text,
    text,
    count,
    text,
    number,
    text,
    st.none() | text,
)

goodbyes = st.builds(Goodbye, text, st.integers(1000, 4999), text)
any_message = results | errors | statuses | heartbeats | changes | goodbyes


@given(any_message)
def test_every_message_is_what_the_schema_says(message: Message) -> None:
    assert read(encode(message)) == message
    VALIDATOR.validate(json.loads(encode(message)))


@given(any_message, st.data())
def test_what_lacks_a_field_or_holds_another_kind_of_value_is_no_message(message: Message, data: st.DataObject) -> None:
    body = json.loads(encode(message))
    needed = schema()["$defs"][type(message).__name__]["required"]
    name = data.draw(st.sampled_from(needed))
    assert not VALIDATOR.is_valid({key: value for key, value in body.items() if key != name})
    assert not VALIDATOR.is_valid(body | {name: ["none", "of", "ours"]})
    assert VALIDATOR.is_valid(body | {"field_of_a_later_version": 1})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("type"), inner, max_size=3),
    )
)
def test_any_other_json_is_refused(body: object) -> None:
    assert not VALIDATOR.is_valid(body)


def test_the_schema_is_one_and_has_a_root_that_refuses() -> None:
    Draft202012Validator.check_schema(schema())
    kinds = {kind.__name__ for kind in get_args(Message)}
    assert {one["$ref"].rpartition("/")[2] for one in schema()["oneOf"]} == kinds
    assert not VALIDATOR.is_valid({"type": "frame"}) and not VALIDATOR.is_valid({})


def test_field_order_is_the_order_on_the_wire() -> None:
    assert list(json.loads(encode(Status("a", "live")))) == ["type", "stream", "state"]


def test_what_is_absent_is_not_null() -> None:
    error = Error("a", 0, "broken", 1, 0, 0, 1)
    assert b"null" not in msgspec.json.encode(error)


@pytest.mark.parametrize("struct", [*get_args(Message), StreamInfo, CameraInfo, Heatmap, Picture, Simulated])
def test_every_field_is_described(struct: type[msgspec.Struct]) -> None:
    for name in struct.__struct_encode_fields__:
        assert f"| `{name}` | " in reference()


def test_every_goodbye_is_named() -> None:
    codes = (peer.POLICY_VIOLATION, peer.TAKEN_OVER, peer.NO_LONGER_ALLOWED, peer.SHUTTING_DOWN)
    described = next(line for line in reference().partition("### `goodbye`")[2].splitlines() if "| `code` |" in line)
    assert all(str(code) in described for code in codes)


def test_the_documentation_agrees() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()
    tables = page.partition("<!-- messages -->\n")[2].partition("\n<!-- /messages -->")[0]
    assert tables == reference(), "put the output of `python -m server.words` between the marks"


def test_the_command_prints_the_tables() -> None:
    run = subprocess.run([sys.executable, "-m", "server.words"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == reference() + "\n"
