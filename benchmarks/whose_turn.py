"""Whose turn it should be while more frames come than can be inspected: that of who waits longest, or of who has the
freshest frame.

    python -m benchmarks.whose_turn

**Simulated, not measured**: events of frames and workers in plain Python; whose turn it is says the server's own
:class:`server.streams.turns.Turns`. *Freshest* is the other rule that was considered: among the streams that are served
less than a frame's time more than the one that is owed most, the one whose frame came last.

From arrival: from a frame's arrival to its result. To be seen: from a moment of chance, at which something goes wrong
before a camera, to the first result of a frame that came after it, which is what a line waits for.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from server.streams.turns import Account, Turns
from training.reports.markdown import table

WORKERS, OVERLOAD = 2, 3.0
UNEVEN = 0.1
"""By so much frames are early or late, and take more or less."""


@dataclass(eq=False)
class Camera:
    """A stream. ``newest``: when the frame that waits came; ``seen``: (came, result) of each that was inspected."""

    account: Account = field(default_factory=Account)
    newest: float | None = None
    seen: list[tuple[float, float]] = field(default_factory=list)


class Freshest(Turns[Camera]):
    """Serves whose frame came last, of those that are owed about as much."""

    def next(self) -> Camera | None:
        allowed = [one for one, account in self._waiting.items() if self._may_begin(account)]
        owed = min((one.account.spent for one in allowed), default=0.0)
        near = [one for one in allowed if one.account.spent <= owed + 1.0]
        chosen = max(near, key=lambda one: one.newest or 0.0, default=None)
        if chosen is not None:
            self.withdraw(chosen)
        return chosen


def simulate(turns: Turns[Camera], cameras: int, lasts: float, seed: int) -> list[Camera]:
    """What becomes of the frames.

    Args:
        lasts: in times that a frame takes.
    """
    chance, number = random.Random(seed), itertools.count()
    every = cameras / (OVERLOAD * WORKERS)
    streams = [Camera() for _ in range(cameras)]
    # When, a number that nothing is compared beyond, whose; where a worker is done: when its frame came, what it took.
    events: list[tuple[float, int, Camera, tuple[float, float] | None]]
    events = [(chance.uniform(0, every), next(number), one, None) for one in streams]
    heapq.heapify(events)
    now = 0.0
    while now < lasts:
        now, _, one, work = heapq.heappop(events)
        if work is None:
            one.newest = now
            heapq.heappush(events, (now + every * _about_one(chance), next(number), one, None))
        else:
            came, took = work
            one.seen.append((came, now))
            turns.end(one, one.account, took)
        if one.newest is not None:
            turns.wait(one, one.account)
        while (begun := turns.next()) is not None:
            assert begun.newest is not None
            came, begun.newest = begun.newest, None
            turns.begin(begun, begun.account)
            took = _about_one(chance)
            heapq.heappush(events, (now + took, next(number), begun, (came, took)))
    return streams


def _about_one(chance: random.Random) -> float:
    return 1 + chance.uniform(-UNEVEN, UNEVEN)


def reactions(one: Camera, moments: int, chance: np.random.Generator) -> list[float]:
    """From moments of chance to the first result of a frame that came after each."""
    came, told = np.array(one.seen).T
    at = chance.uniform(came[0], came[-2], moments)
    return list(told[np.searchsorted(came, at)] - at)


def row(name: str, kind: type[Turns[Camera]], cameras: int, lasts: float, seeds: Iterable[int]) -> list[str]:
    latencies: list[float] = []
    seen: list[float] = []
    for seed in seeds:
        chance = np.random.default_rng(seed)
        for one in simulate(kind(WORKERS, express=False), cameras, lasts, seed):
            latencies += [told - came for came, told in one.seen]
            seen += reactions(one, 1000, chance)
    cells = [*np.percentile(latencies, (50, 95)), *np.percentile(seen, (50, 95, 99.9))]
    return [str(cameras), name, *(f"{cell:.1f}" for cell in cells)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lasts", type=float, default=2000, metavar="TIMES")
    lasts = parser.parse_args().lasts
    rules: dict[str, type[Turns[Camera]]] = {"who waits longest": Turns, "the freshest": Freshest}
    rows = [row(name, kind, count, lasts, range(3)) for count in (2, 4, 8, 16) for name, kind in rules.items()]
    heads = ["streams", "next", "from arrival, median", "p95", "to be seen, median", "p95", "99.9 %"]
    print(table(heads, rows))
    print(
        f"\n**Simulated.** In times that a frame takes, three times as many frames as {WORKERS} workers can inspect. "
        "An unloaded stream would have 1.0 from arrival."
    )


if __name__ == "__main__":
    main()
