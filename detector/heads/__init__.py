"""What is learned from patch features: memory banks (PatchCore) or Gaussians (PaDiM), behind one affine projection."""

from detector.heads import drawn, padim, patchcore
from detector.heads.any_head import METHODS, Head, head_from, tensors_of
from detector.heads.drawn import DrawnDefects, Trust
from detector.heads.head import (
    DIRECTIONS,
    LEVELS,
    Array,
    Gaussians,
    NearestNeighbour,
    check_tensor,
    fitting_step,
    half_squares,
    quantised,
)
from detector.heads.memory_banks import SHRINKS, MemoryBanks, Patches
from detector.heads.projection import KeptDirections, Projection, learn_projection

__all__ = [
    "DIRECTIONS",
    "LEVELS",
    "METHODS",
    "SHRINKS",
    "Array",
    "DrawnDefects",
    "Gaussians",
    "Head",
    "KeptDirections",
    "MemoryBanks",
    "NearestNeighbour",
    "Patches",
    "Projection",
    "Trust",
    "check_tensor",
    "drawn",
    "fitting_step",
    "half_squares",
    "head_from",
    "learn_projection",
    "padim",
    "patchcore",
    "quantised",
    "tensors_of",
]
