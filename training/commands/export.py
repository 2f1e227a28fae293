"""``defectvision export``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from training.commands.arguments import add_strict, checked_data_set, stages, stoppable
from training.data import datasets
from training.export import TOLERANCE, ExportRefusedError, export
from training.reports import data_set_report, export_report

REFUSED = 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "export",
        help="hand a model out as one OpenVINO graph, in another precision if wanted",
        description="Write a model folder that holds the model as one OpenVINO graph too, for programs that know "
        "OpenVINO only. Nothing is written if the graph, or the model in the other precision, does not say what the "
        "original says.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="model folder, as train writes it")
    parser.add_argument(
        "dir",
        metavar="DIR",
        type=Path,
        help="the data set the model was taught on; its labelled pictures, where it has any, are judged by both models",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        required=True,
        help="model folder to write; a model there is replaced",
    )
    parser.add_argument(
        "--precision",
        choices=["int8", "bfloat16"],
        help="teach the model again in this precision, with a threshold of its own (default: as it is)",
    )
    parser.add_argument(
        "--tolerance",
        metavar="SHARE",
        type=share,
        default=TOLERANCE,
        help="share of the verdicts that may differ from the original's, 0 to 1 (default: %(default)s)",
    )
    add_strict(parser)
    parser.set_defaults(run=stoppable(run_export))


def run_export(arguments: argparse.Namespace) -> int:
    """Export, and print how original and export compare."""
    test = bool(datasets.find_data_set(arguments.dir).test)
    data_set = checked_data_set(arguments.dir, strict=arguments.strict, training=True, test=test)
    with stages() as show:
        try:
            made = export(
                arguments.model,
                data_set,
                arguments.output,
                precision=arguments.precision,
                tolerance=arguments.tolerance,
                progress=show,
            )
        except ExportRefusedError as refused:
            made = refused.export
    print(export_report(made, arguments.output))
    if said := data_set_report(data_set):
        print(f"\n{said}")
    return REFUSED if made.refusal else 0


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 to 1")
    return value
