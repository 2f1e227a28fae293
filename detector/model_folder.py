"""A trained model on disk: ``manifest.json`` and ``memory_bank-HASH.safetensors``, never a pickle.

The manifest names the tensors by their sha256, so replacing it is the one moment at which a new model takes the old
one's place: a crash at any time leaves the old model or the new one.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from detector import backbone, score
from detector.errors import ModelError
from detector.files import sync_folder, write_atomically

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
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
    tensors_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    created: str
    software: dict[str, str]

    @cached_property
    def hash(self) -> str:
        """sha256 of the manifest, which names the tensors' own. Names this very model: the same pictures, seed and
        definitions give the same hash whenever they are taught on the same kind of machine (another processor rounds
        otherwise)."""
        return hashlib.sha256(to_json(msgspec.structs.replace(self, created="", software={}))).hexdigest()

    @property
    def tensors_file(self) -> str:
        return f"memory_bank-{self.tensors_sha256[:16]}.safetensors"


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
    """Write a model folder; an older model there is replaced in one step, and is untouched if that fails.

    Raises:
        ModelError: the path exists and is not a model folder, or cannot be written.
    """
    folder = folder.absolute()
    if folder.exists() and not is_model_folder(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise ModelError(f"{folder} exists and is not a model folder: choose another place, nothing was written")
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        if is_model_folder(folder):
            _write_files(folder, manifest, tensors)
            for old in folder.glob("memory_bank-*.safetensors"):
                if old.name != manifest.tensors_file:
                    old.unlink(missing_ok=True)
        else:
            fresh.mkdir(parents=True)
            _write_files(fresh, manifest, tensors)
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
    manifest = _decode(_read_file(folder, MANIFEST), folder)
    if (manifest.backbone, manifest.backbone_sha256) != (backbone.NAME, backbone.CHECKPOINT_SHA256):
        raise ModelError(
            f"{folder} was made with backbone {manifest.backbone} ({manifest.backbone_sha256[:12]}…), here is "
            f"{backbone.NAME} ({backbone.CHECKPOINT_SHA256[:12]}…): teach it again"
        )
    if (manifest.preprocessing, manifest.pooling, manifest.score) != DEFINITIONS:
        raise ModelError(f"{folder} was made with another preprocessing, pooling or score definition: teach it again")
    if manifest.image_size % 16 or not 64 <= manifest.image_size <= 2048 or not 0 < manifest.threshold < float("inf"):
        raise ModelError(f"{folder / MANIFEST} is damaged: image size or threshold make no sense")
    data = _read_file(folder, manifest.tensors_file)
    if hashlib.sha256(data).hexdigest() != manifest.tensors_sha256:
        raise ModelError(
            f"{folder / manifest.tensors_file} is damaged: its sha256 is not the one in the manifest; "
            "copy the folder again"
        )
    return manifest, _unpack(data, folder / manifest.tensors_file)


def _read_file(folder: Path, name: str) -> bytes:
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}: check the path, or make a model with defectvision train")
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} is not a complete model folder: it has no {name}; copy it again, or make one with "
            "defectvision train"
        ) from error
    except OSError as error:
        raise ModelError(f"{folder / name} cannot be read: {error.strerror}") from error


def _decode(text: bytes, folder: Path) -> Manifest:
    try:
        found = msgspec.json.decode(text).get("format_version")
        if found != FORMAT_VERSION:
            raise ModelError(
                f"{folder} has model format {found!r}, this software reads {FORMAT_VERSION}: "
                "teach it again, or use the matching version"
            )
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, AttributeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{folder / MANIFEST} is damaged ({error}): copy the folder again, or teach anew") from error


def _write_files(folder: Path, manifest: Manifest, tensors: Tensors) -> None:
    write_atomically(folder / manifest.tensors_file, _pack(tensors))
    write_atomically(folder / MANIFEST, to_json(manifest))


def to_json(manifest: Manifest) -> bytes:
    """The manifest file's content."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def _pack(tensors: Tensors) -> bytes:
    return bytes(safetensors.save({"memory_bank": tensors.memory_bank, "mean": tensors.mean, "std": tensors.std}))


def _unpack(data: bytes, path: Path) -> Tensors:
    try:
        arrays = safetensors.load(data)
        tensors = Tensors(arrays["memory_bank"], arrays["mean"], arrays["std"])
    except (SafetensorError, KeyError) as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    shapes = (tensors.memory_bank.shape[1:], tensors.mean.shape, tensors.std.shape)
    if (
        not len(tensors.memory_bank)
        or shapes != ((backbone.CHANNELS,),) * 3
        or any(a.dtype != np.float32 for a in (tensors.memory_bank, tensors.mean, tensors.std))
    ):
        raise ModelError(f"{path} is damaged: its tensors have the wrong shape")
    return tensors


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
