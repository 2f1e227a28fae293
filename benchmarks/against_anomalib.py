"""Our PatchCore beside anomalib's, in one run, on the same pictures and the same backbone weights.

    python -m benchmarks.against_anomalib ../shared/data/bottle

Needs the extra ``anomalib``. anomalib's own backbone is timm's ``tf_efficientnet_lite0``, which is the network ours was
written after; its weights are loaded from the package the detector uses, so that no model hub is asked. Ours has one
layer more, of stride 4; of the two they share, the features are compared.  FOLDER is laid out as MVTec's.
"""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.models.components.sampling import KCenterGreedy
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import detector
from benchmarks.interleaved import machine, medians, table
from detector import images
from detector.coreset import greedy_coreset
from detector.region import full
from detector.runtimes import runtime
from training.anomalib.backbone import LAYERS, NAME, load_into, two_layers
from training.anomalib.engine import large_blocks_apart

SIZE, BANK, TAUGHT, TESTED, ROUNDS = 320, 2000, 12, 40, 15


def peer() -> PatchcoreModel:
    """anomalib's PatchCore with the weights ours has."""
    model = PatchcoreModel(LAYERS, NAME, pre_trained=False)
    load_into(model.feature_extractor.feature_extractor)
    return model


def convert(model: PatchcoreModel) -> Any:
    """anomalib's model compiled by OpenVINO for one picture, in float32 as ours is."""
    import detector.openvino_runtime  # noqa: F401, I001  turns openvino's telemetry off, so it comes first
    import openvino as ov

    class Traceable(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            result = self.model(x)
            return result.pred_score, result.anomaly_map

    converted = ov.convert_model(
        Traceable().eval(), example_input=torch.zeros(1, 3, SIZE, SIZE), input=[1, 3, SIZE, SIZE]
    )
    return ov.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def to_tensor(frame: NDArray[np.uint8]) -> torch.Tensor:
    rgb = np.ascontiguousarray(frame[..., ::-1])
    return (torch.from_numpy(rgb).permute(2, 0, 1)[None].float() - 127) / 128


def pictures(folder: Path, count: int) -> list[NDArray[np.uint8]]:
    return [full(SIZE // 8).to_input(images.read(path), SIZE) for path in islice(sorted(folder.iterdir()), count)]


def radius(patches: NDArray[np.float32], bank: NDArray[np.float32]) -> float:
    """The largest distance from a patch to its nearest in the bank."""
    return float(
        torch.cat([torch.cdist(p, torch.from_numpy(bank)).amin(1) for p in torch.from_numpy(patches).split(4096)]).max()
    )


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.against_anomalib FOLDER (laid out as MVTec's)")
    folder = Path(sys.argv[1])
    print(f"{machine()}\n")
    good = pictures(folder / "train" / "good", TAUGHT)
    kinds = sorted(kind for kind in (folder / "test").iterdir() if kind.name != "good")
    normal = pictures(folder / "test" / "good", TESTED // 2)
    bad = [frame for kind in kinds for frame in pictures(kind, -(-TESTED // 2 // len(kinds)))]

    features = runtime("openvino").features(two_layers(), SIZE)
    theirs = peer()
    theirs.train()
    theirs.feature_extractor.eval()
    with torch.inference_mode():
        embedding = theirs(to_tensor(good[0])).numpy()
        theirs.embedding_store.clear()
    difference = np.abs(embedding - features(good[0])).max() / np.abs(embedding).max()

    start = time.perf_counter()
    ours = detector.fit(good, image_size=SIZE, coreset_size=BANK, inspect="full")
    fit_ours = time.perf_counter() - start
    start = time.perf_counter()
    with torch.inference_mode():
        for frame in good:
            theirs(to_tensor(frame))
        patches = TAUGHT * (SIZE // 8) ** 2
        with large_blocks_apart():
            theirs.subsample_embedding((BANK + 0.5) / patches)
    fit_theirs = time.perf_counter() - start
    theirs.eval()

    standard = np.concatenate([ours.patches(frame) for frame in good])
    with large_blocks_apart():
        coresets = compare_coresets(standard[: len(standard) // 2])
    compiled = convert(theirs)
    ours_torch = ours.on(runtime("torch"))

    def eager(frame: NDArray[np.uint8]) -> float:
        with torch.inference_mode():
            return float(theirs(to_tensor(frame)).pred_score)

    def exported(frame: NDArray[np.uint8]) -> Any:
        return compiled(to_tensor(frame).numpy())

    times = medians(
        {
            "ours, OpenVINO": lambda: ours.detect(bad[0]),
            "ours, torch": lambda: ours_torch.detect(bad[0]),
            "anomalib, torch": lambda: eager(bad[0]),
            "anomalib, OpenVINO": lambda: exported(bad[0]),
        },
        rounds=ROUNDS,
    )
    labels = [0] * len(normal) + [1] * len(bad)
    auroc_ours = roc_auc_score(labels, [ours.detect(frame).score for frame in normal + bad])
    auroc_theirs = roc_auc_score(labels, [eager(frame) for frame in normal + bad])

    print(
        f"{folder.name}, {TAUGHT} pictures taught, {len(normal)} good and {len(bad)} defective tested, "
        f"{SIZE}², {BANK} patches\n"
    )
    rows = [[name, f"{ms:.1f}"] for name, ms in times.items()]
    print(f"{table([f'one frame, median of {ROUNDS} interleaved rounds', 'ms'], rows)}\n")
    rows = [
        ["teaching, s", f"{fit_ours:.1f}", f"{fit_theirs:.1f}"],
        ["image AUROC", f"{auroc_ours:.3f}", f"{auroc_theirs:.3f}"],
    ]
    print(f"{table(['', 'ours (held-out scores included)', 'anomalib'], rows)}\n")
    print(f"{coresets}\n")
    print(f"Largest difference of the patch features, as a share of the largest: {difference:.1e}\n")
    print(machine())


def compare_coresets(patches: NDArray[np.float32]) -> str:
    """Both choices from the same standardised patches."""
    start = time.perf_counter()
    ours = greedy_coreset(patches, BANK)
    middle = time.perf_counter()
    sampler = KCenterGreedy(torch.from_numpy(patches), (BANK + 0.5) / len(patches))
    theirs = sampler.select_coreset_idxs()
    end = time.perf_counter()
    random = np.random.default_rng(0).choice(len(patches), BANK, replace=False)
    rows = [
        ["ours", len(set(ours.tolist())), f"{middle - start:.2f}", f"{radius(patches, patches[ours]):.2f}"],
        ["anomalib", len(set(theirs)), f"{end - middle:.2f}", f"{radius(patches, patches[theirs]):.2f}"],
        ["random choice", BANK, "", f"{radius(patches, patches[random]):.2f}"],
    ]
    return table(["coreset of the same patches", "patches", "s", "covering radius"], rows)


if __name__ == "__main__":
    main()
