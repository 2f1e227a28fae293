"""Results in words and tables, for the terminal and for Markdown."""

from training.reports.export_report import export_report
from training.reports.lighting_report import as_markdown
from training.reports.markdown import table
from training.reports.reports import (
    data_set_as_json,
    data_set_report,
    evaluation_report,
    layout,
    made_of,
    training_report,
)

__all__ = [
    "as_markdown",
    "data_set_as_json",
    "data_set_report",
    "evaluation_report",
    "export_report",
    "layout",
    "made_of",
    "table",
    "training_report",
]
