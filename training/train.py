"""From a folder of good pictures to a model folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import detector
from detector.model_folder import is_model_folder
from detector.patchcore import CORESET_SIZE, IMAGE_SIZE
from training import datasets
from training.datasets import TrainingSet


class OutputError(ValueError):
    """The model cannot be written where it was asked for. The message is one for the operator."""


@dataclass(frozen=True)
class Training:
    """What a training run did."""

    model: detector.PatchCore
    training_set: TrainingSet
    seconds: float
    """From the first picture to the model on disk."""


def train(
    training_set: TrainingSet,
    output: Path,
    *,
    category: str = "",
    image_size: int = IMAGE_SIZE,
    coreset_size: int = CORESET_SIZE,
    seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
) -> Training:
    """Fit a model on good pictures and save it. A model already at ``output`` is replaced at the very end.

    Args:
        output: the model folder; must not exist, or be empty, or be a model folder.
        category: what the parts are, for people to read.
        image_size: side of the model's square input in pixels, a multiple of 16.
        coreset_size: patches in the memory bank at the most.
        seed: the same pictures and seed give the same model.
        progress: called with the stage and the fraction of the whole that is done, 0..1.

    Raises:
        OutputError: ``output`` is something else than a model folder, or cannot be written.
        datasets.DataSetError: a picture cannot be read; names it.
        detector.DetectorError: the pictures or sizes cannot make a model.
    """
    require_model_or_nothing(output)
    start = time.perf_counter()
    model = detector.fit(
        datasets.read_all(training_set.paths),
        total=len(training_set.paths),
        image_size=image_size,
        coreset_size=coreset_size,
        category=category,
        fingerprint=datasets.fingerprint(training_set.paths),
        seed=seed,
        progress=progress,
    )
    model.save(output)
    return Training(model, training_set, time.perf_counter() - start)


def require_model_or_nothing(output: Path) -> None:
    """Check, before a minute of work, that a model can be written to ``output``.

    Raises:
        OutputError: it would overwrite something that is not a model, or the place cannot be written.
    """
    if output.exists() or output.is_symlink():
        if not output.is_dir():
            raise OutputError(f"{output} is a file, not a model folder. Give another --output.")
        if any(output.iterdir()) and not is_model_folder(output):
            raise OutputError(
                f"{output} exists and is not a model folder. Give another --output, or move that folder away."
            )
    parent = next(folder for folder in output.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{parent} cannot be written, so no model can be saved at {output}. Give another --output.")
