"""What the wall around decoding costs: detector.images against bare OpenCV, on 640×480 frames.

    python -m benchmarks.decoding [FOLDER OF GOOD PICTURES] [--module FILE]

``--module``: a module whose ``decode`` takes its turns too, such as detector/images.py of a commit before the wall.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from detector import images
from training.benchmark import draw
from training.reports.markdown import table

WIDTH, HEIGHT = 640, 480
FRAMES, ROUNDS = 8, 200


def frames(folder: Path | None) -> Iterator[images.BGRImage]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in images.SUFFIXES) if folder else []
    for number in range(FRAMES):
        picture = images.read(paths[number]) if len(paths) > number else draw(WIDTH, HEIGHT, number)
        yield np.asarray(cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def bare(data: bytes) -> float:
    return _timed(lambda: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH))


def ours(data: bytes) -> float:
    return _timed(lambda: images.decode(data))


def of(module: Path) -> Callable[[bytes], float]:
    """The ``decode`` of a module that is given by its file."""
    spec = importlib.util.spec_from_file_location("other_images", module)
    assert spec and spec.loader
    other = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(other)
    return lambda data: _timed(lambda: other.decode(data))


def row(name: str, coded: list[bytes], candidates: dict[str, Callable[[bytes], float]]) -> list[str]:
    times: dict[str, list[float]] = {one: [] for one in candidates}
    for number in range(ROUNDS + FRAMES):
        data, order = coded[number % FRAMES], list(candidates)
        for one in order if number % 2 else order[::-1]:
            candidates[one](data)
            times[one].append(candidates[one](data))
    warm = {one: np.array(values[FRAMES:]) for one, values in times.items()}
    first = next(iter(candidates))
    added = np.median(warm["ours"] - warm[first])
    medians = [f"{np.median(values):.2f}" for values in warm.values()]
    return [name, f"{sum(map(len, coded)) / FRAMES / 1000:.0f}", *medians, f"{added:+.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--module", type=Path)
    arguments = parser.parse_args()
    candidates: dict[str, Callable[[bytes], float]] = {"bare": bare, "ours": ours}
    if arguments.module:
        candidates = {"other": of(arguments.module)} | candidates
    pictures = list(frames(arguments.folder))
    coded = {
        "JPEG, quality 85": [images.encode_jpeg(picture, quality=85)[0] for picture in pictures],
        "PNG": [images.encode_png(picture) for picture in pictures],
        "WebP, quality 85": [
            cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, 85])[1].tobytes() for picture in pictures
        ],
    }
    rows = [row(name, files, candidates) for name, files in coded.items()]
    heads = ["640×480", "kB", *(f"{name}, ms" for name in candidates), f"ours − {next(iter(candidates))}, ms"]
    print(f"Medians of {ROUNDS} interleaved rounds over {FRAMES} pictures:\n\n{table(heads, rows)}")


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
