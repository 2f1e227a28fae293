"""anomalib's Lightning modules, set up to differ from the detector in nothing but the method."""

from __future__ import annotations

import detector.quiet_openvino  # noqa: F401  before anomalib can import openvino

# isort: split

from pathlib import Path
from typing import Any

import torch
from anomalib.models import EfficientAd, Padim, Patchcore
from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import Compose, Normalize, Resize

from detector import ModelError
from detector.backbones import MEAN, SCALE
from training.anomalib.backbone import LAYERS, NAME, load_into

PLAIN: dict[str, Any] = {"post_processor": False, "evaluator": False, "visualizer": False}
"""Raw scores only: no threshold found on what happens to be validated with, no pictures written."""

_CHANNELS_OF_TEACHERS = {128: "small", 256: "medium"}
"""Of the first convolution: tells the two teachers apart."""


def patchcore(side: int, ratio: float) -> Any:
    """PatchCore that keeps this share of the patches."""
    module = Patchcore(
        NAME, LAYERS, pre_trained=False, coreset_sampling_ratio=ratio, pre_processor=_preprocessing(side), **PLAIN
    )
    load_into(module.model.feature_extractor.feature_extractor)
    return module


def padim(side: int, n_features: int) -> Any:
    """PaDiM with so many of the features, chosen at random."""
    module = Padim(
        NAME, list(LAYERS), pre_trained=False, n_features=n_features, pre_processor=_preprocessing(side), **PLAIN
    )
    load_into(module.model.feature_extractor.feature_extractor)
    return module


def efficientad(side: int, teacher: Path, imagenette: Path) -> Any:
    """EfficientAD with a teacher and ImageNette from local files.

    Raises:
        ModelError: the file holds no teacher.
    """
    try:
        weights = torch.load(teacher, map_location="cpu", weights_only=True)
        size = _CHANNELS_OF_TEACHERS[len(weights["conv1.weight"])]
    except Exception as error:  # a file that is anything can make torch fail in any way there is
        raise ModelError(
            f"{teacher} holds no teacher of EfficientAD: give pretrained_teacher_small.pth or …_medium.pth"
        ) from error
    module = _LocalEfficientAd(
        imagenet_dir=imagenette,
        model_size=size,
        pre_processor=PreProcessor(Compose([Resize((side, side))])),
        **PLAIN,
    )
    try:
        module.model.teacher.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"{teacher} holds no complete teacher of EfficientAD: download it again") from error
    return module


class _LocalEfficientAd(EfficientAd):  # type: ignore[misc]  # anomalib is not type-checked
    """anomalib's, which would download the teacher when learning starts; ours is in place already.

    ImageNette it downloads only where its folder is missing, which was checked.
    """

    def prepare_pretrained_model(self) -> None:
        pass


def _preprocessing(side: int) -> PreProcessor:
    # From 0..1 to (x·255 - 127) / 128, the detector's own. anomalib's default would be ImageNet's mean and deviation.
    normalise = Normalize([MEAN / 255] * 3, [SCALE / 255] * 3)
    return PreProcessor(Compose([Resize((side, side), antialias=True), normalise]))
