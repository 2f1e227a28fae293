"""Models that anomalib exported to OpenVINO, read by their raw map and score."""

from detector.anomalib.export import AnomalibExport, is_anomalib_export, load, to_input, write_sidecar
from detector.anomalib.graph import TOLERANCE

__all__ = ["TOLERANCE", "AnomalibExport", "is_anomalib_export", "load", "to_input", "write_sidecar"]
