"""From a trigger to its result on the wire, over each of the ways there are, and while others trigger 1,000 times a
second in vain.

    python -m benchmarks.trigger_latency [--rounds 150] [--model FOLDER]

Starts the real command in its own process on the simulated line's model, which is taught before unless one is given. A
client triggers, sends a 640×480 JPEG once the trigger is taken (as a camera would that is triggered by the same
signal), and waits for the result. Ways take turns, in an order of chance. *Beyond inspection* is what is left of the
time from the trigger's first byte to the result's last one, without what the server itself calls the inspection: frame
arrived to verdict.
Clients, flood and server share the cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import websockets
from pymodbus.client import AsyncModbusTcpClient
from websockets.asyncio.client import ClientConnection

from benchmarks import triggered
from benchmarks.triggered import GOAL_MS, PRESS, row
from tests.server.sinks.modbus.fakes import PLC

FLOOD_PER_S = 1000
FLOODERS = 8
"""Connections of the flood."""
OTHER = "flooded"


@dataclass
class Line:
    """The camera of a stream, and who listens to it."""

    http: str
    camera: ClientConnection
    frame: bytes
    plc: PLC
    parts: dict[int, asyncio.Future[dict[str, object]]] = field(default_factory=dict)
    answers: asyncio.Queue[dict[str, object]] = field(default_factory=asyncio.Queue)

    async def hear(self, socket: ClientConnection, *, own: bool) -> None:
        """Take in what a socket says, for ever."""
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "trigger" and own:
                self.answers.put_nowait(message)
            elif message["type"] == "part" and own is (message["triggered_by"] == "websocket"):
                self.part(message["trigger"]).set_result(message)

    def part(self, trigger: int) -> asyncio.Future[dict[str, object]]:
        return self.parts.setdefault(trigger, asyncio.get_running_loop().create_future())

    async def over_modbus(self) -> tuple[float, int]:
        """Milliseconds, and the trigger's number."""
        await self.plc.see_when(ready=True)
        start = time.perf_counter()
        await self.plc.say(trigger=True)
        await self.camera.send(self.frame)
        seen = await self.plc.see_when(valid=True)
        took = (time.perf_counter() - start) * 1000
        await self.plc.say(trigger=False, results_ack=True)
        await self.plc.say(results_ack=False)
        return took, int(seen["inspection id"])

    async def over_websocket(self) -> tuple[float, int]:
        start = time.perf_counter()
        await self.camera.send('{"trigger": "bench"}')
        answer = await self.answers.get()
        await self.camera.send(self.frame)
        number = answer["trigger"]
        assert isinstance(number, int), answer
        await self.part(number)
        return (time.perf_counter() - start) * 1000, number

    async def over_rest(self) -> tuple[float, int]:
        start = time.perf_counter()
        status, answer = await self.rest.ask(PRESS)
        assert status == 202, answer
        await self.camera.send(self.frame)
        await self.part(number := json.loads(answer)["trigger"])
        return (time.perf_counter() - start) * 1000, number

    rest: Rest = field(init=False)


class Rest:
    """One HTTP connection that triggers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self._reader, self._writer, self._port = reader, writer, port

    @classmethod
    async def connect(cls, port: int) -> Rest:
        return cls(*await asyncio.open_connection("127.0.0.1", port), port)

    async def ask(self, stream: str) -> tuple[int, bytes]:
        """Status and body."""
        self._writer.write(
            f"POST /api/streams/{stream}/trigger HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".encode()
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        return int(head.split(" ", 2)[1]), await self._reader.readexactly(length)


async def flood(port: int) -> None:
    """Trigger a stream in vain while standard input says so; prints how often in each turn, and what was answered."""
    rests = [await Rest.connect(port) for _ in range(FLOODERS)]
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        seconds, refused, others = float(line), 0, 0
        start, words = time.perf_counter(), b""

        async def trigger(rest: Rest, number: int, start: float = start, seconds: float = seconds) -> None:
            nonlocal refused, others, words
            asked = 0
            while (now := time.perf_counter() - start) < seconds:
                due = (asked * FLOODERS + number) / FLOOD_PER_S
                if due > now:
                    await asyncio.sleep(due - now)
                status, answer = await rest.ask(OTHER)
                asked += 1
                words = answer
                refused, others = refused + (status == 409), others + (status != 409)

        await asyncio.gather(*(trigger(rest, number) for number, rest in enumerate(rests)))
        print(json.dumps([refused, others, time.perf_counter() - start, words.decode()]), flush=True)


@contextlib.asynccontextmanager
async def line(port: int, modbus: int, frame: bytes) -> AsyncIterator[Line]:
    async with (
        websockets.connect(f"ws://127.0.0.1:{port}/ws/stream?name={PRESS}", compression=None) as camera,
        websockets.connect(f"ws://127.0.0.1:{port}/ws/live/{PRESS}?heatmap=0", compression=None) as hmi,
        PLC(modbus) as plc,
    ):
        made = Line(f"http://127.0.0.1:{port}", camera, frame, plc)
        made.rest = await Rest.connect(port)
        hearing = [
            asyncio.create_task(made.hear(camera, own=True)),
            asyncio.create_task(made.hear(hmi, own=False)),
        ]
        await camera.send(frame)
        await plc.see_when(online=True)
        await plc.say(enable=True)
        yield made
        for task in hearing:
            task.cancel()


async def measure(port: int, modbus: int, frame: bytes, rounds: int) -> None:
    chance = random.Random(0)
    async with line(port, modbus, frame) as made:
        ways: dict[str, Callable[[], Awaitable[tuple[float, int]]]] = {
            "Modbus, read every 5 ms": made.over_modbus,
            "WebSocket, the camera's own": made.over_websocket,
            "REST, result on an HMI's WebSocket": made.over_rest,
        }
        found = {name: list[tuple[float, float]]() for name in ways}
        for number in range(rounds + 3):
            for name in chance.sample(list(ways), len(ways)):
                took = await once(made, ways[name])
                if number >= 3:
                    found[name].append(took)
        print("| trigger to result | whole, median ms | p95 | beyond inspection, median ms | p95 |")
        print("|---|---|---|---|---|")
        for name, times in found.items():
            print(row(name, times))
        print(f"\nGoal: {GOAL_MS:.0f} ms at the 95th percentile, beyond inspection.\n", flush=True)
        await beside_a_flood(port, made, rounds)


async def once(made: Line, way: Callable[[], Awaitable[tuple[float, int]]]) -> tuple[float, float]:
    """Milliseconds in all, and beyond the inspection."""
    took, number = await way()
    part = await asyncio.wait_for(made.part(number), 20)
    inspection = part["inspection_ms"]
    assert part["verdict"] != "FAILED" and isinstance(inspection, float), part
    return took, took - inspection


async def beside_a_flood(port: int, made: Line, rounds: int) -> None:
    """The same over Modbus, in turns without and with triggers of another stream that are all refused."""
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws/stream?name={OTHER}", compression=None) as camera:
        await camera.send('{"trigger": "for ever"}')
        await camera.recv()
        flooder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.trigger_latency", "--flood", str(port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert flooder.stdin is not None and flooder.stdout is not None
        found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        refused, others, seconds, words = 0, 0, 0.0, ""
        turn_s = 4.0
        while len(found[True]) < rounds:
            for is_flooded in (False, True):
                if is_flooded:
                    flooder.stdin.write(f"{turn_s}\n".encode())
                    await flooder.stdin.drain()
                    await asyncio.sleep(0.3)
                until = time.perf_counter() + turn_s - 0.6
                while time.perf_counter() < until:
                    found[is_flooded].append(await once(made, made.over_modbus))
                if is_flooded:
                    more = json.loads(await flooder.stdout.readline())
                    refused, others, seconds, words = refused + more[0], others + more[1], seconds + more[2], more[3]
        flooder.stdin.close()
        await flooder.wait()
    print("| over Modbus, turns of 4 s | whole, median ms | p95 | beyond inspection, median ms | p95 |")
    print("|---|---|---|---|---|")
    print(row("nothing else", found[False]))
    print(row(f"another stream triggered {refused / seconds:.0f} times a second over REST", found[True]))
    others_said = f", {others} were answered otherwise" if others else ""
    print(f"\n{refused} triggers were refused in words (`409`){others_said}: *{json.loads(words)['error']}*.")


async def prepared(port: int, modbus: int, frame: bytes, rounds: int) -> None:
    await triggered.prepare(port, {"kind": "modbus", "name": "plc", "settings": {"streams": PRESS, "port": modbus}})
    async with asyncio.timeout(20):
        while not await AsyncModbusTcpClient("127.0.0.1", port=modbus, retries=0).connect():  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await measure(port, modbus, frame, rounds)


if __name__ == "__main__":
    triggered.main(__doc__, 150, flood, prepared, MAX_FRAME_AGE_MS="20000")
