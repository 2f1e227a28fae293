"""What the machines around it cost a verdict, while they are there and while they hang.

    python -m benchmarks.peers_away [--seconds 6] [--rounds 4]

Starts the real command with its history in a PostgreSQL, and with an MQTT broker, a webhook receiver and a folder that
are told of every part; a WebSocket sender names a part with each frame. In turns all peers are there, and all hang
(SIGSTOP; the receiver takes requests and never answers). At the end they are there until everything has arrived:
nothing may be lost, doubled or out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiomqtt
import websockets

from detector.images import encode_jpeg
from server.simulated_line import good_frames
from tests.equipment import postgresql_programs
from tests.running import command, free_port
from tests.server.records.postgres import PASSWORD, USER, PostgreSQL
from tests.server.sinks.mqtt.mosquitto import Mosquitto
from tests.server.sinks.receiver import Receiver, receiving

FRAMES_PER_SECOND = 10
SETTLE_S = 1.5
"""After a turn begins before it counts: what was in flight belongs to the turn before."""
ARRIVES_WITHIN_S = 120.0


@dataclass
class Peers:
    """All machines around, on loopback."""

    database: PostgreSQL
    broker: Mosquitto
    receiver: Receiver
    answering: asyncio.Event
    heard: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """None of them answers meanwhile."""
        broker = self.broker.process
        assert broker is not None
        self.answering.clear()
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            with self.database.paused():
                yield
        finally:
            os.kill(broker.pid, signal.SIGCONT)
            self.answering.set()

    async def listen(self) -> None:
        """Note the part of every message at the broker; comes back as a client of a plant does."""
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with aiomqtt.Client(
                    "127.0.0.1", self.broker.port, identifier="bench", clean_session=False
                ) as client:
                    await client.subscribe("#", qos=1)
                    async for message in client.messages:
                        if str(message.topic).endswith("/part"):
                            self.heard.append(json.loads(bytes(message.payload))["part"])
            await asyncio.sleep(0.2)


def ask(port: int, method: str, path: str, body: Any = None) -> Any:
    """A request of the server, and its answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.read().decode()}")


async def turns(port: int, peers: Peers, rounds: int, seconds: float) -> tuple[dict[str, list[float]], list[str]]:
    """Latencies (ms) while the peers are there and while they hang, and the parts that got a verdict, in order."""
    frames = [encode_jpeg(frame, quality=85)[0] for frame in good_frames(24)]
    latencies: dict[str, list[float]] = {"there": [], "hanging": []}
    turn: str | None = None
    named, judged = 0, list[str]()
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws/stream?name=bench&heatmap=0", compression=None) as socket:

        async def hear() -> None:
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "result" and turn is not None:
                    latencies[turn].append(message["latency_ms"])
                elif message["type"] == "part":
                    judged.append(message["part"])

        async def show(for_s: float) -> None:
            nonlocal named
            start = time.perf_counter()
            for number in range(int(for_s * FRAMES_PER_SECOND)):
                await asyncio.sleep(max(0.0, start + number / FRAMES_PER_SECOND - time.perf_counter()))
                named += 1
                await socket.send(json.dumps({"part": f"P{named}"}))
                await socket.send(frames[named % len(frames)])

        hearing = asyncio.create_task(hear())
        for number in range(2 * rounds):
            which = ("there", "hanging")[number % 2]
            with peers.hanging() if which == "hanging" else contextlib.nullcontext():
                turn = None
                await show(SETTLE_S)
                turn = which
                await show(seconds)
                turn = None
        await socket.send('{"part": null}')  # the last one is over
        await socket.send(frames[0])
        await asyncio.sleep(2)
        hearing.cancel()
    return latencies, judged


async def arrived(port: int, peers: Peers, out: Path) -> dict[str, list[str]]:
    """The parts that came to each peer, in order, once no more comes."""
    until, last = time.monotonic() + ARRIVES_WITHIN_S, (-1, -1, -1, -1)
    while time.monotonic() < until:
        state = await asyncio.to_thread(ask, port, "GET", "/api/history/state")
        sinks = (await asyncio.to_thread(ask, port, "GET", "/api/sinks"))["sinks"]
        waiting = state["waiting"] + state["backlog"] + sum(sink["waiting"] for sink in sinks)
        now = (waiting, state["stored"], len(peers.heard), len(peers.receiver.got))
        if waiting == 0 and now == last:
            break
        last = now
        await asyncio.sleep(1)
    history: list[str] = []
    before = ""
    while True:
        page = await asyncio.to_thread(ask, port, "GET", f"/api/history?stream=bench&limit=200{before}")
        history += [entry["part"] for entry in page["entries"] if entry["kind"] == "part"]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    hooks = {headers["webhook-id"]: json.loads(body) for headers, body in peers.receiver.got}  # repeats have the same
    told = [one.get("data", one) for one in hooks.values()]
    return {
        "history in PostgreSQL": history[::-1],
        "MQTT": peers.heard,
        "webhook": [one["part"] for one in told if "part" in one],
        "folder": await asyncio.to_thread(written, out),
    }


def written(out: Path) -> list[str]:
    """The parts of the folder sink's files, in the order of their names."""
    told = [json.loads(path.read_text()) for path in sorted(out.rglob("*.json"))]
    return [one.get("data", one)["part"] for one in told]


def verdict(parts: list[str], wanted: list[str]) -> str:
    """Whether all came once and in order, in words."""
    if parts == wanted:
        return f"all {len(wanted)}, once, in order"
    lost, twice = set(wanted) - set(parts), len(parts) - len(set(parts))
    order = "in" if parts == sorted(parts, key=lambda one: int(one[1:])) else "out of"
    return f"{len(parts)} of {len(wanted)} came: {len(lost)} missing, {twice} twice, {order} order"


async def measure(port: int, rounds: int, seconds: float, database: PostgreSQL, broker: Mosquitto, out: Path) -> None:
    """Both tables."""
    answering = asyncio.Event()
    answering.set()

    async def answer(writer: asyncio.StreamWriter) -> None:
        await answering.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with receiving(answer) as receiver:
        peers = Peers(database, broker, receiver, answering)
        listening = asyncio.create_task(peers.listen())
        for kind, settings in (
            ("mqtt", {"host": "127.0.0.1", "port": peers.broker.port, "node": "bench"}),
            ("webhook", {"url": peers.receiver.url, "secret": "whsec_" + base64.b64encode(bytes(range(32))).decode()}),
            ("folder", {}),
        ):
            told = {"streams": ["bench"], "parts": "all", "verdicts": False, "results_per_s": 0.0, "state": False}
            body = {"kind": kind, "name": kind, "settings": settings, "enabled": True, "told": told}
            await asyncio.to_thread(ask, port, "POST", "/api/sinks", body)
        latencies, judged = await turns(port, peers, rounds, seconds)
        print("| peers | frames | latency median ms | p95 ms |\n|---|---|---|---|")
        for name, values in latencies.items():
            values.sort()
            p95 = values[int(len(values) * 0.95)]
            print(f"| {name} | {len(values)} | {statistics.median(values):.1f} | {p95:.1f} |", flush=True)
        print("\n| arrived at | parts |\n|---|---|")
        for name, parts in (await arrived(port, peers, out)).items():
            print(f"| {name} | {verdict(parts, judged)} |", flush=True)
        listening.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    programs = postgresql_programs()
    if programs is None:
        sys.exit("PostgreSQL is not installed: python -m tests.equipment installs it")
    with tempfile.TemporaryDirectory() as folder:
        port, data = free_port(), Path(folder) / "data"
        with command(port, {"DATA_DIR": str(data)}, Path(folder)):
            pass  # the first start teaches the model
        database, broker = PostgreSQL(programs), Mosquitto(Path(folder)).start()
        try:
            name = database.database().database
            url = f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{database.port}/{name}"
            environment = {
                "DATA_DIR": str(data),
                "MODEL_PATH": str(data / "simulated_line"),
                "DATABASE_URL": url,
            }
            with command(port, environment, Path(folder)):
                asyncio.run(measure(port, arguments.rounds, arguments.seconds, database, broker, data / "out"))
        finally:
            broker.kill()
            database.close()


if __name__ == "__main__":
    main()
