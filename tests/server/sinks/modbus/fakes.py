"""A line whose answers the tests decide, and a controller of it over real Modbus TCP."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

from server.parts import TriggerRefused
from server.sinks import Accepted, RecipeOnStream, SinkError
from server.sinks.modbus.register_map import OUTPUTS, STATUS_AT, Control, Status

WAIT_S = 20.0
FIELDS = {one.name: one for one in OUTPUTS}


@dataclass
class FakeLine:
    """``asked``: stream, part and trigger id of every trigger that was taken."""

    can: bool = True
    streams: Sequence[str] = ("press",)
    recipes: Sequence[RecipeOnStream] = ()
    chosen: str = "r-1"
    refuses: bool = False
    number: int = 0
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    goes_on: asyncio.Event | None = None

    def recipe_on(self, stream: str) -> RecipeOnStream | None:
        return RecipeOnStream(self.chosen, f"name of {self.chosen}", 1) if stream in self.streams else None

    def can_trigger(self, stream: str) -> bool:
        return self.can

    def trigger(self, stream: str, *, part: str | None, trigger_id: str | None, by: str) -> Accepted:
        assert by == "modbus"
        if self.refuses:
            raise TriggerRefused("busy: the verdict of trigger 1 is not given yet")
        self.number += 1
        self.asked.append((stream, part, trigger_id))
        return Accepted(stream, self.number)

    def missed(self, stream: str) -> None:
        assert stream in self.streams

    async def choose_recipe(self, stream: str, recipe: str, *, who: str) -> str:
        if self.goes_on is not None:
            await self.goes_on.wait()
        if recipe == "broken":
            raise SinkError("it cannot be used")
        self.chosen = recipe
        return recipe


@dataclass(frozen=True)
class Seen:
    """One read of status and outputs."""

    words: Sequence[int]

    def __getattr__(self, name: str) -> bool:
        """A status bit, by its name in lower case."""
        bits = self.words[1] << 16 | self.words[0]
        return bool(bits >> Status[name.upper()] & 1)

    def __getitem__(self, name: str) -> float:
        """A field of the outputs, high word first."""
        one = FIELDS[name]
        words = self.words[2 + one.at : 2 + one.at + one.length]
        if one.kind == "float32":
            return float(struct.unpack(">f", struct.pack(">HH", *words))[0])
        return words[0] if one.kind == "uint16" else words[0] << 16 | words[1]


class PLC:
    """What a controller's program does, by pymodbus."""

    def __init__(self, port: int, unit: int = 1) -> None:
        self.client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=WAIT_S, retries=0, reconnect_delay=0)
        self.unit = unit
        self.control = 0

    async def __aenter__(self) -> PLC:
        assert await self.client.connect()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.client.close()

    async def say(self, **signals: bool) -> None:
        """Set and clear control bits, by their names in lower case; all in one write."""
        for name, is_high in signals.items():
            bit = 1 << Control[name.upper()]
            self.control = self.control | bit if is_high else self.control & ~bit
        right(await self.client.write_registers(0, [self.control & 0xFFFF, self.control >> 16], device_id=self.unit))

    async def see(self) -> Seen:
        answer = right(await self.client.read_input_registers(STATUS_AT, count=64, device_id=self.unit))
        return Seen(answer.registers)

    async def see_when(self, **bits: bool) -> Seen:
        """Poll until status bits are so."""
        async with asyncio.timeout(WAIT_S):
            while True:
                seen = await self.see()
                if all(getattr(seen, name) == is_high for name, is_high in bits.items()):
                    return seen
                await asyncio.sleep(0.005)

    async def name_next(self, trigger_id: int = 0, part: str = "") -> None:
        text = part.encode().ljust(32, b"\0")
        words = [0, trigger_id >> 16, trigger_id & 0xFFFF, *struct.unpack(">16H", text)]
        right(await self.client.write_registers(2000, words, device_id=self.unit))

    async def handshake(self) -> Seen:
        """Trigger, wait for the result, acknowledge it."""
        await self.see_when(ready=True)
        await self.say(trigger=True)
        await self.see_when(trigger_ack=True)
        await self.say(trigger=False)
        seen = await self.see_when(valid=True)
        await self.acknowledge()
        return seen

    async def acknowledge(self) -> None:
        await self.say(results_ack=True)
        await self.see_when(valid=False)
        await self.say(results_ack=False)


def right(answer: ModbusPDU) -> Any:
    assert not answer.isError(), answer
    return answer


@contextlib.contextmanager
def own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread, for tests that wait themselves."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
