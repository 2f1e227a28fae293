"""Registers around the handshake: what may be written, what is shown while a recipe changes, and odd results."""

from __future__ import annotations

import asyncio
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.sinks.modbus.pdu import Refusal, Refused
from server.sinks.modbus.register_map import Control, ErrorCode, Status
from server.sinks.modbus.unit import Terms, Unit
from tests.server.fakes import until
from tests.server.sinks.fakes import PART
from tests.server.sinks.modbus.fakes import FakeLine, Seen

ENABLE, TRIGGER = 1 << Control.ENABLE, 1 << Control.TRIGGER
RECIPES = {1: "r-1", 2: "name of r-2", 3: "broken"}


def unit(line: FakeLine | None = None, **terms: object) -> Unit:
    given = {"ack_within_s": 5.0, "word_order": "high word first", "holds": False} | terms
    return Unit("press", line or FakeLine(), Terms("plc", RECIPES, **given), clock=lambda: 0.0)  # type: ignore[arg-type]


def seen(unit: Unit) -> Seen:
    return Seen(unit.words("input registers", 100, 64))


@pytest.mark.parametrize(
    ("address", "count"),
    [(1, 2), (2, 1), (99, 1), (100, 1), (101, 1), (163, 1), (1999, 2), (2018, 2), (2019, 1), (7000, 1), (65535, 1)],
)
def test_nothing_beyond_control_and_inputs_can_be_written(address: int, count: int) -> None:
    one = unit()
    before = [one.words("holding registers", at, size) for at, size in ((0, 2), (2000, 19))]
    with pytest.raises(Refused) as refused:
        one.set_words(address, [7] * count, "plc")
    assert refused.value.code is Refusal.ADDRESS
    assert before == [one.words("holding registers", at, size) for at, size in ((0, 2), (2000, 19))]


@pytest.mark.parametrize(
    ("table", "address"), [("holding registers", 3), ("input registers", 0), ("input registers", 7000)]
)
def test_what_is_not_there_cannot_be_read(table: str, address: int) -> None:
    with pytest.raises(Refused):
        unit().words(table, address, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("table", ["coils", "discrete inputs"])
def test_there_are_32_bits(table: str) -> None:
    assert len(unit().bits(table, 0, 32)) == 32  # type: ignore[arg-type]
    with pytest.raises(Refused):
        unit().bits(table, 31, 2)  # type: ignore[arg-type]
    with pytest.raises(Refused):
        unit().set_bits(31, [True, True], "plc")


def test_set_offline_is_enable_low() -> None:
    one = unit()
    one.set_words(0, [ENABLE], "plc")
    assert seen(one).ready
    one.set_words(0, [ENABLE | 1 << Control.OFFLINE], "plc")
    assert not seen(one).ready


@pytest.mark.parametrize("text", ["ä".encode(), b"\x01", b"a\x7f"])
def test_a_part_id_that_cannot_be_one_is_a_missed_trigger(text: bytes) -> None:
    line = FakeLine()
    one = unit(line)
    one.set_words(0, [ENABLE], "plc")
    one.set_words(2003, struct.unpack(">16H", text.ljust(32, b"\0")), "plc")
    one.set_words(0, [ENABLE | TRIGGER], "plc")
    assert seen(one).missed and not line.asked


def test_a_trigger_that_the_line_refuses_is_missed_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    one = unit(FakeLine(refuses=True))
    one.set_words(0, [ENABLE], "plc")
    for _ in range(1000):
        one.set_words(0, [ENABLE | TRIGGER], "plc")
        one.set_words(0, [ENABLE], "plc")
    assert seen(one)["missed"] == 1000 and seen(one).missed
    assert len([one for one in caplog.records if "busy: the verdict" in one.getMessage()]) == 1


async def test_while_a_recipe_changes_nothing_is_triggered() -> None:
    line = FakeLine(goes_on=asyncio.Event())
    one = unit(line)
    one.set_words(2000, [2], "plc")
    execute = ENABLE | 1 << Control.EXECUTE
    one.set_words(0, [execute], "plc")
    await asyncio.sleep(0)
    assert seen(one).executing and not seen(one).ready and seen(one)["recipe"] == 1
    one.set_words(0, [ENABLE], "plc")
    one.set_words(2000, [1], "plc")
    one.set_words(0, [execute], "plc")  # while one is executing: not done
    assert line.goes_on is not None
    line.goes_on.set()
    await until(lambda: seen(one).execute_failed)
    assert line.chosen == "name of r-2" and seen(one).ready and not seen(one).executing
    assert not seen(one).executed, "that would be taken for the command of now"
    one.set_words(0, [ENABLE], "plc")
    assert not seen(one).execute_failed
    one.set_words(0, [execute], "plc")
    await until(lambda: seen(one).executed)
    assert line.chosen == "r-1" and not seen(one).error


async def test_why_a_recipe_is_not_used_stays_until_it_is_cleared() -> None:
    one = unit()
    for number, code in ((3, ErrorCode.RECIPE_REFUSED), (4, ErrorCode.NO_SUCH_RECIPE), (0, ErrorCode.NO_SUCH_RECIPE)):
        one.set_words(2000, [number], "plc")
        one.set_words(0, [1 << Control.EXECUTE, 0], "plc")
        await until(lambda: seen(one).execute_failed)
        one.set_words(0, [0, 0], "plc")
        assert seen(one)["error code"] == code and seen(one).error and not seen(one).execute_failed
        one.set_bits(Control.CLEAR_ERROR, [True], "plc")
        assert not seen(one).error


def test_an_older_connection_that_ends_takes_nothing_from_the_newer() -> None:
    one = unit()
    one.set_words(0, [ENABLE], "before")
    one.set_words(0, [ENABLE], "after")
    one.lost("before")
    assert seen(one).ready
    one.lost("after")
    assert not seen(one).ready and one.words("holding registers", 0, 2) == [0, 0]


EXECUTE = 1 << Control.EXECUTE


@pytest.mark.parametrize("enable", [ENABLE, 0])
async def test_a_command_after_a_lost_connection_is_none_of_before_it(enable: int) -> None:
    line = FakeLine()
    one = unit(line)
    one.set_words(2000, [1], "before")
    one.set_words(0, [enable | EXECUTE, 0], "before")
    await until(lambda: seen(one).executed)
    one.lost("before")
    assert not seen(one).executed and one.words("holding registers", 0, 2) == [0, 0]
    one.set_words(2000, [2], "after")
    one.set_words(0, [enable | EXECUTE, 0], "after")
    assert seen(one).executing and not seen(one).executed
    await until(lambda: seen(one).executed)
    assert line.chosen == "name of r-2"


async def test_of_a_command_that_is_done_after_its_connection_nobody_is_told_that_it_is() -> None:
    line = FakeLine(goes_on=asyncio.Event())
    one = unit(line)
    one.set_words(2000, [2], "before")
    one.set_words(0, [EXECUTE, 0], "before")
    assert seen(one).executing
    one.lost("before")
    assert line.goes_on is not None
    line.goes_on.set()
    await until(lambda: not seen(one).executing)
    assert line.chosen == "name of r-2" and not seen(one).executed and not seen(one).error


async def test_who_commands_and_is_no_controller_takes_only_his_command_along() -> None:
    line = FakeLine()
    one = unit(line)
    one.set_words(0, [ENABLE], "plc")
    one.set_words(2000, [1], "hmi")
    one.set_bits(Control.EXECUTE, [True], "hmi")
    await until(lambda: seen(one).executed)
    one.lost("hmi")
    assert not seen(one).executed and one.words("holding registers", 0, 1) == [ENABLE] and seen(one).ready
    one.set_bits(Control.EXECUTE, [True], "hmi")
    await until(lambda: seen(one).executed)


async def test_what_another_one_commanded_outlives_the_controller() -> None:
    line = FakeLine(goes_on=asyncio.Event())
    one = unit(line)
    one.set_words(0, [ENABLE], "plc")
    one.set_words(2000, [1], "hmi")
    one.set_bits(Control.EXECUTE, [True], "hmi")
    one.lost("plc")  # while it executes
    assert line.goes_on is not None
    line.goes_on.set()
    await until(lambda: seen(one).executed)
    one.set_words(0, [ENABLE | EXECUTE], "plc")
    one.set_bits(Control.EXECUTE, [True], "hmi")
    one.lost("plc")  # and once it is done
    assert seen(one).executed and one.words("holding registers", 0, 1) == [EXECUTE]
    one.set_bits(Control.EXECUTE, [False], "hmi")
    assert not seen(one).executed


async def test_an_error_can_be_cleared_again_after_a_lost_connection() -> None:
    line, clear = FakeLine(goes_on=asyncio.Event()), 1 << Control.CLEAR_ERROR - 16
    one = unit(line)
    one.set_words(2000, [3], "before")
    one.set_words(0, [ENABLE | EXECUTE, clear], "before")
    assert seen(one).executing
    one.lost("before")
    assert line.goes_on is not None
    line.goes_on.set()
    await until(lambda: seen(one).error)
    one.set_words(0, [0, clear], "after")
    assert not seen(one).error


def test_where_signals_are_kept_without_a_connection_they_are() -> None:
    one = unit(holds=True)
    one.set_words(0, [ENABLE], "plc")
    one.lost("plc")
    assert one.words("holding registers", 0, 1) == [ENABLE] and seen(one).ready


odd = st.one_of(st.none(), st.floats(), st.sampled_from([1e308, -1.0, 3.5e38]))


@given(
    odd,
    odd,
    st.one_of(st.floats(), st.just(1e300)),
    st.integers(1, 2**70),
    st.one_of(st.none(), st.integers(1, 2**70)),
    st.one_of(st.none(), st.text(max_size=20), st.integers(0, 2**34).map(str)),
    st.sampled_from(["NORMAL", "ANOMALY", "FAILED"]),
    st.sampled_from(["high word first", "low word first"]),
)
def test_whatever_a_part_is_its_registers_are_words_and_stay(
    score: float | None,
    threshold: float | None,
    cycle: float,
    number: int,
    trigger: int | None,
    trigger_id: str | None,
    verdict: str,
    order: str,
) -> None:
    one = unit(word_order=order)
    one.set_words(0, [ENABLE], "plc")
    if trigger is not None:
        one.handshake._pending = trigger
    one.hear(
        msgspec.structs.replace(
            PART,
            raw_score=score,
            threshold=threshold,
            cycle_ms=cycle,
            number=number,
            trigger=trigger,
            trigger_id=trigger_id,
            verdict=verdict,
        )
    )
    first = seen(one)
    assert first.valid and first["result code"] == {"NORMAL": 1, "ANOMALY": 2, "FAILED": 3}[verdict]
    assert all(0 <= word <= 0xFFFF for word in first.words) and len(first.words) == 64
    assert first["inspection id"] >= 1 or trigger is None
    for _ in range(10):
        one.hear(PART)
    assert seen(one).words[5:18] == first.words[5:18]


def test_status_bits_do_not_overlap() -> None:
    assert len(set(Status)) == len(Status) and not {5, 6} & set(Status)
