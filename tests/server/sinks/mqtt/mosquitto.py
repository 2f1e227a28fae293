"""A real broker, started by the tests, and somebody who listens there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.equipment import MOSQUITTO, debian_program
from tests.running import free_port

PROGRAM = debian_program(MOSQUITTO)
needs_mosquitto = pytest.mark.skipif(
    PROGRAM is None, reason="mosquitto is not installed: python -m tests.equipment installs it"
)


@dataclass
class Mosquitto:
    """A broker on loopback.

    Args:
        lines: of its configuration, beside what makes it one of a test's.
    """

    folder: Path
    lines: Iterable[str] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        assert PROGRAM is not None
        lines = [f"listener {self.port} 127.0.0.1", *self.lines]
        if os.geteuid() == 0:
            lines.append("user root")  # else it may not read what belongs to the test
        if not any(line.startswith("allow_anonymous") for line in lines):
            lines.append("allow_anonymous true")
        config = self.folder / f"mosquitto-{self.port}.conf"
        config.write_text("\n".join(lines) + "\n")
        log = (self.folder / f"mosquitto-{self.port}.log").open("ab")
        self.process = subprocess.Popen([PROGRAM, "-v", "-c", str(config)], stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(self.log)
            time.sleep(0.01)

    @property
    def log(self) -> str:
        return (self.folder / f"mosquitto-{self.port}.log").read_text()

    def kill(self) -> None:
        """As a power cut does."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@dataclass
class Heard:
    """What somebody who listens got: topic, payload, whether it was kept; in order."""

    client: aiomqtt.Client
    messages: list[aiomqtt.Message] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, topic: str) -> list[bytes]:
        return [bytes(one.payload) for one in self.messages if str(one.topic) == topic]  # type: ignore[arg-type]

    def last(self, topic: str) -> bytes | None:
        found = self.of(topic)
        return found[-1] if found else None

    async def until(self, true: Callable[[], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def listening(
    port: int, topic: str = "#", *, identifier: str = "listener", stays: bool = False
) -> AsyncIterator[Heard]:
    """Somebody else at the broker, who hears a topic.

    Args:
        stays: whether the broker keeps for him what comes while he is away.
    """
    properties = Properties(PacketTypes.CONNECT)
    if stays:
        properties.SessionExpiryInterval = 3600
    client = aiomqtt.Client(
        "127.0.0.1",
        port,
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=not stays,
        properties=properties,
    )
    async with client:
        heard = Heard(client)

        async def hear() -> None:
            with contextlib.suppress(aiomqtt.MqttError):
                async for message in client.messages:
                    heard.messages.append(message)
                    heard.changed.set()

        hearing = asyncio.create_task(hear())
        await client.subscribe([(topic, SubscribeOptions(qos=1))])
        try:
            yield heard
        finally:
            hearing.cancel()


async def kept_at(port: int, topic: str = "#") -> dict[str, bytes]:
    """What the broker hands to somebody who comes now."""
    async with listening(port, topic, identifier="newcomer") as heard:
        await heard.client.subscribe("newcomer/end")
        await heard.client.publish("newcomer/end", b"", qos=1)
        await heard.until(lambda: bool(heard.of("newcomer/end")))
        return {str(one.topic): bytes(one.payload) for one in heard.messages if one.retain}  # type: ignore[arg-type]
