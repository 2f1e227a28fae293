"""A taught model as one OpenVINO graph, for programs that know OpenVINO and nothing of us.

Frame in, raw score and raw anomaly map out, memory bank and smoothing inside. The threshold stays beside the graph,
never in it: it belongs to the place where the camera stands, and a frozen one could not be calibrated there.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import ModelError
from detector.files import write_atomically
from detector.heads import Head, MemoryBanks
from detector.images import BGRImage
from detector.input_size import InputSize
from detector.light import LightGated
from detector.runtimes import PRECISION_HINTS, whole_graph
from detector.score import POWER, SMOOTHING_SIGMA, Detection
from detector.taught_model import TaughtModel

GRAPH, FACTS, README = "model.xml", "model.json", "README.md"
_RESIZE = (
    "cut the region out (rows round(top*height) to round(bottom*height), columns round(left*width) to "
    "round(right*width)), then resize it to input_size, which is height and width: area averaging (cv2.INTER_AREA) if "
    "both sides of the cut are at least that, bilinear (cv2.INTER_LINEAR) otherwise"
)
USAGE = """\
import json

import cv2
import openvino

facts = json.load(open("model.json"))
hint = {"INFERENCE_PRECISION_HINT": facts["inference_precision_hint"]}  # never leave this out
model = openvino.Core().compile_model("model.xml", "CPU", hint)

picture = cv2.imread("part.png")  # BGR
(height, width), (left, top, right, bottom), (rows, columns) = picture.shape[:2], facts["region"], facts["input_size"]
part = picture[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
shrinks = part.shape[0] >= rows and part.shape[1] >= columns
frame = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
found = model(frame[None])
score, anomaly_map = float(found["score"]), found["anomaly_map"]
print("ANOMALY" if score > facts["threshold"] else "NORMAL", score)
"""


def write(model: TaughtModel, folder: Path) -> None:
    """Write ``model.xml`` and ``model.bin``, what has to be known of them as ``model.json``, and how to use them as
    ``README.md``.

    Args:
        model: of either method, with any backbone, in any precision.
        folder: is made; files of these names in it are replaced.

    Raises:
        ModelError: it cannot be written, has a second head, or lays frames on a reference.
    """
    from detector.quiet_openvino import ov

    graph = _graph(model)
    facts = _facts(model)
    for name, value in facts.items():
        graph.set_rt_info(value if isinstance(value, str) else json.dumps(value), ["defectvision", name])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ov.save_model(graph, folder / GRAPH, compress_to_fp16=False)
        written = Written(folder)
        facts["check"] = {
            "frame": "byte i of the frame, counted from 0, is (i // 97) % 256",
            "score": written.detect(_check_frame(model.input_size)).score,
        }
        write_atomically(folder / FACTS, f"{json.dumps(facts, indent=2, ensure_ascii=False)}\n".encode())
        write_atomically(folder / README, _readme(model).encode())
    except (OSError, RuntimeError) as error:
        raise ModelError(f"the graph cannot be written to {folder}: {error}") from error


class Written:
    """A graph as it lies on disk, compiled as its users are told to."""

    def __init__(self, folder: Path) -> None:
        from detector.quiet_openvino import ov

        core = ov.Core()
        model = core.read_model(folder / GRAPH)
        precision = str(model.get_rt_info(["defectvision", "precision"]).value)
        self._compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision]})

    def detect(self, frame: BGRImage, /) -> Detection:
        """Score of, and map for, the region already cut out and resized (H×W×3 uint8 BGR)."""
        found = self._compiled(frame[None])
        return Detection(float(found["score"]), np.array(found["anomaly_map"], np.float32))


def single_head(model: TaughtModel) -> Head:
    """What a model learned, if it fits into one graph.

    Raises:
        ModelError: it has a second head for new light, which is chosen outside of the graph, or frames are laid on a
            reference, which is done outside of the graph too.
    """
    if model.manifest.reference is not None:
        raise ModelError(
            "a model that turns and shifts parts before it inspects them cannot be one graph: teach it with --register "
            "off, then export that"
        )
    if isinstance(model.head, LightGated):
        raise ModelError(
            "a model with a head of its own for new light cannot be one graph: teach it without --light-blind, then "
            "export that"
        )
    return model.head


def smoothing(side: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The Gaussian of :func:`detector.score.to_detection` along one axis, as OpenCV does it for float32.

    Returns:
        taps×side, the places each place is averaged from (those beyond the edge reflected); taps×1, their shares.
    """
    taps = round(SMOOTHING_SIGMA * 8 + 1) | 1
    places = [
        [cv2.borderInterpolate(place + tap - taps // 2, side, cv2.BORDER_REFLECT_101) for place in range(side)]
        for tap in range(taps)
    ]
    shares = cv2.getGaussianKernel(taps, SMOOTHING_SIGMA)
    return np.array(places, np.int64), np.asarray(shares, np.float32)


def enlarging(side: int, larger: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Linear interpolation along one axis, as OpenCV does it (``INTER_LINEAR``: from pixel centre to pixel centre).

    Returns:
        2×larger, the places that each new place lies between; 2×larger, their shares.
    """
    wanted = ((np.arange(larger) + 0.5) * side / larger - 0.5).clip(0, side - 1)
    before = np.floor(wanted).astype(np.int64)
    after = (before + 1).clip(max=side - 1)
    share = (wanted - before).astype(np.float32)
    return np.stack([before, after]), np.stack([1 - share, share])


def _graph(model: TaughtModel) -> Any:
    from detector.quiet_openvino import ops, ov

    head = single_head(model)
    graph = whole_graph(model.backbone, model.input_size, head, model.manifest.precision)
    maps = iter([_smoothed(output.get_node().input_value(0).get_node()) for output in graph.outputs])
    together = next(maps)
    if isinstance(head, MemoryBanks) and head.coarse is not None:
        coarse, power = next(maps), ops.constant(np.float32(POWER))
        for axis, side in enumerate(together.get_output_shape(0)):
            coarse = _averaged(coarse, axis, *enlarging(coarse.get_output_shape(0)[axis], side))
        summed = ops.add(ops.power(together, power), ops.power(coarse, power))
        together = ops.power(summed, ops.constant(np.float32(1 / POWER)))
    score = _largest(together)
    if isinstance(head, MemoryBanks) and head.drawn is not None:
        nothing = ops.constant(np.float32(0))
        added = ops.minimum(ops.maximum(next(maps), nothing), together)
        most = _largest(added)
        raised = ops.add(score, most)
        surest = _largest(ops.select(ops.equal(added, most), together, ops.constant(np.float32(-np.inf))))
        least = ops.maximum(most, ops.constant(np.finfo(np.float32).tiny))
        steeper = ops.divide(ops.subtract(raised, surest), least)
        together = ops.minimum(ops.add(together, ops.multiply(added, steeper)), raised)
        score = raised
    results = []
    for name, node in (("score", score), ("anomaly_map", together)):
        result = ops.result(node)
        result.output(0).get_tensor().set_names({name})
        results.append(result)
    whole = ov.Model(results, graph.get_parameters(), "defectvision")
    whole.inputs[0].get_tensor().set_names({"frame"})
    return whole


def _smoothed(patches: Any) -> Any:
    """As :func:`detector.score.smoothed`."""
    for axis in (0, 1):
        patches = _averaged(patches, axis, *smoothing(patches.get_output_shape(0)[axis]))
    return patches


def _averaged(patches: Any, axis: int, places: NDArray[np.int64], shares: NDArray[np.float32]) -> Any:
    """Along one axis, each place from some of them.

    Multiplied and added, not convolved or interpolated: compiled for bfloat16, OpenVINO keeps in float32 what it meets
    on its way from the results to the first convolution, product of matrices or interpolation
    (``Graph::EnforceInferencePrecision`` of its CPU plugin), and rounds to 8 bits what lies before that. The search
    must not be, whose distances are small differences of large numbers.
    """
    from detector.quiet_openvino import ops

    gathered = ops.gather(patches, ops.constant(places), ops.constant(np.int64(axis)))
    weighted = ops.multiply(gathered, ops.constant(shares[..., None] if axis == 0 else shares[None]))
    return ops.reduce_sum(weighted, ops.constant(np.array([axis])), False)


def _largest(patches: Any) -> Any:
    from detector.quiet_openvino import ops

    return ops.reduce_max(patches, ops.constant(np.array([0, 1])), False)


def _facts(model: TaughtModel) -> dict[str, Any]:
    manifest, (height, width) = model.manifest, model.input_size
    return {
        "category": manifest.category,
        "model_hash": model.hash,
        "precision": manifest.precision,
        "inference_precision_hint": PRECISION_HINTS[manifest.precision],
        "threshold": model.threshold,
        "region": list(manifest.region.fractions),
        "input_size": [height, width],
        "input": f"frame: uint8, 1x{height}x{width}x3",
        "colour_order": "BGR",
        "resize": _RESIZE,
        "units": "score and anomaly_map are raw feature distances; a part is an anomaly if its score is above the "
        "threshold; the map is of the region, not of the whole picture",
        "score": manifest.score,
    }


def _check_frame(size: InputSize) -> BGRImage:
    return (np.arange(math.prod(size) * 3) // 97 % 256).astype(np.uint8).reshape(*size, 3)


def _readme(model: TaughtModel) -> str:
    (height, width), region = model.input_size, model.manifest.region
    hint = PRECISION_HINTS[model.manifest.precision]
    return f"""# {model.category or "A DefectVision model"}, as one OpenVINO graph

| | |
|---|---|
| input `frame` | uint8, 1×{height}×{width}×3, BGR: the inspected region, resized |
| output `score` | float32, one number: raw feature distance, an anomaly above the threshold |
| output `anomaly_map` | float32, {region.height}×{region.width}: raw distances, the region from corner to corner |

`model.json` has the threshold, the region and the rule for resizing; so has `rt_info` in `model.xml`, under
`defectvision`. The threshold is a start: better is mean + 3·std of the scores of 20 or more good parts taken where the
camera stands.

**Always set `INFERENCE_PRECISION_HINT` to `{hint}`.** Left alone OpenVINO chooses by the
processor, and scores differ by some percent from those the threshold was made of. `check` in `model.json` has a frame
anyone can make and its score: if yours differs by more than 0.1 %, the setting or the processor's 8-bit arithmetic is
another than here.

```python
{USAGE}```
"""
