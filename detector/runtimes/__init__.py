"""Where a model is computed: OpenVINO or torch, behind one protocol."""

from detector.runtimes.gated import distances_of
from detector.runtimes.runtime import (
    PRECISION_HINTS,
    PRECISIONS,
    RUNTIMES,
    Distances,
    Precision,
    Runtime,
    Seen,
    runtime,
    whole_graph,
)

__all__ = [
    "PRECISIONS",
    "PRECISION_HINTS",
    "RUNTIMES",
    "Distances",
    "Precision",
    "Runtime",
    "Seen",
    "distances_of",
    "runtime",
    "whole_graph",
]
