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

import detector
from benchmarks.interleaved import take_turns
from detector import images
from detector.backbones.efficientnet_lite import load_backbone
from detector.images import BGRImage
from detector.input_size import square
from detector.region import full
from detector.runtimes.runtime import RUNTIMES, runtime
from detector.score import to_detection
from detector.teaching import DEFAULT_PRESET, PRESETS, Preset
from training.benchmark import draw, random_model
from training.reports.markdown import table

SIZES = (256, 320, 448)
BANKS = (1000, 2000, 4000)
ROUNDS = 15
TAUGHT = (50, 200)


def latency(frame: BGRImage) -> str:
    """Milliseconds of ``detect`` for one 1280×720 frame, resizing included."""
    cases = list(itertools.product(SIZES, BANKS, RUNTIMES))
    models = {str(case): random_model(Preset(case[0], case[1], 1), runtime(case[2])) for case in cases}
    times = take_turns({name: lambda m=model: m.detect(frame) for name, model in models.items()}, rounds=ROUNDS)
    rows = [
        [f"{size}²", bank, *(f"{times[str((size, bank, name))].median:.1f}" for name in RUNTIMES)]
        for size, bank in itertools.product(SIZES, BANKS)
    ]
    return table(["input", "memory bank", *(f"{name}, ms" for name in RUNTIMES)], rows)


def shares(frame: BGRImage) -> str:
    """Where the time between a JPEG and its score goes, with the default preset."""
    preset = PRESETS[DEFAULT_PRESET]
    size = preset.image_size
    jpeg = images.encode_jpeg(frame, quality=85)[0]
    small = full(square(size), 8).to_input(frame, square(size))
    fine, coarse = (runtime("openvino").features(load_backbone(), square(size), scale) for scale in (1, preset.shrink))
    model = random_model(preset, runtime("openvino"))
    found = model._distances(small)
    times = take_turns(
        {
            "decode": lambda: images.decode(jpeg),
            "resize": lambda: full(square(size), 8).to_input(frame, square(size)),
            "fine": lambda: fine(small),
            "coarse": lambda: coarse(small),
            "features and distances": lambda: model._distances(small),
            "smoothing": lambda: to_detection(*found),
            "whole": lambda: model.detect(images.decode(jpeg)),
        },
        rounds=4 * ROUNDS,
    )
    medians = {name: found.median for name, found in times.items()}
    rows = [
        ["decode JPEG 1280×720", medians["decode"]],
        [f"resize to {size}²", medians["resize"]],
        ["patch features, fine scale", medians["fine"]],
        [f"patch features, averaged down {preset.shrink} times", medians["coarse"]],
        [
            f"distances to {model.manifest.coreset_size} patches",
            medians["features and distances"] - medians["fine"] - medians["coarse"],
        ],
        ["smoothing, scales together, maximum", medians["smoothing"]],
        ["JPEG to score, measured as a whole", medians["whole"]],
    ]
    return table(["step", "ms", "share"], [[name, f"{ms:.2f}", f"{ms / medians['whole']:.0%}"] for name, ms in rows])


def teaching(folder: Path | None) -> str:
    """Seconds of ``fit`` with its defaults; pictures are read or drawn beforehand."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in images.SUFFIXES) if folder else []
    rows = []
    for count in TAUGHT:
        if folder and len(paths) < count:
            continue
        pictures = (
            [images.read(path) for path in paths[:count]] if folder else [draw(640, 480, n) for n in range(count)]
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
    frame = draw()
    print(f"Latency of one frame, median of {ROUNDS} interleaved rounds:\n\n{latency(frame)}\n")
    print(f"Shares, median of {4 * ROUNDS} interleaved rounds:\n\n{shares(frame)}\n")
    print(f"Teaching ({folder or 'drawn pictures'}), one run each:\n\n{teaching(folder)}\n")


if __name__ == "__main__":
    main()
