"""A backbone as a graph of OpenVINO: ours, built operation by operation, or one that came as a graph."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector.backbones.efficientnet_lite import MEAN, SCALE, AnyBackbone, Backbone, Convolution
from detector.counted import counted
from detector.errors import ModelError, reason_of
from detector.input_size import InputSize
from detector.quiet_openvino import ops, ov


def backbone_graph(backbone: AnyBackbone, size: InputSize) -> ov.Model:
    """1×3×H×W float32, BGR 0..255 → the outputs of its layers: what a :class:`GraphBackbone` holds. Every node is named
    after its place in the graph, so that the same backbone gives the same graph."""
    picture = ops.parameter([1, 3, *size], np.float32, name="picture")
    return named_by_place(ov.Model(_taps(backbone, picture), [picture], "backbone"))


def outputs_of(backbone: AnyBackbone, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """What its layers give for one picture (1×3×H×W float32, BGR 0..255), compiled for it alone, in float32."""
    graph = backbone_graph(backbone, InputSize(*picture.shape[2:]))
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(picture)
    return [np.array(found[output], np.float32) for output in compiled.outputs]


def named_by_place(graph: ov.Model) -> ov.Model:
    """The graph itself, with names that do not depend on what else was built before."""
    for place, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{place}")
    for place, output in enumerate(graph.outputs):
        output.get_tensor().set_names({f"layer_{place}"})
    return graph


def as_ir(graph: ov.Model) -> tuple[bytes, bytes]:
    """The two halves of the OpenVINO IR of a graph, without what it says of versions."""
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "graph.xml"
        ov.save_model(graph, xml, compress_to_fp16=False)
        text, _, _ = xml.read_bytes().rpartition(b"<rt_info>")
        return text + b"</net>\n", xml.with_suffix(".bin").read_bytes()


def taps_of_frame(backbone: AnyBackbone, frame: ov.Node, shrink: int = 1) -> list[ov.Node]:
    """1×H×W×3 uint8 BGR, averaged down ``shrink`` times → the outputs of its layers."""
    pixels = ops.convert(frame, "f32")
    if isinstance(backbone, Backbone):
        # Planes come last: normalising them would have OpenVINO copy the picture once more.
        return _blocks(backbone, _planes(_normalised(pixels)), shrink)
    if shrink > 1:
        step = [shrink, shrink]
        return _taps(backbone, ops.avg_pool(_planes(pixels), step, [0, 0], [0, 0], step, True))
    return _taps(backbone, _planes(pixels))


def _taps(backbone: AnyBackbone, x: ov.Node) -> list[ov.Node]:
    """1×3×H×W float32, BGR 0..255 → the outputs of its layers."""
    if isinstance(backbone, Backbone):
        return _blocks(backbone, _normalised(x))
    try:
        graph = ov.Core().read_model(backbone.xml, backbone.weights)
        if (len(graph.inputs), len(graph.outputs)) != (1, len(backbone.layers)):
            told = f"its graph has {counted(len(graph.inputs), 'input')} and {counted(len(graph.outputs), 'output')}"
            raise ModelError(f"the backbone {backbone.name} cannot be used: {told}, not 1 and {len(backbone.layers)}")
        graph.reshape(list(x.get_output_shape(0)))
    except RuntimeError as error:
        raise ModelError(f"the backbone {backbone.name} cannot be used: {reason_of(error)}") from error
    graph.get_parameters()[0].output(0).replace(x.output(0))
    return [output.get_node().input_value(0).get_node() for output in graph.outputs]


def _normalised(x: ov.Node) -> ov.Node:
    return ops.multiply(ops.subtract(x, ops.constant(np.float32(MEAN))), ops.constant(np.float32(1 / SCALE)))


def _blocks(backbone: Backbone, x: ov.Node, shrink: int = 1) -> list[ov.Node]:
    x = _convolution(x, backbone.stem, shrink)
    taps = []
    for number, block in enumerate(backbone.blocks):
        y = x
        for convolution in block.convolutions:
            y = _convolution(y, convolution)
        x = ops.add(x, y) if block.residual else y
        if number in backbone.taps:
            taps.append(x)
    return taps


def _convolution(x: ov.Node, convolution: Convolution, shrink: int = 1) -> ov.Node:
    """The convolution of what ``x`` is if it is averaged down first: one of a larger kernel, in a tenth of the time
    that OpenVINO takes to average."""
    strides = [convolution.stride * shrink] * 2
    none, one = [0, 0], [1, 1]
    if convolution.depthwise:
        weight = ops.constant(np.ascontiguousarray(convolution.weight[:, None]))
        x = ops.group_convolution(x, weight, strides, none, none, one, auto_pad="same_upper")
    elif shrink > 1:
        kernel = np.kron(convolution.weight, np.full((shrink, shrink), 1 / shrink**2, np.float32))
        begin, end = _same_upper(x, convolution, shrink)
        x = ops.convolution(x, ops.constant(np.ascontiguousarray(kernel)), strides, begin, end, one)
    else:
        weight = ops.constant(np.ascontiguousarray(convolution.weight))
        x = ops.convolution(x, weight, strides, none, none, one, auto_pad="same_upper")
    x = ops.add(x, ops.constant(convolution.bias.reshape(1, -1, 1, 1)))
    return ops.clamp(x, 0.0, 6.0) if convolution.relu6 else x


def _same_upper(x: ov.Node, convolution: Convolution, shrink: int) -> tuple[list[int], list[int]]:
    """Zeros before and after, down and across, that "same_upper" would add to ``x`` averaged down."""
    pads = []
    for side, reach in zip(x.get_output_shape(0)[2:], convolution.weight.shape[2:], strict=True):
        small = side // shrink
        outputs = -(-small // convolution.stride)
        pads.append(max(0, (outputs - 1) * convolution.stride + reach - small))
    return [shrink * (pad // 2) for pad in pads], [shrink * (pad - pad // 2) for pad in pads]


def _planes(pixels: ov.Node) -> ov.Node:
    """1×H×W×3 → 1×3×H×W."""
    return ops.transpose(pixels, ops.constant(np.array([0, 3, 1, 2])))
