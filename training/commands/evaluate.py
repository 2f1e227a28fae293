"""``defectvision evaluate``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import detector
from detector.files import write_atomically
from training import datasets
from training.commands.arguments import bar, distance, require_writable, stoppable
from training.evaluate import evaluate
from training.reports import evaluation_report


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
        help="holds test/good/, test/TYPE/ and, optionally, ground_truth/TYPE/",
    )
    parser.add_argument("--threshold", metavar="RAW", type=distance, help="raw threshold instead of the model's own")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write every figure and score to FILE")
    parser.set_defaults(run=stoppable(run_evaluate))


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Measure, print the table and, if asked, write the JSON file."""
    pictures = datasets.find_test_pictures(arguments.dir)
    if arguments.json:
        require_writable(arguments.json)
    model = detector.load(arguments.model)
    with bar(total=len(pictures), desc="inspecting", unit="picture") as progress_bar:
        evaluation = evaluate(
            model,
            pictures,
            threshold=arguments.threshold,
            progress=lambda done: progress_bar.update(done - progress_bar.n),
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
