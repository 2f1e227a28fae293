"""A model that anomalib exported to OpenVINO, served with its raw score and our threshold."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.anomalib.graph import Infer, compile_raw
from detector.errors import ModelError
from detector.files import write_atomically
from detector.images import BGRImage
from detector.input_size import InputSize, square
from detector.model_folder import is_model_folder
from detector.region import full
from detector.score import Detection, finite
from detector.thresholds import calibrate

RUNTIME = "anomalib-openvino"
SIDECAR = "defectvision.json"
"""Beside the ``.xml``: the raw scores of normal pictures the model had not seen, written by our own export."""

NO_THRESHOLD = math.nan
_PLACES = ("", "openvino", "weights/openvino")


@dataclass(frozen=True)
class AnomalibExport:
    """An exported model, compiled. ``detect`` may be called from several threads at once.

    ``threshold`` is ours, of the raw scores of held-out normal pictures where our own export wrote them, else
    ``nan``: the model brings none, and has to be calibrated before any part can pass.
    """

    category: str
    image_size: int
    hash: str
    threshold: float
    infer: Infer
    runtime: str = RUNTIME

    @property
    def input_size(self) -> InputSize:
        """Of its square input."""
        return square(self.image_size)

    def detect(self, frame: BGRImage, /) -> Detection:
        """Score one frame (H×W×3 uint8 BGR, any size; it is area-resized to the model's square input).

        Returns:
            the raw score, and the raw map in the size the graph gives it, usually that of the input.

        Raises:
            ImageError: not such an array.
        """
        return finite(*self.infer(to_input(frame, self.image_size)))


class _Sidecar(msgspec.Struct, frozen=True):
    model: str
    category: str
    held_out_scores: list[float]


def is_anomalib_export(path: Path) -> bool:
    """Whether this is an ``.xml`` of OpenVINO, or a folder holding one where anomalib puts it."""
    if path.suffix == ".xml":
        return True
    ours = is_model_folder(path) or next(path.glob("memory_bank-*"), None)  # the latter: a copy without its manifest
    return path.is_dir() and not ours and bool(_candidates(path))


def load(path: Path | str, *, runtime_name: str = "openvino", workers: int = 1) -> AnomalibExport:
    """Load what ``Engine.export(model, "openvino")`` wrote.

    Args:
        path: ``model.xml``, its folder, or the folder given as ``export_root``.
        runtime_name: must be ``openvino``.
        workers: threads that will call ``detect`` at once.

    Raises:
        ModelError: what is wrong with it, in one sentence.
    """
    if runtime_name != "openvino":
        raise ModelError(
            f"a model exported by anomalib runs on OpenVINO only: use RUNTIME=openvino, not {runtime_name}"
        )
    xml = _find(Path(path))
    weights = xml.with_suffix(".bin")
    if not weights.is_file():
        raise ModelError(f"{weights} is missing: copy both files of the export, {xml.name} and {weights.name}")
    hash_ = hashlib.sha256(xml.read_bytes() + weights.read_bytes()).hexdigest()
    sidecar = _read_sidecar(xml.with_name(SIDECAR), hash_)
    image_size, infer = compile_raw(xml, workers)
    if sidecar is None:
        return AnomalibExport("", image_size, hash_, NO_THRESHOLD, infer)
    return AnomalibExport(sidecar.category, image_size, hash_, calibrate(sidecar.held_out_scores).threshold, infer)


def write_sidecar(model: AnomalibExport, path: Path, held_out_scores: Sequence[float], category: str) -> None:
    """Write what gives an export its default threshold.

    Args:
        model: the export as loaded from ``path``.
        path: its ``.xml``.
        held_out_scores: raw scores ``model`` gave to normal pictures it was not taught on.
        category: what the parts are called.

    Raises:
        ValueError: the scores make no threshold.
        OSError: it cannot be written.
    """
    calibrate(held_out_scores)
    content = msgspec.json.encode(_Sidecar(model.hash, category, list(held_out_scores)))
    write_atomically(path.with_name(SIDECAR), msgspec.json.format(content, indent=2))


def to_input(frame: BGRImage, side: int) -> NDArray[np.float32]:
    """The picture as anomalib's models take it: 1×3×side×side float32, RGB, 0..1."""
    size = square(side)
    rgb = full(size, 1).to_input(frame, size)[..., ::-1]
    return np.divide(rgb.transpose(2, 0, 1)[None], 255, dtype=np.float32, order="C")


def _candidates(folder: Path) -> list[Path]:
    return next((found for place in _PLACES if (found := sorted((folder / place).glob("*.xml")))), [])


def _find(path: Path) -> Path:
    if path.is_file() and path.suffix == ".xml":
        return path
    found = _candidates(path) if path.is_dir() else []
    if not found:
        raise ModelError(f"there is no model.xml at {path}, nor in its weights/openvino: give what anomalib exported")
    if len(found) > 1:
        raise ModelError(f"{found[0].parent} holds {len(found)} models: give the path of one, such as {found[0]}")
    return found[0]


def _read_sidecar(path: Path, hash_: str) -> _Sidecar | None:
    if not path.exists():
        return None
    try:
        sidecar = msgspec.json.decode(path.read_bytes(), type=_Sidecar)
        calibrate(sidecar.held_out_scores)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}): export again, or remove it and calibrate") from error
    if sidecar.model != hash_:
        raise ModelError(f"{path} belongs to another model: export again, or remove it and calibrate")
    return sidecar
