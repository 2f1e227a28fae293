"""The whole server at full load for a long time: what grows, what is left over, what becomes slower.

    python -m benchmarks.soak [--minutes 30] [--streams 8]

Streams send as fast as they are answered; every minute listeners come and go, a webhook's peer fails and comes back, a
camera is added and removed, a calibration is made, a teaching is begun and given up. Every two seconds the memory
of the server and of what it started is read (RSS), with threads, open files and sockets. The slope after the first
fifth is a line of least squares with its 95 % interval from means of ten blocks, so that neighbours that are alike do
not count twice. At the end, everybody gone, threads and files are compared with those before anybody came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import websockets

from benchmarks.killed import Server, children_of, jpeg
from training.reports.markdown import table

EVERY_S = 2.0
WARM = 0.2
BLOCKS = 10
T_95 = 2.306
"""Student's, two-sided, of eight degrees of freedom: ten blocks, two of them for the line."""


@dataclass
class Sample:
    """At one moment. ``at``: s since the start; ``rss``: MB, with ``children``'s; ``files``: sockets among them."""

    at: float
    rss: float
    children: float
    threads: int
    files: int


@dataclass
class Seen:
    """What is measured. ``latencies``: (s since the start, ms from a frame sent to its result)."""

    samples: list[Sample] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, is_well: bool = True) -> None:
        counts = self.done if is_well else self.failed
        counts[what] = counts.get(what, 0) + 1


def sample(pid: int, start: float) -> Sample:
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    children = sum(rss_of(child) for child in children_of(pid))
    return Sample(time.monotonic() - start, rss_of(pid) + children, children, threads, files)


def rss_of(pid: int) -> float:
    """MB in memory; 0 of a process that is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def slope_of(samples: Sequence[Sample]) -> tuple[float, float]:
    """MB an hour, and half of its 95 % interval; not a number where there are too few."""
    if len(samples) < 2 * BLOCKS:
        return math.nan, math.nan
    blocks = np.array_split(np.array([[one.at / 3600, one.rss] for one in samples]), BLOCKS)
    x, y = np.array([block.mean(axis=0) for block in blocks]).T
    slope, offset = np.polyfit(x, y, 1)
    rest = y - slope * x - offset
    error = math.sqrt(float((rest**2).sum()) / (BLOCKS - 2) / float(((x - x.mean()) ** 2).sum()))
    return float(slope), T_95 * error


def p99(latencies: Sequence[float]) -> float:
    return float(np.percentile(latencies, 99)) if latencies else math.nan


async def send(server: Server, name: str, seen: Seen, start: float) -> None:
    """One frame after the other, each when the last was answered: full load, whatever the machine."""
    pictures = [jpeg(number) for number in range(16)]
    async with websockets.connect(f"ws://127.0.0.1:{server.port}/ws/stream?name={name}", proxy=None) as socket:
        for number in range(1 << 60):
            sent = time.monotonic()
            await socket.send(pictures[number % 16])
            while json.loads(await socket.recv())["type"] != "result":
                pass
            seen.latencies.append((sent - start, (time.monotonic() - sent) * 1000))


async def listen(server: Server, names: Sequence[str], seen: Seen) -> None:
    """Listeners that come and go, with pictures and without."""
    for number in range(1 << 60):
        url = f"ws://127.0.0.1:{server.port}/ws/live/{names[number % len(names)]}?picture={number % 2}"
        async with websockets.connect(url, proxy=None, max_size=None) as socket:
            for _ in range(20):
                await socket.recv()
        seen.count("listeners")


async def change(server: Server, seen: Seen) -> None:
    """Everything else that people do, once a minute."""
    pictures = [("files", (f"{number}.jpg", jpeg(number), "image/jpeg")) for number in range(20)]
    peer = await asyncio.start_server(_answer, "127.0.0.1", 0)
    hook = f"http://127.0.0.1:{peer.sockets[0].getsockname()[1]}/"
    settings = {"url": hook, "secret": "c29ha3NvYWtzb2Frc29ha3NvYWtzb2Fr"}
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as client:

        async def ask(what: str, method: str, path: str, **more: object) -> httpx.Response:
            answer = await client.request(method, path, **more)  # type: ignore[arg-type]
            seen.count(what, answer.status_code < 400)
            return answer

        for turn in range(1 << 60):
            began = time.monotonic()
            sink = {"kind": "webhook", "name": f"mes-{turn}", "enabled": True, "settings": settings}
            made = await ask("sinks", "POST", "/api/sinks", json=sink)
            await ask("cameras", "POST", "/api/cameras", json={"name": f"c{turn}", "source": "rtsp://127.0.0.1:9/x"})
            body = {"include_suspects": "true"}
            await ask("calibrations", "POST", "/calibrate", files=pictures, data=body)
            taught = await ask("teachings", "POST", "/api/teaching", json={"name": f"part {turn}"})
            await asyncio.sleep(15)
            peer.close()  # the sink's peer is away for a while
            await asyncio.sleep(15)
            port = int(hook.rpartition(":")[2].rstrip("/"))
            peer = await asyncio.start_server(_answer, "127.0.0.1", port)
            if taught.status_code < 400:
                await ask("teachings ended", "DELETE", f"/api/teaching/{taught.json()['id']}")
            if made.status_code < 400:
                await ask("sinks removed", "DELETE", f"/api/sinks/{made.json()['id']}")
            await ask("cameras removed", "DELETE", f"/api/cameras/c{turn}")
            await asyncio.sleep(max(0.0, began + 60 - time.monotonic()))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A peer that takes one event a connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await reader.readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()


async def soak(server: Server, minutes: float, streams: int) -> tuple[Seen, Sample, Sample]:
    """What was seen; how the server was before anybody came, and when everybody was gone."""
    assert server.process is not None
    seen, start, pid = Seen(), time.monotonic(), server.process.pid
    names = [f"soak-{number}" for number in range(streams)]
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        for path in ("/health", "/api/streams", "/api/history?limit=1"):
            await client.get(path)
    await asyncio.sleep(3)
    before = sample(pid, start)
    work = [send(server, name, seen, start) for name in names]
    work += [listen(server, names, seen), listen(server, names, seen), change(server, seen)]
    tasks = [asyncio.create_task(one) for one in work]
    while time.monotonic() - start < minutes * 60:
        await asyncio.sleep(EVERY_S)
        seen.samples.append(await asyncio.to_thread(sample, pid, start))
        for task in tasks:
            if task.done():
                task.result()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        for kind, key in (("sinks", "id"), ("cameras", "name")):
            for one in (await client.get(f"/api/{kind}")).json()[kind]:
                await client.delete(f"/api/{kind}/{one[key]}")
    await asyncio.sleep(15)
    return seen, before, sample(pid, start)


def report(seen: Seen, before: Sample, after: Sample, minutes: float, streams: int) -> str:
    warm = [one for one in seen.samples if one.at >= WARM * minutes * 60]
    slope, error = slope_of(warm)
    span = min(300.0, minutes * 60 / 3)
    skipped = min(60.0, minutes * 6)
    first = [ms for at, ms in seen.latencies if skipped <= at < skipped + span]
    last = [ms for at, ms in seen.latencies if at >= minutes * 60 - span]
    done = ", ".join(f"{count} {what}" for what, count in seen.done.items())
    failed = ", ".join(f"{count} {what}" for what, count in seen.failed.items()) or "none"
    rows = [
        ["frames inspected", f"{len(seen.latencies):,} of {streams} streams in {minutes:g} minutes"],
        ["also", done],
        ["refused", failed],
        ["memory, MB: median after warm-up", f"{statistics.median(one.rss for one in warm):,.0f}"],
        ["slope, MB an hour, 95 %", f"{slope:+.2f} ± {error:.2f}"],
        ["threads before and after", f"{before.threads} · {after.threads}"],
        ["files and sockets before and after", f"{before.files} · {after.files}"],
        [f"p99, ms: first {span / 60:.2g} minutes after {skipped:g} s", f"{p99(first):.1f}"],
        [f"p99, ms: last {span / 60:.2g} minutes", f"{p99(last):.1f} ({p99(last) / p99(first):.2f} ×)"],
    ]
    return table(["soak", ""], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--streams", type=int, default=8)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            server.start()
            seen, before, after = asyncio.run(soak(server, chosen.minutes, chosen.streams))
        finally:
            server.stop()
    print(report(seen, before, after, chosen.minutes, chosen.streams))


if __name__ == "__main__":
    main()
