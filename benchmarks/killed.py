"""The whole server, killed at random moments under load: it starts clean, and what it accepted is there.

    python -m benchmarks.killed [--times 200] [--seed 0] [--servers 3]

Some servers side by side, each on a data directory of its own. Two streams send parts under ids of their own, while
cameras are added, calibrations made and parts disposed of, one after another. After a random time the server gets
SIGKILL and is started again on the same data directory. Then:

- it answers, inspects, and calls no file damaged;
- every camera (201) and disposition (200) that it had answered is there, and a calibration in force where one was;
- so is every part whose verdict was told more than ``BATCH_S`` before the kill;
- no temporary file is left, and no process that the dead server had started.

``benchmarks.kills`` does the same to recipes, models, corrections and calibrations, and looks which one was left.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import websockets

import detector
from server.serve import listen
from server.settings import SettingsError
from tests.running import ROOT

BATCH_S = 3.0
"""What is told longer before the kill is on disk: batches are written twice a second, and the machine may be busy."""
PATIENCE_S = 120.0


def frame(number: int, *, defect: bool = False) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture of the part that the model was taught, each with noise of its own; a hole is its defect."""
    pattern = np.kron(np.random.default_rng(0).integers(30, 220, (8, 8)), np.ones((8, 8)))
    if defect:
        pattern[24:40, 24:40] = 0
    noise = np.random.default_rng(number).integers(-8, 9, (64, 64, 3))
    return np.clip(np.dstack([pattern] * 3) + noise, 0, 255).astype(np.uint8)


def jpeg(number: int, *, defect: bool = False) -> bytes:
    return bytes(cv2.imencode(".jpg", frame(number, defect=defect))[1].tobytes())


@dataclass
class Accepted:
    """What the server said yes to. ``parts``: by id, when their verdict was told (monotonic); ``asked``: dispositions
    that were asked for, answered or not."""

    parts: dict[str, float] = field(default_factory=dict)
    disposed: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    cameras: set[str] = field(default_factory=set)
    calibrations: int = 0


class Server:
    """``defectvision serve`` on one data directory; killed and started again.

    Args:
        module: what ``python -m`` runs; ``environment``: more settings.
    """

    def __init__(self, folder: Path, module: str = "server.cli", environment: Mapping[str, str] = {}) -> None:
        self.data, self.port, self._folder = folder / "data", kept_port(), folder
        self._module, self._environment = module, environment
        detector.fit([frame(number) for number in range(8)], image_size=64, coreset_size=20).save(folder / "model")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> dict[str, Any]:
        """Start it; what health says once it inspects."""
        environment = os.environ | {
            "PORT": str(self.port),
            "DATA_DIR": str(self.data),
            "MODEL_PATH": str(self._folder / "model"),
            "PYTHONPATH": str(ROOT),
            **self._environment,
        }
        with (self._folder / "log").open("ab") as log:
            command = [sys.executable, "-m", self._module, "serve"]
            self.process = subprocess.Popen(command, env=environment, cwd=self._folder, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"it ended with {self.process.poll()}: {self._folder / 'log'}"
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(f"{self.url}/health", trust_env=False)
                if answer.status_code == 200:
                    return dict(answer.json())
            time.sleep(0.05)
        raise AssertionError("it does not inspect")

    def kill(self) -> None:
        assert self.process is not None
        children = children_of(self.process.pid)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + 15
        while any(is_alive(child) for child in children):
            assert time.monotonic() < deadline, f"processes outlive the server: {children}"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(15) == 0


def kept_port() -> int:
    """A free port that no client's connection is given while the server is away: below those that systems hand out."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(SettingsError), listen("127.0.0.1", port):
            return port


def children_of(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *children_of(child)]
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def load(server: Server, accepted: Accepted, seconds: float, turn: int) -> None:
    """Everything at once, for so long, and then the kill."""
    work = [stream(server, accepted, f"{turn}-{name}", name) for name in ("a", "b")]
    work += [dispose(server, accepted), change(server, accepted, turn)]
    tasks = [asyncio.create_task(one) for one in work]
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.kill)
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        gone = OSError | httpx.TransportError | websockets.ConnectionClosed
        if isinstance(outcome, Exception) and not isinstance(outcome, gone):
            raise outcome


async def stream(server: Server, accepted: Accepted, prefix: str, name: str) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{server.port}/ws/stream?name={name}", proxy=None) as socket:

        async def listen() -> None:
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "part":
                    accepted.parts[message["id"]] = time.monotonic()

        listening = asyncio.create_task(listen())
        try:
            for number in range(1 << 30):
                await socket.send(json.dumps({"part": f"{prefix}-{number}"}))
                await socket.send(jpeg(number))
                await asyncio.sleep(0.05)
        finally:
            listening.cancel()


async def dispose(server: Server, accepted: Accepted) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
        while True:
            await asyncio.sleep(0.05)
            now = time.monotonic()
            known = [id for id, at in accepted.parts.items() if now - at > 1 and id not in accepted.asked]
            if known:
                id = accepted_id = known[-1]
                accepted.asked[id] = "escape"
                answer = await client.post(f"/api/history/{id}/disposition", json={"disposition": "escape"})
                if answer.status_code == 200:
                    accepted.disposed[accepted_id] = "escape"


async def change(server: Server, accepted: Accepted, turn: int) -> None:
    pictures = [("files", (f"{number}.jpg", jpeg(number), "image/jpeg")) for number in range(20)]
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
        for number in range(1 << 30):
            name = f"c{turn}-{number}"
            if number < 2:
                body = {"name": name, "source": "rtsp://127.0.0.1:9/x"}
                if (await client.post("/api/cameras", json=body)).status_code == 201:
                    accepted.cameras.add(name)
                if number:
                    accepted.cameras.discard(f"c{turn}-0")  # gone or not, once it was asked for: a kill decides
                    await client.delete(f"/api/cameras/c{turn}-0")
            answer = await client.post("/calibrate", files=pictures, data={"include_suspects": "true"})
            accepted.calibrations += answer.status_code == 200
            assert answer.status_code in (200, 429, 503), answer.text[:300]


def check(server: Server, health: dict[str, Any], accepted: Accepted, killed: float) -> int:
    """Compare with what was accepted; how many of the parts told last are gone, within the bound.

    Raises:
        AssertionError: something is lost, or not clean.
    """
    damaged = [words for words in health["warnings"] if "damaged" in words or "lost" in words]
    assert not damaged, damaged
    temporary = [path for path in server.data.rglob("*.tmp") if not path.name.startswith(".database")]
    assert not temporary, temporary
    assert not list(server.data.glob("*.damaged-*"))
    if accepted.calibrations:
        assert health["threshold_source"] == "calibration", health["threshold_source"]
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        there = {camera["name"] for camera in client.get("/api/cameras").json()["cameras"]}
        assert accepted.cameras <= there, accepted.cameras - there
        for name in there:
            client.delete(f"/api/cameras/{name}")
        accepted.cameras.clear()
        missing = 0
        deadline = time.monotonic() + PATIENCE_S
        while client.get("/api/history?limit=1").status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for id, at in accepted.parts.items():
            answer = client.get(f"/api/history/{id}")
            while answer.status_code == 404 and killed - at > BATCH_S and time.monotonic() < deadline:
                time.sleep(0.1)  # the backlog is delivered
                answer = client.get(f"/api/history/{id}")
            if answer.status_code == 404:
                assert killed - at <= BATCH_S, f"a part told {killed - at:.1f} s before the kill is lost"
                missing += 1
            elif id in accepted.disposed:
                assert answer.json()["entry"]["disposition"] == accepted.disposed[id], answer.text
    accepted.parts.clear()
    accepted.asked.clear()
    accepted.disposed.clear()
    return missing


@dataclass
class Outcome:
    """What was seen in so many kills. ``missing``: parts of the last moments that were told and are not there."""

    kills: int = 0
    parts: int = 0
    missing: int = 0
    disposed: int = 0
    calibrations: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


def kill_again_and_again(times: int, seed: int, longest_s: float, killed_once: Callable[[], None]) -> Outcome:
    """One server: killed so often on one data directory, each time within so many seconds of load."""
    chance, accepted, seen = random.Random(seed), Accepted(), Outcome()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            server.start()
            for turn in range(times):
                asyncio.run(load(server, accepted, chance.uniform(0.2, longest_s), turn))
                killed = time.monotonic()
                seen += Outcome(1, len(accepted.parts), 0, len(accepted.disposed))
                seen.missing += check(server, server.start(), accepted, killed)
                killed_once()
        finally:
            server.stop()
    seen.calibrations = accepted.calibrations
    return seen


def run(times: int, seed: int = 0, longest_s: float = 6.0, side_by_side: int = 1) -> str:
    """Kill so many servers side by side, so often together; what was seen, in words."""
    began, done = time.monotonic(), itertools.count(1)

    def killed_once() -> None:
        print(f"\r{next(done)} of {times}", end="", file=sys.stderr, flush=True)

    shares = [times // side_by_side + (number < times % side_by_side) for number in range(side_by_side)]
    with ThreadPoolExecutor(side_by_side) as pool:
        work = [
            pool.submit(kill_again_and_again, share, seed + number, longest_s, killed_once)
            for number, share in enumerate(shares)
        ]
        seen = sum((one.result() for one in work), Outcome())
    print(f"\r{(time.monotonic() - began) / 60:.1f} minutes", file=sys.stderr)
    servers = f", {side_by_side} servers side by side" if side_by_side > 1 else ""
    return (
        f"{seen.kills} kills{servers}: {seen.parts} parts told, {seen.missing} of the last {BATCH_S:g} s lost and "
        f"none before; {seen.disposed} dispositions and {seen.calibrations} calibrations answered, none lost; every "
        "start clean"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--servers", type=int, default=3, help="side by side: most of a kill is waiting")
    chosen = parser.parse_args()
    print(run(chosen.times, chosen.seed, side_by_side=chosen.servers))


if __name__ == "__main__":
    main()
