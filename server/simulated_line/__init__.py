"""A simulated line: metal flanges rendered by code pass under a fixed camera, some of them defective.

Pure and deterministic: no clock, no threads, no files. The caller says what time it is on the line.
"""

from server.simulated_line.line import SimulatedFrame, SimulatedLine, good_frames

__all__ = ["SimulatedFrame", "SimulatedLine", "good_frames"]
