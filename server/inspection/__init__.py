"""A frame comes in, a verdict goes out: the model and the thresholds in force, and how they come to be."""

from server.inspection.calibration_file import Change, StoredCalibration
from server.inspection.calibrations import Calibrations, now
from server.inspection.captured import Captured, Draft, Drafts
from server.inspection.inspected import Inspected, Sample
from server.inspection.inspection import Changed, Inspection, ModelReplaced, NoModel
from server.inspection.threshold import Threshold, described, other_transport, rule_info

__all__ = [
    "Calibrations",
    "Captured",
    "Change",
    "Changed",
    "Draft",
    "Drafts",
    "Inspected",
    "Inspection",
    "ModelReplaced",
    "NoModel",
    "Sample",
    "StoredCalibration",
    "Threshold",
    "described",
    "now",
    "other_transport",
    "rule_info",
]
