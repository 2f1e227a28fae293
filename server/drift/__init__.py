"""Whether parts and pictures are still as they were when calibrated, by tests with a stated rate of false warnings."""

from server.drift.drifts import Drifts

__all__ = ["Drifts"]
