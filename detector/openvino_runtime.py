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

from detector.backbone import CHANNELS, MEAN, SCALE, Backbone, Convolution
from detector.runtimes import Distances, Features


class OpenVINORuntime:
    """OpenVINO on the CPU, float32 on purpose: left alone it would choose bfloat16 where the processor has it, with
    3–5 % error in the features, and a threshold would not carry over from one machine to the next."""

    name = "openvino"

    def __init__(self, workers: int = 1) -> None:
        self._core = ov.Core()
        self._configuration = {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": str(workers),
        }

    def features(self, backbone: Backbone, image_size: int) -> Features:
        frame = ops.parameter([1, image_size, image_size, 3], np.uint8, name="frame")
        return self._compile(ov.Model([_patch_features(backbone, frame, image_size)], [frame], "features"))

    def distances(
        self,
        backbone: Backbone,
        image_size: int,
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        bank: NDArray[np.float32],
    ) -> Distances:
        frame = ops.parameter([1, image_size, image_size, 3], np.uint8, name="frame")
        patches = _patch_features(backbone, frame, image_size)
        patches = ops.multiply(ops.subtract(patches, ops.constant(mean[None])), ops.constant(1 / std[None]))
        # |p - b|² = |p|² + |b|² - 2 p·b; the bank is a constant, so its layout is prepared once.
        # A changed bank means compiling again: about 60 ms, and 10–25 % less time per frame than a bank passed in.
        products = ops.matmul(patches, ops.constant(-2 * bank), False, True)
        to_bank = ops.add(products, ops.constant(np.einsum("nc,nc->n", bank, bank)[None]))
        channels = ops.constant(np.array([1]))
        squared = ops.add(
            ops.reduce_min(to_bank, channels, False),
            ops.reduce_sum(ops.multiply(patches, patches), channels, False),
        )
        side = image_size // 8
        distance = ops.reshape(ops.sqrt(ops.relu(squared)), ops.constant(np.array([side, side])), False)
        return self._compile(ov.Model([distance], [frame], "distances"))

    def _compile(self, model: ov.Model) -> Features:
        compiled = self._core.compile_model(model, "CPU", self._configuration)
        requests = threading.local()  # an infer request serves one caller at a time

        def infer(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            if not hasattr(requests, "own"):
                requests.own = compiled.create_infer_request()
            outputs = requests.own.infer({0: frame[None]}, share_inputs=True)
            return np.array(outputs[0], np.float32)

        return infer


def _patch_features(backbone: Backbone, frame: ov.Node, image_size: int) -> ov.Node:
    x = ops.transpose(ops.convert(frame, "f32"), ops.constant(np.array([0, 3, 1, 2])))
    x = ops.multiply(ops.subtract(x, ops.constant(np.float32(MEAN))), ops.constant(np.float32(1 / SCALE)))
    x = _convolution(x, backbone.stem)
    outputs = []
    for number, block in enumerate(backbone.blocks):
        y = x
        for convolution in block.convolutions:
            y = _convolution(y, convolution)
        x = ops.add(x, y) if block.residual else y
        if number in (4, 10):
            outputs.append(ops.avg_pool(x, [1, 1], [1, 1], [1, 1], [3, 3], False))
    side = image_size // 8
    size, axes = ops.constant(np.array([side, side])), ops.constant(np.array([2, 3]))
    deep = ops.interpolate(outputs[1], size, "linear", "sizes", axes=axes)
    stacked = ops.transpose(ops.concat([outputs[0], deep], 1), ops.constant(np.array([0, 2, 3, 1])))
    return ops.reshape(stacked, ops.constant(np.array([side * side, CHANNELS])), False)


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
