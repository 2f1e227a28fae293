"""What the commands print: plain aligned text."""

from __future__ import annotations

import shlex
from pathlib import Path

from training import datasets
from training.datasets import TrainingSet
from training.evaluate import Evaluation
from training.train import Training

LISTED_PICTURES = 10


def layout(training_set: TrainingSet) -> str:
    """Where the pictures were found, in words."""
    return "MVTec layout" if training_set.layout == "train/good" else "flat folder, subfolders not searched"


def training_report(training: Training, folder: Path, output: Path) -> str:
    """What was learned, as aligned text, and the next command."""
    manifest = training.model.manifest
    held_out = len(manifest.held_out_scores)
    next_command = (
        ["defectvision", "evaluate", str(output), str(folder)]
        if (folder / "test").is_dir()
        else ["defectvision", "serve", "--model", str(output)]
    )
    rows = [
        ("pictures", str(manifest.n_images)),
        ("memory bank", f"{manifest.coreset_size} patches"),
        ("threshold", f"{training.model.threshold:.4f}, from {held_out} pictures held out in turn"),
        ("seconds", f"{training.seconds:.1f}"),
        ("model", str(output)),
        ("next", shlex.join(next_command)),
    ]
    return _aligned(rows)


def evaluation_report(evaluation: Evaluation, threshold_source: str) -> str:
    """The figures as aligned text; "–" where the set cannot say."""
    rows = [
        (
            "pictures",
            f"{evaluation.good} good, {evaluation.defective} defective ({evaluation.masks} with a mask)",
        ),
        ("image AUROC", _figure(evaluation.image_auroc)),
        ("pixel AUROC", _figure(evaluation.pixel_auroc)),
        ("threshold", f"{evaluation.threshold:.4f} ({threshold_source})"),
        ("F1", _figure(evaluation.f1)),
        ("false rejects", _share(evaluation.false_rejects, evaluation.good, evaluation.false_reject_rate)),
        ("escapes", _share(evaluation.escapes, evaluation.defective, evaluation.escape_rate)),
        ("latency", f"median {evaluation.latency_median_ms:.1f} ms, p95 {evaluation.latency_p95_ms:.1f} ms"),
        ("best F1", _best_f1(evaluation)),
    ]
    width = max(len(figures.defect) for figures in evaluation.by_type)
    lines = [_aligned(rows), "", f"{'type':{width}}  pictures  wrong    rate  image AUROC"]
    lines += [
        f"{figures.defect:{width}}  {figures.pictures:8}  {figures.wrong:5}  {figures.wrong_rate:6.1%}"
        f"  {_figure(figures.image_auroc):>11}"
        for figures in evaluation.by_type
    ]
    wrong = [picture for picture in evaluation.pictures if picture.is_anomaly == (picture.defect == datasets.GOOD)]
    if wrong:
        lines += ["", "wrong (false rejects where the type is good, escapes elsewhere):"]
        lines += [f"  {picture.score:.4f}  {picture.path}" for picture in wrong[:LISTED_PICTURES]]
    if len(wrong) > LISTED_PICTURES:
        lines.append(f"  and {len(wrong) - LISTED_PICTURES} more; --json FILE lists every picture")
    lines += ["", *evaluation.notes] if evaluation.notes else []
    return "\n".join(lines)


def _best_f1(evaluation: Evaluation) -> str:
    if evaluation.best_f1 is None or evaluation.best_f1_threshold is None:
        return "–"
    return (
        f"{evaluation.best_f1:.4f} at threshold {evaluation.best_f1_threshold:.4f} "
        "(chosen by looking at the defects: for information only)"
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _share(count: int, total: int, rate: float | None) -> str:
    return "–" if rate is None else f"{count} of {total} ({rate:.1%})"


def _aligned(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)
