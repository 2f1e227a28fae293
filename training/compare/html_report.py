"""The comparison as one HTML file: charts, and the pictures the models were most wrong about.

The file needs nothing else: styles and charts are inside, pictures are data: URIs, and there are no scripts. Its own
content security policy forbids everything else, so that even a name that got through the escaping could load nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from training.compare import charts, comparison_report
from training.compare.charts import Histogram, Outcome, Roc, TradeOff
from training.compare.columns import COLUMNS
from training.compare.compare import Measured, Section
from training.compare.comparison_report import HOW, MEAN_HEADINGS, Comparison, Line
from training.compare.exhibits import CLOSEST, Exhibit
from training.data import GOOD

STYLES = 7
"""Lines and marks the stylesheet can tell apart; more models begin again."""


@dataclass(frozen=True)
class ByType:
    """Mistakes of every model on the pictures of one type of defect, or on the good ones."""

    defect: str
    pictures: int
    wrong: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """What the page shows of one data set."""

    anchor: str
    section: Section
    pictures: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    roc: tuple[Roc, ...]
    histograms: Mapping[str, Histogram]
    trade_off: TradeOff | None
    by_type: tuple[ByType, ...]
    by_lighting: tuple[Line, ...]


def as_html(comparison: Comparison) -> str:
    """The whole page. Names of folders, files and models are escaped, whatever they hold."""
    # Jinja's own undefined values print as nothing: a slip in the template would go unseen.
    environment = Environment(
        loader=PackageLoader("training.compare"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    names = [row.name for row in comparison.sections[0].rows] if comparison.sections else []
    several = len(comparison.sections) > 1
    context: dict[str, Any] = {
        "comparison": comparison,
        "date": f"{comparison.date[:10]} {comparison.date[11:16]} UTC",
        "styles": {name: index % STYLES for index, name in enumerate(names)},
        "descriptions": {row.name: row.description for section in comparison.sections for row in section.rows},
        "views": [_view(section, f"data-set-{number}") for number, section in enumerate(comparison.sections, 1)],
        "means": comparison_report.means_table(comparison.sections) if several else (),
        "mean_trade_off": _mean_trade_off(comparison.sections) if several else None,
        "columns": COLUMNS,
        "mean_headings": MEAN_HEADINGS,
        "lighting_caption": comparison_report.LIGHTING_CAPTION,
        "how": HOW,
        "charts": charts,
        "GOOD": GOOD,
        "CLOSEST": CLOSEST,
        "mistakes": mistakes,
        "caption": caption,
    }
    return environment.get_template("comparison.html").render(context)


def mistakes(exhibits: Sequence[Exhibit]) -> bool:
    """Whether these are mistakes, and not the pictures that came closest to one."""
    return any(exhibit.wrong for exhibit in exhibits)


def caption(exhibit: Exhibit) -> str:
    """What the model said of a picture, in words."""
    verdict = "ANOMALY" if exhibit.is_anomaly else "NORMAL"
    return f"{verdict}, {exhibit.share:.2f} × threshold"


def _view(section: Section, anchor: str) -> View:
    outcomes = [_outcome(row) for row in section.measured if row.evaluation]
    return View(
        anchor=anchor,
        section=section,
        pictures=comparison_report.pictures_line(section),
        lines=comparison_report.figures_table(section),
        notes=comparison_report.notes(section),
        roc=charts.roc(outcomes),
        histograms=charts.histograms(outcomes),
        trade_off=charts.trade_off(
            [
                (row.name, row.latency_median_ms, row.evaluation.image_auroc)
                for row in section.measured
                if row.evaluation and row.evaluation.image_auroc is not None
            ]
        ),
        by_type=_by_type(section.measured),
        by_lighting=comparison_report.lighting_table(section),
    )


def _outcome(row: Measured) -> Outcome:
    assert row.evaluation
    pictures = row.evaluation.pictures
    return Outcome(
        row.name,
        np.array([picture.score for picture in pictures]),
        np.array([picture.defect != GOOD for picture in pictures]),
        row.evaluation.threshold,
    )


def _mean_trade_off(sections: Sequence[Section]) -> TradeOff | None:
    return charts.trade_off(
        [
            (row.name, row.latency_median_ms, row.image_auroc)
            for row in comparison_report.means(sections)
            if row.image_auroc is not None
        ]
    )


def _by_type(rows: Sequence[Measured]) -> tuple[ByType, ...]:
    """All models saw the same pictures, so they have the same types in the same order."""
    by_model = [row.evaluation.by_type for row in rows if row.evaluation]
    return tuple(
        ByType(figures[0].defect, figures[0].pictures, tuple(own.wrong for own in figures))
        for figures in zip(*by_model, strict=True)
    )


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
