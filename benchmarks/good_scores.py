"""Raw scores that no memory bank has seen, of every data set, kept in files: what thresholds are studied on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import detector
from training.data import datasets
from training.data.datasets import DataSet

ORDERED = ("ballscrew", "kolektorsdd")
"""Sets whose file names are in the order the pictures were taken; of the others it says nothing."""
SEEDS = 3

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Taught:
    """A model taught on all training pictures: scores of those held out, of later good parts, of defective ones."""

    held_out: Scores
    good: Scores
    defective: Scores


@dataclass(frozen=True)
class SetScores:
    """``unseen``: good parts that a bank of half the training pictures has not seen, in the order of their names;
    ``defective``: by the same bank. ``taught``: one for each seed."""

    name: str
    ordered: bool
    unseen: Scores
    defective: Scores
    taught: tuple[Taught, ...]


def gathered(folder: Path, cache: Path) -> SetScores:
    """The scores of the data set in a folder: from the cache, or measured and put there."""
    data_set = datasets.find_data_set(folder)
    name = folder.name
    file = cache / f"{name}.npz"
    if not file.exists():
        print(f"{name}: measuring", file=sys.stderr, flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, **_measured(data_set, name))
    with np.load(file) as known:
        taught = tuple(
            Taught(known[f"held_out_{seed}"], known[f"good_{seed}"], known[f"defective_{seed}"])
            for seed in range(SEEDS)
        )
        return SetScores(name, name in ORDERED, known["unseen"], known["defective"], taught)


def _measured(data_set: DataSet, name: str) -> dict[str, Scores]:
    good = [picture.path for picture in data_set.test if not picture.defective]
    defective = [picture.path for picture in data_set.test if picture.defective]
    training, half = list(data_set.training), len(data_set.training) // 2
    order = list(range(len(training)))
    if name not in ORDERED:
        order = np.random.default_rng(0).permutation(len(training)).tolist()
    learned = tuple(training[number] for number in sorted(order[:half]))
    rest = [training[number] for number in sorted(order[half:])]
    model = detector.fit(datasets.Pictures(learned), seed=0)
    found = {"unseen": _scores(model, [*rest, *good]), "defective": _scores(model, defective)}
    for seed in range(SEEDS):
        model = detector.fit(datasets.Pictures(tuple(training)), seed=seed)
        found[f"held_out_{seed}"] = np.array(model.manifest.held_out_scores)
        found[f"good_{seed}"], found[f"defective_{seed}"] = _scores(model, good), _scores(model, defective)
    return found


def _scores(model: detector.TaughtModel, paths: list[Path]) -> Scores:
    return np.array([model.detect(frame).score for frame in datasets.read_all(paths)])
