"""The simulation behind the choice of whose turn it is."""

from __future__ import annotations

import numpy as np

from benchmarks.whose_turn import WORKERS, Camera, Freshest, reactions, simulate
from server.streams.turns import Turns


def found(kind: type[Turns[Camera]]) -> tuple[list[Camera], float, float]:
    """With 8 streams: these, the median from arrival, and the 95th percentile of the time to be seen."""
    cameras = simulate(kind(WORKERS, express=False), 8, 300.0, seed=0)
    chance = np.random.default_rng(0)
    latencies = [told - came for one in cameras for came, told in one.seen]
    seen = [time for one in cameras for time in reactions(one, 300, chance)]
    return cameras, float(np.median(latencies)), float(np.percentile(seen, 95))


def test_workers_are_always_busy_and_streams_served_alike_by_either_rule() -> None:
    for kind in (Turns, Freshest):
        cameras, _, _ = found(kind)
        counts = [len(one.seen) for one in cameras]
        assert sum(counts) > 0.98 * 300 * WORKERS / 1.01
        assert min(counts) > 0.85 * max(counts)


def test_the_freshest_frame_is_told_sooner_and_what_happens_later() -> None:
    _, in_turn, seen_in_turn = found(Turns)
    _, freshest, seen_freshest = found(Freshest)
    assert freshest < in_turn and seen_freshest > seen_in_turn
