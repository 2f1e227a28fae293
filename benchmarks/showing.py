"""Showing parts to live teaching: whether a defect among good parts is struck out, and what "enough" is worth.

    python -m benchmarks.showing FOLDER… [--cache FOLDER] [--draws N]

Each folder is a data set with labelled pictures, or holds some. A draw takes 30 good pictures and puts a defective one
in the place of one of them: it is counted how often the defect is struck out, and how many good ones are, with it and
without. Then good pictures are shown in random order until it is said that they are enough, and the share of the
others that are unlike all shown is held against what was said. Distances are kept in the cache, so that an interrupted
run goes on; another detector needs another one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.rows import measurable
from detector.near_copies import Album, look_of
from detector.showing.coverage import LAST, unseen_at_most
from detector.showing.patches import Smoothing, Units, between, eye
from detector.showing.unlike import Nearness, struck_out
from training.data import DataSet, datasets
from training.reports.markdown import table

GOOD, DEFECTIVE = 60, 30
"""Pictures of a set at the most, chosen at random."""
SHOWN = 30
DRAWS = 100
ORDERS = 30
LEFT = 8
"""Good pictures not shown yet from which on a share of them says something."""
CHOSEN_ON = ("bottle", "cookie", "cubes", "fabric_gray", "kolektorsdd", "pcb_traces_a")
"""The sets that layers, smoothing and the rule were chosen on."""


@dataclass(frozen=True)
class Compared:
    """Pictures of one set: good ones first, ``good`` of them, then defective ones. ``distances``: K×K×N, of the first's
    patches to the second's nearest; ``copies``: K×K, whether they show one part lying still."""

    name: str
    good: int
    grid: tuple[int, int]
    distances: Units
    copies: NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """Of one set: share of defects struck out, good parts struck out beside one and among good ones alone; of the
    orders that came to "enough", after how many parts (median), the mean share of parts left that were unlike all
    shown, and in how many orders it was above what was said."""

    name: str
    found: float
    beside: float
    alone: float
    orders: int
    enough: float
    unlike: float
    broken: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/defectvision-showing"))
    parser.add_argument("--draws", type=int, default=DRAWS)
    arguments = parser.parse_args()
    start = time.process_time()
    with threadpool_limits(1, "blas"):
        found = [measured(compared(one, arguments.cache), arguments.draws) for one in measurable(arguments.folders)]
    print(f"{written(found)}\n\n{(time.process_time() - start) / 60:.0f} minutes of processor time.")


def compared(data_set: DataSet, cache: Path) -> Compared:
    """From the cache, or measured and put there."""
    file = cache / f"{data_set.name}.npz"
    if not file.exists():
        print(f"{data_set.name}: measuring", file=sys.stderr, flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, **_compared(data_set))
    with np.load(file) as known:
        grid = tuple(known["grid"].tolist())
        return Compared(data_set.name, int(known["good"]), grid, known["distances"], known["copies"])


def _compared(data_set: DataSet) -> dict[str, Any]:
    random = np.random.default_rng(0)
    good = list(data_set.training)
    if len(good) <= SHOWN:  # too few to draw from
        good += [picture.path for picture in data_set.test if not picture.defective]
    bad = [picture.path for picture in data_set.test if picture.defective]
    paths = [
        kind[number]
        for kind, most in ((good, GOOD), (bad, DEFECTIVE))
        for number in sorted(random.permutation(len(kind))[:most].tolist())
    ]
    pictures = [datasets.read_picture(path) for path in paths]
    looking = eye("openvino", 1, pictures[0].shape[1] / pictures[0].shape[0])
    signatures = [looking.signatures(picture) for picture in pictures]
    count, patches = len(paths), len(signatures[0])
    distances = np.zeros((count, count, patches), np.uint16)
    copies, album = np.zeros((count, count), np.bool_), Album()
    for number in range(count):
        there, back = between(signatures[number], signatures[:number])
        distances[number, :number], distances[:number, number] = there, back
        look = look_of(pictures[number])
        alike = album.copies_of(look)
        copies[number, alike] = copies[alike, number] = True
        album.add(look)
    return {
        "good": min(len(good), GOOD),
        "grid": np.array(looking.grid),
        "distances": distances,
        "copies": copies,
    }


def measured(of: Compared, draws: int) -> Found:
    smoothing = Smoothing(of.grid)
    random = np.random.default_rng(0)
    found = beside = alone = 0
    for _ in range(draws):
        good = random.permutation(of.good)[:SHOWN]
        alone += len(out_of(of, smoothing, good))
        defect = int(random.integers(of.good, len(of.distances)))
        mixed = np.append(good[: SHOWN - 1], defect)
        out = [int(mixed[place]) for place in out_of(of, smoothing, mixed)]
        found += defect in out
        beside += len(set(out) - {defect})
    ends = [end for end in (until_enough(of, smoothing, random) for _ in range(ORDERS)) if end]
    shares = [share for _, share in ends if share is not None]
    return Found(
        of.name,
        found / draws,
        beside / draws,
        alone / draws,
        len(ends),
        float(np.median([parts for parts, _ in ends])) if ends else np.nan,
        float(np.mean(shares)) if shares else np.nan,
        sum(share > unseen_at_most(LAST) for share in shares),
    )


def out_of(of: Compared, smoothing: Smoothing, shown: NDArray[np.intp]) -> list[int]:
    """Places of those shown that are struck out. Copies of one part count once."""
    parts = different(of, shown)
    numbers = shown[parts]
    near = of.distances[np.ix_(numbers, numbers)].copy()
    near[np.arange(len(numbers)), np.arange(len(numbers))] = np.iinfo(np.uint16).max
    scores = smoothing.largest(near.min(1))
    return [parts[place] for place in struck_out(scores.tolist(), ())]


def different(of: Compared, shown: NDArray[np.intp]) -> list[int]:
    """Places of those that are no copy of one before them."""
    parts: list[int] = []
    for place, number in enumerate(shown):
        if not of.copies[number, shown[parts]].any():
            parts.append(place)
    return parts


def until_enough(of: Compared, smoothing: Smoothing, random: np.random.Generator) -> tuple[int, float | None] | None:
    """Good parts in random order: after how many it is said that they are enough, and the share of those left that are
    farther from all shown than any of those is from the rest, if enough are left. None where it is never said."""
    order = random.permutation(of.good)
    order = order[different(of, order)]
    nearness = Nearness(smoothing, len(order), of.distances.shape[2])
    new: list[bool] = []
    for place, number in enumerate(order):
        before = order[:place]
        new.append(nearness.add(of.distances[number, before], of.distances[before, number]))
        if place >= LAST and not any(new[-LAST:]):
            left = order[place + 1 :]
            if len(left) < LEFT:
                return place + 1, None
            far = smoothing.largest(of.distances[np.ix_(left, order[: place + 1])].min(1))
            return place + 1, float((far > nearness.scores.max()).mean())
    return None


def written(found: Sequence[Found]) -> str:
    lines = [
        [
            one.name + (" *" if one.name in CHOSEN_ON else ""),
            f"{one.found:.0%}",
            f"{one.beside:.1f}",
            f"{one.alone:.1f}",
            f"{one.orders} of {ORDERS}",
            f"{one.enough:.0f}",
            f"{one.unlike:.1%}",
            str(one.broken),
        ]
        for one in found
    ]
    for label, own in (
        ("mean of those chosen on *", [one for one in found if one.name in CHOSEN_ON]),
        ("mean of the others", [one for one in found if one.name not in CHOSEN_ON]),
    ):
        if own:
            found_, beside, alone = (
                np.mean([getattr(one, name) for one in own]) for name in ("found", "beside", "alone")
            )
            unlike, broken = np.nanmean([one.unlike for one in own]), sum(one.broken for one in own)
            ends = sum(one.orders for one in own)
            lines.append(
                [
                    label,
                    f"{found_:.0%}",
                    f"{beside:.1f}",
                    f"{alone:.1f}",
                    f"{ends} of {ORDERS * len(own)}",
                    "",
                    f"{unlike:.1%}",
                    str(broken),
                ]
            )
    heads = [
        "pictures",
        "defect struck out, 1 in 30",
        "good ones struck out beside it",
        "good ones of 30 good",
        "orders that came to enough",
        "after parts (median)",
        "parts left that are unlike",
        f"orders with more than {unseen_at_most(LAST):.0%}",
    ]
    return table(heads, lines)


if __name__ == "__main__":
    main()
