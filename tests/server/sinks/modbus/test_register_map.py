"""The map: nothing overlaps, Cognex's words are where they are there, and the documentation says the same."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.sinks.modbus import register_map
from server.sinks.modbus.reference import reference
from server.sinks.modbus.register_map import (
    INPUT_WORDS,
    INPUTS,
    OUTPUT_WORDS,
    OUTPUTS,
    Control,
    Status,
    WordOrder,
    pack,
    sixteen_bits,
    text,
    two_words,
    uint32,
)
from tests.running import ROOT

orders = st.sampled_from(["high word first", "low word first"])


def test_no_word_is_two_things() -> None:
    for fields, size in ((INPUTS, INPUT_WORDS), (OUTPUTS, OUTPUT_WORDS)):
        taken = [word for one in fields for word in range(one.at, one.at + one.length)]
        assert len(taken) == len(set(taken)) and max(taken) < size


def test_what_in_sight_cameras_have_is_where_they_have_it() -> None:
    """https://support.cognex.com/docs/is_611/web/EN/ise/Content/Communications_Reference/ModbusTCP_5x.htm"""
    assert [one.name for one in OUTPUTS if one.at < 5] == [
        "recipe",
        "error code",
        "acquisition id",
        "inspection id",
        "result code",
    ]
    assert [Control.ENABLE, Control.TRIGGER, Control.RESULTS_ACK, Control.EXECUTE, Control.OFFLINE] == [0, 1, 3, 4, 7]
    assert int(Control.CLEAR_ERROR) == 18
    first = [Status.READY, Status.TRIGGER_ACK, Status.MISSED, Status.OFFLINE_REASON, Status.ONLINE]
    assert first == [0, 1, 3, 4, 7]
    second = [Status.BUSY, Status.COMPLETED, Status.OVERRUN, Status.VALID, Status.EXECUTING, Status.EXECUTED]
    assert [*second, Status.EXECUTE_FAILED, Status.ERROR, Status.PASS] == [8, 9, 10, 11, 12, 13, 14, 15, 20]
    assert (register_map.CONTROL_AT, register_map.STATUS_AT, register_map.MIRROR) == (0, 100, 5000)


@given(st.integers(0, 0xFFFFFFFF), orders)
def test_numbers_come_back(number: int, order: WordOrder) -> None:
    assert uint32(two_words(number, "uint32", order), order) == number
    words = pack({"part number": number}, order)
    at = next(one.at for one in OUTPUTS if one.name == "part number")
    assert uint32(words[at : at + 2], order) == number and sum(map(bool, words)) <= 2


@given(st.floats(width=32, allow_nan=False))
def test_floats_come_back(number: float) -> None:
    assert struct.unpack(">f", struct.pack(">HH", *two_words(number, "float32", "high word first")))[0] == number
    assert two_words(number, "float32", "low word first") == two_words(number, "float32", "high word first")[::-1]


def test_text() -> None:
    assert text([0x4142, 0x4300, 0x4444]) == "ABC" and text([0, 0]) == "" and text([0x2041, 0x2020]) == "A"
    with pytest.raises(ValueError, match="no ASCII"):
        text([0x41E4])


def test_a_count_in_16_bits_is_never_nothing() -> None:
    assert [sixteen_bits(number) for number in (0, 1, 65535, 65536, 131071)] == [0, 1, 65535, 1, 1]


def test_the_documentation_agrees() -> None:
    page = (ROOT / "docs" / "modbus.md").read_text()
    tables = page.partition("<!-- map -->\n")[2].partition("\n<!-- /map -->")[0]
    assert tables == reference(), "put the output of `python -m server.sinks.modbus` between the marks"


def test_the_command_prints_the_tables() -> None:
    command = [sys.executable, "-m", "server.sinks.modbus"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == reference() + "\n"
