"""A frame comes in, a verdict goes out: the model and the thresholds in force, and how they come to be."""

from server.inspection.baseline import Baseline, Learning, Span, baseline_of
from server.inspection.calibration_file import Change, StoredCalibration
from server.inspection.calibrations import DOCUMENTS, Calibrations
from server.inspection.captured import Captured, Draft, Drafts
from server.inspection.condition import NAMES, Condition, condition_of
from server.inspection.glimpse import Glimpse, glimpse
from server.inspection.inspected import NO_RECIPE, Inspected, KeptPicture, Sample, ScoredBy, scored_by
from server.inspection.inspection import Changed, Inspection, ModelReplaced, NoModel
from server.inspection.looking import Ask, Encoded, Here, Looked, Looker, NotLooked, Wanted, all_of
from server.inspection.regions import inspected_cells, within
from server.inspection.resting import Resting
from server.inspection.threshold import (
    GIVEN,
    Threshold,
    described,
    given_recipe,
    key_of,
    other_regions,
    other_transport,
    rule_info,
)

__all__ = [
    "DOCUMENTS",
    "GIVEN",
    "NAMES",
    "NO_RECIPE",
    "Ask",
    "Baseline",
    "Calibrations",
    "Captured",
    "Change",
    "Changed",
    "Condition",
    "Draft",
    "Drafts",
    "Encoded",
    "Glimpse",
    "Here",
    "Inspected",
    "Inspection",
    "KeptPicture",
    "Learning",
    "Looked",
    "Looker",
    "ModelReplaced",
    "NoModel",
    "NotLooked",
    "Resting",
    "Sample",
    "ScoredBy",
    "Span",
    "StoredCalibration",
    "Threshold",
    "Wanted",
    "all_of",
    "baseline_of",
    "condition_of",
    "described",
    "given_recipe",
    "glimpse",
    "inspected_cells",
    "key_of",
    "other_regions",
    "other_transport",
    "rule_info",
    "scored_by",
    "within",
]
