"""The networks that patch features come from: EfficientNet-Lite of our own, timm's by name, quantised ones."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from detector.backbones import timm_backbone
from detector.backbones.checkpoint import read_checkpoint
from detector.backbones.efficientnet_lite import (
    CHANNELS,
    CHECKPOINT_SHA256,
    GRAPH_PREPROCESSING,
    LAYERS,
    MEAN,
    NAME,
    PACKAGED,
    PREPROCESSING,
    SCALE,
    AnyBackbone,
    Backbone,
    Convolution,
    Features,
    GraphBackbone,
    Layer,
    load_backbone,
    patch_grid,
)
from detector.backbones.quantisation import quantise

if TYPE_CHECKING:
    from detector.backbones.openvino_graph import backbone_graph, taps_of_frame
    from detector.backbones.timm_network import unpacked

_LATE = {
    "backbone_graph": "detector.backbones.openvino_graph",
    "taps_of_frame": "detector.backbones.openvino_graph",
    "unpacked": "detector.backbones.timm_network",
}
"""What loads openvino or torch when it is first asked for, and not before."""

__all__ = [
    "CHANNELS",
    "CHECKPOINT_SHA256",
    "GRAPH_PREPROCESSING",
    "LAYERS",
    "MEAN",
    "NAME",
    "PACKAGED",
    "PREPROCESSING",
    "SCALE",
    "AnyBackbone",
    "Backbone",
    "Convolution",
    "Features",
    "GraphBackbone",
    "Layer",
    "backbone_graph",
    "load_backbone",
    "patch_grid",
    "quantise",
    "read_checkpoint",
    "taps_of_frame",
    "timm_backbone",
    "unpacked",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
