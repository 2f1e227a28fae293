"""A trained model on disk: ``manifest.json`` and ``memory_bank.safetensors``, never a pickle."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from detector import backbone, score
from detector.errors import ModelError
from detector.files import sync_folder, write_atomically

FORMAT_VERSION = 1
MANIFEST, TENSORS = "manifest.json", "memory_bank.safetensors"
DEFINITIONS = (backbone.PREPROCESSING, backbone.POOLING, score.DEFINITION)
"""What must be the same for a model's scores to mean the same."""


@dataclass(frozen=True)
class Tensors:
    """What was learned: ``memory_bank`` M×152, ``mean`` and ``std`` 152 (of the raw patch features), all float32."""

    memory_bank: NDArray[np.float32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]


class Manifest(msgspec.Struct, frozen=True, dict=True):
    """How a model was made, and what must fit for it to be used."""

    format_version: int
    category: str
    image_size: int
    backbone: str
    backbone_sha256: str
    layers: list[str]
    preprocessing: str
    pooling: str
    coreset: str
    coreset_size: int
    seed: int
    score: str
    n_images: int
    held_out_scores: list[float]
    threshold: float
    dataset_fingerprint: str
    tensors_sha256: str
    created: str
    software: dict[str, str]

    @cached_property
    def hash(self) -> str:
        """sha256 of the manifest, which names the tensors' own. Names this very model: the same pictures, seed and
        definitions give the same hash, whenever and wherever they were taught."""
        return hashlib.sha256(to_json(msgspec.structs.replace(self, created="", software={}))).hexdigest()


def describe(
    tensors: Tensors,
    *,
    category: str,
    image_size: int,
    backbone_sha256: str,
    seed: int,
    n_images: int,
    held_out_scores: list[float],
    threshold: float,
    fingerprint: str,
) -> Manifest:
    """The manifest of a model that was just made."""
    return Manifest(
        format_version=FORMAT_VERSION,
        category=category,
        image_size=image_size,
        backbone=backbone.NAME,
        backbone_sha256=backbone_sha256,
        layers=list(backbone.LAYERS),
        preprocessing=backbone.PREPROCESSING,
        pooling=backbone.POOLING,
        coreset="greedy k-center in a Gaussian random projection",
        coreset_size=len(tensors.memory_bank),
        seed=seed,
        score=score.DEFINITION,
        n_images=n_images,
        held_out_scores=held_out_scores,
        threshold=threshold,
        dataset_fingerprint=fingerprint,
        tensors_sha256=hashlib.sha256(_pack(tensors)).hexdigest(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        software={name: _version(name) for name in ("defectvision", "openvino", "numpy", "opencv-python-headless")},
    )


def is_model_folder(folder: Path) -> bool:
    """Whether a folder looks like a model's (it has a manifest); it may still be damaged."""
    return (folder / MANIFEST).is_file()


def write(folder: Path, manifest: Manifest, tensors: Tensors) -> None:
    """Write a model folder in one step: a complete one beside it, then renamed into place.

    Raises:
        ModelError: the path exists and is not a model folder, or cannot be written.
    """
    folder = folder.absolute()
    if folder.exists() and not is_model_folder(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise ModelError(f"{folder} exists and is not a model folder: choose another place, nothing was written")
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        fresh.mkdir(parents=True)
        write_atomically(fresh / TENSORS, _pack(tensors))
        write_atomically(fresh / MANIFEST, to_json(manifest))
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
            folder.rename(old)
            fresh.rename(folder)
            shutil.rmtree(old)
        else:
            fresh.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ModelError(f"the model cannot be written to {folder}: {error.strerror}") from error


def read(folder: Path) -> tuple[Manifest, Tensors]:
    """Read and check a model folder.

    Raises:
        ModelError: missing, of another format version or backbone, damaged, or changed since it was made.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
        data = (folder / TENSORS).read_bytes()
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise ModelError(
            f"{folder} is not a model folder: it has no {name}; make one with defectvision train"
        ) from error
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error.strerror}") from error
    try:
        found = msgspec.json.decode(text).get("format_version")
        if found != FORMAT_VERSION:
            raise ModelError(
                f"{folder} has model format {found!r}, this software reads {FORMAT_VERSION}: "
                "teach it again, or use the matching version"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, AttributeError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder / MANIFEST} is damaged: {error}") from error
    if (manifest.backbone, manifest.backbone_sha256) != (backbone.NAME, backbone.CHECKPOINT_SHA256):
        raise ModelError(
            f"{folder} was made with backbone {manifest.backbone} ({manifest.backbone_sha256[:12]}…), here is "
            f"{backbone.NAME} ({backbone.CHECKPOINT_SHA256[:12]}…): teach it again"
        )
    if (manifest.preprocessing, manifest.pooling, manifest.score) != DEFINITIONS:
        raise ModelError(f"{folder} was made with another preprocessing, pooling or score definition: teach it again")
    if hashlib.sha256(data).hexdigest() != manifest.tensors_sha256:
        raise ModelError(
            f"{folder / TENSORS} is damaged: its sha256 is not the one in the manifest; copy the folder again"
        )
    if manifest.image_size % 16 or not 64 <= manifest.image_size <= 2048 or not 0 < manifest.threshold < float("inf"):
        raise ModelError(f"{folder / MANIFEST} is damaged: image size or threshold make no sense")
    return manifest, _unpack(data, folder)


def to_json(manifest: Manifest) -> bytes:
    """The manifest file's content."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def _pack(tensors: Tensors) -> bytes:
    return bytes(safetensors.save({"memory_bank": tensors.memory_bank, "mean": tensors.mean, "std": tensors.std}))


def _unpack(data: bytes, folder: Path) -> Tensors:
    try:
        arrays = safetensors.load(data)
        tensors = Tensors(arrays["memory_bank"], arrays["mean"], arrays["std"])
    except (SafetensorError, KeyError) as error:
        raise ModelError(f"{folder / TENSORS} is damaged: {error}") from error
    shapes = (tensors.memory_bank.shape[1:], tensors.mean.shape, tensors.std.shape)
    if shapes != ((backbone.CHANNELS,),) * 3 or any(
        a.dtype != np.float32 for a in (tensors.memory_bank, tensors.mean, tensors.std)
    ):
        raise ModelError(f"{folder / TENSORS} is damaged: its tensors have the wrong shape")
    return tensors


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
