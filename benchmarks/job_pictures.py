"""The pictures that a whole job is done with, and what a model taught offline on them reaches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import detector
from detector.images import decode
from training.measure.metrics import auroc

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class JobPictures:
    """Of a folder laid out as MVTec AD's. ``train``: good ones to be taught on; ``spare``: the training pictures after
    them. ``tested`` are the good ones and then the defects."""

    train: tuple[Path, ...]
    spare: tuple[Path, ...]
    goods: tuple[Path, ...]
    defects: tuple[Path, ...]

    @property
    def tested(self) -> tuple[Path, ...]:
        return self.goods + self.defects

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Of those that are tested: whether each is defective."""
        return np.arange(len(self.tested)) >= len(self.goods)

    def auroc(self, scores: Scores, of: NDArray[np.bool_] | None = None) -> float:
        """Of scores of the tested ones; ``of``: of these alone."""
        chosen = np.ones(len(self.tested), np.bool_) if of is None else of
        return auroc(scores[chosen], self.labels[chosen]) or 0.0

    def of_the_kind(self, place: int) -> NDArray[np.bool_]:
        """Which of the tested ones have the same kind of defect as the one at that place, itself left out."""
        same = np.array([path.parent == self.tested[place].parent for path in self.tested])
        same[place] = False
        return same

    def offline(self) -> float:
        """Image AUROC of a model that is taught on the training pictures as files."""
        model = detector.fit([decode(path.read_bytes()) for path in self.train])
        return self.auroc(np.array([model.detect(decode(path.read_bytes())).score for path in self.tested]))


def job_pictures(folder: Path, count: int) -> JobPictures:
    """Those of a folder, at most so many to be taught on."""
    train = sorted((folder / "train" / "good").iterdir())
    kinds = [kind for kind in sorted((folder / "test").iterdir()) if kind.name != "good"]
    return JobPictures(
        tuple(train[:count]),
        tuple(train[count:]),
        tuple(sorted((folder / "test" / "good").iterdir())),
        tuple(path for kind in kinds for path in sorted(kind.iterdir())),
    )
