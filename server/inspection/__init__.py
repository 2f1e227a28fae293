"""A frame comes in, a verdict goes out: the model and the threshold in force."""

from server.inspection.calibrations import Calibrations
from server.inspection.inspection import Inspected, Inspection, NoModel

__all__ = ["Calibrations", "Inspected", "Inspection", "NoModel"]
