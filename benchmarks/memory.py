"""Peak memory of teaching and of inspecting, each measured in a process of its own.

    python -m benchmarks.memory FOLDER OF GOOD PICTURES

7,000 pictures are the folder's, repeated and each time shifted, brightened and given noise of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import detector
from detector import images
from detector.images import BGRImage
from training.reports.markdown import table

COUNTS = (60, 209, 1000, 7000)


class Jittered(Sequence[BGRImage]):
    """So many pictures made of fewer, one at a time."""

    def __init__(self, paths: list[Path], count: int) -> None:
        self._paths, self._count = paths, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> BGRImage:  # type: ignore[override]  # no slices are asked for
        if not 0 <= index < self._count:
            raise IndexError(index)
        picture = images.read(self._paths[index % len(self._paths)])
        random = np.random.default_rng(index)
        picture = np.roll(picture, random.integers(-6, 7, 2), (0, 1))
        noise = random.integers(-6, 7, picture.shape, np.int8)
        return np.asarray(np.clip(picture * random.uniform(0.95, 1.05) + noise, 0, 255), np.uint8)


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in images.SUFFIXES)


def teach(folder: Path, count: int) -> None:
    detector.fit(Jittered(pictures(folder), count))


def inspect(folder: Path, count: int, model: Path) -> None:
    taught = detector.load(model)
    for picture in Jittered(pictures(folder), count):
        taught.detect(picture)


def alone(*arguments: object) -> tuple[float, float]:
    """Megabytes at the peak and seconds of one step in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.memory", *map(str, arguments)]
    found = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    mb, seconds = json.loads(found.splitlines()[-1])
    return mb, seconds


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: python -m benchmarks.memory FOLDER OF GOOD PICTURES")
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:  # a step, in a process of its own
        start = time.perf_counter()
        step, count, *more = sys.argv[2:]
        teach(folder, int(count)) if step == "teach" else inspect(folder, int(count), Path(more[0]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([peak, time.perf_counter() - start]))
        return
    rows = []
    for count in COUNTS:
        mb, seconds = alone(folder, "teach", count)
        rows.append([f"teach {count:,} pictures, 320²", f"{mb:,.0f}", f"{seconds:.1f}"])
    with tempfile.TemporaryDirectory() as made:
        detector.fit(Jittered(pictures(folder), 60)).save(Path(made) / "model")
        mb, seconds = alone(folder, "inspect", 500, Path(made) / "model")
    rows.append(["load the model and inspect 500 frames", f"{mb:,.0f}", f"{seconds:.1f}"])
    print(table(["step, the whole process", "peak memory, MB", "s, jittering included"], rows))


if __name__ == "__main__":
    main()
