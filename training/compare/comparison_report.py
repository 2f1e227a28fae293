"""What was compared, as Markdown and as JSON; :mod:`.html_report` shows the same with charts and pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from training.compare.columns import (
    COLUMNS,
    MISSING,
    Best,
    Column,
    Written,
    figure,
    megabytes,
    milliseconds,
    recall,
    seconds,
    share,
)
from training.compare.compare import Failed, Measured, Section
from training.measure import AUPRO_FPR_LIMIT, RECALL_FALSE_REJECTS
from training.reports import data_set_as_json

HOW = (
    "Every model learned from the same pictures of good parts and was measured on the same others.",
    "Escapes (defective parts called NORMAL), false rejects (good parts called ANOMALY) and F1 are those at the "
    "model's own default threshold, which comes from good pictures alone.",
    "Promised at most: the share of good parts that this threshold rejects, 95 % sure, as teaching knew it, and "
    "whether the good pictures kept it.",
    f"Found at 1 %: the share of defective parts that is found where no more than {RECALL_FALSE_REJECTS:.0%} of the "
    "good pictures is rejected; with less than 100 of them none may be. By looking: for information only.",
    "Best F1 is the largest that any threshold reaches. It was found by looking at the defects: for information only.",
    f"AUPRO is integrated up to a false-positive rate of {AUPRO_FPR_LIMIT} and normalised.",
    "Latency is that of one detection, without reading the file. The models took turns on each picture, so that noise "
    "of the machine hits all of them alike.",
    "Fit time is that of one run, from reading the first picture to a model with its default threshold, which "
    "takes further fits without the pictures held out. Size is that on disk, the backbone's weights included.",
)


@dataclass(frozen=True)
class Comparison:
    """Everything a report says."""

    sections: tuple[Section, ...]
    """The data sets that are finished."""
    pending: tuple[str, ...]
    """Titles of those that were not, when this report was written."""
    command: str
    date: str
    """ISO 8601, UTC."""
    processor: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool = False
    """No other model of the table does better, and at least one does worse."""


@dataclass(frozen=True)
class Line:
    """A model's line of a table; ``reason`` instead of figures where it failed."""

    name: str
    cells: tuple[Cell, ...] = ()
    reason: str | None = None


def figures_table(section: Section) -> tuple[Line, ...]:
    """One line for each model, its cells in the order of :data:`COLUMNS`."""
    columns = [_cells(column, section.measured) for column in COLUMNS]
    lines = {
        row.name: Line(row.name, tuple(cells[index] for cells in columns)) for index, row in enumerate(section.measured)
    }
    return tuple(
        Line(row.name, reason=row.reason) if isinstance(row, Failed) else lines[row.name] for row in section.rows
    )


@dataclass(frozen=True)
class Mean:
    """A model over all data sets; a figure is ``None`` where one of them could not say."""

    name: str
    escape_rate: float | None
    false_reject_rate: float | None
    recall: float | None
    image_auroc: float | None
    pixel_auroc: float | None
    aupro: float | None
    f1: float | None
    fit_seconds: float
    latency_median_ms: float
    size_bytes: float


MEAN_HEADINGS = (
    *("Escapes", "False rejects", "Found at 1 %", "Image AUROC", "Pixel AUROC", "AUPRO", "F1"),
    *("Fit, s", "Latency median, ms", "Size, MB"),
)


def means(sections: Sequence[Section]) -> tuple[Mean, ...]:
    """Of the models that were measured on every data set; each data set counts the same.

    Pixel AUROC and AUPRO are means over the data sets that have masks; the others over those with labelled pictures.
    """
    found = []
    for row in sections[0].rows if sections else ():
        rows = [own for section in sections for own in section.measured if own.name == row.name]
        if len(rows) == len(sections):
            found.append(_mean(rows))
    return tuple(found)


def means_table(sections: Sequence[Section]) -> tuple[Line, ...]:
    """One line for each model, its cells in the order of :data:`MEAN_HEADINGS`."""
    rows = means(sections)
    columns = [
        _marked([row.escape_rate for row in rows], share, "lowest"),
        _marked([row.false_reject_rate for row in rows], share, "lowest"),
        _marked([row.recall for row in rows], share, "highest"),
        _marked([row.image_auroc for row in rows], figure, "highest"),
        _marked([row.pixel_auroc for row in rows], figure, "highest"),
        _marked([row.aupro for row in rows], figure, "highest"),
        _marked([row.f1 for row in rows], figure, "highest"),
        _marked([row.fit_seconds for row in rows], seconds, "lowest"),
        _marked([row.latency_median_ms for row in rows], milliseconds, "lowest"),
        _marked([row.size_bytes for row in rows], megabytes, "lowest"),
    ]
    return tuple(Line(row.name, tuple(cells[index] for cells in columns)) for index, row in enumerate(rows))


def _mean(rows: Sequence[Measured]) -> Mean:
    def mean(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return fmean(known) if known else None

    def accuracy(name: str) -> float | None:
        return mean(getattr(row.evaluation, name) for row in rows if row.evaluation)

    return Mean(
        rows[0].name,
        escape_rate=accuracy("escape_rate"),
        false_reject_rate=accuracy("false_reject_rate"),
        recall=mean(map(recall, rows)),
        image_auroc=accuracy("image_auroc"),
        pixel_auroc=accuracy("pixel_auroc"),
        aupro=accuracy("aupro"),
        f1=accuracy("f1"),
        fit_seconds=fmean(row.fit_seconds for row in rows),
        latency_median_ms=fmean(row.latency_median_ms for row in rows),
        size_bytes=fmean(row.size_bytes for row in rows),
    )


def _cells(column: Column, rows: Sequence[Measured]) -> tuple[Cell, ...]:
    texts = [column.text(row) for row in rows]
    marked = _marked([column.value(row) for row in rows], str, column.best)
    return tuple(Cell(text, cell.best) for text, cell in zip(texts, marked, strict=True))


def _marked(values: Sequence[float | None], text: Written, best: Best) -> tuple[Cell, ...]:
    known = [value for value in values if value is not None]
    if len(set(known)) < 2 or best == "none":
        return tuple(Cell(text(value)) for value in values)
    winner = max(known) if best == "highest" else min(known)
    return tuple(Cell(text(value), value == winner) for value in values)


def lighting_table(section: Section) -> tuple[Line, ...]:
    """One line for each light that pictures were taken in, a cell for each measured model; empty for less than two."""
    by_model = [row.evaluation.by_lighting for row in section.measured if row.evaluation]
    lines = tuple(
        Line(
            f"{of_light[0].lighting}, {of_light[0].good} good, {of_light[0].defective} defective",
            tuple(Cell(f"{figure(own.image_auroc)}; {own.false_rejects} and {own.escapes}") for own in of_light),
        )
        for of_light in zip(*by_model, strict=True)
    )
    return lines if len(lines) > 1 else ()


LIGHTING_CAPTION = "By the light of the pictures: image AUROC; false rejects and escapes"


def notes(section: Section) -> tuple[str, ...]:
    """What this data set could not say, and why; each once."""
    said = list(section.data_set.notes)
    if not section.data_set.test:
        said.append("There are no labelled pictures, so only fit time, latency and size are known.")
    for row in section.measured:
        said += row.evaluation.notes if row.evaluation else ()
    return tuple(dict.fromkeys(said))


def pictures_line(section: Section) -> str:
    """What was learned from and measured on."""
    data_set = section.data_set
    good = sum(not picture.defective for picture in data_set.test)
    masks = sum(picture.mask is not None for picture in data_set.test)
    return (
        f"{data_set.layout}: learned from {len(data_set.training)} good pictures; measured on {good} good and "
        f"{len(data_set.test) - good} defective ones, {masks} with a mask"
    )


def as_markdown(comparison: Comparison) -> str:
    """Tables and notes, without pictures."""
    blocks = ["# Comparison of models", _escaped(f"{comparison.date}, {comparison.processor}")]
    if comparison.pending:
        blocks.append(f"**Not finished.** Not compared yet: {_escaped(', '.join(comparison.pending))}.")
    if len(comparison.sections) > 1:
        blocks += ["## Means over the data sets", _table(MEAN_HEADINGS, means_table(comparison.sections))]
        blocks.append("Of models measured on every data set; pixel AUROC and AUPRO over data sets with masks.")
    for section in comparison.sections:
        blocks += [f"## {_escaped(section.title)}", _escaped(f"{pictures_line(section)}.")]
        blocks.append(_table([column.heading for column in COLUMNS], figures_table(section)))
        blocks += _bullets([f"{row.name} was not measured: {row.reason}" for row in section.failed])
        blocks += _bullets(notes(section))
        if lighting := lighting_table(section):
            blocks += [f"{LIGHTING_CAPTION}:", _table([row.name for row in section.measured], lighting, "Light")]
        if section.data_set.unusable:
            blocks.append(f"Left out, {len(section.data_set.unusable)} files that cannot be used:")
            blocks += _bullets(f"{file.path}: {file.reason}" for file in section.data_set.unusable)
    blocks += ["## How it was measured", *_bullets(HOW)]
    blocks.append("Bold: the best of its column.")
    blocks.append(_escaped(", ".join(f"{name} {version}" for name, version in comparison.versions.items())))
    blocks.append(f"    {_one_line(comparison.command)}")
    return "\n\n".join(blocks) + "\n"


def as_json(comparison: Comparison) -> str:
    """Every figure and every score; the pictures themselves are only in the HTML report."""
    document = {
        "command": comparison.command,
        "date": comparison.date,
        "processor": comparison.processor,
        "versions": comparison.versions,
        "how": HOW,
        "pending": comparison.pending,
        "data_sets": [_section_as_json(section) for section in comparison.sections],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _section_as_json(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        **data_set_as_json(section.data_set),
        "training_pictures": len(section.data_set.training),
        "training_fingerprint": section.fingerprint,
        "models": [_row_as_json(row) for row in section.rows],
    }


def _row_as_json(row: Measured | Failed) -> dict[str, Any]:
    if isinstance(row, Failed):
        return {"name": row.name, "description": row.description, "error": row.reason}
    return {
        "name": row.name,
        "description": row.description,
        "error": None,
        "runtime": row.runtime,
        "input_size": list(row.input_size),
        "hash": row.hash,
        "fit_seconds": row.fit_seconds,
        "size_bytes": row.size_bytes,
        "latency_median_ms": row.latency_median_ms,
        "latency_p95_ms": row.latency_p95_ms,
        "evaluation": row.evaluation and row.evaluation.as_json(),
    }


def _table(headings: Sequence[str], lines: Iterable[Line], of: str = "Model") -> str:
    rows = [f"| {of} | {' | '.join(headings)} |", f"|---|{'---:|' * len(headings)}"]
    for line in lines:
        cells = [f"**{cell.text}**" if cell.best else cell.text for cell in line.cells]
        rows.append(f"| {_escaped(line.name)} | {' | '.join(cells or [MISSING] * len(headings))} |")
    return "\n".join(rows)


def _bullets(lines: Iterable[str]) -> list[str]:
    text = "\n".join(f"- {_escaped(line)}" for line in lines)
    return [text] if text else []


def _escaped(text: str) -> str:
    """Names of folders and files may hold anything: nothing in them may become Markdown, or HTML within it."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
