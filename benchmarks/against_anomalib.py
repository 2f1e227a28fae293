"""Ours beside anomalib's PatchCore, in one run: the same pictures, backbone weights, input size and coreset size.

    python -m benchmarks.against_anomalib ../shared/data/bottle

Needs the extras ``anomalib`` and ``int8``. anomalib's backbone is timm's ``tf_efficientnet_lite0`` with the very
weights ours has; the two layers they share give equal features, which is measured too. Ours has one more, of stride 4.
FOLDER is laid out as MVTec AD's. Takes about a quarter of an hour, most of it anomalib's coreset.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.deploy import OpenVINOInferencer
from anomalib.models.image.patchcore.torch_model import PatchcoreModel

import detector
from benchmarks.interleaved import Milliseconds, take_turns
from detector.backbones import timm_backbone
from detector.backbones.efficientnet_lite import AnyBackbone, load_backbone
from detector.backbones.quantisation import quantise
from detector.heads import MemoryBanks, NearestNeighbour, fitting_step
from detector.images import BGRImage
from detector.input_size import square
from detector.region import full
from detector.runtimes.runtime import runtime
from detector.score import to_detection
from training.anomalib import engine, modules
from training.anomalib.backbone import two_layers
from training.anomalib.pictures import Pictures
from training.anomalib.torch_detector import AnomalibDetector
from training.data import datasets
from training.reports.markdown import table

SIZE, BANK = 320, 2000
ROUNDS, WIDE_ROUNDS = 40, 15
WIDE, WIDE_SIZE, WIDE_BANK = "wide_resnet50_2", 224, 200 * 28 * 28 // 10
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.against_anomalib FOLDER (laid out as MVTec AD's)")
    data_set = datasets.find_data_set(Path(sys.argv[1]))
    good = list(datasets.read_all(data_set.training))
    print(f"{data_set.name}: {len(good)} pictures taught, {SIZE}², {BANK} patches\n")

    start = time.perf_counter()
    ours = detector.fit(good)
    fit_ours = time.perf_counter() - start
    start = time.perf_counter()
    detector.fit(good[:60])
    fit_60 = time.perf_counter() - start
    precisions = {name: detector.fit(good, precision=name) for name in ("bfloat16", "int8")}

    share = (BANK + 0.5) / (len(good) * (SIZE // 8) ** 2)
    module = modules.patchcore(SIZE, share)
    fit_theirs = engine.fit(module, Pictures(data_set.training, (), SIZE, 16), seed=0)
    theirs = AnomalibDetector(module, data_set.name, SIZE, float("nan"))
    assert module.model.memory_bank.shape[0] == BANK

    frame = ours.manifest.region.to_input(good[0], ours.input_size)
    with scratch_folder() as folder:
        exported = engine.export(module, folder, SIZE)
        float32 = OpenVINOInferencer(exported, device="CPU", config=FLOAT32)
        as_it_comes = OpenVINOInferencer(exported, device="CPU")
        rgb = np.ascontiguousarray(frame[..., ::-1])
        on_torch = ours.on(runtime("torch"))
        times = take_turns(
            {
                "ours, OpenVINO float32 (the default)": lambda: ours.detect(frame),
                **{f"ours, OpenVINO {name}": detecting(model, frame) for name, model in precisions.items()},
                "ours, torch": lambda: on_torch.detect(frame),
                "bare backbone, OpenVINO float32": bare(load_backbone(), SIZE, frame),
                "bare backbone, OpenVINO int8": bare(quantise(load_backbone(), [frame]), SIZE, frame),
                "anomalib, torch": lambda: theirs.detect(frame),
                "anomalib, its OpenVINOInferencer, float32": lambda: float32.predict(rgb),
                "anomalib, its OpenVINOInferencer as it comes": lambda: as_it_comes.predict(rgb),
            },
            rounds=ROUNDS,
        )
    print(f"{latencies(times, ROUNDS)}\n")

    wide = wide_candidates(good)
    wide_times = take_turns(wide, rounds=WIDE_ROUNDS)
    print(
        f"{WIDE}, layers 2 and 3, **random weights, for timing only**; {WIDE_SIZE}², {WIDE_BANK} patches (a tenth of "
        f"200 pictures'), memory banks of random numbers:\n\n{latencies(wide_times, WIDE_ROUNDS)}\n"
    )

    default = times["ours, OpenVINO float32 (the default)"].median
    int8 = times["ours, OpenVINO int8"].median
    on_wide = wide_times["ours, OpenVINO float32"].median
    rows = [
        ["detect() against anomalib, torch", "≥ 10×", *faster(times["anomalib, torch"], default, int8)],
        [
            "detect() against its OpenVINOInferencer, float32",
            "≥ 5×",
            *faster(times["anomalib, its OpenVINOInferencer, float32"], default, int8),
        ],
        [
            f"detect() with {WIDE} against anomalib, torch",
            "≥ 20×",
            *faster(wide_times["anomalib, torch"], on_wide, wide_times["ours, OpenVINO int8"].median),
        ],
        [
            "detect() against the bare backbone in the same precision",
            "≤ 1.3×",
            f"{default / times['bare backbone, OpenVINO float32'].median:.2f}×",
            f"{int8 / times['bare backbone, OpenVINO int8'].median:.2f}×",
        ],
        [
            f"fit on {len(good)} pictures against anomalib (ours finds its threshold as well)",
            "≥ 5×",
            f"{fit_theirs / fit_ours:.0f}× ({fit_ours:.1f} s against {fit_theirs:.0f} s)",
            "",
        ],
        ["60 frames taught", "≤ 5 s", f"{fit_60:.1f} s", ""],
    ]
    print(f"{table(['what', 'goal', 'float32 (default)', 'int8'], rows)}\n")
    share_of_largest = difference(module, frame)
    print(f"Largest difference of the two layers' patch features, as a share of the largest: {share_of_largest:.1e}")


def faster(theirs: Milliseconds, *ours: float) -> list[str]:
    return [f"{theirs.median / own:.1f}×" for own in ours]


def latencies(times: dict[str, Milliseconds], rounds: int) -> str:
    rows = [[name, f"{found.median:.1f}", f"{found.low:.1f}–{found.high:.1f}"] for name, found in times.items()]
    return table([f"one frame, {rounds} interleaved rounds", "median, ms", "10 to 90 % of the rounds, ms"], rows)


def detecting(model: detector.Detector, frame: BGRImage) -> Callable[[], object]:
    return lambda: model.detect(frame)


def bare(backbone: AnyBackbone, size: int, frame: BGRImage) -> Callable[[], object]:
    """The forward pass of the backbone up to its last layer that is used, and nothing else."""
    from detector.backbones import backbone_graph
    from detector.quiet_openvino import ov

    compiled = ov.Core().compile_model(backbone_graph(backbone, square(size)), "CPU", FLOAT32 | {"NUM_STREAMS": "1"})
    request = compiled.create_infer_request()
    planes = np.ascontiguousarray(frame.transpose(2, 0, 1)[None], np.float32)
    return lambda: request.infer({0: planes}, share_inputs=True)


def wide_candidates(good: list[BGRImage]) -> dict[str, Callable[[], object]]:
    """PatchCore as the paper has it, on a network of the paper's size: ours in each precision, and anomalib's."""
    backbone = timm_backbone.load(WIDE, random_weights=True)
    frames = [full(square(WIDE_SIZE), 8).to_input(frame, square(WIDE_SIZE)) for frame in good[:24]]
    channels = sum(layer.channels for layer in backbone.layers)
    head = random_head(channels)
    found: dict[str, Callable[[], object]] = {}
    networks = {"float32": backbone, "bfloat16": backbone, "int8": quantise(backbone, frames)}
    for precision, network in networks.items():
        distances = runtime("openvino", precision=precision).distances(network, square(WIDE_SIZE), head)
        found[f"ours, OpenVINO {precision}"] = lambda distances=distances: to_detection(*distances(frames[0]))
    for precision in ("float32", "int8"):
        found[f"bare backbone, OpenVINO {precision}"] = bare(networks[precision], WIDE_SIZE, frames[0])
    theirs = PatchcoreModel(["layer2", "layer3"], WIDE, pre_trained=False)
    theirs.memory_bank = torch.randn(WIDE_BANK, channels)
    theirs.eval()
    picture = torch.from_numpy(np.ascontiguousarray(frames[0][..., ::-1])).permute(2, 0, 1)[None].float() / 255

    def eager() -> Any:
        with torch.inference_mode():
            return theirs(picture)

    return found | {"anomalib, torch": eager}


def random_head(channels: int) -> MemoryBanks:
    """One scale, as PatchCore has it, and as teaching makes it of so many channels: 512 dimensions."""
    random = np.random.default_rng(0)
    bank = random.normal(0, 1, (WIDE_BANK, 512)).astype(np.float32)
    projection = random.normal(0, channels**-0.5, (channels, 512)).astype(np.float32)
    return MemoryBanks(NearestNeighbour(np.zeros(channels, np.float32), projection, bank, fitting_step(bank)))


def difference(module: Any, frame: BGRImage) -> float:
    """Of our patch features from those anomalib computes, for its two layers."""
    ours = runtime("openvino").features(two_layers(), square(SIZE))(frame)
    rgb = torch.from_numpy(np.ascontiguousarray(frame[..., ::-1])).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        layers = module.model.feature_extractor((rgb - 127) / 128)
        pooled = {name: module.model.feature_pooler(layer) for name, layer in layers.items()}
        theirs = module.model.generate_embedding(pooled)[0].flatten(1).T.numpy()
    return float(np.abs(theirs - ours).max() / np.abs(theirs).max())


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder to be in: the inferencer makes a cache wherever it is."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


if __name__ == "__main__":
    main()
