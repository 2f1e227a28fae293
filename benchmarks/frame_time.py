"""Time of one frame, of teaching and peak memory, of this checkout beside an older one, taking turns in one run.

    python -m benchmarks.frame_time FOLDER OF GOOD PICTURES [--tree CHECKOUT] [--rounds 60]

Both checkouts teach all presets with the same pictures; then each inspects in a process of its own, in an order of
chance, while the others wait.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.interleaved import PAUSE_S
from benchmarks.memory import pictures
from benchmarks.tree import ROOT, Tree
from training.reports.markdown import table

PRESETS = ("fast", "balanced", "fine")
TAUGHT, FRAMES, TEACHINGS = 60, 8, 3
REMEMBERED = (60, 209)
"""Pictures taught where memory is measured."""
NOW, BEFORE = "now", "before"

TO_BEFORE = {"fast": 1.0, "balanced": 1.15}
FINE_TO_BALANCED, TEACHING_S = 2.5, 5.0
"""The goals: times of a frame as multiples, seconds for :data:`TAUGHT` frames."""

Times = Mapping[tuple[str, str], Sequence[float]]
"""By checkout and preset."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--tree", metavar="CHECKOUT", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    paths = [str(path) for path in pictures(arguments.folder)]
    if len(paths) < TAUGHT:
        sys.exit(f"{arguments.folder} has {len(paths)} pictures, {TAUGHT} or more are needed")
    checkouts = {NOW: ROOT} | ({BEFORE: arguments.tree} if arguments.tree else {})
    with contextlib.ExitStack() as stack:
        trees = {name: stack.enter_context(Tree(path)) for name, path in checkouts.items()}
        seconds = teach(trees, paths[:TAUGHT])
        for tree in trees.values():
            tree.ask("hold", paths=paths[:FRAMES])
        times = frames(trees, arguments.rounds)
    print(f"One frame of {arguments.folder}, {arguments.rounds} interleaved rounds:\n\n{as_table(times)}\n")
    print(f"{goals(times, seconds)}\n")
    print(f"Peak memory of a process that teaches with *balanced*, MB:\n\n{memory(checkouts, paths)}")


def teach(trees: Mapping[str, Tree], paths: list[str]) -> dict[str, float]:
    """Teach every preset; median seconds of *balanced*, pictures read before, the checkouts taking turns."""
    for tree in trees.values():
        for preset in PRESETS:
            tree.ask("teach", model=preset, paths=paths, options={"preset": preset})
    taken: dict[str, list[float]] = {name: [] for name in trees}
    for _ in range(TEACHINGS):
        for name, tree in trees.items():
            answer = tree.ask("teach", model="again", paths=paths, options={}, read_before=True)
            taken[name].append(answer["seconds"])
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def frames(trees: Mapping[str, Tree], rounds: int) -> Times:
    """Milliseconds of each round; the first does not count."""
    turns = [(name, preset) for name in trees for preset in PRESETS]
    times: dict[tuple[str, str], list[float]] = {turn: [] for turn in turns}
    chance = random.Random(0)
    for number in range(1 + rounds):
        chance.shuffle(turns)
        for name, preset in turns:
            time.sleep(PAUSE_S)
            taken = trees[name].ask("time", model=preset, frame=number)["ms"]
            if number:
                times[name, preset].append(taken)
    return times


def as_table(times: Times) -> str:
    lines = []
    for (name, preset), taken in times.items():
        median, low, high = np.percentile(taken, (50, 10, 90))
        lines.append([preset, name, f"{median:.1f}", f"{low:.1f}–{high:.1f}"])
    return table(["preset", "checkout", "median, ms", "10 to 90 % of the rounds, ms"], sorted(lines))


def goals(times: Times, seconds: Mapping[str, float]) -> str:
    """Ratios are of medians."""
    median = {turn: float(np.median(taken)) for turn, taken in times.items()}
    lines = []
    if (BEFORE, "fast") in median:
        for preset, most in TO_BEFORE.items():
            ratio = median[NOW, preset] / median[BEFORE, preset]
            lines.append([f"one frame, *{preset}*, against before", *against(ratio, most, "×", ".2f")])
    ratio = median[NOW, "fine"] / median[NOW, "balanced"]
    lines.append(["one frame, *fine* against *balanced*", *against(ratio, FINE_TO_BALANCED, "×", ".2f")])
    for name, taken in seconds.items():
        lines.append([f"{TAUGHT} frames taught, *balanced*, {name}", *against(taken, TEACHING_S, " s", ".1f")])
    return table(["what", "goal", "reached", "met"], lines)


def against(value: float, most: float, unit: str, digits: str) -> tuple[str, str, str]:
    return f"≤ {most:{digits}}{unit}", f"{value:{digits}}{unit}", "yes" if value <= most else "**no**"


def memory(checkouts: Mapping[str, Path], paths: list[str]) -> str:
    lines = []
    for count in REMEMBERED:
        if len(paths) < count:
            continue
        line = [f"{count} pictures"]
        for path in checkouts.values():
            with Tree(path) as tree:
                tree.ask("teach", model="model", paths=paths[:count], options={})
                line.append(f"{tree.ask('peak')['mb']:,.0f}")
        lines.append(line)
    return table(["taught", *checkouts], lines)


if __name__ == "__main__":
    main()
