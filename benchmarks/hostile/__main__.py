"""What strangers cost: every attack in turn against a real server, while a good client goes on with its work.

    python -m benchmarks.hostile [--tree PATH] [--seconds 5] [--only NAME…]

For each attack the server is started anew, from this tree or the one at PATH, with the limit of open files that many
systems have (1,024); the attacker is a process of its own, of lower priority (nice 10). Meanwhile this process asks for
``/health`` twenty times a second, each time over a new connection, sends a stream of 10 frames/s and a picture to
``/predict`` every second, all from the attacker's own address. Everything stays on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import websockets

from benchmarks.hostile import pictures
from benchmarks.hostile.attacks import ATTACKS, WITHOUT_CODE, missing
from tests.running import ROOT, free_port

OPEN_FILES = 1024
CODE = "benchmark-of-hostile-peers"
HEALTH_EVERY_S, STREAM_FPS, PREDICT_EVERY_S = 0.05, 10, 1.0
LOST_S = 5.0
"""What takes longer was not answered."""

SETTLED_S = 0.5


@dataclass
class Seen:
    """What a good client saw while an attack ran."""

    health: list[float] = field(default_factory=list)
    due: int = 0
    results: int = 0
    predicted: list[bool] = field(default_factory=list)
    dead: bool = False
    grown_mb: float = 0.0

    def row(self, name: str) -> str:
        p99 = np.percentile(self.health, 99) if self.health else LOST_S
        health = "not answered" if p99 >= LOST_S else f"{p99 * 1000:.0f} ms"
        share = 100 * self.results / max(1, self.due)
        answered = f"{sum(self.predicted)} of {len(self.predicted)}"
        note = " (**the server died**)" if self.dead else ""
        return f"| {name}{note} | {health} | {min(share, 100):.0f} % | {answered} | {self.grown_mb:+.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, default=ROOT)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - {"none", *ATTACKS}:
        sys.exit(f"there is no attack {', '.join(unknown)}; there are: {', '.join(ATTACKS)}")
    with tempfile.TemporaryDirectory() as folder:
        with server(arguments.tree, Path(folder), free_port()):
            pass  # the first start teaches the model
        print("| attack | `/health` p99 | good stream's results | `/predict` answered | memory, MB |")
        print("|---|---|---|---|---|")
        for name in arguments.only or ("none", *ATTACKS):
            if (file := missing(name)) is not None:
                print(f"{name}: left out, {file} is not there", file=sys.stderr)
                continue
            seen = measure(arguments.tree, Path(folder), name, arguments.seconds)
            print(seen.row(name), flush=True)


def measure(tree: Path, folder: Path, name: str, seconds: float) -> Seen:
    """One row of the table."""
    port, seen = free_port(), Seen()
    model = {"MODEL_PATH": str(folder / "data" / "simulated_line")}
    closed = {"HOST": "0.0.0.0", "ACCESS_CODE": CODE} if name in WITHOUT_CODE else {}
    with server(tree, folder, port, model | closed) as process:
        command = [sys.executable, "-m", "benchmarks.hostile.attacks", name, str(port)]
        before = resident_mb(process.pid)
        # Gives way, as a peer on a machine of its own would: it takes the network's time, not this machine's cores.
        attacker = None if name == "none" else subprocess.Popen(command, cwd=ROOT, preexec_fn=lambda: os.nice(10))
        try:
            time.sleep(1.0)  # it begins
            asyncio.run(good_client(port, seconds, seen, process.pid))
        finally:
            if attacker is not None:
                if attacker.poll() is not None:
                    sys.exit(f"the attack {name} ended by itself: its row would say nothing")
                attacker.kill()
                attacker.wait()
        seen.dead = process.poll() is not None
        seen.grown_mb -= before
    return seen


@contextlib.contextmanager
def server(
    tree: Path, folder: Path, port: int, settings: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server of a tree, ready to inspect; ended by force at the end, whatever was done to it."""
    clean = {name: value for name, value in os.environ.items() if name not in ("HOST", "ACCESS_CODE", "MODEL_PATH")}
    process = subprocess.Popen(
        [sys.executable, "-m", "server.cli", "serve"],
        cwd=tree,
        env=clean | {"PORT": str(port), "PYTHONPATH": str(tree), "DATA_DIR": str(folder / "data")} | (settings or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES)),
    )
    try:
        deadline = time.monotonic() + 120
        while not asyncio.run(healthy(port)):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server of {tree} does not start")
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()


async def good_client(port: int, seconds: float, seen: Seen, pid: int) -> None:
    """Work as usual for so long."""
    end = time.perf_counter() + seconds
    await asyncio.gather(
        ask_health(port, end, seen), stream(port, end, seen), predict(port, end, seen), watch_memory(pid, end, seen)
    )


async def ask_health(port: int, end: float, seen: Seen) -> None:
    async def once() -> None:
        start = time.perf_counter()
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(LOST_S):
                if await healthy(port):
                    seen.health.append(time.perf_counter() - start)
                    return
        seen.health.append(LOST_S)

    # One is not waited for before the next is asked: a server that stands still is asked as often as one that runs.
    asked = []
    while time.perf_counter() < end:
        asked.append(asyncio.create_task(once()))
        await asyncio.sleep(HEALTH_EVERY_S)
    await asyncio.gather(*asked)


async def stream(port: int, end: float, seen: Seen) -> None:
    frames = [pictures.part(number) for number in range(8)]
    due, number = time.perf_counter(), 0
    seen.due = round((end - due) * STREAM_FPS)
    while time.perf_counter() < end:
        with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException):
            url = f"ws://127.0.0.1:{port}/ws/stream?name=good"
            async with websockets.connect(
                url, compression=None, open_timeout=LOST_S, close_timeout=0.1, additional_headers=BEARER
            ) as socket:
                listening = asyncio.create_task(count_results(socket, seen))
                try:
                    while time.perf_counter() < end and not listening.done():
                        async with asyncio.timeout(LOST_S):
                            await socket.send(frames[number % len(frames)])
                        number += 1
                        due += 1 / STREAM_FPS
                        await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    await asyncio.sleep(SETTLED_S)
                finally:
                    listening.cancel()
        await asyncio.sleep(0.1)


async def count_results(socket: websockets.ClientConnection, seen: Seen) -> None:
    async for text in socket:
        seen.results += json.loads(text)["type"] == "result"


async def predict(port: int, end: float, seen: Seen) -> None:
    picture = pictures.part(0)
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + picture + b"\r\n--b--\r\n"
    head = f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n"

    async def once() -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(LOST_S):
                seen.predicted.append(await answer(port, "POST", "/predict", head, body) == 200)
                return
        seen.predicted.append(False)

    asked = []
    while time.perf_counter() < end:
        asked.append(asyncio.create_task(once()))
        await asyncio.sleep(PREDICT_EVERY_S)
    await asyncio.gather(*asked)


async def watch_memory(pid: int, end: float, seen: Seen) -> None:
    while time.perf_counter() < end:
        seen.grown_mb = max(seen.grown_mb, resident_mb(pid))
        await asyncio.sleep(0.1)


def resident_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except (OSError, IndexError):
        return 0.0


BEARER = {"Authorization": f"Bearer {CODE}"}


async def healthy(port: int) -> bool:
    try:
        return await answer(port, "GET", "/health") == 200
    except (OSError, ValueError):
        return False


async def answer(port: int, method: str, path: str, head: str = "", body: bytes = b"") -> int:
    """The status of a request over a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        name, value = next(iter(BEARER.items()))
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{name}: {value}\r\n{head}"
        )
        writer.write(f"{request}\r\n".encode() + body)
        status = (await reader.readline()).split()
        while await reader.read(1 << 16):
            pass
        if len(status) < 2:
            raise ValueError("no answer")
        return int(status[1])
    finally:
        writer.transport.abort()


if __name__ == "__main__":
    main()
