"""A plan for many cameras, worked out and simulated: how many cores, replicas, machines and gateways, which network,
how many frames are dropped, and what a machine costs that dies.

    python -m benchmarks.plan --frame-ms 11.9 13.9 --overhead-ms 1.6 2.2 --gateway-ms 2.3

**Simulated, not measured**: events of frames, slots and replicas in plain Python. As in the pool, the newest frame of a
stream waits and a replica has one frame at a time; whose turn it is says the server's own
:class:`server.streams.turns.Turns`. What a frame takes is given: median and 95th percentile, from docs/benchmarks.md,
and drawn log-normally.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from server.streams.turns import Account, Turns
from training.reports.markdown import table

TO_P95 = 1.6449
"""Standard deviations from the median of a normal distribution to its 95th percentile."""
USED = 0.7
"""Share of the time for which replicas are at work, by plan: the rest is for what comes at once."""


@dataclass(frozen=True)
class Spread:
    """Milliseconds: median and 95th percentile of a log-normal distribution."""

    median: float
    p95: float

    def draw(self, chance: random.Random) -> float:
        """Seconds."""
        return self.median / 1000 * math.exp(chance.gauss(0, 1) * math.log(self.p95 / self.median) / TO_P95)


@dataclass(frozen=True)
class Plant:
    """Cameras that send so many frames a second each, to a gateway with so many replicas."""

    cameras: int
    fps: float
    replicas: int
    frame: Spread
    overhead: Spread


@dataclass(frozen=True)
class Death:
    """So many replicas die at a moment, seconds; others take their place ``again`` later, if there is room."""

    at: float
    replicas: int
    again: float = math.inf


@dataclass
class Found:
    """What became of the frames. ``latencies``: seconds, each with when the result came; ``gap``: the longest between
    two results of a stream, seconds."""

    received: int = 0
    dropped: int = 0
    failed: int = 0
    latencies: list[tuple[float, float]] = field(default_factory=list)
    gap: float = 0.0

    @property
    def inspected(self) -> int:
        return len(self.latencies)

    @property
    def share_dropped(self) -> float:
        return self.dropped / self.received

    def p95(self, since: float = 0.0, until: float = math.inf) -> float:
        """Milliseconds, of the results in a time."""
        some = [latency for when, latency in self.latencies if since <= when < until]
        return float(np.percentile(some, 95)) * 1000 if some else math.nan


@dataclass(frozen=True)
class Work:
    """A replica's: a camera's frame, when that came and when it was begun, seconds."""

    camera: int
    came: float
    began: float


class Simulation:
    """One gateway."""

    def __init__(self, plant: Plant, seconds: float, death: Death | None = None, seed: int = 0) -> None:
        self._plant, self._seconds = plant, seconds
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = itertools.count()
        self._slots: dict[int, float] = {}
        self._turns = Turns[int](plant.replicas, express=False)
        self._accounts = [Account() for _ in range(plant.cameras)]
        self._busy: dict[int, Work] = {}
        self._free = list(range(plant.replicas))
        self._last: dict[int, float] = {}
        self.found = Found()
        for camera in range(plant.cameras):
            self._at(self._chance.uniform(0, 1 / plant.fps), lambda now, camera=camera: self._comes(now, camera))
        if death is not None:
            self._at(death.at, lambda now: self._dies(now, death))

    def run(self) -> Found:
        """Until all that came in the time is accounted for."""
        while self._events:
            now, _, event = heapq.heappop(self._events)
            event(now)
        return self.found

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._number), event))

    def _comes(self, now: float, camera: int) -> None:
        self.found.received += 1
        self.found.dropped += camera in self._slots
        self._slots[camera] = now
        later = now + 1 / self._plant.fps * self._chance.uniform(0.95, 1.05)
        if later < self._seconds:
            self._at(later, lambda when: self._comes(when, camera))
        self._wait(now, camera)

    def _wait(self, now: float, camera: int) -> None:
        if camera in self._slots:
            self._turns.wait(camera, self._accounts[camera])
        self._hand_out(now)

    def _hand_out(self, now: float) -> None:
        while (camera := self._turns.next()) is not None:
            self._begin(now, camera, self._free.pop())

    def _begin(self, now: float, camera: int, replica: int) -> None:
        self._turns.begin(camera, self._accounts[camera])
        self._busy[replica] = Work(camera, self._slots.pop(camera), now)
        takes = self._plant.frame.draw(self._chance) + self._plant.overhead.draw(self._chance)
        self._at(now + takes, lambda when: self._ends(when, replica))

    def _ends(self, now: float, replica: int) -> None:
        if replica not in self._busy:
            return  # it died with its frame
        work = self._busy.pop(replica)
        self.found.latencies.append((now, now - work.came))
        self.found.gap = max(self.found.gap, now - self._last.get(work.camera, now))
        self._last[work.camera] = now
        self._free.append(replica)
        self._done_with(now, work)

    def _done_with(self, now: float, work: Work) -> None:
        self._turns.end(work.camera, self._accounts[work.camera], now - work.began)
        self._wait(now, work.camera)

    def _dies(self, now: float, death: Death) -> None:
        dead = self._chance.sample(range(self._plant.replicas), death.replicas)
        self._free = [one for one in self._free if one not in dead]
        self._turns.workers -= len(dead)
        for work in [self._busy.pop(replica) for replica in dead if replica in self._busy]:
            self.found.failed += 1
            self._done_with(now, work)
        if death.again < math.inf:
            self._at(now + death.again, lambda when: self._come_back(when, len(dead)))

    def _come_back(self, now: float, count: int) -> None:
        first = self._plant.replicas + next(self._number)
        self._free += range(first, first + count)
        self._turns.workers += count
        self._hand_out(now)


@dataclass(frozen=True)
class Asked:
    """The plan's figures. ``jpeg``, ``array``: kB of a frame on its way to a replica; ``cores``: of a machine;
    ``again_s``: until another replica takes the place of a dead one."""

    cameras: int
    fps: float
    frame: Spread
    overhead: Spread
    gateway_ms: float
    jpeg: float
    array: float
    cores: int
    again_s: float
    seconds: float

    @property
    def per_second(self) -> float:
        return self.cameras * self.fps

    @property
    def busy(self) -> float:
        """Replicas at work at once, on average: a replica waits for the way there and back, too."""
        return self.per_second * (self.frame.median + self.overhead.median) / 1000

    @property
    def replicas(self) -> int:
        return math.ceil(self.busy / USED)

    @property
    def each(self) -> int:
        """Replicas of a machine: two of its cores are left to decoding networks, Ray and the system."""
        return self.cores - 2

    @property
    def machines(self) -> int:
        return math.ceil(self.replicas / self.each)

    @property
    def gateways(self) -> int:
        """Python computes on one core at once: what it costs there decides how many processes there are."""
        return max(1, math.ceil(self.per_second * self.gateway_ms / 1000 / USED))


def worked(asked: Asked) -> str:
    """The arithmetic."""
    gigabits = [asked.per_second * kb * 8 / 1e6 for kb in (asked.jpeg, asked.array)]
    rows = [
        ["frames a second", f"{asked.cameras} × {asked.fps:g}", f"{asked.per_second:,.0f}"],
        [
            "replicas at work at once",
            f"{asked.per_second:,.0f} × ({asked.frame.median:g} + {asked.overhead.median:g}) ms",
            f"{asked.busy:.1f}",
        ],
        ["replicas, one core each", f"{asked.busy:.1f} / {USED:g}", asked.replicas],
        [
            f"machines of {asked.cores} cores",
            f"{asked.replicas} / {asked.each}, and one so that one may die",
            f"{asked.machines} + 1",
        ],
        ["gateways", f"{asked.per_second:,.0f} × {asked.gateway_ms:g} ms of one core / {USED:g}", asked.gateways],
        ["network, JPEG", f"{asked.per_second:,.0f} × {asked.jpeg:g} kB", f"{gigabits[0]:.2f} Gbit/s in all"],
        ["network, arrays", f"{asked.per_second:,.0f} × {asked.array:g} kB", f"{gigabits[1]:.2f} Gbit/s in all"],
    ]
    return table(["what", "from", "is"], rows)


def split(total: int, parts: int) -> list[int]:
    """As evenly as it goes."""
    return [total // parts + (number < total % parts) for number in range(parts)]


def simulated(asked: Asked, replicas: int, death: Death | None = None) -> Found:
    """All gateways, each with its cameras and replicas; those of a machine that dies are spread over them."""
    whole = Found()
    shares = zip(
        split(asked.cameras, asked.gateways),
        split(replicas, asked.gateways),
        split(death.replicas if death else 0, asked.gateways),
        strict=True,
    )
    for number, (cameras, some, dead) in enumerate(shares):
        plant = Plant(cameras, asked.fps, some, asked.frame, asked.overhead)
        dies = Death(death.at, dead, death.again) if death else None
        one = Simulation(plant, asked.seconds, dies, seed=number).run()
        whole.received += one.received
        whole.dropped += one.dropped
        whole.failed += one.failed
        whole.latencies += one.latencies
        whole.gap = max(whole.gap, one.gap)
    return whole


def by_replicas(asked: Asked, shares: Sequence[float] = (0.8, 0.9, 1.0, 1.1, 1.2, 1 / USED)) -> str:
    """Frames dropped and latency, by how many replicas there are."""
    rows = []
    for share in shares:
        count = math.ceil(asked.busy * share)
        found = simulated(asked, count)
        used = asked.busy / count
        rows.append([count, f"{used:.0%}", f"{found.share_dropped:.1%}", f"{found.p95():.0f}", f"{found.gap:.2f}"])
    heads = ["replicas", "needed at work / there", "dropped", "p95 latency, ms", "longest between two results, s"]
    return table(heads, rows)


def when_one_dies(asked: Asked) -> str:
    """A machine dies in the middle of it."""
    middle, rows = asked.seconds / 2, []
    planned, full = asked.machines * asked.each, math.ceil(asked.busy / 0.9)
    for what, count, again in (
        (f"{asked.machines} full machines, one to spare", planned, asked.again_s),
        (f"{asked.machines} full machines, none to spare", planned, math.inf),
        ("at work for 90 %, one to spare", full, asked.again_s),
        ("at work for 90 %, none to spare", full, math.inf),
    ):
        found = simulated(asked, count, Death(middle, min(asked.each, count), again))
        during = found.p95(middle, min(middle + asked.again_s, asked.seconds))
        row = [what, count, found.failed, f"{found.p95(0, middle):.0f}", f"{during:.0f}", f"{found.share_dropped:.1%}"]
        rows.append([*row, f"{found.gap:.2f}"])
    heads = ["", "replicas", "failed", "p95 before, ms", "p95 after, ms", "dropped, all the time", "longest gap, s"]
    return table(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--frame-ms", "--overhead-ms"):
        parser.add_argument(name, type=float, nargs=2, required=True, metavar=("MEDIAN", "P95"))
    parser.add_argument("--gateway-ms", type=float, required=True, help="of a gateway's processor, a frame")
    parser.add_argument("--cameras", type=int, default=200)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--jpeg-kb", type=float, default=46.0)
    parser.add_argument("--array-kb", type=float, default=307.0)
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--again-s", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=40.0)
    chosen = parser.parse_args()
    asked = Asked(
        chosen.cameras,
        chosen.fps,
        Spread(*chosen.frame_ms),
        Spread(*chosen.overhead_ms),
        chosen.gateway_ms,
        chosen.jpeg_kb,
        chosen.array_kb,
        chosen.cores,
        chosen.again_s,
        chosen.seconds,
    )
    frame, way = (f"{one.median:g} ms (p95 {one.p95:g})" for one in (asked.frame, asked.overhead))
    print(f"**Worked out** for a frame of {frame} and {way} to a replica and back:\n\n{worked(asked)}\n")
    print(f"**Simulated, {asked.seconds:g} s, by the number of replicas:**\n\n{by_replicas(asked)}\n")
    print(f"**Simulated: one machine of {asked.each} replicas dies.** Where there is a machine to spare, others take")
    print(f"their place after {asked.again_s:g} s:\n\n{when_one_dies(asked)}")


if __name__ == "__main__":
    main()
