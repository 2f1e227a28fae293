"""The sink: units and connections together, fed from the outbox."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from detector.counted import counted
from server.ground import Refusals
from server.sinks.kind import Around, Kind
from server.sinks.modbus.connections import Connections, Peer
from server.sinks.modbus.pdu import Registers
from server.sinks.modbus.settings import ModbusSettings, allowed_of, check, recipes_of, units_of
from server.sinks.modbus.unit import Desk, Terms, Unit
from server.sinks.sink import Outbox, SinkError
from server.words import PartResult

LOOK_EVERY_S = 0.5
"""How often faults are looked for while nobody asks; who asks is told at once."""
_NAMED = 4
"""Controllers that are named."""


@dataclass
class Modbus:
    """One server. ``connections``: while it runs."""

    settings: ModbusSettings
    around: Around
    connections: Connections | None = field(default=None, init=False)

    async def run(self, outbox: Outbox) -> None:
        refusals = Refusals()
        units = self._units(refusals)
        connections = self.connections = self._make(units, refusals)
        doing: list[asyncio.Task[None]] = []
        try:
            await connections.listen(self.settings.address, self.settings.port)
            outbox.is_up(self._words(connections))
            doing += [
                asyncio.create_task(self._feed(units, outbox)),
                asyncio.create_task(self._watch(units, connections, outbox)),
            ]
            await asyncio.gather(*doing)
        finally:
            self.connections = None
            for task in doing:
                task.cancel()
            for unit in units.values():
                unit.close()
            await connections.close()

    async def test(self) -> str:
        if self.connections is not None:
            return self._words(self.connections)
        connections = self._make({}, Refusals())
        try:
            await connections.listen(self.settings.address, self.settings.port)
        finally:
            await connections.close()
        return f"it can listen at {self.settings.address}, port {self.settings.port}; {self._streams_there()}"

    def _streams_there(self) -> str:
        """How the streams stand whose units these are: a name with a mistake in it is no stream that ever comes."""
        line = self.around.line
        if line is None:
            return "this server has no streams to ask"
        said = []
        for stream in units_of(self.settings).values():
            standing = line.standing(stream)
            if stream not in line.streams:
                said.append(f"no stream is called {stream} now: it may come")
            elif standing.by != "trigger":
                said.append(f"the recipe of {stream} takes no triggers")
            else:
                said.append(f"{stream} takes triggers")
        return "; ".join(said)

    def _units(self, refusals: Refusals) -> dict[int, Unit]:
        settings = self.settings
        if self.around.line is None:
            raise SinkError("this server has no streams to ask")
        terms = Terms(
            self.around.name, recipes_of(settings), settings.ack_within_s, settings.word_order, settings.holds
        )
        line = self.around.line
        return {id: Unit(stream, line, terms, refusals) for id, stream in units_of(settings).items()}

    def _make(self, units: dict[int, Unit], refusals: Refusals) -> Connections:
        only = next(iter(units.values())) if len(units) == 1 else None

        def registers(id: int, peer: Peer) -> Registers | None:
            unit = only or units.get(id)
            return None if unit is None else Desk(unit, peer)

        def lost(peer: Peer) -> None:
            for unit in units.values():
                unit.lost(peer)

        settings = self.settings
        return Connections(
            self.around.name,
            registers,
            lost,
            allowed=allowed_of(settings),
            most=settings.connections,
            silent_s=settings.silent_s,
            refusals=refusals,
        )

    async def _feed(self, units: dict[int, Unit], outbox: Outbox) -> None:
        began = time.monotonic()
        by_stream = {unit.stream: unit for unit in units.values()}
        async for event in outbox:
            is_new = event.told_at >= began  # older ones lie elsewhere by now
            if is_new and isinstance(event.message, PartResult) and (unit := by_stream.get(event.message.stream)):
                unit.hear(event.message)
            outbox.confirm()

    async def _watch(self, units: dict[int, Unit], connections: Connections, outbox: Outbox) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for unit in units.values():
                unit.look()
            trouble = next((f"{unit.stream}: {unit.trouble}" for unit in units.values() if unit.trouble), None)
            if trouble is not None:
                outbox.is_in_trouble(trouble)
            else:
                outbox.is_up(self._words(connections))

    def _words(self, connections: Connections) -> str:
        settings = self.settings
        names = sorted(peer.address for peer in connections.peers)
        who = ", ".join(names[:_NAMED]) + (" and others" if len(names) > _NAMED else "") or "nobody"
        refused = (
            f"; {counted(connections.refused, 'connection was', 'connections were')} refused"
            if connections.refused
            else ""
        )
        return f"listens at {settings.address}, port {connections.port}; connected: {who}{refused}"


MODBUS = Kind(
    name="modbus",
    title="Modbus TCP",
    about="A server that controllers read and trigger: registers and handshake as of a Cognex In-Sight camera.",
    settings=ModbusSettings,
    make=Modbus,
    check=check,
    is_told=False,
    keeps=False,
)
