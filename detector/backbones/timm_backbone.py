"""Backbones by the names of timm, as OpenVINO graphs. Needs the extra ``torch``; what it makes runs without."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detector.backbones.efficientnet_lite import GraphBackbone, Layer, patch_grid
from detector.errors import ModelError, reason_of
from detector.extras import to_install

if TYPE_CHECKING:
    from detector.backbones.timm_network import TimmNetwork

SIZE_MULTIPLE = 32
"""Of the input of a convolutional network: it then has to round nowhere, whatever it computes beside the layers used.
A transformer's is the side of its patches."""
NEIGHBOURHOOD = 3
"""As in the paper, for every layer."""
RANDOM = " (random weights)"
_CUBIC = re.compile(rb'(<data mode="bicubic_pillow"[^>]*cube_coeff=")-0\.75(")')
_TOLERANCE = 1e-2
"""Difference of the two runtimes' features, relative to the largest: a graph that fits one input size only is off by
far more, and a graphics card in reduced precision by less."""


def load(
    name: str, *, layers: Sequence[str] | None = None, weights: Path | None = None, random_weights: bool = False
) -> GraphBackbone:
    """A network of timm, cut after the last layer used, with timm's own mean and standard deviation in the graph.

    Without ``weights`` and ``random_weights`` the published weights are used, which are downloaded from the model hub
    unless they were before; nothing else calls the network.

    Args:
        name: in timm, with or without a tag: ``wide_resnet50_2``, ``wide_resnet50_2.tv_in1k``.
        layers: by timm's names of the modules (``feature_info``), default the last of stride 8 and the last of stride
            16: ``layer2`` and ``layer3`` of a ResNet, as in the PatchCore paper; of a transformer (DINOv2, DINOv3) the
            blocks at a third and two thirds of its depth, without the tokens that are no patches. The patch grid has
            the stride of the finest, but no less than 8: finer layers are averaged down to it.
        weights: a state dict, .safetensors or .pth, .pt, .bin of torch (tensors only).
        random_weights: seeded ones, for timing only. The backbone's name then says so.

    Returns:
        input 1×3×H×W float32, BGR 0..255, both multiples of 32, or of a transformer's patches; one output a layer.

    Raises:
        ModelError: torch or timm is not installed, no such network, layer or file, weights that do not fit, the hub is
            out of reach, or a network that is made for one input size.
    """
    if weights is not None and random_weights:
        raise ModelError("a backbone has the weights of a file or random ones, not both")
    try:
        from detector.backbones import timm_network, timm_weights
    except ImportError as error:
        raise ModelError(f"the backbone {name} needs torch and timm: {to_install('torch')}") from error
    whole = timm_network.created(name)
    given = timm_network.outputs(name, whole)
    outputs = timm_network.chosen(name, given, layers)
    strides = [output.stride for output in outputs]
    multiple = strides[0] if timm_network.one_grid(given) else max(SIZE_MULTIPLE, *strides)
    if weights is None and not random_weights:
        whole = timm_weights.created_from_hub(name)
    names, published = frozenset(whole.state_dict()), whole.pretrained_cfg
    network = timm_network.TimmNetwork(name, whole, outputs, published["mean"], published["std"])
    if weights is not None:
        timm_weights.take_from(weights, network, names)
    return _as_graph(network, name + RANDOM * random_weights, multiple)


def _as_graph(network: TimmNetwork, name: str, multiple: int) -> GraphBackbone:
    layers = tuple(Layer(o.name, o.channels, o.stride, NEIGHBOURHOOD, 1.0) for o in network.outputs)
    try:
        xml, weights = _ir(network, (2 * multiple, 3 * multiple))
    except Exception as error:  # a network that was not made for this fails in any way there is
        raise ModelError(f"{name} cannot be used as a backbone: {reason_of(error)}") from error
    backbone = GraphBackbone(
        name,
        network.sha256(),
        layers,
        xml,
        weights,
        grid_stride=patch_grid(layers),
        size_multiple=multiple,
        torch_form=network.packed(),
    )
    _require_alike(backbone, network, (5 * multiple, 2 * multiple))
    return backbone


def _ir(network: TimmNetwork, size: tuple[int, int]) -> tuple[bytes, bytes]:
    """The network as an OpenVINO IR for inputs of any size, traced with one of this height and width."""
    from detector.backbones.openvino_graph import as_ir, named_by_place
    from detector.quiet_openvino import ov

    example = network.mean.new_zeros(1, 3, *size)
    for given, output in zip(network(example), network.outputs, strict=True):
        if given.shape != (1, output.channels, *(side // output.stride for side in size)):
            made, expected = tuple(given.shape), f"{output.channels} channels of stride {output.stride}"
            raise ValueError(f"of {size[0]}×{size[1]} pixels its layer {output.name} makes {made}, not {expected}")
    with warnings.catch_warnings(action="ignore"):  # torch's, of what openvino uses of it
        graph = ov.convert_model(network, example_input=example, input=[1, 3, -1, -1])
    graph.set_friendly_name("backbone")  # else a number that counts up
    xml, weights = as_ir(named_by_place(graph))
    # OpenVINO converts torch's bicubic resampling with antialiasing, by which a transformer's positions are brought to
    # the input's size, with the coefficient of the one without: a tenth off.
    return _CUBIC.sub(rb"\g<1>-0.5\2", xml), weights


def _require_alike(backbone: GraphBackbone, network: TimmNetwork, size: tuple[int, int]) -> None:
    """Check that the graph gives, for an input of another shape than it was traced with, what torch gives."""
    from detector.backbones.openvino_graph import outputs_of

    frame = np.random.default_rng(0).integers(0, 256, (1, 3, *size)).astype(np.float32)
    try:
        pairs = list(zip(outputs_of(backbone, frame), network.outputs_of(frame), strict=True))
        scale = max(float(np.abs(theirs).max()) for _, theirs in pairs)
        alike = all(np.abs(ours - theirs).max() <= _TOLERANCE * scale for ours, theirs in pairs)
    except (ModelError, RuntimeError, ValueError, AssertionError) as error:
        raise ModelError(f"{backbone.name} cannot be used as a backbone: it takes inputs of one size only") from error
    if not alike:
        raise ModelError(f"{backbone.name} cannot be used as a backbone: its OpenVINO graph gives other features")
