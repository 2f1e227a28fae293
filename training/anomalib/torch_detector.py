"""A model of anomalib's in torch, with its raw score: what :func:`training.measure.evaluate.evaluate` can measure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from detector.anomalib import to_input
from detector.images import BGRImage
from detector.input_size import InputSize, square
from detector.score import Detection, finite

RUNTIME = "anomalib-torch"


@dataclass(frozen=True)
class AnomalibDetector:
    """A taught Lightning module of anomalib's. ``detect`` may be called from several threads at once.

    ``threshold`` is ``nan`` until one is known.
    """

    module: Any
    category: str
    image_size: int
    threshold: float
    hash: str = field(init=False)
    runtime: str = RUNTIME

    def __post_init__(self) -> None:
        self.module.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        object.__setattr__(self, "hash", _hash(self.module))

    @property
    def input_size(self) -> InputSize:
        """Of its square input."""
        return square(self.image_size)

    @property
    def size_bytes(self) -> int:
        """Of all tensors the model needs."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.module.model.state_dict().values())

    def detect(self, frame: BGRImage, /) -> Detection:
        """Score one frame (H×W×3 uint8 BGR, any size).

        Returns:
            anomalib's image score and its anomaly map at input size, both before its post-processing.

        Raises:
            ImageError: not such an array.
        """
        with torch.inference_mode():
            picture = torch.from_numpy(to_input(frame, self.image_size)).to(self.module.device)
            result = self.module.model(self.module.pre_processor(picture))
            anomaly_map = result.anomaly_map[0].squeeze().cpu().numpy()
            return finite(float(result.pred_score.max()), np.asarray(anomaly_map, np.float32))


def _hash(module: Any) -> str:
    digest = hashlib.sha256(type(module).__name__.encode())
    for name, tensor in sorted(module.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
