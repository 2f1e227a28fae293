"""The detector: learns from normal images only, then measures deviation. Works alone, in a notebook too::

model = detector.fit(images)        # H×W×3 uint8 BGR
detection = model.detect(frame)     # .score, .anomaly_map
model.save("bottle"); detector.load("bottle")
"""

from detector.corrections import BadPatches, GoodPatches, Polygon
from detector.errors import DetectorError, ImageError, ModelError
from detector.model import Detector
from detector.model_folder import Described
from detector.score import Detection
from detector.taught_model import TaughtModel, load, load_taught
from detector.teaching import PRESETS, Preset, fit
from detector.thresholds import Calibration, calibrate
from detector.version import VERSION

__all__ = [
    "PRESETS",
    "VERSION",
    "BadPatches",
    "Calibration",
    "Described",
    "Detection",
    "Detector",
    "DetectorError",
    "GoodPatches",
    "ImageError",
    "ModelError",
    "Polygon",
    "Preset",
    "TaughtModel",
    "calibrate",
    "fit",
    "load",
    "load_taught",
]
