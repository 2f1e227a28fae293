"""anomalib's PatchCore, PaDiM and EfficientAD, taught through its Engine on our pictures, to compare with.

Same pictures, same resizing, and for PatchCore and PaDiM the same backbone weights and preprocessing as the detector.
Scores are raw, and the threshold is found as ours is: from the raw scores of normal pictures the model had
not seen. Needs the ``anomalib`` extra; nothing is downloaded and nothing is written.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detector import DetectorError, ModelError, calibrate
from detector.anomalib import TOLERANCE, AnomalibExport, write_sidecar
from detector.anomalib import load as load_export
from detector.extras import to_install
from detector.images import SUFFIXES
from detector.teaching import DEFAULT_PRESET, HELD_OUT_ENOUGH, HOLDOUT, PRESETS
from training.data import datasets

if TYPE_CHECKING:
    from training.anomalib.torch_detector import AnomalibDetector

PADIM_FEATURES = 100
"""As the paper keeps of ResNet-18's."""

EFFICIENTAD_SIDE = 256
"""The smallest picture its autoencoder takes, and the paper's size."""

EFFICIENTAD_STEPS = 70_000
"""The paper's. Hours on a CPU."""

MIN_PICTURES = 5
_NO_THRESHOLD = math.nan
_BATCH = 16

TEACHER_FROM = (
    "https://github.com/open-edge-platform/anomalib/releases/download/efficientad_pretrained_weights/"
    "efficientad_pretrained_weights.zip"
)
IMAGENETTE_FROM = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2.tgz"


@dataclass(frozen=True)
class AnomalibFit:
    """A model of anomalib's and what it took.

    ``seconds``: the Engine's fit of this model. ``held_out_scores``: raw, of normal pictures the model that gave them
    had not seen.
    """

    model: AnomalibDetector
    seconds: float
    held_out_scores: tuple[float, ...]

    @property
    def size_bytes(self) -> int:
        """Of all tensors the model needs, the backbone's included."""
        return self.model.size_bytes


def fit_patchcore(
    paths: Sequence[Path],
    *,
    image_size: int = PRESETS[DEFAULT_PRESET].image_size,
    coreset_size: int = PRESETS[DEFAULT_PRESET].coreset_size,
    seed: int = 0,
    category: str = "",
) -> AnomalibFit:
    """Teach anomalib's PatchCore on all pictures; its threshold comes from another one, taught on four fifths.

    Args:
        paths: pictures of good parts, at least 5.
        image_size: side of the square input in pixels, a multiple of 16.
        coreset_size: patches in the memory bank at the most.
        seed: the same pictures and seed give the same model.
        category: what the parts are called.

    Raises:
        ModelError: anomalib is not installed, or too few pictures.
        datasets.DataSetError: a picture cannot be read; names it.
    """

    def make(n_pictures: int) -> Any:
        from training.anomalib import modules

        # anomalib counts int(patches · share): half a patch more keeps rounding from losing one.
        patches = n_pictures * (image_size // 8) ** 2
        return modules.patchcore(image_size, min(1.0, (coreset_size + 0.5) / patches))

    return _fit_twice(make, paths, image_size, seed, category)


def fit_padim(
    paths: Sequence[Path],
    *,
    image_size: int = PRESETS[DEFAULT_PRESET].image_size,
    n_features: int = PADIM_FEATURES,
    seed: int = 0,
    category: str = "",
) -> AnomalibFit:
    """Teach anomalib's PaDiM on all pictures; its threshold comes from another one, taught on four fifths.

    Args:
        paths: pictures of good parts, at least 5.
        image_size: side of the square input in pixels, a multiple of 16.
        n_features: of the 152, chosen at random.
        seed: the same pictures and seed give the same model.
        category: what the parts are called.

    Raises:
        ModelError: anomalib is not installed, or too few pictures.
        datasets.DataSetError: a picture cannot be read; names it.
    """

    def make(n_pictures: int) -> Any:
        from training.anomalib import engine, modules

        with engine.seeded(seed):  # the features are chosen when the model is made
            return modules.padim(image_size, n_features)

    return _fit_twice(make, paths, image_size, seed, category)


def fit_efficientad(
    paths: Sequence[Path],
    *,
    teacher: Path | None,
    imagenette: Path | None,
    image_size: int = EFFICIENTAD_SIDE,
    steps: int = EFFICIENTAD_STEPS,
    seed: int = 0,
    category: str = "",
) -> AnomalibFit:
    """Teach anomalib's EfficientAD on four fifths of the pictures.

    The others are its validation set, as its authors have it, which sets the scale of its maps; and the threshold
    comes from their scores. Teaching it twice would take too long.

    Args:
        paths: pictures of good parts, at least 5.
        teacher: ``pretrained_teacher_small.pth`` or ``…_medium.pth``.
        imagenette: the unpacked folder, or any with pictures in subfolders.
        image_size: side of the square input in pixels, at least 256.
        steps: of gradient descent, one picture each.
        seed: of every random choice.
        category: what the parts are called.

    Raises:
        ModelError: the teacher, ImageNette or anomalib is missing, or too few pictures.
        datasets.DataSetError: a picture cannot be read; names it.
    """
    teacher, imagenette = require_efficientad_files(teacher, imagenette)
    if image_size < EFFICIENTAD_SIDE:
        raise ModelError(f"EfficientAD takes pictures of at least {EFFICIENTAD_SIDE}², not {image_size}²")
    if steps < 1:
        raise ModelError(f"{steps} steps cannot be taken: take at least 1")
    taught, held_out = _hold_out(paths, seed)
    _require_anomalib()
    from training.anomalib import engine, modules

    with engine.seeded(seed):
        module = modules.efficientad(image_size, teacher, imagenette)
    return _fit_once(module, taught, held_out, image_size, seed, category, steps=steps, batch_size=1)


def require_efficientad_files(teacher: Path | None, imagenette: Path | None) -> tuple[Path, Path]:
    """Check, before minutes of work, that what EfficientAD learns from besides the good parts is there.

    Raises:
        ModelError: what is missing, where it comes from, and how to give it; nothing is ever downloaded.
    """
    missing = []
    if teacher is None or not teacher.is_file():
        missing.append(
            f"its teacher{f', which is not at {teacher}' if teacher else ''} (unpack {TEACHER_FROM} and give "
            "--efficientad-teacher …/pretrained_teacher_small.pth)"
        )
    if imagenette is None or not _holds_pictures_in_folders(imagenette):
        missing.append(
            f"ImageNette{f', whose folders of pictures are not in {imagenette}' if imagenette else ''} (unpack "
            f"{IMAGENETTE_FROM} and give --imagenette …/imagenette2)"
        )
    if missing or teacher is None or imagenette is None:
        raise ModelError(f"EfficientAD needs {' and '.join(missing)}; nothing is downloaded here")
    return teacher, imagenette


def export(fit: AnomalibFit, folder: Path) -> AnomalibExport:
    """Export a model by anomalib's own exporter, ready for ``MODEL_PATH``: with its held-out scores beside it.

    Args:
        fit: the model.
        folder: ``weights/openvino/model.xml`` and what belongs to it are written there.

    Raises:
        ModelError: ``onnxscript`` is missing, or the exported model scores drawn pictures otherwise than the torch one.
    """
    from training.anomalib import engine

    try:
        path = engine.export(fit.model.module, folder, fit.model.image_size)
    except ModuleNotFoundError as error:
        raise _not_installed() from error
    exported = load_export(path)
    for picture in _drawn(fit.model.image_size):
        ours, theirs = exported.detect(picture).score, fit.model.detect(picture).score
        if not math.isclose(ours, theirs, rel_tol=TOLERANCE):
            raise ModelError(f"the exported model scores a drawn picture {ours:g}, the torch model {theirs:g}")
    write_sidecar(exported, path, fit.held_out_scores, fit.model.category)
    return load_export(path)


def _fit_twice(make: Any, paths: Sequence[Path], side: int, seed: int, category: str) -> AnomalibFit:
    taught, held_out = _hold_out(paths, seed)
    _require_anomalib()
    calibrated = _fit_once(make(len(taught)), taught, held_out, side, seed, category)
    whole = _fit_once(make(len(paths)), paths, (), side, seed, category)
    model = replace(whole.model, threshold=calibrated.model.threshold)
    return AnomalibFit(model, whole.seconds, calibrated.held_out_scores)


def _fit_once(
    module: Any,
    taught: Sequence[Path],
    held_out: Sequence[Path],
    side: int,
    seed: int,
    category: str,
    *,
    steps: int | None = None,
    batch_size: int = _BATCH,
) -> AnomalibFit:
    from training.anomalib import engine
    from training.anomalib.pictures import Pictures
    from training.anomalib.torch_detector import AnomalibDetector

    seconds = engine.fit(module, Pictures(taught, held_out, side, batch_size), seed=seed, steps=steps)
    model = AnomalibDetector(module, category, side, _NO_THRESHOLD)
    scores = tuple(model.detect(frame).score for frame in datasets.read_all(held_out))
    if not scores:
        return AnomalibFit(model, seconds, ())
    try:
        threshold = calibrate(scores).threshold
    except ValueError as error:
        raise ModelError(f"the held-out pictures make no threshold for {type(module).__name__}: {error}") from error
    return AnomalibFit(replace(model, threshold=threshold), seconds, scores)


def _hold_out(paths: Sequence[Path], seed: int) -> tuple[list[Path], list[Path]]:
    """A fifth, at most 30: as many as the detector's own threshold comes from."""
    if len(paths) < MIN_PICTURES:
        raise ModelError(f"{len(paths)} normal pictures are too few to teach from: take at least {MIN_PICTURES}")
    count = min(max(2, round(HOLDOUT * len(paths))), HELD_OUT_ENOUGH)
    chosen = set(np.random.default_rng(seed).choice(len(paths), count, replace=False).tolist())
    return (
        [path for index, path in enumerate(paths) if index not in chosen],
        [path for index, path in enumerate(paths) if index in chosen],
    )


def _holds_pictures_in_folders(folder: Path) -> bool:
    return folder.is_dir() and any(
        path.suffix.lower() in SUFFIXES for inner in folder.iterdir() if inner.is_dir() for path in inner.rglob("*.*")
    )


def _drawn(side: int) -> list[Any]:
    random = np.random.default_rng(0)
    return [random.integers(0, limit, (side, side, 3), np.uint8, endpoint=True) for limit in (60, 255)]


def _require_anomalib() -> None:
    try:
        with warnings.catch_warnings():  # anomalib imports things it deprecates itself
            warnings.simplefilter("ignore")
            import training.anomalib.modules  # noqa: F401
    except ImportError as error:
        raise _not_installed() from error


def _not_installed() -> DetectorError:
    return ModelError(f"anomalib is not installed, or not completely: {to_install('anomalib')}")
