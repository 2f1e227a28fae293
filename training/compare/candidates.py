"""The models that can be compared, each by a name: what is fitted, and how large it is on disk."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import detector
from detector import Detector
from detector.backbones import load_backbone
from detector.teaching import PRESETS, Method, PresetName
from training.anomalib import EFFICIENTAD_STEPS
from training.anomalib import models as anomalib_models
from training.data import datasets

Progress = Callable[[str, float], None]
"""Called with a stage and the fraction of the fit that is done, 0..1."""


class UnknownCandidate(ValueError):
    """There is no model of that name. The message is one for the operator and lists those there are."""


@dataclass(frozen=True)
class TrainingData:
    """What every candidate learns from: the same pictures of good parts, in the same order."""

    category: str
    paths: tuple[Path, ...]
    fingerprint: str
    """SHA-256 over the pictures."""

    def pictures(self) -> datasets.Pictures:
        """The pictures, H×W×3 uint8 BGR, read when asked for."""
        return datasets.Pictures(self.paths)


@dataclass(frozen=True)
class Fitted:
    """A model that has learned."""

    model: Detector
    size_bytes: Callable[[], int]
    """What it takes on disk, the backbone's weights included. Called when the fit's time was taken: it may have to be
    saved for that."""


@dataclass(frozen=True)
class Candidate:
    """A model to compare. ``fit`` raises whatever goes wrong: a candidate that fails costs only its own row."""

    name: str
    description: str
    fit: Callable[[TrainingData, Progress], Fitted]


@dataclass(frozen=True)
class EfficientADOptions:
    """What EfficientAD learns from besides the good parts; nothing is ever downloaded."""

    teacher: Path | None = None
    """``pretrained_teacher_small.pth`` or ``…_medium.pth``."""
    imagenette: Path | None = None
    """The unpacked folder."""
    steps: int = EFFICIENTAD_STEPS


NO_OPTIONS = EfficientADOptions()


def _own(data: TrainingData, progress: Progress, method: Method, preset: PresetName) -> Fitted:
    model = detector.fit(
        data.pictures(),
        method=method,
        preset=preset,
        category=data.category,
        fingerprint=data.fingerprint,
        progress=progress,
    )
    return Fitted(model, lambda: _saved_bytes(model.save) + _backbone_bytes())


def _saved_bytes(save: Callable[[Path], None]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "model")
        return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def _backbone_bytes() -> int:
    """Our model folders do without the backbone's weights, which are installed once; anomalib's models hold them."""
    backbone = load_backbone()
    layers = [backbone.stem, *(layer for block in backbone.blocks for layer in block.convolutions)]
    return sum(layer.weight.nbytes + layer.bias.nbytes for layer in layers)


def _anomalib_patchcore(data: TrainingData, progress: Progress) -> Fitted:
    progress("anomalib fits it twice", 0.0)
    with _within_ours():
        return _of_anomalib(anomalib_models.fit_patchcore(data.paths, category=data.category))


def _anomalib_padim(data: TrainingData, progress: Progress) -> Fitted:
    progress("anomalib fits it twice", 0.0)
    with _within_ours():
        return _of_anomalib(anomalib_models.fit_padim(data.paths, category=data.category))


def _anomalib_efficientad(data: TrainingData, progress: Progress, options: EfficientADOptions) -> Fitted:
    progress(f"anomalib takes {options.steps:,} steps", 0.0)
    with _within_ours():
        fit = anomalib_models.fit_efficientad(
            data.paths,
            teacher=options.teacher,
            imagenette=options.imagenette,
            steps=options.steps,
            category=data.category,
        )
    return _of_anomalib(fit)


@contextlib.contextmanager
def _within_ours() -> Iterator[None]:
    """anomalib draws progress bars of its own, into log files too, and its trainer answers Ctrl-C with the end of the
    program."""
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
            yield
    except SystemExit as stopped:
        raise KeyboardInterrupt from stopped


def _of_anomalib(fit: anomalib_models.AnomalibFit) -> Fitted:
    return Fitted(fit.model, lambda: fit.size_bytes)


def _patchcore(name: str, preset: PresetName) -> Candidate:
    sizes = PRESETS[preset]
    description = f"our PatchCore, {preset}: {sizes.image_size}², {sizes.coreset_size:,} patches"
    return Candidate(name, description, partial(_own, method="patchcore", preset=preset))


OWN = (
    _patchcore("patchcore", "balanced"),
    _patchcore("patchcore-fast", "fast"),
    _patchcore("patchcore-fine", "fine"),
    Candidate(
        "padim",
        f"our PaDiM: {PRESETS['balanced'].image_size}²",
        partial(_own, method="padim", preset="balanced"),
    ),
)


def known(efficientad: EfficientADOptions = NO_OPTIONS) -> dict[str, Candidate]:
    """Every model that can be asked for, by name: ours first, those that are compared unless others are asked for."""
    of_anomalib = (
        Candidate("anomalib-patchcore", "anomalib’s PatchCore, our backbone", _anomalib_patchcore),
        Candidate("anomalib-padim", "anomalib’s PaDiM, our backbone", _anomalib_padim),
        Candidate(
            "anomalib-efficientad",
            f"anomalib’s EfficientAD, {efficientad.steps:,} steps",
            partial(_anomalib_efficientad, options=efficientad),
        ),
    )
    return {candidate.name: candidate for candidate in (*OWN, *of_anomalib)}


def chosen(names: Sequence[str], efficientad: EfficientADOptions = NO_OPTIONS) -> tuple[Candidate, ...]:
    """The models of these names, in that order; all of ours for no name.

    Raises:
        UnknownCandidate: there is no such model, or one is named twice.
    """
    by_name = known(efficientad)
    for name in names:
        if name not in by_name:
            raise UnknownCandidate(f"There is no model {name!r} to compare. There are: {', '.join(by_name)}.")
        if names.count(name) > 1:
            raise UnknownCandidate(f"The model {name} is named twice. Name each once.")
    return tuple(by_name[name] for name in names) or OWN
