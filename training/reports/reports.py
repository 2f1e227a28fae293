"""What the commands print: plain aligned text."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from detector import Detector, TaughtModel
from detector.light import LightGated
from detector.region import Region
from training.data import DataSet, datasets
from training.measure import Evaluation, Promised, RecallAt
from training.train import Training

LISTED_PICTURES = 10
NEW_LIGHT = "judged by what was learned blind to light; one threshold for both"


def layout(data_set: DataSet) -> str:
    """How the pictures were found, in words."""
    words = {"flat": "flat folder, subfolders not searched", "VisA": "VisA layout, split of split_csv/1cls.csv"}
    return words.get(data_set.layout, f"{data_set.layout} layout")


def data_set_report(data_set: DataSet) -> str:
    """What is to be known of the pictures, as lines: notes, and every file that was left out. Empty if nothing is."""
    lines = list(data_set.notes)
    if data_set.unusable:
        lines.append(f"Left out because they cannot be used ({len(data_set.unusable)}):")
        lines += [f"  {line}" for line in datasets.listed(data_set.unusable)]
    return "\n".join(lines)


def data_set_as_json(data_set: DataSet) -> dict[str, Any]:
    """The same as JSON types."""
    return {
        "data_set": str(data_set.folder),
        "layout": data_set.layout,
        "data_set_notes": list(data_set.notes),
        "unusable": [{"path": str(file.path), "reason": file.reason} for file in data_set.unusable],
    }


def inspected_part(region: Region) -> str:
    """Which part of the frame is inspected, in words."""
    if region.is_full:
        return "the whole frame"
    left, top, right, bottom = (round(100 * fraction) for fraction in region.fractions)
    return f"{left}–{right} % of the width, {top}–{bottom} % of the height: the rest was plain; --region full takes all"


def made_of(model: Detector) -> str:
    """What kind of model it is, in words."""
    if not isinstance(model, TaughtModel):
        return f"made elsewhere, {model.input_size}"
    manifest = model.manifest
    network = manifest.backbone.removesuffix(f", {manifest.precision}")  # a quantised backbone says so in its name
    gated = ", blind to new light" if isinstance(model.head, LightGated) else ""
    return f"{manifest.method}, {manifest.input_size}, {network}, {manifest.precision}{gated}"


def training_report(training: Training, output: Path) -> str:
    """What was learned, as aligned text, and the next command."""
    manifest = training.model.manifest
    held_out = len(manifest.held_out_scores)
    next_command = (
        ["defectvision", "evaluate", str(output), str(training.data_set.folder)]
        if training.data_set.test
        else ["defectvision", "serve", "--model", str(output)]
    )
    rows = [
        ("pictures", str(manifest.n_images)),
        ("model", made_of(training.model)),
        *([("memory bank", f"{manifest.coreset_size} patches")] if manifest.coreset_size else []),
        *([("new light", NEW_LIGHT)] if isinstance(training.model.head, LightGated) else []),
        ("inspected", inspected_part(manifest.region)),
        *([("reference", manifest.registration)] if manifest.registration else []),
        ("threshold", f"{training.model.threshold:.4f}, from {held_out} pictures held out in turn"),
        ("seconds", f"{training.seconds:.1f}"),
        ("written to", str(output)),
        ("next", shlex.join(next_command)),
    ]
    return _aligned(rows)


def evaluation_report(evaluation: Evaluation, model: Detector, threshold_source: str) -> str:
    """The figures as aligned text; "–" where the set cannot say."""
    rows = [
        (
            "pictures",
            f"{evaluation.good} good, {evaluation.defective} defective ({evaluation.masks} with a mask)",
        ),
        ("model", made_of(model)),
        ("threshold", f"{evaluation.threshold:.4f} ({threshold_source})"),
        ("escapes", _share(evaluation.escapes, evaluation.defective, evaluation.escape_rate)),
        ("false rejects", _share(evaluation.false_rejects, evaluation.good, evaluation.false_reject_rate)),
        ("promised", promise_in_words(evaluation.promise)),
        ("found at 1 %", recall_in_words(evaluation.recall)),
        ("image AUROC", _figure(evaluation.image_auroc)),
        ("pixel AUROC", _figure(evaluation.pixel_auroc)),
        ("AUPRO", _figure(evaluation.aupro)),
        ("F1", _figure(evaluation.f1)),
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
    lines += _lighting_table(evaluation) if len(evaluation.by_lighting) > 1 else []
    wrong = [picture for picture in evaluation.pictures if picture.is_anomaly == (picture.defect == datasets.GOOD)]
    if wrong:
        lines += ["", "wrong (false rejects where the type is good, escapes elsewhere):"]
        lines += [f"  {picture.score:.4f}  {picture.path}" for picture in wrong[:LISTED_PICTURES]]
    if len(wrong) > LISTED_PICTURES:
        lines.append(f"  and {len(wrong) - LISTED_PICTURES} more; --json FILE lists every picture")
    lines += ["", *evaluation.notes] if evaluation.notes else []
    return "\n".join(lines)


def promise_in_words(promise: Promised | None) -> str:
    """What the threshold promises of good parts, and whether the good pictures kept it."""
    if promise is None:
        return "– (a model that was not taught here, or too few different good parts held out)"
    if promise.seen is None:
        return promise.sentence
    came = {
        True: "kept",
        None: "more than that, but in so few pictures it may be chance",
        False: "NOT kept: these good parts differ from those taught; teach with more of them, or calibrate",
    }
    return f"{promise.sentence}; seen here {promise.seen:.1%}: {came[promise.kept]}"


def recall_in_words(recall: RecallAt | None) -> str:
    """The share of defects that scores let be found where at most 1 % of good parts is rejected."""
    if recall is None:
        return "–"
    of_good = f"{recall.allowed} of the {recall.good} good pictures" if recall.allowed else "no good picture"
    few = "" if recall.allowed else f": with {recall.good} of them, one is {1 / recall.good:.1%} already"
    return (
        f"{recall.recall:.1%} of the defects, at a threshold of {recall.threshold:.4f} that rejects {of_good}{few} "
        "(chosen by looking at them: for information only)"
    )


def _lighting_table(evaluation: Evaluation) -> list[str]:
    width = max(len("lighting"), *(len(figures.lighting) for figures in evaluation.by_lighting))
    lines = ["", f"{'lighting':{width}}  pictures  image AUROC  false rejects      escapes"]
    for figures in evaluation.by_lighting:
        rejects = _share_of(figures.false_rejects, figures.good, figures.false_reject_rate)
        escapes = _share_of(figures.escapes, figures.defective, figures.escape_rate)
        lines.append(
            f"{figures.lighting:{width}}  {figures.good + figures.defective:8}  {_figure(figures.image_auroc):>11}"
            f"  {rejects:>13}  {escapes:>11}"
        )
    return lines


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


def _share_of(count: int, total: int, rate: float | None) -> str:
    return "–" if rate is None else f"{count}/{total} {rate:.1%}"


def _aligned(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)
