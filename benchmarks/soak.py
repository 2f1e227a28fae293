"""The whole server at full load for a long time: what grows, what is left over, what becomes slower.

    python -m benchmarks soak                          # 15 and 30 minutes, into docs/benchmarks.md
    python -m benchmarks.soak --warm-up 1 --minutes 5 --grown

First what the server keeps up to a bound is filled, which would take hours by itself: streams that it remembers, steps
of a recipe's history and of the calibrations'. Then streams send as fast as they are answered, a defect among them now
and then. Every minute a part is taught and a stream switched to its recipe and back, an alarm is forgiven, one
remembered, and both are taken back, a calibration is made, a webhook's peer fails and comes back, a camera is added and
removed, a teaching is given up; listeners come and go all the time. The warm-up is for what is bounded and cannot be
filled from outside: what each thread keeps of freed memory (glibc: seven pieces of every size up to 1 KB), NumPy of
small arrays, and the tables of dictionaries, which grow once more after many came and went. Every two seconds the
memory of the server (RSS) and of what it started is read, with threads, open files and sockets. The slope after the
warm-up is a line of least squares through the least of each minute, with its 95 % interval: teaching and correcting
take up to 200 MB for a moment, and what is left behind shows between them.

Once a minute, when the minute's work is done, the senders pause until the last frame is answered; then garbage is
collected, freed memory given back, and what is left is read: the slope *at rest* is of what the server holds on to, and
is told much more exactly than that of memory at full load, in which up to nine frames, their results and listeners'
messages are at any moment. No latency is taken then. At the end, everybody gone, threads, tasks and files are compared
with those before anybody came (``benchmarks.looked_at``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import websockets
from scipy import stats  # type: ignore[import-untyped]

from benchmarks.killed import Server, children_of, jpeg
from benchmarks.looked_at import Look
from server.inspection.calibrations import MOST_STEPS as CALIBRATION_STEPS
from server.recipes.recipe_book import MOST_STEPS
from server.streams.streams import MOST_REMEMBERED
from training.reports.markdown import table

EVERY_S = 2.0
WARM_UP = 15.0
WHOLE_MINUTE = 20
"""Samples of a minute that is looked at: of one that the run began or ended in, the least says less."""
FEWEST_MINUTES = 5
FILLING, FILLED_AFTER = 8, 2600
"""Every such frame shows a defect until so many were sent: alarms are kept up to a bound, which the warm-up reaches."""
DEFECT_EVERY = 500
"""From then on; what is forgiven and remembered are such."""
NAMES, RECIPE_STEPS, CALIBRATIONS = MOST_REMEMBERED, MOST_STEPS, CALIBRATION_STEPS
"""With which it begins."""
CALIBRATED = {"include_suspects": "true"}
TAUGHT_IN_S = 45.0
MOST_GROWN = 25
NO_RESULT_S = 15.0
"""Then a frame has no result, and the next is sent."""
SETTLED_S = 1.0
"""From the last answer until memory is read at rest: what goes to sinks, history and archive has gone."""


@dataclass
class Sample:
    """At one moment. ``at``: s since the start; ``rss``: MB of the server; ``children``: of what it started;
    ``anonymous``: of ``rss``, what is no file of the system's; ``files``: sockets among them."""

    at: float
    rss: float
    children: float
    threads: int
    files: int
    anonymous: float = 0.0


@dataclass
class Seen:
    """What is measured. ``latencies``: (s since the start, ms from a frame sent to its result)."""

    samples: list[Sample] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    resting: list[Resting] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


@dataclass
class Resting:
    """At rest. ``at``: s since the start; ``anonymous``: MB in memory that are no file's."""

    at: float
    anonymous: float
    look: Look

    @property
    def heap(self) -> float:
        """MB that were asked of glibc and not given back, in arenas and mapped."""
        return (self.look.heap.get("used", 0) + self.look.heap.get("mapped", 0)) / 1e6

    @property
    def own(self) -> float:
        """Of these, what is not SQLite's, which keeps pages of the history up to a bound."""
        return self.heap - self.look.heap.get("sqlite", 0) / 1e6


class Load:
    """How many frames are sent and not answered, and how the senders are made to pause."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._going, self._answered = asyncio.Event(), asyncio.Event()
        self._going.set()

    @contextlib.asynccontextmanager
    async def frame(self) -> AsyncIterator[None]:
        """While it is sent and until it is answered; waits while all pause."""
        await self._going.wait()
        self._in_flight += 1
        self._answered.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._answered.set()

    @contextlib.asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """Nothing is sent; what was is answered."""
        self._going.clear()
        try:
            await self._answered.wait()
            yield
        finally:
            self._going.set()


def sample(pid: int, start: float) -> Sample:
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    rss, anonymous = memory_of(pid)
    children = sum(memory_of(child)[0] for child in children_of(pid))
    return Sample(time.monotonic() - start, rss, children, threads, files, anonymous)


def memory_of(pid: int) -> tuple[float, float]:
    """MB in memory, and how much of them is no file's; 0 of a process that is gone."""
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return tuple(int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "RssAnon"))  # type: ignore[return-value]
    except (OSError, KeyError, ValueError):
        return 0.0, 0.0


def line_of(at_s: Sequence[float], mb: Sequence[float]) -> tuple[float, float]:
    """MB an hour, and half of its 95 % interval, by least squares. Not a number where there are too few."""
    if len(at_s) < FEWEST_MINUTES:
        return math.nan, math.nan
    line = stats.linregress(np.array(at_s) / 3600, np.array(mb))
    return float(line.slope), float(stats.t.ppf(0.975, len(at_s) - 2) * line.stderr)


def slope_of(samples: Sequence[Sample], what: str = "rss") -> tuple[float, float]:
    """MB an hour, and half of its 95 % interval, of the least of each minute: what stays when the minute's work is
    done. Not a number where there are too few minutes."""
    minutes: dict[int, list[float]] = {}
    for one in samples:
        minutes.setdefault(int(one.at // 60), []).append(getattr(one, what))
    full = {minute: min(values) for minute, values in minutes.items() if len(values) >= WHOLE_MINUTE}
    return line_of([minute * 60 for minute in full], [*full.values()])


def p99(latencies: Sequence[float]) -> float:
    return float(np.percentile(latencies, 99)) if latencies else math.nan


def stream_url(server: Server, name: str) -> str:
    return f"ws://127.0.0.1:{server.port}/ws/stream?name={name}"


def pictures() -> list[tuple[str, tuple[str, bytes, str]]]:
    """Of good parts, to calibrate with and to teach."""
    return [("files", (f"{number}.jpg", jpeg(number), "image/jpeg")) for number in range(20)]


async def send(server: Server, name: str, seen: Seen, start: float, load: Load) -> None:
    """One frame after the other, each when the last was answered: full load, whatever the machine."""
    good = [jpeg(number) for number in range(16)]
    defective = jpeg(0, defect=True)
    async with websockets.connect(stream_url(server, name), proxy=None) as socket:
        for number in range(1 << 60):
            every = FILLING if number < FILLED_AFTER else DEFECT_EVERY
            async with load.frame():
                sent = time.monotonic()
                await socket.send(defective if number % every == every - 1 else good[number % 16])
                is_answered = await _result(socket)
            if is_answered:
                seen.latencies.append((sent - start, (time.monotonic() - sent) * 1000))
            else:
                seen.refused["frames: no result"] += 1


async def _result(socket: websockets.ClientConnection) -> bool:
    """Whether the result of the frame that was sent came: one that grew too old on a starved machine has none."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(NO_RESULT_S):
            while json.loads(await socket.recv())["type"] != "result":
                pass
            return True
    return False


async def listen(server: Server, names: Sequence[str], seen: Seen) -> None:
    """Listeners that come and go, with pictures and without."""
    for number in range(1 << 60):
        url = f"ws://127.0.0.1:{server.port}/ws/live/{names[number % len(names)]}?picture={number % 2}"
        async with websockets.connect(url, proxy=None, max_size=None) as socket:
            for _ in range(20):
                await socket.recv()
        seen.done["listeners"] += 1


class People:
    """Everything else that people do, once a minute; what was refused is counted by its words."""

    def __init__(self, client: httpx.AsyncClient, seen: Seen, names: Sequence[str]) -> None:
        self._client, self._seen, self._names = client, seen, names
        self._pictures = pictures()

    async def ask(self, what: str, method: str, path: str, **more: Any) -> dict[str, Any]:
        """What was answered; empty where it was refused."""
        answer = await self._client.request(method, path, **more)
        refused = answer.status_code >= 400
        if refused:
            self._seen.refused[f"{what}: {answer.text[:120]}"] += 1
        elif what:
            self._seen.done[what] += 1
        return {} if refused or not answer.content else dict(answer.json())

    async def minute(self, turn: int, peer: Peer) -> None:
        settings = {"url": peer.url, "secret": "c29ha3NvYWtzb2Frc29ha3NvYWtzb2Fr"}
        sink = {"kind": "webhook", "name": f"mes-{turn}", "enabled": True, "settings": settings}
        made = await self.ask("sinks", "POST", "/api/sinks", json=sink)
        await self.ask("cameras", "POST", "/api/cameras", json={"name": f"c{turn}", "source": "rtsp://127.0.0.1:9/x"})
        await self.ask("calibrations", "POST", "/calibrate", files=self._pictures, data=CALIBRATED)
        async with peer.away():
            recipe = await self._teach(turn)
            stream = self._names[turn % len(self._names)]
            if recipe is not None:
                await self.ask("recipe switches", "POST", f"/api/streams/{stream}/recipe", json={"recipe": recipe})
            for kind in ("good", "bad"):
                await self._say(kind)
        if recipe is not None:
            await self.ask("recipe switches", "POST", f"/api/streams/{stream}/recipe", json={"recipe": None})
            version = (await self.ask("", "GET", f"/api/recipes/{recipe}")).get("version", 1)
            await self.ask("recipes deleted", "DELETE", f"/api/recipes/{recipe}?version={version}")
        if made:
            await self.ask("sinks removed", "DELETE", f"/api/sinks/{made['id']}")
        await self.ask("cameras removed", "DELETE", f"/api/cameras/c{turn}")
        begun = await self.ask("teachings begun", "POST", "/api/teaching", json={"name": f"given up {turn}"})
        if begun:
            await self.ask("teachings given up", "DELETE", f"/api/teaching/{begun['id']}")

    async def _teach(self, turn: int) -> str | None:
        """Teach a part from pictures; the id of its recipe."""
        begun = await self.ask("", "POST", "/api/teaching", json={"name": f"part {turn}"})
        if not begun:
            return None
        place = f"/api/teaching/{begun['id']}"
        await self.ask("", "POST", f"{place}/pictures", files=self._pictures[:8])
        state = await self.ask("", "POST", f"{place}/done")
        deadline = time.monotonic() + TAUGHT_IN_S
        while state.get("state") not in ("done", "failed", None) and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            state = await self.ask("", "GET", place)
        if state.get("state") != "done":
            self._seen.refused[f"teachings: {state.get('error') or state.get('state')}"] += 1
        else:
            self._seen.done["parts taught"] += 1
        await self.ask("", "DELETE", place)
        return state.get("recipe")

    async def _say(self, kind: str) -> None:
        """Forgive an alarm, or remember it, and take it back."""
        alarms = await self.ask("", "GET", f"/api/streams/{self._names[0]}/frames?kind=alarm")
        frames = [one for one in alarms.get("frames", ()) if one["can_correct"] and not one["disposition"]]
        if not frames:
            self._seen.refused[f"{kind}: there is no alarm"] += 1
            return
        frame = f"/api/frames/{frames[0]['id']}"
        if await self.ask("forgiven" if kind == "good" else "remembered", "POST", f"{frame}/{kind}", json={}):
            await self.ask("taken back", "POST", f"{frame}/nothing")


class Peer:
    """Takes the webhooks, and is away now and then."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    async def come(self) -> None:
        self._server = await asyncio.start_server(_answer, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    @contextlib.asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        assert self._server is not None
        self._server.close()
        try:
            yield
        finally:
            await self.come()


async def change(server: Server, names: Sequence[str], seen: Seen, rest: Callable[[], Awaitable[None]]) -> None:
    """Everything else that people do, once a minute, and a rest after it."""
    peer = Peer()
    await peer.come()
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as client:
        people = People(client, seen, names)
        for turn in range(1 << 60):
            began = time.monotonic()
            await people.minute(turn, peer)
            await rest()
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


@dataclass
class Ends:
    """How the server was before anybody came, and when everybody was gone."""

    before: Sample
    begun: Look
    after: Sample
    left: Look


async def fill(server: Server) -> None:
    """As much as is kept of streams that were here once, of changes of a recipe, and of calibrations."""
    for number in range(NAMES):
        async with websockets.connect(stream_url(server, f"was-{number}"), proxy=None) as socket:
            await socket.send(jpeg(number % 16))
            await _result(socket)
    files = pictures()
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as client:
        recipe = (await client.get("/api/recipes")).json()["recipes"][0]
        path, name, version = f"/api/recipes/{recipe['id']}", recipe["name"], recipe["version"]
        for number in range(RECIPE_STEPS):
            renamed = {"version": version, "name": f"{name} {number}" if number % 2 == 0 else name}
            version = (await client.patch(path, json=renamed)).raise_for_status().json()["version"]
        for _ in range(CALIBRATIONS):
            (await client.post("/calibrate", files=files, data=CALIBRATED)).raise_for_status()


async def soak(server: Server, place: Path, minutes: float, streams: int) -> tuple[Seen, Ends]:
    """Everything at once, for so long, the warm-up with it.

    Args:
        place: where the server writes down what lives in it.
    """
    assert server.process is not None
    seen, start, pid = Seen(), time.monotonic(), server.process.pid
    names = [f"soak-{number}" for number in range(streams)]
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        for path in ("/health", "/api/streams", "/api/history?limit=1"):
            await client.get(path)
    await asyncio.sleep(3)
    before = sample(pid, start)
    begun = await asyncio.to_thread(looked_at, pid, place)
    await fill(server)
    load = Load()
    start = time.monotonic()

    async def rest() -> None:
        async with load.pause():
            await asyncio.sleep(SETTLED_S)
            look = await asyncio.to_thread(looked_at, pid, place)
            seen.resting.append(Resting(time.monotonic() - start, memory_of(pid)[1], look))

    work = [send(server, name, seen, start, load) for name in names]
    work += [listen(server, names, seen), listen(server, names, seen), change(server, names, seen, rest)]
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
        for one in (await client.get("/api/teaching")).json()["teachings"]:
            await client.delete(f"/api/teaching/{one['id']}")
    await asyncio.sleep(15)
    return seen, Ends(before, begun, sample(pid, start), await asyncio.to_thread(looked_at, pid, place))


def looked_at(pid: int, place: Path) -> Look:
    """What lives in the server now, by its own words."""
    place.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    deadline = time.monotonic() + 60
    while not place.exists():
        assert time.monotonic() < deadline, "the server does not say what lives in it"
        time.sleep(0.05)
    return msgspec.json.decode(place.read_bytes(), type=Look)


def resting(seen: Seen, warm_up: float) -> list[Resting]:
    """After so many minutes."""
    return [one for one in seen.resting if one.at >= warm_up * 60]


def report(seen: Seen, ends: Ends, warm_up: float, minutes: float, streams: int) -> str:
    """The table; ``minutes`` are all of them, the warm-up with them."""
    warm = [one for one in seen.samples if one.at >= warm_up * 60]
    at_rest = resting(seen, warm_up)
    (slope, error), (anonymous, anonymous_error) = slope_of(warm), slope_of(warm, "anonymous")
    span = min(300.0, minutes * 60 / 3)
    skipped = min(60.0, minutes * 6)
    first = [ms for at, ms in seen.latencies if skipped <= at < skipped + span]
    last = [ms for at, ms in seen.latencies if at >= minutes * 60 - span]
    before, after = ends.before, ends.after
    rows = [
        [
            "frames inspected",
            f"{len(seen.latencies):,} of {streams} streams in {minutes:g} minutes, {warm_up:g} of them warm-up",
        ],
        ["also", _counts(seen.done)],
        ["refused", _counts(seen.refused)],
        ["memory of the server, MB: before · median after warm-up", f"{before.rss:,.0f} · {_median(warm, 'rss'):,.0f}"],
        ["slope of the least of each minute, MB an hour, 95 %", f"{slope:+.2f} ± {error:.2f}"],
        ["of it, without files of the system", f"{anonymous:+.2f} ± {anonymous_error:.2f}"],
        ["slope at rest, MB an hour, 95 %", _slope(at_rest, "anonymous")],
        ["of it, heap in use", _slope(at_rest, "heap")],
        ["of that, without the pages that SQLite keeps", _slope(at_rest, "own")],
        ["at rest, MB: after warm-up · at the end", " · ".join(f"{one.anonymous:,.1f}" for one in _ends(at_rest))],
        ["memory of what it starts (teachings), MB: at most", f"{max(one.children for one in warm):,.0f}"],
        ["threads: before · at most · after", f"{before.threads} · {max(x.threads for x in warm)} · {after.threads}"],
        ["of Python's, more after than before", _counts(_more(ends.begun.threads, ends.left.threads))],
        ["tasks, more after than before", _counts(_more(ends.begun.tasks, ends.left.tasks))],
        ["files and sockets: before · after", f"{before.files} · {after.files}"],
        [f"p99, ms: first {span / 60:.2g} minutes after {skipped:g} s", f"{p99(first):.1f}"],
        [f"p99, ms: last {span / 60:.2g} minutes", f"{p99(last):.1f} ({p99(last) / p99(first):.2f} ×)"],
    ]
    return table(["soak", ""], rows)


def _slope(at_rest: Sequence[Resting], what: str) -> str:
    slope, error = line_of([one.at for one in at_rest], [getattr(one, what) for one in at_rest])
    return f"{slope:+.2f} ± {error:.2f} of {len(at_rest)}"


def _ends(at_rest: Sequence[Resting]) -> Sequence[Resting]:
    return at_rest if len(at_rest) < 2 else (at_rest[0], at_rest[-1])


def _more(before: Mapping[str, int], after: Mapping[str, int]) -> Counter[str]:
    return Counter(after) - Counter(before)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "none"


def _median(samples: Sequence[Sample], what: str) -> float:
    return statistics.median(getattr(one, what) for one in samples)


def grown(warm: Look, last: Look) -> str:
    """What there is more of, the most first: objects by type, and bytes by line, where these were looked at."""
    lines = ["| more of | after warm-up | at the end |", "|---|---|---|"]
    for what, then, now in (("objects", warm.objects, last.objects), ("allocated", warm.allocated, last.allocated)):
        more = sorted(now, key=lambda name: then.get(name, 0) - now[name])[:MOST_GROWN]
        lines += [f"| {what}: {name} | {then.get(name, 0):,} | {now[name]:,} |" for name in more]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="after the warm-up")
    parser.add_argument("--warm-up", type=float, default=WARM_UP, metavar="MINUTES", help="before what is measured")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--grown", action="store_true", help="say on stderr what there is more of at the end")
    parser.add_argument("--allocations", action="store_true", help="the same by line of Python: slow, no latencies")
    parser.add_argument("--samples", type=Path, metavar="FILE", help="write every sample down, as JSON lines")
    chosen = parser.parse_args()
    minutes = chosen.warm_up + chosen.minutes
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "look"
        environment = {"LOOK": str(place)} | ({"LOOK_ALLOCATIONS": "1"} if chosen.allocations else {})
        server = Server(Path(folder), "benchmarks.looked_at", environment)
        try:
            server.start()
            seen, ends = asyncio.run(soak(server, place, minutes, chosen.streams))
        finally:
            server.stop()
    if chosen.samples is not None:
        chosen.samples.write_bytes(b"\n".join(map(msgspec.json.encode, [*seen.samples, *seen.resting])))
    if chosen.grown or chosen.allocations:
        looks = [one.look for one in resting(seen, chosen.warm_up)]
        print(grown(looks[0], looks[-1]), file=sys.stderr)
    print(report(seen, ends, chosen.warm_up, minutes, chosen.streams))


if __name__ == "__main__":
    main()
