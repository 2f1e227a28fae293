"""The detector as one OpenVINO graph: from the resized frame to patch distances, nothing in between in Python."""

# ruff: noqa: E402  the telemetry is turned off between the imports

from __future__ import annotations

import sys
import threading

# Importing openvino reports so to its makers, unasked, and no environment variable stops it. A telemetry client that
# cannot be imported does: openvino then takes its own stub, which sends nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from numpy.typing import NDArray

from detector.backbone import MEAN, SCALE, AnyBackbone, Backbone, Convolution
from detector.errors import ModelError
from detector.heads import SCREENED, Gaussians, Head, NearestNeighbour, refined
from detector.runtimes import Distances, Features

_HINTS = {"float32": "f32", "int8": "f32", "bfloat16": "bf16"}
_ROOM = 256
"""Entries by which the room for a memory bank grows."""
_NOWHERE = np.float32(1e30)
"""Squared length of the entries that are room only: never the nearest."""


class OpenVINORuntime:
    """OpenVINO on the CPU in the precision asked for: left alone it would choose bfloat16 where the processor has it,
    with 3–5 % error in the features, and a threshold would not carry over from one machine to the next.

    Raises:
        ModelError: bfloat16 on a processor without it.
    """

    name = "openvino"

    def __init__(self, workers: int = 1, precision: str = "float32") -> None:
        self._core = ov.Core()
        if precision == "bfloat16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ModelError("this processor does not compute in bfloat16: use a float32 model")
        self._configuration = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "NUM_STREAMS": str(workers)}

    def features(self, backbone: AnyBackbone, image_size: int) -> Features:
        frame = _frame(image_size)
        maps = [_to_grid(x, backbone, image_size) for x in _pooled(self._taps(backbone, frame), backbone)]
        rows = _rows(ops.concat(maps, 1))
        infer = _Infer(self._compile(ov.Model([rows], [frame], "features")))
        return lambda picture: infer(picture)

    def distances(self, backbone: AnyBackbone, image_size: int, head: Head) -> Distances:
        if isinstance(head, Gaussians):
            compiled = self._compile(self._mahalanobis(backbone, image_size, head))
            return _Fixed(_Infer(compiled))
        return _Search(self, backbone, image_size, head)

    def _compile(self, model: ov.Model) -> ov.CompiledModel:
        return self._core.compile_model(model, "CPU", self._configuration)

    def _taps(self, backbone: AnyBackbone, frame: ov.Node) -> list[ov.Node]:
        x = ops.transpose(ops.convert(frame, "f32"), ops.constant(np.array([0, 3, 1, 2])))
        if isinstance(backbone, Backbone):
            return _lite_taps(backbone, x)
        try:
            graph = self._core.read_model(backbone.xml, backbone.weights)
            graph.reshape([1, 3, *frame.get_output_shape(0)[1:3]])
        except RuntimeError as error:
            raise ModelError(f"the backbone {backbone.name} cannot be used: {error}") from error
        graph.get_parameters()[0].output(0).replace(x.output(0))
        return [output.get_node().input_value(0) for output in graph.outputs]

    def _projected(self, backbone: AnyBackbone, image_size: int, frame: ov.Node, head: Head) -> ov.Node:
        """N×D. The projection of a coarse layer is made before it is enlarged: both are linear."""
        mean, rows, start = None, -head.mean @ head.projection, 0
        for x, layer in zip(_pooled(self._taps(backbone, frame), backbone), backbone.layers, strict=True):
            weight = head.projection[start : start + layer.channels].T[:, :, None, None]
            x = ops.convolution(x, ops.constant(np.ascontiguousarray(weight)), [1, 1], [0, 0], [0, 0], [1, 1])
            x = _to_grid(x, backbone, image_size)
            mean = x if mean is None else ops.add(mean, x)
            start += layer.channels
        return _rows(ops.add(mean, ops.constant(rows.astype(np.float32).reshape(1, -1, 1, 1))))

    def _mahalanobis(self, backbone: AnyBackbone, image_size: int, head: Gaussians) -> ov.Model:
        frame = _frame(image_size)
        patches = self._projected(backbone, image_size, frame, head)
        deviation = ops.unsqueeze(ops.subtract(patches, ops.constant(head.centres)), _axis(1))
        white = ops.matmul(deviation, ops.constant(head.whitening), False, False)
        squared = ops.reduce_sum(ops.multiply(white, white), ops.constant(np.array([1, 2])), False)
        return ov.Model([_map(squared, backbone, image_size)], [frame], "distances")

    def nearest(self, backbone: AnyBackbone, image_size: int, head: NearestNeighbour, room: int) -> ov.CompiledModel:
        """|p - b|² = |p|² + |b|² - 2 p·b; the bank comes in as an input, so that it can change from frame to frame."""
        frame = _frame(image_size)
        dimensions = head.memory_bank.shape[1]
        bank = ops.parameter([room, dimensions], np.float32, name="bank")
        squares = ops.parameter([1, room], np.float32, name="squares")
        inputs = [frame, bank, squares]
        patches = self._projected(backbone, image_size, frame, head)
        lengths = ops.reduce_sum(ops.multiply(patches, patches), _axis(1), False)
        if not head.screened:
            squared = ops.add(_nearest(patches, bank, squares), lengths)
        else:
            screen = ops.parameter([room, SCREENED + 1], np.float32, name="screen")
            inputs.append(screen)
            first = ops.slice(patches, _axis(0), _axis(SCREENED), _axis(1), _axis(1))
            rest = ops.subtract(lengths, ops.reduce_sum(ops.multiply(first, first), _axis(1), False))
            rest = ops.unsqueeze(ops.sqrt(ops.relu(rest)), _axis(1))
            bound = ops.add(_nearest(ops.concat([first, rest], 1), screen, squares), lengths)
            count = refined(int(patches.get_output_shape(0)[0]))
            farthest = ops.topk(bound, ops.constant(np.int64(count)), 0, "max", "none", "i32").output(1)
            chosen = ops.gather(patches, farthest, ops.constant(np.int64(0)))
            exact = ops.add(_nearest(chosen, bank, squares), ops.gather(lengths, farthest, ops.constant(np.int64(0))))
            squared = ops.scatter_elements_update(bound, farthest, exact, ops.constant(np.int64(0)))
        return self._compile(ov.Model([_map(squared, backbone, image_size)], inputs, "distances"))


class _Infer:
    """A compiled model with one infer request a thread: a request serves one caller at a time."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self.compiled = compiled
        self._requests = threading.local()

    def __call__(self, frame: NDArray[np.uint8], *others: NDArray[np.float32]) -> NDArray[np.float32]:
        if not hasattr(self._requests, "own"):
            self._requests.own = self.compiled.create_infer_request()
        outputs = self._requests.own.infer(dict(enumerate((frame[None], *others))), share_inputs=True)
        return np.array(outputs[0], np.float32)


class _Fixed:
    """Distances of a head that cannot change."""

    def __init__(self, infer: _Infer) -> None:
        self._infer = infer

    def __call__(self, frame: NDArray[np.uint8], /) -> NDArray[np.float32]:
        return self._infer(frame)

    def with_bank(self, head: NearestNeighbour) -> Distances:
        raise TypeError("this model has no memory bank")


class _Search:
    """Distances to a memory bank, which has some room to grow before anything has to be compiled again."""

    def __init__(
        self,
        engine: OpenVINORuntime,
        backbone: AnyBackbone,
        image_size: int,
        head: NearestNeighbour,
        shared: tuple[int, _Infer] | None = None,
    ) -> None:
        self._how = engine, backbone, image_size
        if shared is None or shared[0] < len(head.memory_bank):
            room = -(-len(head.memory_bank) // _ROOM) * _ROOM
            shared = room, _Infer(engine.nearest(backbone, image_size, head, room))
        self._room, self._infer = shared
        banks = [head.memory_bank, head.squares()[None], *([head.screen()] if head.screened else [])]
        self._banks = [self._with_room(bank, number == 1) for number, bank in enumerate(banks)]

    def __call__(self, frame: NDArray[np.uint8], /) -> NDArray[np.float32]:
        return self._infer(frame, *self._banks)

    def with_bank(self, head: NearestNeighbour) -> Distances:
        return _Search(*self._how, head, (self._room, self._infer))

    def _with_room(self, bank: NDArray[np.float32], squares: bool) -> NDArray[np.float32]:
        shape = (1, self._room) if squares else (self._room, bank.shape[1])
        whole = np.full(shape, _NOWHERE if squares else 0, np.float32)
        whole[: bank.shape[0], : bank.shape[1]] = bank
        return whole


def _frame(image_size: int) -> ov.Node:
    return ops.parameter([1, image_size, image_size, 3], np.uint8, name="frame")


def _axis(number: int) -> ov.Node:
    return ops.constant(np.array([number]))


def _nearest(patches: ov.Node, bank: ov.Node, squares: ov.Node) -> ov.Node:
    """The least of |b|² - 2 p·b over the bank, for each patch."""
    products = ops.matmul(ops.multiply(patches, ops.constant(np.float32(-2))), bank, False, True)
    return ops.reduce_min(ops.add(products, squares), _axis(1), False)


def _map(squared: ov.Node, backbone: AnyBackbone, image_size: int) -> ov.Node:
    side = image_size // backbone.grid_stride
    return ops.reshape(ops.sqrt(ops.relu(squared)), ops.constant(np.array([side, side])), False)


def _rows(x: ov.Node) -> ov.Node:
    """1×C×h×w → N×C."""
    _, channels, height, width = x.get_output_shape(0)
    x = ops.transpose(x, ops.constant(np.array([0, 2, 3, 1])))
    return ops.reshape(x, ops.constant(np.array([height * width, channels])), False)


def _pooled(taps: list[ov.Node], backbone: AnyBackbone) -> list[ov.Node]:
    """Finer layers averaged down to the patch grid, each then averaged over its neighbourhood."""
    pooled = []
    for x, layer in zip(taps, backbone.layers, strict=True):
        if layer.stride < backbone.grid_stride:
            step = [backbone.grid_stride // layer.stride] * 2
            x = ops.avg_pool(x, step, [0, 0], [0, 0], step, True)
        if layer.neighbourhood > 1:
            reach = [layer.neighbourhood // 2] * 2
            x = ops.avg_pool(x, [1, 1], reach, reach, [layer.neighbourhood] * 2, False)
        pooled.append(x)
    return pooled


def _to_grid(x: ov.Node, backbone: AnyBackbone, image_size: int) -> ov.Node:
    side = image_size // backbone.grid_stride
    if tuple(x.get_output_shape(0))[2:] == (side, side):
        return x
    size, axes = ops.constant(np.array([side, side])), ops.constant(np.array([2, 3]))
    return ops.interpolate(x, size, "linear", "sizes", axes=axes)


def _lite_taps(backbone: Backbone, x: ov.Node) -> list[ov.Node]:
    x = ops.multiply(ops.subtract(x, ops.constant(np.float32(MEAN))), ops.constant(np.float32(1 / SCALE)))
    x = _convolution(x, backbone.stem)
    taps = []
    for number, block in enumerate(backbone.blocks):
        y = x
        for convolution in block.convolutions:
            y = _convolution(y, convolution)
        x = ops.add(x, y) if block.residual else y
        if number in backbone.taps:
            taps.append(x)
    return taps


def _convolution(x: ov.Node, convolution: Convolution) -> ov.Node:
    strides = [convolution.stride] * 2
    none, one = [0, 0], [1, 1]
    if convolution.depthwise:
        weight = ops.constant(np.ascontiguousarray(convolution.weight[:, None]))
        x = ops.group_convolution(x, weight, strides, none, none, one, auto_pad="same_upper")
    else:
        weight = ops.constant(np.ascontiguousarray(convolution.weight))
        x = ops.convolution(x, weight, strides, none, none, one, auto_pad="same_upper")
    x = ops.add(x, ops.constant(convolution.bias.reshape(1, -1, 1, 1)))
    return ops.clamp(x, 0.0, 6.0) if convolution.relu6 else x
