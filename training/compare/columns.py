"""The figures of a model in a comparison: how each is read, written and which is best. What matters on a line first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from training.compare.compare import Measured

MISSING = "–"

Written = Callable[[float | None], str]
Best = Literal["highest", "lowest", "none"]


def figure(value: float | None) -> str:
    """A figure between 0 and 1, such as an AUROC."""
    return MISSING if value is None else f"{value:.4f}"


def share(value: float | None) -> str:
    """A share of pictures, 0..1."""
    return MISSING if value is None else f"{value:.1%}"


def seconds(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"


milliseconds = seconds


def megabytes(size_bytes: float | None) -> str:
    return MISSING if size_bytes is None else f"{size_bytes / 1e6:.2f}"


@dataclass(frozen=True)
class Column:
    """One figure of a model: how it is read, written and which is best."""

    title: str
    value: Callable[[Measured], float | None]
    text: Callable[[Measured], str]
    best: Best
    unit: str = ""

    @property
    def heading(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title


def _figure(title: str, name: str, best: Best = "highest") -> Column:
    def value(row: Measured) -> float | None:
        return getattr(row.evaluation, name) if row.evaluation else None

    return Column(title, value, lambda row: figure(value(row)), best)


def _mistakes(title: str, count: str, total: str) -> Column:
    def value(row: Measured) -> float | None:
        of_all = getattr(row.evaluation, total) if row.evaluation else 0
        return getattr(row.evaluation, count) / of_all if of_all else None

    def text(row: Measured) -> str:
        if value(row) is None:
            return MISSING
        return f"{getattr(row.evaluation, count)} of {getattr(row.evaluation, total)}"

    return Column(title, value, text, "lowest")


def _measure(title: str, name: str, written: Written, unit: str) -> Column:
    return Column(title, lambda row: float(getattr(row, name)), lambda row: written(getattr(row, name)), "lowest", unit)


def recall(row: Measured) -> float | None:
    """Share of defects found at 1 % false rejects."""
    return row.evaluation.recall.recall if row.evaluation and row.evaluation.recall else None


def _promise(row: Measured) -> str:
    promise = row.evaluation.promise if row.evaluation else None
    if promise is None:
        return MISSING
    came = {True: "kept", None: "too few to say", False: "not kept"}
    return f"{promise.at_most:.1%}" if promise.seen is None else f"{promise.at_most:.1%}: {came[promise.kept]}"


COLUMNS = (
    _mistakes("Escapes", "escapes", "defective"),
    _mistakes("False rejects", "false_rejects", "good"),
    Column("Promised at most", lambda row: None, _promise, "none"),
    Column("Found at 1 %", recall, lambda row: share(recall(row)), "highest"),
    _figure("Image AUROC", "image_auroc"),
    _figure("Pixel AUROC", "pixel_auroc"),
    _figure("AUPRO", "aupro"),
    _figure("F1", "f1"),
    _figure("Best F1 (by looking)", "best_f1", "none"),
    _measure("Fit", "fit_seconds", seconds, "s"),
    _measure("Latency median", "latency_median_ms", milliseconds, "ms"),
    _measure("Latency p95", "latency_p95_ms", milliseconds, "ms"),
    _measure("Size", "size_bytes", megabytes, "MB"),
)
