"""What ``defectvision export`` prints: plain aligned text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.model_folder import GRAPH_FOLDER
from training.export import Export, Measured

LISTED_VERDICTS = 20


def export_report(export: Export, output: Path) -> str:
    """What was exported, how it compares, and the next command; or why nothing was."""
    again = export.exported is not export.original
    columns = [_column("original", export.original)]
    if again:
        columns.append(_column("exported", export.exported))
    lines = _aligned([*zip(_column_names(export.original), *columns, strict=True)])
    lines += [
        "",
        f"graph     {_megabytes(export.graph_bytes)}, differs from the model by "
        f"{max(export.score_difference, export.map_difference):.1g} at the most on {export.compared} pictures",
    ]
    if again:
        lines += _verdict_lines(export)
    if export.refusal:
        return "\n".join([*lines, "", f"Refused, and nothing was written: {export.refusal}."])
    command = shlex.join(["defectvision", "serve", "--model", str(output)])
    return "\n".join(
        [*lines, "", f"written to  {output}, the graph to {output / GRAPH_FOLDER}", f"next        {command}"]
    )


def _column_names(measured: Measured) -> list[str]:
    names = ["", "precision", "model folder", "latency", "threshold"]
    return names + (["image AUROC", "false rejects", "escapes"] if measured.evaluation else [])


def _column(name: str, measured: Measured) -> list[str]:
    column = [
        name,
        measured.model.manifest.precision,
        _megabytes(measured.folder_bytes),
        f"{measured.latency.median:.1f} ms",
        f"{measured.model.threshold:.4f}",
    ]
    if (found := measured.evaluation) is not None:
        column += [
            "–" if found.image_auroc is None else f"{found.image_auroc:.4f}",
            f"{found.false_rejects} of {found.good}" if found.good else "–",
            f"{found.escapes} of {found.defective}" if found.defective else "–",
        ]
    return column


def _verdict_lines(export: Export) -> list[str]:
    differing, shifts = export.differing, [verdict.shift for verdict in export.verdicts]
    lines = [
        f"verdicts  {len(differing)} of {len(export.verdicts)} differ ({len(differing) / len(export.verdicts):.1%}; "
        f"tolerance {export.tolerance:.1%})",
        f"scores    in shares of the threshold moved by {np.median(shifts):.1%} in the median, {max(shifts):.1%} at "
        "the most",
    ]
    if differing:
        heads = ("original", "exported", "score / threshold: an anomaly above 1")
        rows = [(f"{one.original:.3f}", f"{one.exported:.3f}", one.picture) for one in differing[:LISTED_VERDICTS]]
        lines += ["", *_aligned([heads, *rows])]
    if len(differing) > LISTED_VERDICTS:
        lines.append(f"and {len(differing) - LISTED_VERDICTS} more")
    return lines


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
