"""From *Done* to live, and what another stream notices of it, against learning alone and anomalib's.

    python -m benchmarks.teach ../shared/data/bottle [--rounds 3] [--without-anomalib]

Starts the real command in its own process on a model of the simulated line's parts. 60 good pictures of FOLDER (laid
out as MVTec AD's) are uploaded and learned from, while one stream of 640×480 JPEG at 10 frames/s goes on; that stream's
latencies meanwhile are set against those before. *Done* comes at once after the last picture, and in half of the rounds
after a pause, in which it is learned ahead. The same pictures are then learned from by `detector.fit` in this process,
and by anomalib where the extra is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import websockets

import detector
from detector.images import encode_jpeg
from server.simulated_line import good_frames
from tests.running import command, free_port
from training.data import datasets
from training.reports.markdown import table

PICTURES, FLANGES = 60, 30
FRAMES_PER_SECOND = 10
BEFORE_S, PAUSE_S = 15.0, 15.0
BANK, SIZE = 1536, 320


@dataclass
class Other:
    """A stream that goes on meanwhile: when its results came, seconds, and their latencies, milliseconds."""

    latencies: list[tuple[float, float]] = field(default_factory=list)

    def between(self, start: float, end: float) -> list[float]:
        return [latency for at, latency in self.latencies if start <= at <= end]


@dataclass(frozen=True)
class Round:
    """What one teaching took, seconds: shown until Done, told by the server, and seen from here."""

    showing: float
    told: float
    seen: float
    before: list[float]
    meanwhile: list[float]


@contextlib.asynccontextmanager
async def streaming(port: int, frames: list[bytes]) -> AsyncIterator[Other]:
    other = Other()

    async def send(socket: websockets.ClientConnection) -> None:
        start = time.perf_counter()
        for number in range(1 << 30):
            await asyncio.sleep(max(0.0, start + number / FRAMES_PER_SECOND - time.perf_counter()))
            await socket.send(frames[number % len(frames)])

    async def hear(socket: websockets.ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "result":
                other.latencies.append((time.perf_counter(), message["latency_ms"]))

    async with websockets.connect(f"ws://127.0.0.1:{port}/ws/stream?name=other", compression=None) as socket:
        tasks = [asyncio.create_task(send(socket)), asyncio.create_task(hear(socket))]
        try:
            yield other
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def teach(port: int, pictures: Sequence[Path], other: Other, number: int, pause: float) -> Round:
    """Upload, wait for so many seconds, press Done, wait until it is live."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:

        async def ask(method: str, path: str, **options: Any) -> Any:
            answer = await client.request(method, path, **options)
            answer.raise_for_status()
            return answer.json()

        start = time.perf_counter()
        await asyncio.sleep(BEFORE_S)
        before = other.between(start, time.perf_counter())
        begun = time.perf_counter()
        path = f"/api/teaching/{(await ask('POST', '/api/teaching', json={'name': f'bench {number}'}))['id']}"
        files = [("files", (picture.name, picture.read_bytes())) for picture in pictures]
        shown = await ask("POST", f"{path}/pictures", files=files)
        showing = time.perf_counter() - begun
        await asyncio.sleep(pause)
        done = time.perf_counter()
        body = await ask("POST", f"{path}/done")
        while body["state"] == "learning":
            await asyncio.sleep(0.05)
            body = await ask("GET", path)
        end = time.perf_counter()
        if body["state"] != "done":
            raise SystemExit(f"teaching failed: {body['error']}")
        await ask("DELETE", path)
        if (count := len(shown["pictures"])) < len(pictures):
            print(f"{count} of {len(pictures)} pictures were taken: {'; '.join(shown['notes'])}\n")
        return Round(showing, body["seconds"], end - done, before, other.between(done, end))


async def rounds(port: int, pictures: Sequence[Path], count: int) -> tuple[list[Round], list[Round]]:
    """Without and with a pause before Done, in turns."""
    frames = [encode_jpeg(frame, quality=85)[0] for frame in good_frames(24)]
    async with streaming(port, frames) as other:
        found = [
            await teach(port, pictures, other, number, PAUSE_S if number % 2 else 0.0) for number in range(2 * count)
        ]
    return found[::2], found[1::2]


def percentiles(latencies: Sequence[float]) -> tuple[float, float]:
    """Median and 95th."""
    found = sorted(latencies)
    return (statistics.median(found), found[int(len(found) * 0.95)]) if found else (float("nan"), float("nan"))


def fit_alone(pictures: Sequence[Path]) -> float:
    frames = [detector.images.read(path) for path in pictures]
    start = time.perf_counter()
    detector.fit(frames)
    return time.perf_counter() - start


def anomalib_alone(pictures: Sequence[Path]) -> float:
    from training.anomalib import engine, modules
    from training.anomalib.pictures import Pictures

    share = (BANK + 0.5) / (len(pictures) * (SIZE // 8) ** 2)
    seconds: float = engine.fit(modules.patchcore(SIZE, share), Pictures(pictures, (), SIZE, 16), seed=0)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-anomalib", action="store_true")
    arguments = parser.parse_args()
    pictures = datasets.find_data_set(arguments.folder).training[:PICTURES]
    with tempfile.TemporaryDirectory() as folder:
        flange = Path(folder) / "flange"
        detector.fit(good_frames(FLANGES), total=FLANGES, category="flange").save(flange)
        port = free_port()
        settings = {"DATA_DIR": str(Path(folder) / "data"), "MODEL_PATH": str(flange)}
        with command(port, settings, Path(folder)):
            found, paused = asyncio.run(rounds(port, pictures, arguments.rounds))
    alone = [fit_alone(pictures) for _ in range(arguments.rounds)]
    told = statistics.median(one.told for one in found)
    rows = [
        ["Done to live, on the server", "≤ 5 s", f"{told:.1f} s", _all(one.told for one in found)],
        [
            f"the same, {PAUSE_S:.0f} s after the last picture",
            "",
            f"{statistics.median(one.told for one in paused):.1f} s",
            _all(one.told for one in paused),
        ],
        ["without a pause, as a client sees it", "", f"{statistics.median(one.seen for one in found):.1f} s", ""],
        ["`detector.fit` alone", "", f"{statistics.median(alone):.1f} s", _all(alone)],
    ]
    if not arguments.without_anomalib and find_spec("anomalib"):
        theirs = anomalib_alone(pictures)
        rows.append(
            ["anomalib's fit, without a threshold", "", f"{theirs:.0f} s", f"{theirs / told:.0f}× Done to live"]
        )
    shown = statistics.median(one.showing for one in found) / len(pictures)
    rows.append(["a picture shown: kept, compared, judged", "", f"{1000 * shown:.0f} ms", ""])
    print(
        f"{table([f'{len(pictures)} pictures of {arguments.folder.name}, balanced', 'goal', 'median', 'all'], rows)}\n"
    )
    before = percentiles([latency for one in (*found, *paused) for latency in one.before])
    meanwhile = percentiles([latency for one in found for latency in one.meanwhile])
    latencies = [
        ["before", f"{before[0]:.1f}", f"{before[1]:.1f}"],
        ["from Done to live", f"{meanwhile[0]:.1f}", f"{meanwhile[1]:.1f}"],
        ["ratio (goal for p95: ≤ 1.5)", f"{meanwhile[0] / before[0]:.2f}", f"{meanwhile[1] / before[1]:.2f}"],
    ]
    print(table([f"another stream at {FRAMES_PER_SECOND} frames/s, latency, ms", "median", "p95"], latencies))


def _all(seconds: Any) -> str:
    return ", ".join(f"{one:.1f}" for one in seconds)


if __name__ == "__main__":
    main()
