"""The raw tensors in a graph that anomalib exported.

anomalib bakes its post-processing into the graph: ``clamp((raw - threshold) / (max - min) + 0.5, 0, 1)``, with a
threshold found on whatever pictures it was validated with. :func:`_raw` walks back over exactly that, to the tensor
before it, so that the score is a distance again: not cut at 1, and ours to calibrate.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import ModelError, reason_of
from detector.input_size import LARGEST_SIDE

TOLERANCE = 1e-3
"""Relative difference of raw scores that two ways of running one model may have."""

MOST_AT_ONCE = 64
"""Pictures that a graph may have been made for at once: one is shown to it as often."""

_DYNAMIC_SIDE, _EXAMPLE_BATCH = 256, 2
_LINEAR = {"Add", "Subtract", "Multiply", "Divide"}
_TAKES_FACTORS = {"Convolution", "GroupConvolution", "MatMul"}

Infer = Callable[[NDArray[np.float32]], tuple[float, NDArray[np.float32]]]
"""1×3×side×side RGB, 0..1 → raw score, raw h×w map. May be called from several threads at once."""


def compile_raw(xml: Path, workers: int) -> tuple[int, Infer]:
    """Compile a graph so that it gives raw scores and maps, for one picture at a time.

    Args:
        xml: of OpenVINO, its ``.bin`` beside it.
        workers: threads that will call it at once.

    Returns:
        the side of its square input in pixels, and the compiled graph.

    Raises:
        ModelError: what is wrong with it, in one sentence.
    """
    from detector.quiet_openvino import ov

    core = ov.Core()
    try:
        model = core.read_model(xml)
    except RuntimeError as error:
        raise ModelError(f"{xml} cannot be read by OpenVINO: export it again ({reason_of(error)})") from error
    raw = _with_raw_outputs(ov, model, xml)
    batch, side = _input_of(raw, xml)

    def compiled(count: int) -> Infer:
        sized = raw.clone()
        sized.reshape({sized.inputs[0]: [count, 3, side, side]})
        # float32 on purpose, as in our own runtime: a threshold must carry over to the next machine.
        configuration = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": str(workers)}
        return _infer(core.compile_model(sized, "CPU", configuration), count)

    try:
        as_made = compiled(batch)
        score, anomaly_map = as_made(_probe(side))
    except RuntimeError as error:
        raise ModelError(f"{xml} does not run on this OpenVINO: export it again ({reason_of(error)})") from error
    if not (math.isfinite(score) and np.isfinite(anomaly_map).all()):
        raise ModelError(f"{xml} gives scores that are no numbers: teach it again, then export it")
    if batch == 1:
        return side, as_made
    # anomalib exports with two pictures as its example. Where the graph has kept that number, a single picture fails
    # or, worse, does not: so one alone must score what it scores in the batch the graph was made for.
    try:
        alone = compiled(1)
        same = math.isclose(alone(_probe(side))[0], score, rel_tol=TOLERANCE, abs_tol=1e-6)
    except RuntimeError:
        same = False
    return side, alone if same else as_made


def _input_of(model: Any, xml: Path) -> tuple[int, int]:
    """How many pictures the graph was made for at once, and the side of its square input."""
    shape = model.inputs[0].get_partial_shape() if len(model.inputs) == 1 else None
    if shape is None or shape.rank.is_dynamic or len(shape) != 4:
        raise ModelError(f"{xml} does not take one batch of pictures: it is no model exported by anomalib")
    batch, channels, height, width = (length.get_length() if length.is_static else None for length in shape)
    if channels not in (3, None) or height != width:
        raise ModelError(f"{xml} does not take square RGB pictures: export it with input_size=(256, 256) or the like")
    batch = batch or _EXAMPLE_BATCH
    if batch > MOST_AT_ONCE:
        raise ModelError(f"{xml} was made for {batch:,} pictures at once: export it for one or two")
    side = height or _side_inside(model, batch)
    if side > LARGEST_SIDE:
        raise ModelError(
            f"{xml} takes pictures of {side:,} × {side:,} pixels: export it with an input_size of {LARGEST_SIDE:,} at "
            "the most"
        )
    return batch, side


def _infer(compiled: Any, batch: int) -> Infer:
    requests = threading.local()  # an infer request serves one caller at a time

    def infer(picture: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        outputs = requests.own.infer({0: np.repeat(picture, batch, 0) if batch > 1 else picture}, share_inputs=True)
        score, anomaly_map = (np.array(outputs[index][0], np.float32) for index in range(2))
        return float(score.max()), anomaly_map.reshape(anomaly_map.shape[-2:] if anomaly_map.ndim > 1 else (1, 1))

    return infer


def _with_raw_outputs(ov: Any, model: Any, xml: Path) -> Any:
    outputs = {name: output for output in model.outputs for name in output.get_names()}
    score, anomaly_map = outputs.get("pred_score"), outputs.get("anomaly_map")
    if score is None and anomaly_map is None:
        raise ModelError(f"{xml} gives neither anomaly_map nor pred_score, but {', '.join(outputs) or 'nothing'}")
    # A model without a score is scored by its map's largest value, one without a map shows its score everywhere.
    sources = [_raw(output.get_node().input_value(0), xml) for output in (score, anomaly_map) if output is not None]
    return ov.Model([sources[0], sources[-1]], model.get_parameters(), "raw")


def _raw(output: Any, xml: Path) -> Any:
    """The tensor before anomalib's normalisation; ``output`` itself where there is none."""
    node = output.get_node()
    if node.get_type_name() == "Select" and _is_constant(node.input_value(0)):
        normalised, untouched = node.input_value(1), node.input_value(2)
        if untouched.get_node().get_friendly_name() in _ancestors(normalised):
            return untouched  # anomalib 2.7: normalised where there is a range to normalise by, else as it is
        output = untouched  # "the range is zero", else …
    value = _inside_clamp(output)
    if value is None:
        return output
    factor, steps = None, 0
    while steps < 3 and (step := _linear_step(value)) is not None:
        value, own_factor = step
        factor = own_factor if factor is None else factor * own_factor if own_factor is not None else factor
        steps += 1
    if factor is None:
        # OpenVINO multiplies a factor into the weights of the layer before, where nothing else reads that layer.
        kernel = _blur_kernel(value)
        if kernel is not None:
            return _divided(value, float(kernel.sum()))
        if steps == 0:
            return output  # a clamp of the model's own
        if value.get_node().get_type_name() not in _TAKES_FACTORS:
            return value
    elif factor > 0:
        return value
    raise ModelError(
        f"the raw score cannot be found in {xml}: export it again without post-processing "
        "(model.post_processor = None before Engine.export)"
    )


def _linear_step(value: Any) -> tuple[Any, float | None] | None:
    """What a constant is added to or multiplied with, and the sign of that factor; None where there is no such step."""
    kind = value.get_node().get_type_name()
    if kind not in _LINEAR:
        return None
    left, right = value.get_node().input_value(0), value.get_node().input_value(1)
    constant, rest = (left, right) if _is_constant(left) else (right, left)
    if not _is_constant(constant) or (kind == "Divide" and constant is left):
        return None
    if kind in ("Multiply", "Divide"):
        return rest, float(np.sign(_values(constant)).min())
    return rest, -1.0 if kind == "Subtract" and constant is left else None


def _blur_kernel(value: Any) -> NDArray[Any] | None:
    """The weights of the Gaussian that anomalib's maps end with, which add up to 1 unless a factor is in them."""
    node = value.get_node()
    if node.get_type_name() != "Convolution" or not _is_constant(node.input_value(1)):
        return None
    weights = _values(node.input_value(1)).astype(np.float64)
    return weights if weights.shape[:2] == (1, 1) and weights.min() >= 0 and weights.sum() > 0 else None


def _divided(value: Any, divisor: float) -> Any:
    from detector.quiet_openvino import ops

    return ops.divide(value, np.float32(divisor)).output(0)


def _inside_clamp(output: Any) -> Any | None:
    """What is cut to 0..1; None where nothing is."""
    node = output.get_node()
    if node.get_type_name() == "Clamp":
        limits = node.get_attributes()
        return node.input_value(0) if (limits["min"], limits["max"]) == (0, 1) else None
    return None


def _is_constant(output: Any) -> bool:
    node = output.get_node()
    if node.get_type_name() == "Convert":  # weights stored in half precision
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _values(constant: Any) -> NDArray[Any]:
    node = constant.get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return np.asarray(node.get_data())


def _ancestors(output: Any) -> set[str]:
    names: set[str] = set()
    waiting = [output.get_node()]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in names:
            names.add(node.get_friendly_name())
            waiting += [value.get_node() for value in node.input_values()]
    return names


def _side_inside(model: Any, batch: int) -> int:
    """The side that a graph which takes any size resizes to, seen from its map."""
    sized = model.clone()
    sized.reshape({sized.inputs[0]: [batch, 3, _DYNAMIC_SIDE, _DYNAMIC_SIDE]})
    shape = sized.outputs[1].get_partial_shape()
    side = shape[len(shape) - 1] if len(shape) > 2 else None
    return int(side.get_length()) if side is not None and side.is_static else _DYNAMIC_SIDE


def _probe(side: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((1, 3, side, side), np.float32)
