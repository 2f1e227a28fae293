"""Random interleavings of a controller's signals over real Modbus TCP: the machine of the core, with a wire between.

    python -m tests.server.sinks.modbus.test_interleavings 10000 [FIRST SEED] [--without-sockets]

takes walks by chance through it, as :mod:`tests.server.parts.walks` does without the wire; without sockets, the same
requests and answers, byte by byte, are handed over in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import rule
from pymodbus.client import ModbusTcpClient
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.pdu import DecodePDU, ModbusPDU

from server.parts import Counts, Handshake, Outcome, Signals, Told, Trouble
from server.sinks.modbus import connections as module
from server.sinks.modbus.connections import Connections, Peer
from server.sinks.modbus.pdu import answer
from server.sinks.modbus.register_map import OUTPUTS, STATUS_WORDS, Control, ErrorCode, ResultCode
from server.sinks.modbus.unit import Desk, Terms, Unit
from tests.server.fakes import until
from tests.server.parts.controller import Interleavings
from tests.server.parts.walks import walks
from tests.server.sinks.fakes import PART
from tests.server.sinks.modbus.fakes import FakeLine, Seen, own_loop, right

USED = STATUS_WORDS + max(one.at + one.length for one in OUTPUTS)
TERMS = Terms("plc", {}, 5.0, "high word first", holds=False)


class Wire:
    """A server whose one unit is another one after every restart, and a pymodbus client of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.unit: Unit | None = None
        self.connections = Connections("plc", lambda _, peer: Desk(self.there, peer), self._lost, silent_s=3600)
        self.wait_for(self.connections.listen("127.0.0.1", 0))
        self.client = ModbusTcpClient("127.0.0.1", port=self.connections.port, timeout=20, retries=0)

    @property
    def there(self) -> Unit:
        assert self.unit is not None
        return self.unit

    def wait_for(self, doing: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self.loop).result(20)

    def lose(self) -> None:
        """The connection breaks, and another one is made."""
        self.client.close()  # type: ignore[no-untyped-call]
        self.wait_for(self._nobody())
        assert self.client.connect()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.client.close()  # type: ignore[no-untyped-call]
        self.wait_for(self.connections.close())

    def _lost(self, peer: Peer) -> None:
        self.there.lost(peer)

    async def _nobody(self) -> None:
        await until(lambda: not self.connections.peers)


class InMemory(ModbusClientMixin[Any]):
    """A pymodbus client whose PDUs reach the unit without a connection; stands for the server's side too."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unit: Unit | None = None
        self.client = self
        self._decoder, self._peer = DecodePDU(is_server=False), object()

    def execute(self, no_response_expected: bool, request: ModbusPDU) -> Any:
        assert self.unit is not None
        return self._decoder.decode(
            answer(bytes([request.function_code]) + request.encode(), Desk(self.unit, self._peer))
        )

    def lose(self) -> None:
        assert self.unit is not None
        self.unit.lost(self._peer)
        self._peer = object()

    @property
    def there(self) -> Unit:
        assert self.unit is not None
        return self.unit


class OverTheWire:
    """What the machine asks of a handshake, asked of one at the other end of a connection."""

    def __init__(self, wire: Wire | InMemory, machine: OverModbus) -> None:
        self._wire, self._machine = wire, machine
        self._line = FakeLine(number=machine.triggers if hasattr(machine, "triggers") else 0)
        self._ways = 0
        self._trigger_id = 0
        self._last: Seen | None = None
        self._told: Told | None = None
        wire.unit = Unit("press", self._line, TERMS, clock=lambda: machine.now)

    def read(self, signals: Signals, now: float, *, can_trigger: bool) -> Signals | None:
        """Write the signals, in one of the ways there are."""
        assert now == self._machine.now
        self.forget()
        self._line.can, self._line.number = can_trigger, self._machine.triggers
        before = len(self._line.asked)
        client = self._wire.client
        if signals.trigger_id != self._trigger_id:
            right(client.write_registers(2001, [0, signals.trigger_id]))
            self._trigger_id = signals.trigger_id
        control = (
            signals.enable << Control.ENABLE | signals.trigger << Control.TRIGGER | signals.ack << Control.RESULTS_ACK
        )
        self._ways += 1
        match self._ways % 5:
            case 0:
                right(client.write_register(0, control))
            case 1:
                right(client.write_registers(0, [control, 0]))
            case 2:
                right(client.write_coils(0, [bool(control >> bit & 1) for bit in range(4)]))
            case 3:
                right(client.readwrite_registers(read_address=100, read_count=64, write_address=0, values=[control]))
            case 4:
                right(client.mask_write_register(address=0, and_mask=0, or_mask=control))
        if len(self._line.asked) == before:
            return None
        _, _, said = self._line.asked[-1]
        assert said == (str(signals.trigger_id) if signals.trigger_id else None)
        return signals

    def taken(self, number: int, trigger_id: int) -> None:
        assert number == self._line.number
        self.forget()

    def finished(self, outcome: Outcome, now: float) -> None:
        self.forget()
        self._wire.there.hear(
            msgspec.structs.replace(
                PART,
                number=outcome.number,
                trigger=outcome.trigger or None,
                trigger_id=str(outcome.trigger_id) if outcome.trigger_id else None,
                raw_score=outcome.raw_score,
                threshold=outcome.threshold,
                cycle_ms=outcome.cycle_ms,
            )
        )

    def tick(self, now: float) -> None:
        assert now == self._machine.now
        self.forget()

    def forget(self) -> None:
        """What was read last holds no longer."""
        self._last = self._told = None

    @property
    def told(self) -> Told:
        if self._told is None:
            self._told = self._read_told(self.seen)
        return self._told

    def _read_told(self, seen: Seen) -> Told:
        result = None
        if seen.valid:
            assert seen["result code"] == ResultCode.NORMAL and getattr(seen, "pass")
            result = Outcome(
                int(seen["part number"]),
                int(seen["inspection id"]),
                int(seen["trigger id"]),
                "NORMAL",
                seen["raw score"],
                seen["threshold"],
                seen["cycle"],
            )
        else:
            assert not any(seen.words[5:18])
        return Told(
            seen.ready,
            seen.trigger_ack,
            seen.busy,
            seen.valid,
            seen.overrun,
            seen.missed,
            Trouble.NOT_ACKNOWLEDGED if seen["error code"] == ErrorCode.NOT_ACKNOWLEDGED else Trouble.NONE,
            int(seen["acquisition id"]),
            int(seen["waiting"]),
            result,
        )

    @property
    def counts(self) -> Counts:
        seen = self.seen
        return Counts(*(int(seen[name.replace("_", " ")]) for name in Counts.__dataclass_fields__))

    @property
    def seen(self) -> Seen:
        if self._last is None:
            self._last = Seen(right(self._wire.client.read_holding_registers(100, count=USED)).registers)
        return self._last

    # What the machine looks up inside, to know what is there and not told yet.

    @property
    def _results(self) -> Any:
        return self._wire.there.handshake._results

    @property
    def _pending(self) -> int | None:
        return self._wire.there.handshake._pending


class OverModbus(Interleavings):
    wire: ClassVar[Wire | InMemory]

    def begin(self) -> Handshake:
        return OverTheWire(self.wire, self)  # type: ignore[return-value]

    @rule()
    def the_connection_is_lost(self) -> None:
        """The server takes Enable low, and the controller begins with all of its signals low."""
        self.wire.lose()
        self.handshake.forget()  # type: ignore[attr-defined]
        self.signals = Signals()
        self.look()

    def more_steps(self) -> list[tuple[Callable[[], object], int]]:
        return [(self.the_connection_is_lost, 1)]


OverModbus.TestCase.settings = settings(
    max_examples=int(os.environ.get("INTERLEAVINGS", "6")), stateful_step_count=60, deadline=None
)


@contextlib.contextmanager
def wired() -> Iterator[None]:
    """A server and a client, for all the machines that are made meanwhile."""
    pace, module.REQUESTS_PER_S = module.REQUESTS_PER_S, 1e6
    with own_loop() as loop:
        OverModbus.wire = wire = Wire(loop)
        assert wire.client.connect()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            wire.close()
            module.REQUESTS_PER_S = pace


@pytest.fixture
def _wire() -> Iterator[None]:
    with wired():
        yield


@pytest.mark.usefixtures("_wire")
class TestOverModbus(OverModbus.TestCase):  # type: ignore[misc, valid-type]
    """What the core's machine asks for holds at the other end of a connection."""


@pytest.mark.usefixtures("_wire")
def test_walks_by_chance() -> None:
    walks(OverModbus, 15)


def main() -> None:
    in_memory = "--without-sockets" in sys.argv
    count, first, *_ = (*(int(said) for said in sys.argv[1:] if said.isdecimal()), 0)
    began = time.monotonic()
    logging.disable()
    OverModbus.wire = InMemory()
    with contextlib.nullcontext() if in_memory else wired():
        walks(OverModbus, count, first)
    took = f"{time.monotonic() - began:.0f} s{', without sockets' if in_memory else ''}"
    print(f"{count} walks over Modbus from seed {first}: nothing wrong, {took}", flush=True)


if __name__ == "__main__":
    main()
