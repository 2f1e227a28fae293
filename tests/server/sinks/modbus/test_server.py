"""Several streams on one server, fed from its outbox."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.sinks import Around, Choice, SinkError
from server.sinks.choice import Chooser
from server.sinks.modbus.server import Modbus
from server.sinks.modbus.settings import ModbusSettings
from server.sinks.outbox import BoundedOutbox
from tests.server.fakes import until
from tests.server.sinks.fakes import part, result
from tests.server.sinks.modbus.fakes import PLC, FakeLine


@contextlib.asynccontextmanager
async def running(line: FakeLine, streams: str) -> AsyncIterator[tuple[Modbus, BoundedOutbox]]:
    sink = Modbus(ModbusSettings(streams=streams, port=0), Around("1", "plc", Path("/nowhere"), line=line))
    box = BoundedOutbox(Chooser(Choice()))
    task = asyncio.create_task(sink.run(box.turn()))
    await until(lambda: sink.connections is not None and sink.connections.is_listening)
    yield sink, box
    task.cancel()
    await asyncio.wait({task})
    assert sink.connections is None


def port(sink: Modbus) -> int:
    assert sink.connections is not None
    return sink.connections.port


async def test_each_stream_has_its_unit() -> None:
    line = FakeLine(streams=("a", "b"))
    async with (
        running(line, "a\n9 = b") as (sink, box),
        PLC(port(sink), unit=1) as first,
        PLC(port(sink), unit=9) as second,
    ):
        for plc in (first, second):
            await plc.say(enable=True)
        await second.say(trigger=True)
        assert line.asked == [("b", None, None)]
        box.offer(result(stream="b"))
        box.offer(part(stream="b", trigger=1, verdict="ANOMALY"))
        box.offer(part(stream="c", trigger=None))
        seen = await second.see_when(valid=True)
        assert (seen["result code"], seen["inspection id"]) == (2, 1)
        await until(lambda: box.delivered == 3)
        seen = await first.see()
        assert seen.ready and not seen.valid and seen["taken"] == 0
        answer = await first.client.read_input_registers(100, count=1, device_id=2)
        assert answer.isError() and answer.exception_code == 11
        assert "connected: 127.0.0.1, 127.0.0.1" in await sink.test()


async def test_a_single_stream_answers_to_every_unit() -> None:
    async with running(FakeLine(), "press") as (sink, _), PLC(port(sink), unit=255) as plc:
        await plc.say(enable=True)
        assert (await plc.see()).ready
        plc.unit = 0
        assert (await plc.see()).ready


async def test_without_a_line_there_is_nothing_to_serve() -> None:
    sink = Modbus(ModbusSettings(streams="a", port=0), Around("1", "plc", Path("/nowhere")))
    with pytest.raises(SinkError, match="no streams to ask"):
        await sink.run(BoundedOutbox(Chooser(Choice())).turn())
