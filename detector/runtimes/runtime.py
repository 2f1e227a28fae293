"""Where the network runs. Every runtime computes one thing: frame in, patch features or patch distances out."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from detector.backbones import AnyBackbone, Features
from detector.errors import ModelError
from detector.extras import to_install
from detector.heads import Head, MemoryBanks
from detector.input_size import InputSize
from detector.score import PatchMaps

RUNTIMES = ("openvino", "torch")
Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")
"""What the backbone computes in, and with bfloat16 the search too. Scores of one precision are not those of another, so
it is part of a model."""

PRECISION_HINTS: dict[str, str] = {"float32": "f32", "int8": "f32", "bfloat16": "bf16"}
"""What OpenVINO is told for each precision: left alone it would choose by the processor."""


class Seen(NamedTuple):
    """What a model makes of a frame: ``maps``, and the patches' ``signatures`` at each scale, N×S int8, row by row of
    the patch grid."""

    maps: PatchMaps
    signatures: tuple[NDArray[np.int8], ...]


class Distances(Protocol):
    """A compiled model. May be called from several threads at once."""

    def __call__(self, frame: NDArray[np.uint8], /) -> PatchMaps:
        """Height × width × 3 uint8 BGR, of the input's size, → how far each patch is from normal."""
        ...

    def seen(self, frame: NDArray[np.uint8], /) -> Seen:
        """The same, and the patches' signatures. Takes a little longer.

        Raises:
            TypeError: the head has no memory bank, or two for two kinds of light.
        """
        ...

    def with_corrections(self, head: MemoryBanks) -> Distances:
        """The same with other corrections of the same head. What takes them is compiled once for all of them.

        Raises:
            TypeError: the head has no memory bank, or two for two kinds of light.
        """
        ...


class Runtime(Protocol):
    """Compiles the detector for some engine. What it returns may be called from several threads at once.

    Attributes:
        is_exact: distances follow from the features it gives, but for the last bits; bfloat16 rounds on the way.
    """

    name: str
    is_exact: bool

    def features(self, backbone: AnyBackbone, size: InputSize, shrink: int = 1) -> Features:
        """Patch features: each layer averaged over its neighbourhood (locally aware pooling) and brought to the patch
        grid, bilinearly where it is coarser; layers one after the other. Frames have the input's size and are averaged
        down ``shrink`` times first."""
        ...

    def distances(self, backbone: AnyBackbone, size: InputSize, head: Head) -> Distances:
        """How far each patch is from normal, by :class:`MemoryBanks` or :class:`Gaussians`."""
        ...


def runtime(name: str, *, workers: int = 1, precision: str = "float32", threads: int | None = None) -> Runtime:
    """The runtime of that name, for so many threads calling at once.

    Args:
        threads: OpenVINO computes with at the most; None: as many as there are cores.

    Raises:
        ModelError: no such runtime, what it needs is not installed, or it has no such precision.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"there is no precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    if name == "openvino":
        from detector.runtimes.openvino_runtime import OpenVINORuntime

        return OpenVINORuntime(workers, precision, threads)
    if name == "torch":
        if precision != "float32":
            raise ModelError(f"a {precision} model runs on RUNTIME=openvino only")
        try:
            from detector.runtimes.torch_runtime import TorchRuntime
        except ImportError as error:
            raise ModelError(f"RUNTIME=torch needs torch: {to_install('torch')}, or use RUNTIME=openvino") from error
        return TorchRuntime(workers)
    raise ModelError(f"there is no runtime {name!r}: use one of {', '.join(RUNTIMES)}")


def whole_graph(backbone: AnyBackbone, size: InputSize, head: Head, precision: str) -> Any:
    """Frame → distances as one ``openvino.Model``, not compiled: the memory bank is a constant in it."""
    from detector.runtimes.openvino_runtime import OpenVINORuntime

    return OpenVINORuntime(precision=precision).whole(backbone, size, head)
