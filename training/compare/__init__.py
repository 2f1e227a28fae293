"""Several models on the same data sets, side by side, as Markdown, JSON and HTML."""

from training.compare import candidates
from training.compare.candidates import EfficientADOptions, UnknownCandidate
from training.compare.compare import Entry, Section, compare, prepare
from training.compare.comparison_report import Comparison, as_json, as_markdown
from training.compare.html_report import as_html

__all__ = [
    "Comparison",
    "EfficientADOptions",
    "Entry",
    "Section",
    "UnknownCandidate",
    "as_html",
    "as_json",
    "as_markdown",
    "candidates",
    "compare",
    "prepare",
]
