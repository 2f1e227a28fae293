"""What every command needs: types of arguments, a progress bar, and one sentence instead of a traceback."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import detector
from training.data import DataSet, DataSetError, datasets
from training.train import OutputError

STOPPED = 130  # what a shell reports for a command that Ctrl-C ended


def positive(text: str) -> int:
    return at_least(1, text)


def natural(text: str) -> int:
    return at_least(0, text)


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
        except (DataSetError, OutputError, detector.DetectorError, OSError) as error:
            print(f"defectvision: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("\nStopped.", file=sys.stderr)
            return STOPPED

    return guarded


def require_writable(file: Path) -> None:
    if file.is_dir():
        raise OutputError(f"{file} is a folder. Give --json the name of a file.")
    if not file.absolute().parent.is_dir():
        raise OutputError(
            f"There is no folder {file.absolute().parent} for the JSON file. Make it, or give another --json."
        )
