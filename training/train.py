"""From a folder of good pictures to a model folder."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import detector
from detector.folder_lock import holder
from detector.model_folder import is_free, is_model_folder
from detector.teaching import FitOptions
from training.data import DataSet, datasets


class OutputError(ValueError):
    """The model cannot be written where it was asked for. The message is one for the operator."""


@dataclass(frozen=True)
class Training:
    """What a training run did."""

    model: detector.TaughtModel
    data_set: DataSet
    seconds: float
    """From the first picture to the model on disk."""


def train(
    data_set: DataSet,
    output: Path,
    *,
    category: str = "",
    progress: Callable[[str, float], None] | None = None,
    **options: Unpack[FitOptions],
) -> Training:
    """Fit a model on good pictures and save it. A model already at ``output`` is replaced at the very end.

    Args:
        data_set: what to learn from; give it to :func:`training.check` first to go without what cannot be read.
        output: the model folder; must not exist, or be empty, or be a model folder.
        category: what the parts are, for people to read.
        progress: called with the stage and the fraction of the whole that is done, 0..1.
        options: of :func:`detector.fit`.

    Raises:
        OutputError: ``output`` is something else than a model folder, or cannot be written.
        datasets.DataSetError: too few pictures, or one that cannot be read; names it.
        detector.DetectorError: the pictures or sizes cannot make a model.
    """
    datasets.require_training(data_set)
    require_model_or_nothing(output)
    start = time.perf_counter()
    model = detector.fit(
        datasets.Pictures(data_set.training),
        category=os.fsencode(category).decode("utf-8", "backslashreplace"),  # a folder's name need not be Unicode
        fingerprint=datasets.fingerprint(data_set.training),
        progress=progress,
        **options,
    )
    model.save(output)
    return Training(model, data_set, time.perf_counter() - start)


def require_model_or_nothing(output: Path) -> None:
    """Check, before a minute of work, that a model can be written to ``output``.

    Raises:
        OutputError: it would overwrite something that is not a model, or the place cannot be written.
    """
    if (server := holder(output)) is not None:
        raise OutputError(
            f"{output} lies in the data directory of a server ({server}). Stop it, or give another --output."
        )
    if output.is_symlink() and not output.exists():
        raise OutputError(f"{output} is a link to a folder that is not there. Make it, or give another --output.")
    if output.exists():
        if not output.is_dir():
            raise OutputError(f"{output} is a file, not a model folder. Give another --output.")
        if not is_model_folder(output) and not is_free(output):
            raise OutputError(
                f"{output} exists and is not a model folder. Give another --output, or move that folder away."
            )
    place = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".defectvision-", suffix=".tmp", dir=place):
            pass
    except OSError as error:
        raise OutputError(
            f"{place} cannot be written ({error.strerror}), so no model can be saved at {output}. Give another "
            "--output."
        ) from error
