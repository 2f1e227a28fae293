"""What is learned from patch features: a memory bank (PatchCore) or Gaussians (PaDiM), behind one affine projection."""

from detector.heads import padim, patchcore
from detector.heads.head import (
    DIRECTIONS,
    LEVELS,
    METHODS,
    Array,
    Gaussians,
    Head,
    NearestNeighbour,
    check_tensor,
    fitting_step,
    half_squares,
    head_from,
    quantised,
    tensors_of,
)
from detector.heads.projection import KeptDirections, Projection, learn_projection

__all__ = [
    "DIRECTIONS",
    "LEVELS",
    "METHODS",
    "Array",
    "Gaussians",
    "Head",
    "KeptDirections",
    "NearestNeighbour",
    "Projection",
    "check_tensor",
    "fitting_step",
    "half_squares",
    "head_from",
    "learn_projection",
    "padim",
    "patchcore",
    "quantised",
    "tensors_of",
]
