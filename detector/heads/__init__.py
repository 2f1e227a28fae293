"""What is learned from patch features: memory banks (PatchCore) or Gaussians (PaDiM), behind one affine projection."""

from detector.heads import drawn, padim, patchcore
from detector.heads.any_head import METHODS, Head, head_from, tensors_of
from detector.heads.corrections import Corrections, KnownBad, ball, no_corrections
from detector.heads.drawn import DrawnDefects, Trust
from detector.heads.head import (
    DIRECTIONS,
    LARGEST,
    LEVELS,
    Array,
    Gaussians,
    NearestNeighbour,
    check_tensor,
    extent,
    fitting_step,
    half_squares,
    named,
    quantised,
)
from detector.heads.memory_banks import COARSE_SIDE, SHRINKS, MemoryBanks, Patches
from detector.heads.projection import KeptDirections, Projection, learn_projection

__all__ = [
    "COARSE_SIDE",
    "DIRECTIONS",
    "LARGEST",
    "LEVELS",
    "METHODS",
    "SHRINKS",
    "Array",
    "Corrections",
    "DrawnDefects",
    "Gaussians",
    "Head",
    "KeptDirections",
    "KnownBad",
    "MemoryBanks",
    "NearestNeighbour",
    "Patches",
    "Projection",
    "Trust",
    "ball",
    "check_tensor",
    "drawn",
    "extent",
    "fitting_step",
    "half_squares",
    "head_from",
    "learn_projection",
    "named",
    "no_corrections",
    "padim",
    "patchcore",
    "quantised",
    "tensors_of",
]
