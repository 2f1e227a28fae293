"""Where the network runs. Every runtime computes one thing: frame in, patch features or patch distances out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detector.backbone import Backbone
from detector.errors import ModelError

RUNTIMES = ("openvino", "torch")

Features = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Input size × input size × 3 uint8 BGR → N×152 float32 patch features, row by row of the stride-8 grid."""

Distances = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Input size × input size × 3 uint8 BGR → h×w float32, the distance of each patch to its nearest in the memory bank."""


class Runtime(Protocol):
    """Compiles the detector for some engine. What it returns may be called from several threads at once."""

    name: str

    def features(self, backbone: Backbone, image_size: int) -> Features:
        """Patch features: blocks 4 and 10, 3×3 average pooling (locally aware), stride 16 upsampled to stride 8."""
        ...

    def distances(
        self,
        backbone: Backbone,
        image_size: int,
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        bank: NDArray[np.float32],
    ) -> Distances:
        """Exact Euclidean distance of each standardised patch to its nearest neighbour in ``bank`` (M×152)."""
        ...


def runtime(name: str, *, workers: int = 1) -> Runtime:
    """The runtime of that name, for so many threads calling at once.

    Raises:
        ModelError: no such runtime, or what it needs is not installed.
    """
    if name == "openvino":
        from detector.openvino_runtime import OpenVINORuntime

        return OpenVINORuntime(workers)
    if name == "torch":
        try:
            from detector.torch_runtime import TorchRuntime
        except ImportError as error:
            raise ModelError(
                "RUNTIME=torch needs torch: pip install 'defectvision[torch]' "
                "(in a clone: .venv/bin/pip install -e '.[torch]'), or use RUNTIME=openvino"
            ) from error
        return TorchRuntime(workers)
    raise ModelError(f"there is no runtime {name!r}: use one of {', '.join(RUNTIMES)}")
