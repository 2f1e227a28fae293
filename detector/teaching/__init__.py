"""Teaching: from normal images to a model."""

from detector.teaching.folds import HELD_OUT_ENOUGH
from detector.teaching.remembered import Remembered
from detector.teaching.teach import (
    DEFAULT_PRESET,
    HOLDOUT,
    PRESETS,
    FitOptions,
    Method,
    Preset,
    PresetName,
    coarse_size,
    fit,
)

__all__ = [
    "DEFAULT_PRESET",
    "HELD_OUT_ENOUGH",
    "HOLDOUT",
    "PRESETS",
    "FitOptions",
    "Method",
    "Preset",
    "PresetName",
    "Remembered",
    "coarse_size",
    "fit",
]
