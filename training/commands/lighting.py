"""``defectvision lighting``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import cast

from detector.light import SEVERITIES, Severity
from training.commands.arguments import (
    add_strict,
    checked_data_set,
    natural,
    patches,
    positive,
    require_writable,
    stages,
    stoppable,
    write_json,
)
from training.data import datasets
from training.measure import CORESET_SIZE, IMAGE_SIZE, study
from training.reports import as_markdown, data_set_report


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "lighting",
        help="measure what a change of light costs, and what wins it back",
        description="Show the labelled pictures under simulated changes of light to models taught in several ways, and "
        "print image AUROC, false rejects and escapes of each. Takes a few minutes.",
    )
    parser.add_argument(
        "dir", metavar="DIR", type=Path, help="a data set: good pictures to learn from, and labelled ones"
    )
    parser.add_argument(
        "--severity",
        metavar="N",
        type=int,
        choices=SEVERITIES,
        default=2,
        help="of the changes: 1 mild, 2 strong (default: %(default)s)",
    )
    parser.add_argument(
        "--image-size",
        metavar="N",
        type=positive,
        default=IMAGE_SIZE,
        help="side of the input in pixels, a multiple of 16; what is far from square keeps its shape "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--coreset-size",
        metavar="N",
        type=patches,
        default=CORESET_SIZE,
        help="patches in each memory bank (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", metavar="N", type=natural, default=0, help="of every random choice (default: %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write every figure to FILE")
    add_strict(parser)
    parser.set_defaults(run=stoppable(run_lighting))


def run_lighting(arguments: argparse.Namespace) -> int:
    """Run the study, print its Markdown tables and, if asked, write the JSON file."""
    if arguments.json:
        require_writable(arguments.json)
    data_set = checked_data_set(arguments.dir, strict=arguments.strict, training=True, test=True)
    with stages() as show:
        result = study(
            data_set.name,
            datasets.Pictures(data_set.training),
            datasets.read_all(picture.path for picture in data_set.test),
            [picture.defective for picture in data_set.test],
            image_size=arguments.image_size,
            coreset_size=arguments.coreset_size,
            severity=cast(Severity, arguments.severity),
            seed=arguments.seed,
            progress=show,
        )
    print(as_markdown(result), end="")
    if said := data_set_report(data_set):
        print(f"\n{said}")
    if arguments.json:
        write_json(arguments.json, asdict(result))
    return 0
