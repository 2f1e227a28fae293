"""How long the detector takes: to score a frame, and to learn.

    python -m benchmarks.detector [FOLDER OF GOOD PICTURES]

Without a folder, pictures are drawn. Memory banks for the latency tables are random numbers, which take exactly as long
to search as real ones.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import cv2
import numpy as np

import detector
from benchmarks.interleaved import machine, medians, table
from detector import images, model_folder
from detector.backbone import CHANNELS, load_backbone
from detector.heads import NearestNeighbour, fitting_step
from detector.images import BGRImage
from detector.region import full
from detector.runtimes import RUNTIMES, runtime
from detector.score import to_detection
from detector.taught_model import TaughtModel

SIZES = (256, 320, 448)
BANKS = (1000, 2000, 4000)
ROUNDS = 15
TAUGHT = (50, 200)


def random_model(runtime_name: str, image_size: int, patches: int) -> TaughtModel:
    bank = np.random.default_rng(0).normal(size=(patches, CHANNELS)).astype(np.float32)
    head = NearestNeighbour(np.zeros(CHANNELS, np.float32), np.eye(CHANNELS, dtype=np.float32), bank, fitting_step(bank))
    network = load_backbone()
    manifest = model_folder.describe(
        head,
        category="random",
        image_size=image_size,
        region=full(image_size // network.grid_stride),
        precision="float32",
        network=network,
        projection="none",
        seed=0,
        n_images=0,
        held_out_scores=[],
        threshold=1.0,
        fingerprint="",
    )
    return TaughtModel(manifest, head, network, runtime(runtime_name))


def draw(number: int, width: int = 1280, height: int = 720) -> BGRImage:
    """A textured disc under uneven light."""
    random = np.random.default_rng(number)
    texture = cv2.resize(random.normal(0, 12, (height // 8, width // 8, 3)), (width, height))
    picture = texture + random.normal(0, 4, texture.shape) + np.linspace(40, 90, width)[None, :, None]
    cv2.circle(picture, (width // 2, height // 2), height // 3, (150, 140, 130), -1)
    cv2.circle(picture, (width // 2, height // 2), height // 5, (90, 110, 120), -1)
    return np.asarray(np.clip(picture + texture, 0, 255), np.uint8)


def latency(frame: BGRImage) -> str:
    """Milliseconds of ``detect`` for one 1280×720 frame, resizing included."""
    cases = list(itertools.product(SIZES, BANKS, RUNTIMES))
    models = {str(case): random_model(case[2], case[0], case[1]) for case in cases}
    times = medians({name: lambda m=model: m.detect(frame) for name, model in models.items()}, rounds=ROUNDS)
    rows = [
        [f"{size}²", bank, *(f"{times[str((size, bank, name))]:.1f}" for name in RUNTIMES)]
        for size, bank in itertools.product(SIZES, BANKS)
    ]
    return table(["input", "memory bank", *(f"{name}, ms" for name in RUNTIMES)], rows)


def shares(frame: BGRImage) -> str:
    """Where the time between a JPEG and its score goes, at the default size and bank."""
    size, bank = 320, 2000
    jpeg = images.encode_jpeg(frame, quality=85)[0]
    small = full(size // 8).to_input(frame, size)
    features = runtime("openvino").features(load_backbone(), size)
    model = random_model("openvino", size, bank)
    distances = model._distances(small)
    times = medians(
        {
            "decode": lambda: images.decode(jpeg),
            "resize": lambda: full(size // 8).to_input(frame, size),
            "features": lambda: features(small),
            "features and distances": lambda: model._distances(small),
            "smoothing": lambda: to_detection(distances),
            "whole": lambda: model.detect(images.decode(jpeg)),
        },
        rounds=4 * ROUNDS,
    )
    rows = [
        ["decode JPEG 1280×720", times["decode"]],
        [f"resize to {size}²", times["resize"]],
        ["patch features", times["features"]],
        [f"distances to {bank} patches", times["features and distances"] - times["features"]],
        ["smoothing and maximum", times["smoothing"]],
        ["JPEG to score, measured as a whole", times["whole"]],
    ]
    return table(["step", "ms", "share"], [[name, f"{ms:.2f}", f"{ms / times['whole']:.0%}"] for name, ms in rows])


def teaching(folder: Path | None) -> str:
    """Seconds of ``fit`` with its defaults; pictures are read or drawn beforehand."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in images.SUFFIXES) if folder else []
    rows = []
    for count in TAUGHT:
        if folder and len(paths) < count:
            continue
        pictures = (
            [images.read(path) for path in paths[:count]] if folder else [draw(n, 640, 480) for n in range(count)]
        )
        reached: dict[str, float] = {}

        def note(stage: str, fraction: float, reached: dict[str, float] = reached) -> None:
            reached[stage] = time.perf_counter()

        start = time.perf_counter()
        model = detector.fit(pictures, progress=note)
        total = time.perf_counter() - start
        stages = [reached["features"] - start]
        rows.append(
            [count, len(model.manifest.held_out_scores), *(f"{s:.1f}" for s in (*stages, total - sum(stages), total))]
        )
    heads = [
        "pictures",
        "held out",
        "region, resizing and patch features, s",
        "memory banks and held-out scores, s",
        "all, s",
    ]
    return table(heads, rows)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    print(f"{machine()}\n")
    frame = draw(0)
    print(f"Latency of one frame, median of {ROUNDS} interleaved rounds:\n\n{latency(frame)}\n")
    print(f"Shares, median of {4 * ROUNDS} interleaved rounds:\n\n{shares(frame)}\n")
    print(f"Teaching ({folder or 'drawn pictures'}), one run each:\n\n{teaching(folder)}\n")
    print(machine())


if __name__ == "__main__":
    main()
