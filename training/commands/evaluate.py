"""``defectvision evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path

import detector
from training.commands.arguments import (
    add_strict,
    bar,
    checked_data_set,
    distance,
    require_writable,
    stoppable,
    write_json,
)
from training.measure import evaluate
from training.reports import data_set_as_json, data_set_report, evaluation_report


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        help="a data set with labelled pictures: MVTec AD, MVTec AD 2, VisA or plain folders",
    )
    parser.add_argument("--threshold", metavar="RAW", type=distance, help="raw threshold instead of the model's own")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write every figure and score to FILE")
    add_strict(parser)
    parser.set_defaults(run=stoppable(run_evaluate))


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Measure, print the table and, if asked, write the JSON file."""
    if arguments.json:
        require_writable(arguments.json)
    model = detector.load(arguments.model)
    data_set = checked_data_set(arguments.dir, strict=arguments.strict, test=True)
    with bar(total=len(data_set.test), desc="inspecting", unit="picture") as progress_bar:
        evaluation = evaluate(
            model,
            data_set.test,
            threshold=arguments.threshold,
            progress=lambda done: progress_bar.update(done - progress_bar.n),
        )
    source = "model" if arguments.threshold is None else "--threshold"
    print(evaluation_report(evaluation, model, source))
    if said := data_set_report(data_set):
        print(f"\n{said}")
    if arguments.json:
        facts = {
            "model": str(arguments.model),
            "model_hash": model.hash,
            "model_category": model.category,
            "image_size": model.image_size,
            "input_size": list(model.input_size),
            "backbone": model.manifest.backbone if isinstance(model, detector.TaughtModel) else None,
            "runtime": model.runtime,
            "threshold_source": source,
        }
        figures = facts | data_set_as_json(data_set) | evaluation.as_json()
        write_json(arguments.json, figures)
    return 0
