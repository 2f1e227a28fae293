"""An edge node of Sparkplug B, whose devices are the streams."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, field

from server.sinks.kind import Around
from server.sinks.mqtt.broker import Broker, connected, first_to_end
from server.sinks.mqtt.memory import Memory
from server.sinks.mqtt.publication import Publication
from server.sinks.mqtt.seen import Seen
from server.sinks.mqtt.settings import SparkplugSettings
from server.sinks.mqtt.sparkplug.devices import DeviceTold, Values, milliseconds, seen, told
from server.sinks.mqtt.sparkplug.payload import asks_for
from server.sinks.mqtt.sparkplug.session import REBIRTH, Session
from server.sinks.sink import Outbox, Outgoing, SinkError

MOST_DEVICES = 256
LOOK_EVERY_S = 1.0
"""Births that are asked for more often are one."""


@dataclass
class Known:
    """What is known beyond one run. Sessions are numbered on, from where a restart of the server is unlikely to meet
    the number before."""

    devices: Memory[DeviceTold] = field(default_factory=lambda: Memory(DeviceTold, MOST_DEVICES))
    bd_seq: int = field(default_factory=lambda: secrets.randbelow(256))


_known: Memory[Known] = Memory(Known, 64)


class SparkplugSink:
    """At a broker, as an edge node."""

    def __init__(self, settings: SparkplugSettings, around: Around) -> None:
        self._settings, self._address = settings, around.address
        self._seen = Seen.of(around, MOST_DEVICES)
        self._client_id = settings.client_id or f"defectvision-{settings.group}-{settings.node}"
        self._key = f"{around.id} {settings.broker} {settings.group}/{settings.node}"
        self._devices: Memory[DeviceTold] = Memory(DeviceTold, MOST_DEVICES)
        self._wants_birth = asyncio.Event()

    async def run(self, outbox: Outbox) -> None:
        """See :class:`server.sinks.Sink`."""
        known = _known.of(self._key)
        self._devices = known.devices.since(outbox.since, lambda told: told.anew)
        known.bd_seq = (known.bd_seq + 1) % 256
        session = Session(self._settings.group, self._settings.node, known.bd_seq)
        async with connected(self._settings, self._client_id, session.death(_now())) as broker:
            refused = await broker.subscribe(session.commands)
            self._birth(broker, session)
            await broker.there_and_back()
            outbox.is_up(
                f"connected with {self._settings.broker} as edge node {self._settings.group}/{self._settings.node}"
            )
            if refused is not None:
                outbox.is_in_trouble(refused)
            await first_to_end(
                self._hear(broker, session), self._tell(broker, session, outbox), self._look_after(broker, session)
            )

    async def test(self) -> str:
        """See :class:`server.sinks.Sink`."""
        # Nothing is published: a host would take it for the node's.
        session = Session(self._settings.group, self._settings.node, 0)
        async with connected(self._settings, f"{self._client_id}-test-{secrets.token_hex(3)}") as broker:
            if (refusal := await broker.subscribe(session.commands)) is not None:
                raise SinkError(refusal)
            await broker.there_and_back()
        return (
            f"The broker {self._settings.broker} lets us in and hear {session.commands}; what may be published is seen "
            "once it runs."
        )

    async def _tell(self, broker: Broker, session: Session, outbox: Outbox) -> None:
        async for event in outbox:
            name, now = event.message.stream, _now()
            was = self._devices.of(name)
            after, values = told(event.message, event.what, was, self._address)
            if not self._seen.is_stale(event):
                self._devices.set(name, after)  # at once: a birth that is asked for meanwhile tells it too
                try:
                    for publication in self._said(session, name, after, values, event, now):
                        broker.send(publication)
                    await broker.there_and_back()
                except BaseException:
                    self._devices.set(name, was)  # it will be told again
                    raise
            elif after.is_gone:  # it went, and another came meanwhile
                self._devices.set(name, was.without_verdict)
                for publication in session.data(name, {"Verdict": None}, now, now) if name in session.born else []:
                    broker.send(publication)
            outbox.confirm()

    def _said(
        self, session: Session, name: str, after: DeviceTold, values: Values, event: Outgoing, now: int
    ) -> list[Publication]:
        if after.is_gone and event.what == "state":
            return session.device_death(name, now) if name in session.born else []
        if name in session.born:
            return session.data(name, values, milliseconds(event.at), now)
        if after.is_gone or len(session.born) >= MOST_DEVICES:
            # It went while we were away: what happened to it is told of a device that lives that long.
            return [*session.device_birth(name, after.values, now), *session.device_death(name, now)] if values else []
        return session.device_birth(name, after.values, now)

    def _birth(self, broker: Broker, session: Session) -> None:
        for name in (running := self._running()):
            self._look_at(name)
        for publication in session.birth({name: self._devices.of(name).values for name in running}, _now()):
            broker.send(publication)

    def _running(self) -> tuple[str, ...]:
        """Streams that run now, of those that we are told of."""
        return self._seen.running(name for name in self._devices.names if not self._devices.of(name).is_gone)

    def _look_at(self, name: str) -> Values:
        """Note how a stream that runs stands now, and return what of that was not told, or not so."""
        was = self._devices.of(name)
        if self._seen.line is None and "State" in was.values and not was.is_gone:
            return {}  # nobody can be asked
        now, values = seen(self._seen.status(name, None), was)
        self._devices.set(name, now)
        return values

    async def _hear(self, broker: Broker, session: Session) -> None:
        async for message in broker.arrivals():
            if message.retain or not isinstance(message.payload, bytes):
                continue
            if str(message.topic) == session.commands and asks_for(message.payload, REBIRTH):
                self._wants_birth.set()

    async def _look_after(self, broker: Broker, session: Session) -> None:
        """Be born again where that is asked for, and put right what no event says, or not yet: once a second."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wants_birth.wait()
            if self._wants_birth.is_set():
                self._wants_birth.clear()
                self._birth(broker, session)
                await broker.there_and_back()
                await asyncio.sleep(LOOK_EVERY_S)
            running, now = self._running(), _now()
            said = list[Publication]()
            for name in session.born:
                if name not in running:
                    self._devices.set(name, self._devices.of(name).without_verdict)
                    said += session.device_death(name, now)
            for name in running:
                values = self._look_at(name)
                if name in session.born:
                    said += session.data(name, values, now, now)
                else:
                    said += session.device_birth(name, self._devices.of(name).values, now)
            for publication in said:
                broker.send(publication)


def _now() -> int:
    return time.time_ns() // 1_000_000
