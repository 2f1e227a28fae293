"""From a trigger to its result over OPC UA, and what its clients cost everybody else.

    python -m benchmarks.opcua_latency [--rounds 200] [--model FOLDER]

Starts the real command in its own process on the simulated line's model, which is taught before unless one is given. A
client of asyncua's calls StartSingleJob, sends a 640×480 JPEG once the job was taken (as a camera would that is
triggered by the same signal), and waits for the ResultReady event of a subscription that publishes every 10 ms, over an
open channel and over an encrypted one in turns. *Beyond inspection* is what is left of the time from the call to the
event without what the server itself calls the inspection: frame arrived to verdict. Then verdicts are timed over the
WebSocket, in turns with and without a client in a process of its own that
reads and browses OPC UA without a pause.
Clients and server share the cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import websockets
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.crypto.uacrypto import CertProperties
from websockets.asyncio.client import ClientConnection

from benchmarks import triggered
from benchmarks.triggered import GOAL_MS, PRESS, row
from server.sinks.opcua.model import OWN, STANDARD
from server.sinks.opcua.security import make_identity

TURN_S = 4.0
STARTED_WITHIN_S = 90


@dataclass
class Controller:
    """An OPC UA client that triggers and waits for the result."""

    automatic: Any
    method: Any
    empty: list[Any]
    results: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    def event_notification(self, event: Any) -> None:
        self.results.put_nowait((time.perf_counter(), event))

    async def once(self, camera: ClientConnection, frame: bytes) -> tuple[float, float]:
        """Milliseconds in all, and beyond the inspection."""
        start = time.perf_counter()
        job, error = await self.automatic.call_method(self.method, *self.empty)
        assert error == 0
        await camera.send(frame)
        at, event = await asyncio.wait_for(self.results.get(), 20)
        assert event.JobId.Id == job.Id and event.ResultState == 1, event
        took = (at - start) * 1000
        return took, took - event.ProcessingTimes.ProcessingDuration


@contextlib.asynccontextmanager
async def controller(port: int, *, encrypted: bool) -> AsyncIterator[Controller]:
    client = Client(f"opc.tcp://127.0.0.1:{port}/", timeout=20)
    if encrypted:
        client.application_uri = "urn:benchmark"
        own = make_identity("urn:benchmark", "benchmark", ["localhost"])
        await client.set_security(
            SecurityPolicyBasic256Sha256, CertProperties(own.certificate, "der"), CertProperties(own.key, "pem")
        )
    async with client:
        await client.load_data_type_definitions()
        ours, standard = [await client.get_namespace_index(one) for one in (OWN, STANDARD)]
        system = await client.nodes.objects.get_child(ua.QualifiedName(PRESS, ours))
        path = [ua.QualifiedName(one, standard) for one in ("VisionStateMachine", "AutomaticModeStateMachine")]
        null = ua.Variant(None, ua.VariantType.ExtensionObject)
        arguments = [null, null, null, null, ua.Variant([], ua.VariantType.Variant, is_array=True)]
        made = Controller(await system.get_child(path), ua.QualifiedName("StartSingleJob", standard), arguments)
        subscription = await client.create_subscription(10, made)
        await subscription.subscribe_events(system, client.get_node(ua.NodeId(1024, standard)))
        yield made


async def measure(port: int, opcua: int, frame: bytes, rounds: int) -> None:
    chance = random.Random(0)
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws/stream?name={PRESS}", compression=None) as camera:
        hearing = asyncio.create_task(_hear(camera))
        await camera.send(frame)
        await asyncio.sleep(1)
        async with controller(opcua, encrypted=False) as plain, controller(opcua, encrypted=True) as closed:
            ways = {"OPC UA, open": plain, "OPC UA, signed and encrypted": closed}
            found = {name: list[tuple[float, float]]() for name in ways}
            for number in range(rounds + 3):
                for name in chance.sample(list(ways), len(ways)):
                    took = await ways[name].once(camera, frame)
                    for other in ways.values():
                        if other is not ways[name]:
                            await other.results.get()  # it hears of every result
                    if number >= 3:
                        found[name].append(took)
        hearing.cancel()
    print("| trigger to result | whole, median ms | p95 | beyond inspection, median ms | p95 |")
    print("|---|---|---|---|---|")
    for name, times in found.items():
        print(row(name, times))
    print(f"\nGoal: {GOAL_MS:.0f} ms at the 95th percentile, beyond inspection.\n", flush=True)
    await beside_clients(port, opcua, frame, rounds)


async def _hear(camera: ClientConnection) -> None:
    async for _ in camera:
        pass


async def beside_clients(port: int, opcua: int, frame: bytes, rounds: int) -> None:
    """Verdicts over the WebSocket, in turns without and with a process that asks OPC UA for all it has, on and on."""
    arguments = (sys.executable, "-m", "benchmarks.opcua_latency", "--flood", str(opcua))
    flooder = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert flooder.stdin is not None and flooder.stdout is not None
    await flooder.stdout.readline()  # it is connected
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    asked = 0
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws/stream?name=beside", compression=None) as camera:
        await camera.send(frame)
        await camera.recv()
        while len(found[True]) < rounds:
            for is_flooded in (False, True):
                if is_flooded:
                    flooder.stdin.write(f"{TURN_S}\n".encode())
                    await asyncio.sleep(0.3)
                until = time.perf_counter() + TURN_S - 0.6
                while time.perf_counter() < until:
                    start = time.perf_counter()
                    await camera.send(frame)
                    result = json.loads(await camera.recv())
                    took = (time.perf_counter() - start) * 1000
                    found[is_flooded].append((took, took - result["latency_ms"]))
                if is_flooded:
                    asked += int(await flooder.stdout.readline())
    flooder.stdin.close()
    await flooder.wait()
    print("| frame to verdict over WebSocket, turns of 4 s | whole, median ms | p95 | on the way, median ms | p95 |")
    print("|---|---|---|---|---|")
    print(row("nothing else", found[False]))
    print(row("an OPC UA client that reads and browses without a pause", found[True]))
    print(f"\nIt asked for {asked} nodes.")


async def flood(port: int) -> None:
    async with Client(f"opc.tcp://127.0.0.1:{port}/", timeout=60) as client:
        print("connected", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            until, asked = time.perf_counter() + float(line), 0
            while time.perf_counter() < until:
                for node in await client.nodes.types.get_children():
                    await node.get_references()
                    await node.read_browse_name()
                    asked += 1
            print(asked, flush=True)


async def prepared(port: int, opcua: int, frame: bytes, rounds: int) -> None:
    settings = {"streams": PRESS, "port": opcua, "security": "open"}
    await triggered.prepare(port, {"kind": "opcua", "name": "plant", "settings": settings})
    async with triggered.client(port) as client, asyncio.timeout(STARTED_WITHIN_S):
        while (await client.get("/api/sinks")).json()["sinks"][0]["state"] != "up":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await measure(port, opcua, frame, rounds)


if __name__ == "__main__":
    triggered.main(__doc__, 200, flood, prepared)
