"""Replicas on a Ray cluster beside threads of the gateway: what a frame costs more, how many are inspected, and what
happens when something dies.

    python -m benchmarks.ray_pool [--quick] [PART…]

A real cluster of three nodes (raylets) on this machine: the head, on which the gateway is and no replica, and two more.
The gateway is its streams, pool and replicas, in this process and without sockets. All share this machine's cores, so
that more replicas than cores bring nothing here. The model is the simulated line's, with one thread for a frame in a
replica and here; frames are its pictures, 640×480, as JPEG.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import detector
from benchmarks.interleaved import take_turns
from benchmarks.streams import camera
from detector import TaughtModel
from detector.backbones.efficientnet_lite import load_backbone
from detector.backbones.openvino_graph import taps_of_frame
from detector.images import decode, encode_jpeg
from detector.quiet_openvino import ops, ov
from server.inspection import Ask, Encoded, Looked, Wanted
from server.replicas import ray_cluster
from server.replicas.packed_model import base_of, packed, unpacked
from server.replicas.replica import Answer, NotHere, Replica, Request
from server.simulated_line import good_frames
from server.words import Load
from tests.gateway import Gateway, Sender, gateway, sending
from tests.nodes import Nodes, nodes
from tests.running import command, free_port, wait_healthy
from tests.server.fakes import until
from training.reports.markdown import table

PIXELS = 10_000_000
PATIENCE_S = 300.0
QUICKER = {"health_check_period_ms": 1000, "health_check_timeout_ms": 5000, "health_check_failure_threshold": 3}
"""As docs/scaling.md says to start a cluster: left alone, Ray takes a minute to give up a machine without power, and
starts replicas there meanwhile."""


@dataclass(frozen=True)
class Asked:
    """How long everything is measured: calls, seconds, and how often."""

    calls: int = 600
    seconds: float = 8.0
    forgiven: int = 20
    recipes: int = 20


class Echo(Replica):
    """Looks at the first frame of a kind, and says the same of all others at once: what is left is the way."""

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(threads)
        self._told: dict[tuple[str, type], Answer] = {}

    def look(self, request: Request) -> Answer:
        kind = request.model, type(request.frame)
        if kind not in self._told:
            answer = super().look(request)
            if isinstance(answer, NotHere):
                return answer
            self._told[kind] = answer
        return self._told[kind]


class Timed:
    """A looker that notes how long each frame took from when it was taken, milliseconds."""

    def __init__(self, looker: Any) -> None:
        self._looker, self.ms = looker, list[float]()

    def look(self, load: Load, ask: Ask, progress: Callable[[], None]) -> Looked:
        began = time.perf_counter()
        looked: Looked = self._looker.look(load, ask, progress)
        self.ms.append((time.perf_counter() - began) * 1000)
        return looked


@dataclass
class Bench:
    """What all parts use."""

    cluster: Nodes
    folder: Path
    model: TaughtModel
    frames: list[Encoded]
    asked: Asked
    two: float = 0.0

    def frame(self, stream: str, number: int) -> Load:
        return self.frames[number % len(self.frames)]

    @contextlib.asynccontextmanager
    async def replicas(self, count: int, cpus: float = 1.0) -> AsyncIterator[Gateway]:
        made = gateway(self.model, self.folder, count, self.cluster.address, cpus=cpus, within_s=PATIENCE_S)
        async with made as line:
            yield line

    async def capacity(self) -> float:
        """Frames a second that two replicas can look at."""
        if not self.two:
            async with self.replicas(2) as line:
                self.two, _ = await self.load(line, 8, 400, self.asked.seconds)
        return self.two

    async def load(self, line: Gateway, streams: int, per_second: float, seconds: float) -> tuple[float, list[Sender]]:
        """So many frames a second, of all streams; how many were inspected a second, and what senders heard."""
        names = [f"bench-{number}" for number in range(streams)]
        async with sending(line.streams, names, self.frame, streams / per_second) as senders:
            await asyncio.sleep(1)
            before = sum(len(one.results) for one in senders)
            began = time.monotonic()
            await asyncio.sleep(seconds)
            found = (sum(len(one.results) for one in senders) - before) / (time.monotonic() - began)
        return found, senders


def low_high(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    median, p95 = np.percentile(values, (50, 95))
    return float(median), float(p95)


def latencies(senders: Sequence[Sender]) -> list[float]:
    return [result.latency_ms for one in senders for _, result in one.results]


async def overhead(bench: Bench) -> str:
    """The way to a replica and back, beside the way to a thread and back; and whole frames on both."""
    ray_cluster.Replica = Echo  # type: ignore[misc, attr-defined]
    try:
        async with bench.replicas(1) as line, gateway(bench.model, bench.folder, 1) as here:
            echoed = await _ways(bench, line, here, echo=True)
    finally:
        ray_cluster.Replica = Replica  # type: ignore[misc, attr-defined]
    async with bench.replicas(1) as line, gateway(bench.model, bench.folder, 1) as here:
        whole = await _ways(bench, line, here, echo=False)
    jpeg, side = len(bench.frames[0].data), bench.model.input_size
    size = side[0] * side[1] * 3
    rows = [
        [f"JPEG, {jpeg / 1000:.0f} kB", *_ms(echoed["threads"]), *_ms(echoed["jpeg"])],
        [f"array, {size / 1000:.0f} kB", *_ms(echoed["threads"]), *_ms(echoed["array"])],
        ["whole frame, as JPEG", *_ms(whole["threads"]), *_ms(whole["jpeg"])],
    ]
    heads = ["what is sent", "thread, median ms", "p95", "replica, median ms", "p95"]
    median, late = low_high(echoed["jpeg"])
    return (
        f"{table(heads, rows)}\n\nThe first two rows: there and back through the pool, the answer being ready "
        f"(goal with JPEG: median ≤ 2 ms, p95 ≤ 5 ms: {_met(median <= 2 and late <= 5)}). The last: "
        f"decoded and looked at by a thread here, or by a replica. {bench.asked.calls} calls of each in turn."
    )


def _ms(values: Sequence[float]) -> list[str]:
    return [f"{value:.2f}" for value in low_high(values)]


def _met(yes: bool) -> str:
    return "met" if yes else "missed"


async def _ways(bench: Bench, line: Gateway, here: Gateway, *, echo: bool) -> dict[str, list[float]]:
    assert line.replicas is not None
    model, jpeg, name = bench.model, bench.frames[0], packed(bench.model)
    assert name is not None
    small, wanted = model.input_of(decode(jpeg.data)), Wanted(model.taught_hash)
    ready = here.inspection.looker.look(jpeg, lambda: (model, wanted), lambda: None)

    def there(frame: Any) -> Callable[[], Any]:
        return lambda: line.replicas._ask(name, model, frame, wanted)  # type: ignore[union-attr]

    def thread() -> Any:
        return ready if echo else here.inspection.looker.look(jpeg, lambda: (model, wanted), lambda: None)

    ways = {"threads": (here, thread), "jpeg": (line, there(jpeg)), "array": (line, there(small))}
    return await in_turn({way: lambda p=place, w=work: p.pool.run(w) for way, (place, work) in ways.items()}, bench)


async def in_turn(ways: dict[str, Callable[[], Awaitable[Any]]], bench: Bench) -> dict[str, list[float]]:
    """Milliseconds of each, in an order of chance; the first twentieth does not count."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    order, chance = [*ways], random.Random(0)
    for number in range(bench.asked.calls):
        chance.shuffle(order)
        for way in order:
            began = time.perf_counter()
            await ways[way]()
            if number >= bench.asked.calls // 20:
                found[way].append((time.perf_counter() - began) * 1000)
    return found


async def throughput(bench: Bench) -> str:
    """Frames a second of eight streams that send more than can be inspected."""
    rows = []
    for count in (1, 2):
        async with gateway(bench.model, bench.folder, count) as line:
            rows.append([f"{count} in threads", *await _rate(bench, line)])
    for count in (1, 2, 4):
        async with bench.replicas(count) as line:
            rows.append([f"{count} replica" + "s" * (count > 1), *await _rate(bench, line)])
            if count == 2:
                bench.two = float(rows[-1][1])
    heads = ["who looks", "frames/s", "latency, median ms", "p95"]
    return f"{table(heads, rows)}\n\nEight streams that send 400 frames/s together, on {os.cpu_count()} cores."


async def _rate(bench: Bench, line: Gateway) -> list[str]:
    found, senders = await bench.load(line, 8, 400, bench.asked.seconds)
    return [f"{found:.0f}", *(f"{value:.1f}" for value in low_high(latencies(senders)))]


async def overloaded(bench: Bench) -> str:
    """What latency becomes where three times as many frames come as replicas can look at."""
    rows = []
    for count in (1, 2):
        async with bench.replicas(count) as line:
            capacity, _ = await bench.load(line, 8, 400, bench.asked.seconds)
            for streams in (2, 8):
                rows += await _overloaded(bench, line, streams, capacity)
    heads = ["replicas, streams", "load", "frames/s", "p95 from arrival, ms", "to unloaded", "p95 from taken, ms"]
    return table([*heads, "to unloaded", "received = inspected + dropped + failed"], rows) + (
        "\n\nLoads are multiples of what as many replicas inspect of eight streams that send 400 frames/s. Two "
        "replicas, the gateway and the senders share two cores. From arrival: a frame that is not replaced by a newer "
        "one waits for its stream's turn; from taken: when a thread takes it until it is done (goal: ≤ 1.5)."
    )


async def _overloaded(bench: Bench, line: Gateway, streams: int, capacity: float) -> list[list[str]]:
    rows: list[list[str]] = []
    base: tuple[float, float] | None = None
    for factor in (0.3, 3.0):
        line.inspection.looker = timed = Timed(line.replicas)
        found, senders = await bench.load(line, streams, factor * capacity, bench.asked.seconds)
        from_arrival, taken = low_high(latencies(senders))[1], low_high(timed.ms)[1]
        counted = [one.opened.stream.counters for one in senders]
        whole = [sum(getattr(one, name) for one in counted) for name in COUNTS]
        assert whole[0] == sum(whole[1:]), whole
        base = base or (from_arrival, taken)
        ratios = f"{from_arrival / base[0]:.1f}", f"{taken / base[1]:.1f}"
        row = [f"{line.ready}, {streams}", f"{factor:g}×", f"{found:.0f}", f"{from_arrival:.1f}", ratios[0]]
        sums = " = ".join([str(whole[0]), " + ".join(map(str, whole[1:]))])
        rows.append([*row, f"{taken:.1f}", ratios[1], sums])
    return rows


COUNTS = ("received", "inspected", "dropped", "failed")


async def killed(bench: Bench) -> str:
    """The longest gap in the results of any of four streams, while something dies under load."""
    rows, most = [], 0.6 * await bench.capacity()
    async with bench.replicas(2, cpus=1.5) as line:  # each node has room for one
        for what, kill in (
            ("nothing", _nothing),
            ("a replica is killed (SIGKILL)", _kill_replica),
            ("a node falls silent (SIGSTOP of all there)", _silence_node),
            ("a node is killed (SIGKILL)", _kill_node),
        ):
            while len(bench.cluster.others) < 3:
                bench.cluster.add(2)
            rows.append([what, *await _gap(bench, line, kill, most)])
    heads = ["what dies", "longest gap, s", "of 4 streams, each", "frames failed", "two replicas again after, s"]
    return table(heads, rows) + (
        f"\n\nFour streams send {most:.0f} frames/s together to two replicas, each on a node of its own, with one node "
        "to spare (goal: ≤ 1 s). The replica that takes a dead one's place is a new process, started on the same cores."
    )


Kill = Callable[[Bench, Gateway], Awaitable[None]]


async def _nothing(bench: Bench, line: Gateway) -> None:
    pass


async def _kill_replica(bench: Bench, line: Gateway) -> None:
    os.kill((await line.alive())[0].process, signal.SIGKILL)


async def _kill_node(bench: Bench, line: Gateway) -> None:
    bench.cluster.kill(await _node(bench, line))


async def _silence_node(bench: Bench, line: Gateway) -> None:
    bench.cluster.silence(await _node(bench, line))


async def _node(bench: Bench, line: Gateway) -> Any:
    found = [bench.cluster.other_with(one.process) for one in await line.alive()]
    return next(node for node in found if node is not None)


async def _gap(bench: Bench, line: Gateway, kill: Kill, per_second: float) -> list[str]:
    names = [f"gap-{number}" for number in range(4)]
    async with sending(line.streams, names, bench.frame, 4 / per_second) as senders:
        await asyncio.sleep(3)
        began = time.monotonic()
        await kill(bench, line)
        with contextlib.suppress(TimeoutError):
            await until(lambda: line.ready < 2, 2.0)
        await until(lambda: line.ready == 2, PATIENCE_S)
        back = time.monotonic() - began
        await asyncio.sleep(2)
    gaps = sorted(one.longest_gap(began) for one in senders)
    failed = sum(one.opened.stream.failed for one in senders)
    return [f"{gaps[-1]:.2f}", ", ".join(f"{one:.2f}" for one in gaps), str(failed), f"{back:.1f}"]


async def recipes(bench: Bench) -> str:
    """Many recipes, each with a model of its own, on two replicas."""
    pictures = [decode(one.data) for one in bench.frames]
    chance = np.random.default_rng(0)

    def teach(number: int) -> TaughtModel:
        some = [pictures[at] for at in chance.permutation(len(pictures))[:8]]
        return detector.fit(some, image_size=bench.model.image_size, coreset_size=1000, category=f"part {number}")

    models = [await asyncio.to_thread(teach, number) for number in range(bench.asked.recipes)]
    async with bench.replicas(2) as line:
        before = await _memory(line)
        began = time.monotonic()
        for model in models:
            line.inspection.use(model)
        wanted = {one.hash for one in models}
        await until(lambda: line.ready < 2, PATIENCE_S)
        await until(lambda: line.ready == 2, PATIENCE_S)
        seconds = time.monotonic() - began
        after = await _memory(line)
        assert line.cluster is not None
        for peer in line.cluster.peers:
            assert wanted <= set(await asyncio.wrap_future(peer.beat([*wanted, bench.model.hash])))
    travels = sum(len(base_of(one)) for one in models) / len(models) / 1e6
    return (
        f"{len(models)} recipes with a model each were warm on both of two replicas {seconds:.1f} s after they came "
        f"into force at once ({travels:.1f} MB each travels); a replica had {before:.0f} MB with one model, and "
        f"{after:.0f} MB with {len(models) + 1}: {(after - before) / len(models):.0f} MB a model."
    )


async def _memory(line: Gateway) -> float:
    """MB of a replica, the largest."""
    return max(_proportional(one.process) for one in await line.alive())


def _proportional(process: int) -> float:
    """MB of a process; what it shares with others by its share."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(text.split()[1]) for text in lines if text.startswith("Pss:")) / 1000


async def forgiven(bench: Bench) -> str:
    """From a forgiven part to its version on all replicas, under load."""
    goods = []
    for number in range(bench.asked.forgiven):
        small = bench.model.input_of(decode(bench.frames[number % len(bench.frames)].data))
        left, top = 0.1 + 0.6 * (number % 5) / 5, 0.1 + 0.6 * (number // 5) / 5
        goods.append(bench.model.good_of(small, [(left, top), (left + 0.15, top), (left + 0.15, top + 0.15)]))
    seconds, half = [], 0.5 * await bench.capacity()
    async with bench.replicas(2) as line:
        names = [f"forgive-{number}" for number in range(4)]
        async with sending(line.streams, names, bench.frame, 4 / half) as senders:
            await asyncio.sleep(1)
            for number in range(len(goods)):
                version = bench.model.corrected(goods[: number + 1])
                began = time.monotonic()
                await line.put_in_force(version)
                seconds.append(time.monotonic() - began)
                await asyncio.sleep(0.3)
        failed = sum(one.opened.stream.failed for one in senders)
    first, later = seconds[0], sorted(seconds[1:])
    return (
        f"{len(seconds)} parts were forgiven one after the other while frames came, half of what two replicas can do: "
        f"on both after {np.median(later):.2f} s (median), {later[-1]:.2f} s at the longest, the first, for which "
        f"a graph is compiled, after {first:.2f} s (goal: ≤ 1 s: {_met(max(seconds) <= 1)}); {failed} frames failed."
    )


async def gateways(bench: Bench) -> str:
    """What the real server, sockets and all, computes for a frame that a replica looks at."""
    model, data, port = bench.folder / "model", bench.folder / "served", free_port()
    bench.model.save(model)
    settings = {"MODEL_PATH": str(model), "DATA_DIR": str(data), "POOL": "ray", "RAY_REPLICAS": "1"}
    data_of = [one.data for one in bench.frames]
    with command(port, settings, bench.folder, healthy=False) as process:
        await asyncio.to_thread(wait_healthy, f"http://127.0.0.1:{port}", process, PATIENCE_S)
        idle = await _computed(process.pid, asyncio.sleep(bench.asked.seconds))
        urls = [f"ws://127.0.0.1:{port}/ws/stream?name=bench-{number}" for number in range(4)]
        counts = list[tuple[int, int]]()

        async def send() -> None:
            counts[:] = await asyncio.gather(*(camera(url, data_of, bench.asked.seconds, [], 10) for url in urls))

        await send()  # once before: what is made at the first frames does not count
        busy = await _computed(process.pid, send())
    inspected, received = sum(count[1] for count in counts), sum(count[0] for count in counts)
    return (
        f"The whole server with `POOL=ray`, four WebSocket streams of 10 JPEG a second: its own process computes "
        f"{(busy - idle) * 1000 / inspected:.2f} ms for each inspected frame ({inspected} of {received}), beside the "
        "replica's: reading, slots, verdicts, history, messages."
    )


async def _computed(process: int, work: Awaitable[object]) -> float:
    """Seconds that a process computes meanwhile."""
    before = _cpu(process)
    await work
    return _cpu(process) - before


def _cpu(process: int) -> float:
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def batches(bench: Bench) -> str:
    """The backbone's graph with one frame at once, and several."""
    rows, rounds = [], 40
    small = bench.model.input_of(decode(bench.frames[0].data))
    cases = [(threads, count) for threads in (1, os.cpu_count() or 1) for count in (1, 2, 4)]
    ready = {f"{threads} {count}": _batch(small, count, threads) for threads, count in cases}
    times = take_turns(ready, rounds=rounds, pause=0.02)
    for threads, count in cases:
        found, alone = times[f"{threads} {count}"], times[f"{threads} 1"]
        each, gain = found.median / count, alone.median / (found.median / count)
        rows.append([threads, count, f"{found.median:.1f}", f"{each:.2f}", f"{gain:.2f}×"])
    heads = ["threads", "frames at once", "ms", "ms a frame", "frames/s to one at once"]
    return table(heads, rows) + (
        "\n\nThe backbone, fine scale, in OpenVINO float32: all that several frames could share. "
        f"{rounds} rounds in turn, medians."
    )


def _batch(small: Any, count: int, threads: int) -> Callable[[], object]:
    frame = ops.parameter([count, *small.shape], np.uint8, name="frame")
    graph = ov.Model(taps_of_frame(load_backbone(), frame), [frame], "taps")
    how = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(threads)}
    request = ov.Core().compile_model(graph, "CPU", how).create_infer_request()
    pictures = np.repeat(small[None], count, 0)
    return lambda: request.infer({0: pictures}, share_inputs=True)


PARTS: dict[str, tuple[str, Callable[[Bench], Awaitable[str]]]] = {
    "overhead": ("A frame's way", overhead),
    "throughput": ("Throughput", throughput),
    "overload": ("More frames than can be inspected", overloaded),
    "killed": ("Something dies", killed),
    "recipes": ("Many recipes", recipes),
    "forgive": ("A change, until it is in force", forgiven),
    "gateway": ("The gateway's part", gateways),
    "batches": ("Several frames at once", batches),
}


async def run(bench: Bench, parts: Sequence[str]) -> None:
    for name in parts:
        title, part = PARTS[name]
        began = time.monotonic()
        print(f"**{title}**\n\n{await part(bench)}\n", flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything: whether it runs")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    chosen = parser.parse_args()
    asked = Asked(60, 2.0, 4, 4) if chosen.quick else Asked()
    pictures = [*good_frames(40)]
    taught = detector.fit(pictures, image_size=320, coreset_size=1536, category="simulated flange")
    name = packed(taught)
    assert name is not None
    frames = [Encoded(encode_jpeg(one, quality=85)[0], PIXELS) for one in pictures]
    with tempfile.TemporaryDirectory() as folder, nodes(Path(folder) / "ray", 0, 2, 2, config=QUICKER) as cluster:
        model = unpacked(name, base_of(taught), threads=1)
        asyncio.run(run(Bench(cluster, Path(folder), model, frames, asked), chosen.parts or [*PARTS]))
    # The interpreter's own end crashed now and then on what Ray leaves behind (std::bad_alloc), after all was done.
    os._exit(0)


if __name__ == "__main__":
    main()
