"""What it gains to lay parts on a reference, and what it costs: parts that lie freely, with and without.

    python -m benchmarks.registration FOLDER… [--pictures N] [--as-they-are]

Each folder is a data set with labelled pictures, or holds some. Its pictures are widened by a fifth on every side, by
their edge, then turned by any angle and shifted by up to 8 %, those to learn from and those to measure on; with
``--as-they-are`` nothing is done to them. Without it the simulated line's flange is measured too, drawn at any turn on
the bare belt. Where teaching registers nothing by itself, both ways are the same, unless it measured them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import detector
from benchmarks.rows import measurable
from detector import TaughtModel
from detector.registration import Choice, lay
from server.simulated_line import camera, flange, surface
from server.simulated_line.defects import KINDS, Kind, spoiled
from training.data import datasets
from training.reports.markdown import table

Picture = NDArray[np.uint8]
WIDER, SHIFT = 0.2, 0.08
FLANGES = 60, 40, 60
"""To learn from, good ones and defective ones to measure on."""
HEADS = [
    *("pictures", "way", "image AUROC", "false rejects", "escapes", "held out", "threshold"),
    *("taught in, CPU s", "laying, CPU ms"),
]


@dataclass(frozen=True)
class Measured:
    """Pictures to learn from, to measure on, and which of those are defective; loaded when asked for."""

    name: str
    learn: Sequence[Picture]
    inspect: Sequence[Picture]
    defective: list[bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+")
    parser.add_argument("--pictures", metavar="N", type=int, default=60, help="to learn from, at the most")
    parser.add_argument("--as-they-are", action="store_true")
    arguments = parser.parse_args()
    print(table(HEADS, []), flush=True)
    for one in sets(arguments.folders, arguments.pictures, freely=not arguments.as_they_are):
        for line in lines(one):
            print(f"| {' | '.join(line)} |", flush=True)


def sets(folders: Sequence[Path], at_most: int, *, freely: bool) -> Iterator[Measured]:
    if freely:
        yield flanges()
    for data_set in measurable(folders):
        places = np.unique(np.linspace(0, len(data_set.training) - 1, at_most).astype(int))
        moved = partial(lying_freely, random=np.random.default_rng(0)) if freely else _as_it_is
        learn = [moved(one) for one in datasets.read_all(data_set.training[int(place)] for place in places)]
        inspect = [moved(one) for one in datasets.read_all(picture.path for picture in data_set.test)]
        yield Measured(data_set.name, learn, inspect, [picture.defective for picture in data_set.test])


def lying_freely(picture: Picture, random: np.random.Generator) -> Picture:
    """The picture widened by its edge, turned and shifted."""
    down, across = (round(WIDER * side) for side in picture.shape[:2])
    wide = cv2.copyMakeBorder(picture, down, down, across, across, cv2.BORDER_REPLICATE)
    height, width = wide.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), random.uniform(-180, 180), 1)
    matrix[:, 2] += random.uniform(-SHIFT, SHIFT, 2) * (width, height)
    moved = cv2.warpAffine(wide, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _as_it_is(picture: Picture) -> Picture:
    return picture


def flanges() -> Measured:
    """The simulated line's, lit as there, at any turn, without rails and hoods."""
    random = np.random.default_rng(0)
    learn, good, bad = FLANGES
    kinds: list[Kind | None] = [None] * good
    kinds += [KINDS[number % len(KINDS)] for number in range(bad)]
    return Measured(
        "flange (simulated)",
        [_flange(random, None) for _ in range(learn)],
        [_flange(random, kind) for kind in kinds],
        [kind is not None for kind in kinds],
    )


def _flange(random: np.random.Generator, kind: Kind | None) -> Picture:
    part = spoiled(kind, random)[0] if kind else flange.flawless()
    sprite = surface.render(part.turned(float(random.uniform(-180, 180))))
    picture = camera._belt_at(float(random.uniform(0, 2500))).copy()
    across, down = random.uniform(-SHIFT, SHIFT, 2) * (camera.WIDTH, camera.HEIGHT)
    camera._lay(sprite, camera.WIDTH / 2 + across, camera.HEIGHT / 2 + down, picture)
    light = 1 + 0.025 * random.uniform(-1, 1)
    return np.asarray(np.clip(picture * light + random.normal(0, 2, picture.shape), 0, 255), np.uint8)


def lines(one: Measured) -> Iterator[list[str]]:
    """What teaching chose, and the other way where there is one."""
    chosen, seconds = taught(one, "auto")
    reason = chosen.manifest.registration
    registered = chosen.manifest.reference is not None
    yield line(one, f"chosen: {reason}", chosen, seconds)
    if registered or "though" in reason:
        other: Choice = "off" if registered else "on"
        yield line(one, other, *taught(one, other))


def taught(one: Measured, register: Choice) -> tuple[TaughtModel, float]:
    start = time.process_time()
    model = detector.fit(one.learn, register=register)
    return model, time.process_time() - start


def line(one: Measured, way: str, model: TaughtModel, seconds: float) -> list[str]:
    scores = np.array([model.detect(picture).score for picture in one.inspect])
    defective, held_out = np.array(one.defective), np.array(model.manifest.held_out_scores)
    above = scores > model.threshold
    return [
        one.name,
        way,
        f"{roc_auc_score(defective, scores):.4f}",
        f"{above[~defective].sum()} of {(~defective).sum()}",
        f"{(~above)[defective].sum()} of {defective.sum()}",
        f"{held_out.mean():.2f} ± {held_out.std():.2f}",
        f"{model.threshold:.2f}",
        f"{seconds:.0f}",
        _laying(one, model),
    ]


def _laying(one: Measured, model: TaughtModel) -> str:
    """Median over pictures; processor time on one thread, which other programs do not lengthen much."""
    if model.manifest.reference is None:
        return "–"
    threads, spent = cv2.getNumThreads(), []
    cv2.setNumThreads(1)
    for picture in one.inspect:
        start = time.thread_time()
        lay(picture, model.manifest.reference)
        spent.append(time.thread_time() - start)
    cv2.setNumThreads(threads)
    return f"{1000 * np.median(spent):.1f}"


if __name__ == "__main__":
    main()
