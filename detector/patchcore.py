"""PatchCore: learn from normal images, then measure how far a frame is from them.

Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022 (arXiv 2106.08265): patch features of two
layers, locally aware pooling (section 3.1), a greedy coreset as memory bank (3.2), distance to the nearest neighbour as
anomaly (3.3). Ours: features standardised per channel, exact distances without re-weighting, a smoothed map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detector import model_folder
from detector.backbone import load_backbone
from detector.calibration import DEFAULT_K, calibrate
from detector.coreset import greedy_coreset
from detector.errors import ImageError, ModelError
from detector.images import BGRImage
from detector.model_folder import Manifest
from detector.runtimes import Runtime, runtime
from detector.score import Detection, to_detection

IMAGE_SIZE = 320
CORESET_SIZE = 2000
HOLDOUT = 0.2
HELD_OUT_ENOUGH = 30
"""Normal images scored for the default threshold, if there are as many."""
MIN_IMAGES = 5
MAX_PATCHES = 400_000
"""Patches kept for the choice of the coreset, about 240 MB; beyond that each image gives a share, chosen at random."""

Progress = Callable[[str, float], None]


class PatchCore:
    """A taught detector. ``detect`` may be called from several threads at once.

    Attributes:
        manifest: how it was made.
        hash: sha256 that names this very model; a calibration belongs to it.
        runtime: name of the runtime it is compiled for.
    """

    def __init__(self, manifest: Manifest, tensors: model_folder.Tensors, engine: Runtime) -> None:
        self.manifest = manifest
        self.hash = manifest.hash
        self.runtime = engine.name
        self._tensors = tensors
        self._distances = engine.distances(
            load_backbone(), manifest.image_size, tensors.mean, tensors.std, tensors.memory_bank
        )

    @property
    def category(self) -> str:
        """What the parts are called."""
        return self.manifest.category

    @property
    def image_size(self) -> int:
        """Side of the square input, in pixels."""
        return self.manifest.image_size

    @property
    def threshold(self) -> float:
        """The default threshold, from held-out normal images: a start, until the place is calibrated."""
        return self.manifest.threshold

    def detect(self, frame: BGRImage) -> Detection:
        """Score one frame (H×W×3 uint8 BGR, any size; it is resized to the model's square input).

        Raises:
            ImageError: not such an array.
        """
        return to_detection(self._distances(_fit_input(frame, self.manifest.image_size)))

    def save(self, folder: Path | str) -> None:
        """Write the model folder; an older model there is replaced in one step.

        Raises:
            ModelError: the path exists and is no model folder.
        """
        model_folder.write(Path(folder), self.manifest, self._tensors)


def load(folder: Path | str, *, runtime_name: str = "openvino", workers: int = 1) -> PatchCore:
    """Load a model folder.

    Raises:
        ModelError: what is wrong with it, in one sentence.
    """
    manifest, tensors = model_folder.read(Path(folder))
    return PatchCore(manifest, tensors, runtime(runtime_name, workers=workers))


def fit(
    images: Iterable[BGRImage],
    *,
    image_size: int = IMAGE_SIZE,
    coreset_size: int = CORESET_SIZE,
    holdout: float = HOLDOUT,
    seed: int = 0,
    category: str = "",
    fingerprint: str = "",
    total: int | None = None,
    runtime_name: str = "openvino",
    workers: int = 1,
    progress: Progress | None = None,
) -> PatchCore:
    """Teach a detector on normal images.

    Args:
        images: H×W×3 uint8 BGR, at least 5; each is kept at input size (0.3 MB) until the end.
        image_size: side of the square input in pixels, a multiple of 16.
        coreset_size: patches in the memory bank at the most.
        holdout: share of the images held out at a time: a bank is made of the others and these are scored against it,
            until 30 images are scored or all are. The default threshold is mean + 3·std of these raw scores, none of
            which a bank had seen; the model's own bank is then made of all images.
        seed: of every random choice; the same images and seed give the same model.
        category: what the parts are called.
        fingerprint: of the data set, for the manifest.
        total: number of images, for the progress of an iterator.
        runtime_name: ``openvino`` or ``torch``.
        workers: threads that will call ``detect`` at once.
        progress: called with a stage ("reading", "features", "memory bank") and 0..1 of the whole.

    Raises:
        ModelError: too few images, or a size that cannot be.
        ImageError: an image is not such an array.
    """
    if image_size < 64 or image_size > 2048 or image_size % 16:
        raise ModelError(f"image size {image_size} cannot be used: take a multiple of 16 from 64 to 2048")
    if coreset_size < 1:
        raise ModelError(f"coreset size {coreset_size} cannot be used: take at least 1")
    if not 0 < holdout < 1:
        raise ModelError(f"holdout {holdout} cannot be used: take a share between 0 and 1")
    report = progress or (lambda stage, fraction: None)
    stages = _Stages(report)

    frames = []
    total = total or (len(images) if isinstance(images, Sized) else None)
    for image in images:
        frames.append(_fit_input(image, image_size))
        stages.reading(len(frames) / total if total else 0.0)
    if len(frames) < MIN_IMAGES:
        raise ModelError(
            f"{len(frames)} normal images are too few to teach from: take at least {MIN_IMAGES}, 30 or more are better"
        )
    if all(np.array_equal(frame, frames[0]) for frame in frames):
        raise ModelError("the normal images are all the same picture: take different ones, and check the camera")

    engine = runtime(runtime_name, workers=workers)
    backbone = load_backbone()
    features = engine.features(backbone, image_size)
    random = np.random.default_rng(seed)
    share = max(1, MAX_PATCHES // len(frames))
    patches: list[NDArray[np.float32]] = []
    for frame in frames:
        own = features(frame)
        patches.append(own if len(own) <= share else own[random.choice(len(own), share, replace=False)])
        stages.features(len(patches) / len(frames))

    def learn(indices: Sequence[int]) -> model_folder.Tensors:
        return _learn(np.concatenate([patches[index] for index in indices]), coreset_size, seed, stages.memory_bank)

    folds = _folds(len(frames), holdout, random)
    stages.banks = len(folds) + 1
    scores = []
    for fold in folds:
        tensors = learn([index for index in range(len(frames)) if index not in fold])
        distances = engine.distances(backbone, image_size, tensors.mean, tensors.std, tensors.memory_bank)
        scores += [to_detection(distances(frames[index])).score for index in sorted(fold)]
    threshold = calibrate(scores, DEFAULT_K).threshold
    tensors = learn(range(len(frames)))
    manifest = model_folder.describe(
        tensors,
        category=category,
        image_size=image_size,
        backbone_sha256=backbone.sha256,
        seed=seed,
        n_images=len(frames),
        held_out_scores=scores,
        threshold=threshold,
        fingerprint=fingerprint,
    )
    return PatchCore(manifest, tensors, engine)


def _folds(n_images: int, holdout: float, random: np.random.Generator) -> list[set[int]]:
    """Which images are held out together: a fifth at a time, until enough are scored or all have been."""
    size = min(max(2, round(holdout * n_images)), n_images - 2)
    order = [int(index) for index in random.permutation(n_images)]
    starts = range(0, min(n_images, HELD_OUT_ENOUGH), size)
    return [set(order[start : start + size]) for start in starts]


def _learn(
    patches: NDArray[np.float32], size: int, seed: int, progress: Callable[[float], None]
) -> model_folder.Tensors:
    """Standardise the patches, in place because they can be hundreds of megabytes, and choose the memory bank."""
    mean = patches.mean(0, dtype=np.float64).astype(np.float32)
    patches -= mean
    # float32 within a block and float64 over the blocks: exact to 1e-6 without a copy of everything in float64.
    blocks = np.array_split(patches, -(-len(patches) // 1024))
    squares = np.sum([np.einsum("nc,nc->c", block, block) for block in blocks], 0, dtype=np.float64)
    std = np.maximum(np.sqrt(squares / len(patches)), 1e-6).astype(np.float32)
    patches /= std
    chosen = greedy_coreset(patches, size, seed=seed, progress=progress)
    progress(1.0)
    return model_folder.Tensors(np.ascontiguousarray(patches[chosen]), mean, std)


class _Stages:
    """Shares of the whole that the stages of teaching take, so that a progress bar moves evenly."""

    def __init__(self, report: Progress) -> None:
        self._report = report
        self._banks_done = 0
        self.banks = 1

    def reading(self, fraction: float) -> None:
        self._report("reading", 0.1 * fraction)

    def features(self, fraction: float) -> None:
        self._report("features", 0.1 + 0.2 * fraction)

    def memory_bank(self, fraction: float) -> None:
        self._report("memory bank", 0.3 + 0.7 * (self._banks_done + fraction) / self.banks)
        self._banks_done += fraction == 1.0


def _fit_input(frame: BGRImage, size: int) -> BGRImage:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ImageError(f"a frame must be H×W×3 uint8 BGR, not {frame.shape} {frame.dtype}")
    height, width = frame.shape[:2]
    if (height, width) == (size, size):
        return frame
    # Area averaging on the way down: bilinear would alias, and fine texture would change with the camera's resolution.
    filter_ = cv2.INTER_AREA if min(height, width) >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (size, size), interpolation=filter_), np.uint8)
