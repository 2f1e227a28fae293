"""How fast models are on this machine: a frame's latency, and frames per second with several of them at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from detector import Detector, TaughtModel, model_folder
from detector.backbones import CHANNELS, load_backbone
from detector.heads import DrawnDefects, MemoryBanks, NearestNeighbour, fitting_step
from detector.images import BGRImage
from detector.input_size import square
from detector.region import full
from detector.runtimes import Runtime
from detector.teaching import Preset, coarse_size
from training.measure import interleaved_latencies

ROUNDS = 60
SECONDS = 3.0
MOST_AT_ONCE = 4


@dataclass(frozen=True)
class Latency:
    """Of one ``detect``, in milliseconds: median, and the 5th and 95th percentile."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Throughput:
    """What so many threads get out of one model that is compiled for them."""

    at_once: int
    frames_per_second: float
    cpu_seconds_per_frame: float


def latencies(models: Mapping[str, Detector], frame: BGRImage, *, rounds: int = ROUNDS) -> dict[str, Latency]:
    """Latency of each model's ``detect``, by its name. The models take turns, so a busy machine is busy for all.

    Args:
        models: by name.
        frame: H×W×3 uint8 BGR, as a camera gives it: resizing counts.
        rounds: detections of each model, after one to warm up.

    Raises:
        RuntimeError: a model could not inspect the frame.
    """
    failures: dict[str, str] = {}
    measured = interleaved_latencies(models, [frame], failures=failures, rounds=rounds)
    if failures:
        raise RuntimeError("; ".join(f"{name}: {reason}" for name, reason in failures.items()))
    return {
        name: Latency(*(float(value) for value in np.percentile(milliseconds, (50, 5, 95))))
        for name, milliseconds in measured.items()
    }


def throughput(model: Detector, frame: BGRImage, at_once: int, *, seconds: float = SECONDS) -> Throughput:
    """Frames per second of so many threads that each inspect one frame after the other.

    Args:
        model: compiled for ``at_once`` workers.
        frame: H×W×3 uint8 BGR.
        at_once: threads.
        seconds: how long; each thread inspects one frame at least.

    Raises:
        Exception: what ``detect`` raised in a thread.
    """
    warm, begun, stopped = threading.Semaphore(0), threading.Event(), threading.Event()

    def inspect() -> int:
        try:
            model.detect(frame)  # each thread makes its own infer request
        finally:
            warm.release()
        begun.wait()
        frames = 0
        while not (frames and stopped.is_set()):
            model.detect(frame)
            frames += 1
        return frames

    with ThreadPoolExecutor(at_once) as threads:
        try:
            running = [threads.submit(inspect) for _ in range(at_once)]
            for _ in running:
                warm.acquire()
            start, cpu = time.perf_counter(), time.process_time()
            begun.set()
            time.sleep(seconds)
        finally:  # after Ctrl-C too: threads that go on keep the program from ending
            stopped.set()
            begun.set()
        frames = sum(one.result() for one in running)
        elapsed, used = time.perf_counter() - start, time.process_time() - cpu
    return Throughput(at_once, frames / elapsed, used / frames)


def random_model(preset: Preset, engine: Runtime) -> TaughtModel:
    """A model of the packaged backbone with memory banks of random numbers: searched as long as a real one, and its
    scores mean nothing."""
    network = load_backbone()
    random = np.random.default_rng(0)

    def scale(size: int) -> NearestNeighbour:
        bank = random.normal(0, 1, (size, CHANNELS)).astype(np.float32)
        return NearestNeighbour(
            np.zeros(CHANNELS, np.float32), np.eye(CHANNELS, dtype=np.float32), bank, fitting_step(bank)
        )

    coarse = scale(coarse_size(preset.coreset_size)) if preset.shrink > 1 else None
    weights = random.normal(0, 0.01, CHANNELS).astype(np.float32)
    head = MemoryBanks(
        scale(preset.coreset_size), coarse, preset.shrink, DrawnDefects(weights, np.zeros(1, np.float32))
    )
    manifest = model_folder.describe(
        head,
        category="random numbers, for timing",
        image_size=preset.image_size,
        region=full(square(preset.image_size), network.grid_stride),
        precision="float32",
        network=network,
        projection="none",
        seed=0,
        n_images=0,
        held_out_scores=[],
        threshold=1.0,
        fingerprint="",
    )
    return TaughtModel(manifest, head, network, engine)


def draw(width: int = 1280, height: int = 720, seed: int = 0) -> BGRImage:
    """A textured disc under uneven light: a frame to measure with where there is none."""
    random = np.random.default_rng(seed)
    texture = cv2.resize(random.normal(0, 12, (max(1, height // 8), max(1, width // 8), 3)), (width, height))
    picture = texture + random.normal(0, 4, texture.shape) + np.linspace(40, 90, width)[None, :, None]
    cv2.circle(picture, (width // 2, height // 2), min(width, height) // 3, (150, 140, 130), -1)
    cv2.circle(picture, (width // 2, height // 2), min(width, height) // 5, (90, 110, 120), -1)
    return np.asarray(np.clip(picture + texture, 0, 255), np.uint8)
