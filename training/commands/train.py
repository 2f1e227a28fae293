"""``defectvision train``."""

from __future__ import annotations

import argparse
from pathlib import Path

from detector.patchcore import CORESET_SIZE, IMAGE_SIZE
from training import datasets
from training.commands.arguments import bar, natural, positive, stoppable
from training.reports import layout, training_report
from training.train import require_model_or_nothing, train


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        type=positive,
        default=IMAGE_SIZE,
        help="side of the model's square input in pixels, a multiple of 16 (default: %(default)s)",
    )
    parser.add_argument(
        "--coreset-size",
        metavar="N",
        type=positive,
        default=CORESET_SIZE,
        help="patches kept in the memory bank at the most (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=natural,
        default=0,
        help="of every random choice: same pictures, same seed, same model (default: %(default)s)",
    )
    parser.set_defaults(run=stoppable(run_train))


def run_train(arguments: argparse.Namespace) -> int:
    """Train, save, and say what to do next."""
    training_set = datasets.find_training_set(arguments.dir)
    require_model_or_nothing(arguments.output)
    print(f"Learning from {len(training_set.paths)} pictures in {training_set.folder} ({layout(training_set)})")
    with bar(total=1.0, bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} (left: {remaining})") as progress_bar:

        def show(stage: str, fraction: float) -> None:
            progress_bar.set_description_str(stage, refresh=False)
            progress_bar.update(max(0.0, min(fraction, 1.0) - progress_bar.n))

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
