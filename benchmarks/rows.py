"""What a checkout's detector reached on data sets, kept in a folder so that an interrupted run goes on where it was.

A row's file is named by everything its figures depend on: data set, options, seed, pictures and the detector's code.
Several processes may fill one folder, each with other data sets.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.tree import ROOT, Tree, digest
from detector.files import write_atomically
from training.data import DataSet, DataSetError, datasets, find_data_set
from training.measure import metrics

FORMAT = 1
"""Of a row's file; another number where what is measured changes."""


@dataclass(frozen=True)
class Row:
    """One model, taught and measured; scores and threshold raw."""

    data_set: str
    seed: int
    good: list[float]
    defective: list[float]
    threshold: float
    held_out: list[float]
    promise: dict[str, Any] | None
    """``expected`` and ``at_most`` among others, as shares of good parts; None where the model promises nothing."""
    pixel_auroc: float | None
    aupro: float | None
    seconds: float
    """Of teaching, reading the pictures included."""
    took: float
    """Seconds for all of the row."""

    @property
    def _all(self) -> tuple[metrics.Scores, metrics.Labels]:
        scores = np.array(self.good + self.defective, np.float64)
        return scores, np.arange(scores.size) >= len(self.good)

    @property
    def auroc(self) -> float:
        found = metrics.auroc(*self._all)
        assert found is not None
        return found

    @property
    def decisions(self) -> metrics.Decisions:
        """At the model's own threshold."""
        return metrics.decide(*self._all, self.threshold)

    @property
    def recall(self) -> metrics.RecallAt:
        found = metrics.recall_at(*self._all)
        assert found is not None
        return found


class Rows:
    """Measures what is not in the folder yet. Use as a context manager: the detector's process ends with it."""

    def __init__(self, cache: Path, tree: Path = ROOT) -> None:
        self._cache, self._path = cache, tree
        self._code = digest(tree)
        cache.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if "_tree" in self.__dict__:
            self._tree.__exit__(kind, error, _)

    @cached_property
    def _tree(self) -> Tree:
        return Tree(self._path)

    def row(self, data_set: DataSet, options: Mapping[str, Any], seed: int, *, maps: bool = True) -> Row:
        """One row, from the folder or measured now.

        Args:
            data_set: what is learned and inspected, all of it.
            options: of ``detector.fit``.
            seed: of every random choice.
            maps: whether pixels are measured as well, where there are masks.
        """
        masks = maps and any(picture.mask for picture in data_set.test)
        facts = [FORMAT, self._code, dict(options), seed, masks, _stamp(data_set)]
        named = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
        words = "-".join(str(value) for value in options.values()) or "default"
        file = self._cache / f"{data_set.name}-{words}-{seed}-{named}.json"
        if file.is_file():
            return Row(**json.loads(file.read_text()))
        print(f"{data_set.name}, {words}, seed {seed}", file=sys.stderr, flush=True)
        row = self._measure(data_set, options, seed, masks)
        write_atomically(file, json.dumps(asdict(row)).encode())
        return row

    def _measure(self, data_set: DataSet, options: Mapping[str, Any], seed: int, masks: bool) -> Row:
        start = time.perf_counter()
        taught = self._tree.ask(
            "teach", model="model", paths=list(map(str, data_set.training)), options={**options, "seed": seed}
        )
        found = self._tree.ask(
            "inspect", model="model", paths=[str(picture.path) for picture in data_set.test], maps=masks
        )
        pixels = metrics.PixelScores()
        for picture, (shape, text) in zip(data_set.test, found["maps"], strict=False):
            if picture.mask or not picture.defective:
                values = np.frombuffer(base64.b64decode(text), np.float32).reshape(shape)
                height, width = datasets.read_picture(picture.path).shape[:2]
                nothing = np.zeros((height, width), np.bool_)
                pixels.add(values, datasets.mask_of(picture, (height, width)) if picture.mask else nothing)
        outcome = list(zip(data_set.test, found["scores"], strict=True))
        return Row(
            data_set=data_set.name,
            seed=seed,
            good=[score for picture, score in outcome if not picture.defective],
            defective=[score for picture, score in outcome if picture.defective],
            threshold=taught["threshold"],
            held_out=taught["held_out"],
            promise=taught["promise"],
            pixel_auroc=pixels.auroc(),
            aupro=pixels.aupro(),
            seconds=taught["seconds"],
            took=time.perf_counter() - start,
        )


def _stamp(data_set: DataSet) -> str:
    """Of the pictures' names and sizes, in their order: reading all of them again for each row would cost more than a
    picture that is replaced by one of the very same size is worth."""
    whole = hashlib.sha256()
    for path in (*data_set.training, *(picture.path for picture in data_set.test)):
        whole.update(f"{path.relative_to(data_set.folder)}\0{path.stat().st_size}\0".encode())
    return whole.hexdigest()


def measurable(folders: Sequence[Path]) -> list[DataSet]:
    """The data sets among these folders, or in them, that can be taught and have good and defective pictures."""
    found = []
    for folder in folders:
        try:
            sets = [find_data_set(folder)]
        except DataSetError:
            sets = []
            for inner in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ():
                try:
                    sets.append(find_data_set(inner))
                except DataSetError:
                    continue
        found += [one for one in sets if one.training and len({picture.defective for picture in one.test}) == 2]
    if not found:
        sys.exit(f"no data set with good and defective pictures in {', '.join(map(str, folders))}")
    return found


def part(data_set: DataSet, learn: Sequence[int], inspect: Sequence[int]) -> DataSet:
    """The same with these of its pictures alone."""
    return replace(
        data_set,
        training=tuple(data_set.training[index] for index in learn),
        test=tuple(data_set.test[index] for index in inspect),
    )
