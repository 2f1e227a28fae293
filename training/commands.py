"""The commands ``defectvision train`` and ``defectvision evaluate``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import detector
from detector.files import write_atomically
from detector.patchcore import CORESET_SIZE, IMAGE_SIZE
from training import datasets
from training.datasets import DataSetError
from training.evaluate import evaluate
from training.reports import evaluation_report, layout, training_report
from training.train import OutputError, require_model_or_nothing, train

STOPPED = 130  # what a shell reports for a command that Ctrl-C ended


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands; each sets ``run``, a callable from the parsed arguments to the exit status."""
    _add_train(subparsers)
    _add_evaluate(subparsers)


def _add_train(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "train",
        help="learn what good parts look like, from a folder of pictures",
        description="Learn what good parts look like, from pictures of those only. Writes a model folder.",
    )
    parser.add_argument(
        "dir",
        metavar="DIR",
        type=Path,
        help="holds train/good/ (MVTec layout), or the good pictures themselves",
    )
    parser.add_argument(
        "--output",
        metavar="MODEL",
        type=Path,
        required=True,
        help="model folder to write; a model there is replaced",
    )
    parser.add_argument("--category", metavar="NAME", help="what the parts are (default: name of DIR)")
    parser.add_argument(
        "--image-size",
        metavar="N",
        type=_positive,
        default=IMAGE_SIZE,
        help="side of the model's square input in pixels, a multiple of 16 (default: %(default)s)",
    )
    parser.add_argument(
        "--coreset-size",
        metavar="N",
        type=_positive,
        default=CORESET_SIZE,
        help="patches kept in the memory bank at the most (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=_natural,
        default=0,
        help="of every random choice: same pictures, same seed, same model (default: %(default)s)",
    )
    parser.set_defaults(run=_stoppable(run_train))


def _add_evaluate(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on labelled pictures",
        description="Measure a model on labelled pictures: separation, false rejects, escapes and latency.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="model folder, as train writes it")
    parser.add_argument(
        "dir",
        metavar="DIR",
        type=Path,
        help="holds test/good/, test/TYPE/ and, optionally, ground_truth/TYPE/",
    )
    parser.add_argument("--threshold", metavar="RAW", type=_distance, help="raw threshold instead of the model's own")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write every figure and score to FILE")
    parser.set_defaults(run=_stoppable(run_evaluate))


def run_train(arguments: argparse.Namespace) -> int:
    """Train, save, and say what to do next."""
    training_set = datasets.find_training_set(arguments.dir)
    require_model_or_nothing(arguments.output)
    print(f"Learning from {len(training_set.paths)} pictures in {training_set.folder} ({layout(training_set)})")
    with _bar(total=1.0, bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} (left: {remaining})") as bar:

        def show(stage: str, fraction: float) -> None:
            bar.set_description_str(stage, refresh=False)
            bar.update(max(0.0, min(fraction, 1.0) - bar.n))

        training = train(
            training_set,
            arguments.output,
            category=arguments.category or arguments.dir.resolve().name,
            image_size=arguments.image_size,
            coreset_size=arguments.coreset_size,
            seed=arguments.seed,
            progress=show,
        )
    print(training_report(training, arguments.dir, arguments.output))
    return 0


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Measure, print the table and, if asked, write the JSON file."""
    pictures = datasets.find_test_pictures(arguments.dir)
    if arguments.json:
        _require_writable(arguments.json)
    model = detector.load(arguments.model)
    with _bar(total=len(pictures), desc="inspecting", unit="picture") as bar:
        evaluation = evaluate(
            model, pictures, threshold=arguments.threshold, progress=lambda done: bar.update(done - bar.n)
        )
    source = "model" if arguments.threshold is None else "--threshold"
    print(evaluation_report(evaluation, source))
    if arguments.json:
        facts = {
            "model": str(arguments.model),
            "model_hash": model.hash,
            "model_category": model.manifest.category,
            "image_size": model.manifest.image_size,
            "runtime": model.runtime,
            "data_set": str(arguments.dir),
            "threshold_source": source,
        }
        text = json.dumps(facts | evaluation.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(arguments.json, f"{text}\n".encode())
    return 0


def _positive(text: str) -> int:
    return _at_least(1, text)


def _natural(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of {least} or more")
    return int(text)


def _distance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


@contextmanager
def _bar(**options: Any) -> Iterator[Any]:
    from tqdm import tqdm

    # disable=None: no bar where standard error is not a terminal, so logs stay readable.
    with tqdm(disable=None, leave=False, dynamic_ncols=True, **options) as bar:
        yield bar


def _stoppable(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
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


def _require_writable(file: Path) -> None:
    if file.is_dir():
        raise OutputError(f"{file} is a folder. Give --json the name of a file.")
    if not file.absolute().parent.is_dir():
        raise OutputError(
            f"There is no folder {file.absolute().parent} for the JSON file. Make it, or give another --json."
        )
