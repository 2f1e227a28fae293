"""What every command needs: types of arguments, a progress bar, and one sentence instead of a traceback."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import cv2

import detector
from detector.errors import OUT_OF_MEMORY, out_of_memory
from detector.files import write_atomically
from training.data import DataSet, DataSetError, datasets
from training.train import OutputError

FEWEST_PATCHES = 50
STOPPED = 130  # what a shell reports for a command that Ctrl-C ended

_Number = TypeVar("_Number", int, float)


def positive(text: str) -> int:
    return at_least(1, text)


def natural(text: str) -> int:
    return at_least(0, text)


def patches(text: str) -> int:
    """How many patches a memory bank has."""
    if (number := positive(text)) < FEWEST_PATCHES:
        raise argparse.ArgumentTypeError(
            f"{number} patches cannot tell what is normal: take at least {FEWEST_PATCHES}, some hundreds are better"
        )
    return number


def at_least(least: int, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of {least} or more")
    return int(text)


def distance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def up_to(most: int, number: Callable[[str], _Number]) -> Callable[[str], _Number]:
    """What reads numbers as ``number`` does, but no larger ones."""

    def read(text: str) -> _Number:
        if (value := number(text)) > most:
            raise argparse.ArgumentTypeError(f"{text} is more than {most}")
        return value

    return read


def add_strict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop, before anything is written, if a picture or mask cannot be used (default: leave it out and say so)",
    )


def checked_data_set(folder: Path, *, strict: bool, training: bool = False, test: bool = False) -> DataSet:
    """Find a data set and read the parts that are needed once, with a progress bar.

    Raises:
        DataSetError: as of :func:`training.data.datasets.find_data_set` and :func:`training.data.datasets.check`.
    """
    data_set = datasets.find_data_set(folder)
    with bar(desc="checking", unit="picture") as progress_bar:

        def show(done: int, total: int) -> None:
            progress_bar.total = total
            progress_bar.update(done - progress_bar.n)

        return datasets.check(data_set, training=training, test=test, strict=strict, progress=show)


@contextmanager
def bar(**options: Any) -> Iterator[Any]:
    from tqdm import tqdm

    # disable=None: no bar where standard error is not a terminal, so logs stay readable.
    with tqdm(disable=None, leave=False, dynamic_ncols=True, **options) as bar:
        yield bar


@contextmanager
def stages() -> Iterator[Callable[[str, float], None]]:
    """A progress bar for work in stages: what it gives is called with a stage and 0..1 of the whole."""
    with bar(total=1.0, bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} (left: {remaining})") as progress_bar:

        def show(stage: str, fraction: float) -> None:
            progress_bar.set_description_str(stage, refresh=False)
            progress_bar.update(max(0.0, min(fraction, 1.0) - progress_bar.n))

        yield show


def stoppable(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def guarded(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except (DataSetError, OutputError, detector.DetectorError) as error:
            print(f"defectvision: {error}", file=sys.stderr)
        except OSError as error:
            print(f"defectvision: {_sentence(error)}", file=sys.stderr)
        except (MemoryError, cv2.error) as error:
            if not out_of_memory(error):
                raise
            print(f"defectvision: {OUT_OF_MEMORY}", file=sys.stderr)
        except KeyboardInterrupt:
            print("\nStopped.", file=sys.stderr)
            return STOPPED
        return 2

    return guarded


def _sentence(error: OSError) -> str:
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{error.strerror or error}"


def require_writable(file: Path) -> None:
    """Check, before minutes of work, that a JSON file can be written.

    Raises:
        OutputError: it cannot; says why.
    """
    if file.is_dir():
        raise OutputError(f"{file} is a folder. Give --json the name of a file.")
    folder = file.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"There is no folder {folder} for the JSON file. Make it, or give another --json.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _not_written(file, error) from error


def write_json(file: Path, figures: Any) -> None:
    """Write a JSON file, whole or not at all.

    A file name that is not valid Unicode is in it as Python has it, with an escape (``\\udce9``) for each byte that
    means nothing: ``os.fsencode`` gives back the very name.

    Raises:
        OutputError: it cannot be written; says why.
    """
    text = json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        write_atomically(file, f"{text}\n".encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise _not_written(file, error) from error


def _not_written(file: Path, error: OSError) -> OutputError:
    return OutputError(f"{file} cannot be written: {error.strerror}. Make room, or give another --json.")
