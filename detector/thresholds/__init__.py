"""All that is known of thresholds: rules that place them, what they promise, and whether a capture can make one."""

from detector.thresholds.independence import independent_parts
from detector.thresholds.judgement import Histogram, Judgement, Margin, judge
from detector.thresholds.promises import CONFIDENCE, MIN_PARTS, Promise, kept, promise
from detector.thresholds.rules import (
    DEFAULT_K,
    DEFAULT_RULE,
    MAX_K,
    MAX_ONE_IN,
    MIN_K,
    MIN_ONE_IN,
    Calibration,
    KSigma,
    OneIn,
    Rule,
    calibrate,
    checked,
    fault,
    follows,
    in_parts,
)
from detector.thresholds.suspects import Suspect

__all__ = [
    "CONFIDENCE",
    "DEFAULT_K",
    "DEFAULT_RULE",
    "MAX_K",
    "MAX_ONE_IN",
    "MIN_K",
    "MIN_ONE_IN",
    "MIN_PARTS",
    "Calibration",
    "Histogram",
    "Judgement",
    "KSigma",
    "Margin",
    "OneIn",
    "Promise",
    "Rule",
    "Suspect",
    "calibrate",
    "checked",
    "fault",
    "follows",
    "in_parts",
    "independent_parts",
    "judge",
    "kept",
    "promise",
]
