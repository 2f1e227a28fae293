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

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class SetScores:
    """Raw scores of one data set.

    ``unseen``: good parts, and ``defective`` ones, by a bank made of half the training pictures, which has seen none of
    them; in the order of their names. ``held_out``, ``good``, ``bad``: of a model taught on all training pictures, as
    it brings its default threshold along: those held out at teaching, and the test pictures.
    """

    name: str
    ordered: bool
    unseen: Scores
    defective: Scores
    held_out: Scores
    good: Scores
    bad: Scores


def gathered(folder: Path, cache: Path) -> SetScores:
    """The scores of the data set in a folder: from the cache, or measured and put there."""
    name = folder.name
    file = cache / f"{name}.npz"
    if not file.exists():
        print(f"{name}: measuring", file=sys.stderr, flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, **_measured(datasets.find_data_set(folder), name))
    with np.load(file) as known:
        return SetScores(name, name in ORDERED, **{key: known[key] for key in known.files})


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
    model = detector.fit(datasets.Pictures(tuple(training)), seed=0)
    found["held_out"] = np.array(model.manifest.held_out_scores)
    found["good"], found["bad"] = _scores(model, good), _scores(model, defective)
    return found


def _scores(model: detector.TaughtModel, paths: list[Path]) -> Scores:
    return np.array([model.detect(frame).score for frame in datasets.read_all(paths)])
