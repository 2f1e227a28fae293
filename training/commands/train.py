"""``defectvision train``."""

from __future__ import annotations

import argparse
from pathlib import Path

from detector import ModelError
from detector.region import CHOICES
from detector.registration import CHOICES as WAYS
from detector.runtimes import PRECISIONS
from detector.teaching import DEFAULT_PRESET, PRESETS
from training.commands.arguments import add_strict, checked_data_set, natural, patches, positive, stages, stoppable
from training.commands.backbones import add_backbone, chosen_backbone
from training.reports import data_set_report, layout, training_report
from training.train import require_model_or_nothing, train


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "train",
        help="learn what good parts look like, from a folder of pictures",
        description="Learn what good parts look like, from pictures of those only. Writes a model folder.",
    )
    parser.add_argument(
        "dir",
        metavar="DIR",
        type=Path,
        help="a data set (MVTec AD, MVTec AD 2, VisA, plain folders), or the good pictures themselves",
    )
    parser.add_argument(
        "--output",
        metavar="MODEL",
        type=Path,
        required=True,
        help="model folder to write; a model there is replaced",
    )
    parser.add_argument(
        "--category",
        metavar="NAME",
        help="what the parts are (default: name of DIR, or of the folder above train/good)",
    )
    parser.add_argument(
        "--method",
        choices=["patchcore", "padim"],
        default="patchcore",
        help="padim is for parts that lie the same way in every picture (default: %(default)s)",
    )
    sizes = "; ".join(f"{name}: {p.image_size}², {p.coreset_size} patches" for name, p in PRESETS.items())
    parser.add_argument("--preset", choices=PRESETS, default=DEFAULT_PRESET, help=f"{sizes} (default: %(default)s)")
    parser.add_argument(
        "--image-size",
        metavar="N",
        type=positive,
        help="side of the model's input in pixels, a multiple of 16, of 32 with --backbone; what is far from square "
        "keeps its shape, at as many pixels (default: the preset's)",
    )
    parser.add_argument(
        "--coreset-size",
        metavar="N",
        type=patches,
        help="patches kept in the memory bank at the most (default: the preset's)",
    )
    parser.add_argument(
        "--region",
        choices=CHOICES,
        default="auto",
        help="auto leaves out a background that is plain in every picture, full inspects the whole frame "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--register",
        choices=WAYS,
        default="auto",
        help="on turns and shifts each part to lie as those taught did before it is inspected, auto does so where "
        "parts lie freely on a plain background and it is measured to help, off never (default: %(default)s)",
    )
    parser.add_argument(
        "--light-blind",
        action="store_true",
        help="learn the parts a second time, blind to light, for pictures whose light is new: mostly better there, and "
        "the same in the light taught; takes twice as long to teach, and export refuses such a model",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=natural,
        default=0,
        help="of every random choice: same pictures, same seed, same model (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of the backbone's arithmetic: int8 and bfloat16 take less time, and have a threshold of their own "
        "(default: %(default)s)",
    )
    add_backbone(parser)
    add_strict(parser)
    parser.set_defaults(run=stoppable(run_train))


def run_train(arguments: argparse.Namespace) -> int:
    """Train, save, and say what to do next."""
    require_model_or_nothing(arguments.output)
    if arguments.method == "padim" and arguments.coreset_size is not None:
        raise ModelError("--coreset-size goes with --method patchcore: padim has no memory bank")
    backbone = chosen_backbone(arguments)
    data_set = checked_data_set(arguments.dir, strict=arguments.strict, training=True)
    print(f"Learning from {len(data_set.training)} pictures in {data_set.training[0].parent} ({layout(data_set)})")
    with stages() as show:
        training = train(
            data_set,
            arguments.output,
            category=arguments.category or data_set.name,
            progress=show,
            method=arguments.method,
            preset=arguments.preset,
            image_size=arguments.image_size,
            coreset_size=arguments.coreset_size,
            inspect=arguments.region,
            register=arguments.register,
            light_blind=arguments.light_blind,
            backbone=backbone,
            precision=arguments.precision,
            seed=arguments.seed,
        )
    print(training_report(training, arguments.output))
    if said := data_set_report(data_set):
        print(f"\n{said}")
    return 0
