"""A trained model on disk: ``manifest.json`` and ``memory_bank-HASH.safetensors``, never a pickle.

The manifest names the tensors by their sha256, so replacing it is the one moment at which a new model takes the old
one's place: a crash at any time leaves the old model or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import shutil
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import msgspec
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from detector import input_size, score
from detector.backbones import (
    NAME,
    PACKAGED,
    AnyBackbone,
    Backbone,
    GraphBackbone,
    Layer,
    load_backbone,
    patch_grid,
    timm_backbone,
)
from detector.errors import ModelError
from detector.files import in_turn, read_whole, remove_leftovers, sync_folder, temporary_beside, write_atomically
from detector.heads import COARSE_SIDE, METHODS, SHRINKS, MemoryBanks
from detector.input_size import InputSize
from detector.light import AnyHead, head_from, ordinary, tensors_of
from detector.region import Region
from detector.registration import Reference
from detector.thresholds import follows
from detector.version import VERSION

FORMAT_VERSION = 4
MANIFEST = "manifest.json"
GRAPH_FOLDER = "openvino"
"""In a model folder: the graph that :mod:`detector.self_contained` made of the model."""
POOLING = (
    "finer layers averaged down to the patch grid, each averaged over its neighbourhood with zero padding, coarser "
    "ones enlarged bilinearly"
)
DEFINITIONS = {"pooling": POOLING, "score": score.DEFINITION}
"""What must be the same, besides the backbone's preprocessing, for a model's scores to mean the same."""

LARGEST_MANIFEST = 4_000_000
"""Bytes. Read, they are many times as many."""
WIDEST_NEIGHBOURHOOD = 9
"""Of a layer. Ours are 1 or 3 wide."""
MOST_CHANNELS = 1 << 16
"""Of all layers of a backbone together. A WideResNet-50-2's two have 1,536."""
LONGEST_CATEGORY = 1000
"""Characters of a category."""
LONGEST_REMARK = 500
"""Characters of what a manifest says of registration."""
_QUANTISED = b'"FakeQuantize"'
"""In a graph of OpenVINO's whose numbers have 8 bits."""

_LONGEST = 60
"""Characters of a manifest that an error repeats."""

_NAMED_BY_HASH = ("memory_bank-*.safetensors", "backbone-*")
_SOFTWARE = ("openvino", "numpy", "opencv-python-headless")

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct, frozen=True, dict=True, omit_defaults=True):
    """How a model was made, and what must fit for it to be used.

    A field with a default may be missing: a folder without it is valid.

    Attributes:
        image_size: side, in pixels, of the square that has about as many as the input.
        coreset_size: patches in the memory banks of all scales.
        shrink: what the coarse scale averages the input down by; 1 where there is none.
        shapes: narrowest and widest shape (width to height) of the images it was taught with.
        reference: that frames are laid on before anything else is done with them; None for as they lie.
        registration: why it has a reference, or none, in words. Not part of the hash.
        size_multiple: what both sides of the input must be multiples of, where the backbone's layers do not tell
            (:func:`_told_by_layers`); 0 where they do.
        sha256: of the manifest without it; in the file only.
    """

    format_version: int
    method: str
    category: str
    image_size: int
    region: Region
    precision: str
    backbone: str
    backbone_sha256: Sha256
    backbone_files: dict[str, Sha256]
    layers: list[Layer]
    preprocessing: str
    pooling: str
    projection: str
    coreset: str
    coreset_size: int
    shrink: int
    seed: int
    score: str
    n_images: int
    held_out_scores: list[float]
    threshold: float
    dataset_fingerprint: str
    tensors_sha256: Sha256
    created: str
    software: dict[str, str]
    shapes: tuple[float, float] | None = None
    reference: Reference | None = None
    registration: str = ""
    size_multiple: Annotated[int, msgspec.Meta(ge=0, le=input_size.LARGEST_SIDE)] = 0
    sha256: Sha256 | None = None

    @cached_property
    def hash(self) -> str:
        """sha256 of the manifest, which names the tensors' own. Names this very model: the same pictures, seed and
        definitions give the same hash whenever they are taught on the same kind of machine (another processor rounds
        otherwise)."""
        return hashlib.sha256(
            to_json(msgspec.structs.replace(self, created="", software={}, registration=""))
        ).hexdigest()

    @cached_property
    def input_size(self) -> InputSize:
        """Height and width of the model's input, in pixels."""
        return self.region.input_size(patch_grid(self.layers))

    @property
    def tensors_file(self) -> str:
        return f"memory_bank-{self.tensors_sha256[:16]}.safetensors"


class Described:
    """A model of ours, loaded or not: what is known of it by its manifest alone.

    Attributes:
        manifest: how it was made.
    """

    manifest: Manifest

    @property
    def category(self) -> str:
        """What the parts are called."""
        return self.manifest.category

    @property
    def image_size(self) -> int:
        """Side, in pixels, of the square that has about as many as the input."""
        return self.manifest.image_size

    @property
    def input_size(self) -> InputSize:
        """Height and width of the input, in pixels: those of a square, or of the shape of what is inspected."""
        return self.manifest.input_size

    @property
    def threshold(self) -> float:
        """The default threshold, from held-out normal images: a start, until the place is calibrated."""
        return self.manifest.threshold


def describe(
    head: AnyHead,
    *,
    category: str,
    image_size: int,
    region: Region,
    precision: str,
    network: AnyBackbone,
    projection: str,
    seed: int,
    n_images: int,
    held_out_scores: list[float],
    threshold: float,
    fingerprint: str,
    shapes: tuple[float, float] | None = None,
    reference: Reference | None = None,
    registration: str = "",
) -> Manifest:
    """The manifest of a model that was just made."""
    main = ordinary(head)
    banks = main if isinstance(main, MemoryBanks) else None
    return Manifest(
        format_version=FORMAT_VERSION,
        method=next(name for name, kind in METHODS.items() if isinstance(main, kind)),
        category=category,
        image_size=image_size,
        region=region,
        precision=precision,
        backbone=network.name,
        backbone_sha256=network.sha256,
        backbone_files={name: _sha256(data) for name, data in backbone_files(network).items()},
        layers=list(network.layers),
        preprocessing=network.preprocessing,
        **DEFINITIONS,
        projection=projection,
        coreset="greedy k-center" if banks else "none",
        coreset_size=_entries(head),
        shrink=banks.shrink if banks else 1,
        seed=seed,
        n_images=n_images,
        held_out_scores=held_out_scores,
        threshold=threshold,
        dataset_fingerprint=fingerprint,
        shapes=shapes,
        reference=reference,
        registration=registration,
        size_multiple=_said_multiple(network),
        tensors_sha256=tensors_sha256(head),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        software={
            "defectvision": VERSION,
            **{name: _version(name) for name in (*_SOFTWARE, *(("nncf",) if precision == "int8" else ()))},
        },
    )


def is_model_folder(folder: Path) -> bool:
    """Whether a folder looks like a model's (it has a manifest); it may still be damaged."""
    return (folder / MANIFEST).is_file()


def is_free(folder: Path) -> bool:
    """Whether nothing of anybody's lies in a folder: nothing at all, hidden files, the ``lost+found`` of a new disk, or
    what a crash left of a model that was being written there."""
    return not [entry for entry in folder.iterdir() if not entry.name.startswith(".") and not _is_leftover(entry)]


def _is_leftover(entry: Path) -> bool:
    return entry.name == "lost+found" or any(entry.match(pattern) for pattern in _NAMED_BY_HASH)


def write(folder: Path, manifest: Manifest, head: AnyHead, network: AnyBackbone) -> None:
    """Write a model folder; an older model there is replaced in one step, and is untouched if that fails.

    A folder that is there already is written into, never replaced: it may be a mounted disk, behind a link, or the one
    somebody's shell is in. Its manifest comes last.

    Raises:
        ModelError: the path exists and is not a model folder, or cannot be written.
    """
    folder = folder.absolute()
    if folder.exists() and not (folder.is_dir() and (is_model_folder(folder) or is_free(folder))):
        raise ModelError(f"{folder} exists and is not a model folder: choose another place, nothing was written")
    fresh = temporary_beside(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with in_turn(folder.parent):  # of two at once each would take the other's tensors for those of an older model
            remove_leftovers(folder.parent, of=folder.name)
            if folder.exists():
                _write_files(folder, manifest, head, network)
                tidy(folder, manifest)
            else:
                fresh.mkdir()
                _write_files(fresh, manifest, head, network)
                fresh.rename(folder)
                sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if folder.is_dir() and not is_model_folder(folder):
            _remove_files(folder, but=set())
        raise ModelError(f"the model cannot be written to {folder}: {error.strerror}") from error


def tidy(folder: Path, manifest: Manifest) -> None:
    """Remove what a crash left of an older or newer model in the folder of this one."""
    _remove_files(folder, but={manifest.tensors_file, *manifest.backbone_files})


def _remove_files(folder: Path, *, but: set[str]) -> None:
    for pattern in _NAMED_BY_HASH:
        for old in folder.glob(pattern):
            if old.name not in but:
                with contextlib.suppress(OSError):
                    old.unlink()


def read_manifest(folder: Path) -> Manifest:
    """What a model folder says of itself; what it learned is not looked at. Takes a millisecond.

    Raises:
        ModelError: missing, of another format version, damaged, or changed since it was made.
    """
    return _unsealed(_decode(_read_file(folder, MANIFEST), folder), folder)


def _unsealed(manifest: Manifest, folder: Path) -> Manifest:
    """Without its checksum, which is looked at."""
    if manifest.sha256 is None:
        return manifest
    seal, manifest = manifest.sha256, msgspec.structs.replace(manifest, sha256=None)
    if _sha256(to_json(manifest)) != seal:
        raise ModelError(
            f"{folder / MANIFEST} is damaged or was changed: its sha256 is not the one it names; copy the folder again"
        )
    return manifest


def read(folder: Path) -> tuple[Manifest, AnyHead, AnyBackbone]:
    """Read and check a model folder.

    Raises:
        ModelError: missing, of another format version or backbone, damaged, or changed since it was made.
    """
    manifest = _decode(_read_file(folder, MANIFEST), folder)
    network = _read_backbone(folder, manifest)
    defined = DEFINITIONS | {"preprocessing": network.preprocessing}
    if {name: getattr(manifest, name) for name in defined} != defined:
        raise ModelError(f"{folder} was made with another preprocessing, pooling or score definition: teach it again")
    if (wrong := _fault(manifest, network)) is not None:
        raise ModelError(f"{folder / MANIFEST} is damaged: {wrong}; copy the folder again")
    manifest = _unsealed(manifest, folder)
    data = _read_checked(folder / manifest.tensors_file, manifest.tensors_sha256)
    try:
        channels = sum(layer.channels for layer in network.layers)
        head = head_from(
            manifest.method,
            manifest.projection,
            safetensors.load(data),
            channels,
            manifest.region.width * manifest.region.height,
            manifest.shrink,
        )
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(f"{folder / manifest.tensors_file} is damaged: {error}") from error
    if manifest.coreset_size != _entries(head):
        raise ModelError(
            f"{folder / MANIFEST} is damaged: it says that {manifest.coreset_size} patches are in the memory banks, "
            f"there are {_entries(head)}; copy the folder again"
        )
    return manifest, head, network


def _entries(head: AnyHead) -> int:
    """Patches in the memory banks of all scales; 0 where there is none."""
    main = ordinary(head)
    return main.entries if isinstance(main, MemoryBanks) else 0


def _fault(manifest: Manifest, network: AnyBackbone) -> str | None:
    """What is wrong with what a manifest says: one clause; None where it can be."""
    if (
        manifest.shrink not in SHRINKS
        or not input_size.is_sound(manifest.input_size, manifest.image_size, network.size_multiple * manifest.shrink)
        or (manifest.shrink > 1 and manifest.image_size // manifest.shrink < COARSE_SIDE)
        or not 0 < manifest.threshold < score.LARGEST
        or not manifest.region.is_sound()
    ):
        return "image size, region or threshold make no sense"
    if not 2 <= len(manifest.held_out_scores) <= manifest.n_images:
        return f"{len(manifest.held_out_scores)} of {manifest.n_images} images cannot have been held out"
    if not _follows(manifest.threshold, manifest.held_out_scores):
        return f"a threshold of {manifest.threshold:g} does not follow from its held-out scores"
    if manifest.shapes is not None and not 0 <= manifest.shapes[0] <= manifest.shapes[1]:
        return "the narrowest of its images is wider than the widest, or narrower than nothing"
    if len(manifest.category) > LONGEST_CATEGORY:
        return f"its category has {len(manifest.category)} characters"
    if manifest.precision == "int8" and not (isinstance(network, GraphBackbone) and _QUANTISED in network.xml):
        return "its backbone does not compute in int8"
    if len(manifest.registration) > LONGEST_REMARK:
        return f"what it says of registration has {len(manifest.registration)} characters"
    if manifest.reference is not None and not manifest.reference.is_sound():
        return "the reference that parts are laid on makes no sense"
    if manifest.seed < 0:
        return f"{manifest.seed} is no seed"
    return None


def backbone_files(network: AnyBackbone) -> dict[str, bytes]:
    """What a model folder has to hold of its backbone, by file name: nothing of the packaged one."""
    if isinstance(network, Backbone):
        return {}
    name = f"backbone-{network.sha256[:16]}"
    files = {f"{name}.xml": network.xml, f"{name}.bin": network.weights}
    return files | ({f"{name}.safetensors": network.torch_form} if network.torch_form else {})


def _read_backbone(folder: Path, manifest: Manifest) -> AnyBackbone:
    if not manifest.backbone_files:
        known = PACKAGED.get(manifest.backbone, PACKAGED[NAME])
        if (manifest.backbone, manifest.backbone_sha256) != (known.name, known.checkpoint_sha256):
            raise ModelError(
                f"{folder} was made with backbone {_shortened(manifest.backbone)} ({manifest.backbone_sha256[:12]}…), "
                f"here is {known.name} ({known.checkpoint_sha256[:12]}…): teach it again"
            )
        if manifest.layers != list(known.layers):
            raise ModelError(
                f"{folder} was made with other layers of {known.name}, or with other weights of them: teach it again"
            )
        return load_backbone(known.name)
    name, named = f"backbone-{manifest.backbone_sha256[:16]}", manifest.backbone_files
    needed, torch_form = {f"{name}.xml", f"{name}.bin"}, f"{name}.safetensors"
    layers = tuple(manifest.layers)
    if set(named) not in (needed, needed | {torch_form}) or not _make_sense(layers):
        raise ModelError(f"{folder / MANIFEST} is damaged: it names no graph of its backbone; copy the folder again")
    files = {file: _read_checked(folder / file, sha256) for file, sha256 in named.items()}
    torch = files.get(torch_form, b"")
    return GraphBackbone(
        manifest.backbone,
        manifest.backbone_sha256,
        layers,
        files[f"{name}.xml"],
        files[f"{name}.bin"],
        grid_stride=patch_grid(layers),
        size_multiple=manifest.size_multiple or _told_by_layers(layers, bool(torch)),
        torch_form=torch,
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _told_by_layers(layers: Sequence[Layer], from_torch: bool) -> int:
    """What both sides of a graph's input must be multiples of, by its layers: the coarsest stride. One that came from
    torch and has several is convolutional, and computes more beside the layers used."""
    strides = {layer.stride for layer in layers}
    beside = timm_backbone.SIZE_MULTIPLE if from_torch and len(strides) > 1 else 1
    return max(beside, *strides)


def _said_multiple(network: AnyBackbone) -> int:
    """What a manifest says of it: nothing where the layers tell."""
    if isinstance(network, Backbone):
        return 0
    told = _told_by_layers(network.layers, bool(network.torch_form))
    return 0 if told == network.size_multiple else network.size_multiple


def _make_sense(layers: Sequence[Layer]) -> bool:
    """Whether these may be the layers of a backbone."""
    sound = all(
        layer.channels > 0
        and layer.stride > 0
        and layer.neighbourhood in range(1, WIDEST_NEIGHBOURHOOD + 1, 2)
        and 0 < layer.weight < math.inf
        for layer in layers
    )
    return sound and 0 < sum(layer.channels for layer in layers) <= MOST_CHANNELS


def _follows(threshold: float, scores: list[float]) -> bool:
    """Whether a threshold can be made of the scores, two or more."""
    if not all(0 <= score < math.inf for score in scores):
        return False
    mean, std = statistics.fmean(scores), statistics.stdev(scores)
    return follows(threshold, mean, std)


def _read_checked(file: Path, sha256: str) -> bytes:
    data = _read_file(file.parent, file.name)
    if _sha256(data) != sha256:
        raise ModelError(f"{file} is damaged: its sha256 is not the one in the manifest; copy the folder again")
    return data


def _read_file(folder: Path, name: str) -> bytes:
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}: check the path, or make a model with defectvision train")
    try:
        return read_whole(folder / name)
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} is not a complete model folder: it has no {name}; copy it again, or make one with "
            "defectvision train"
        ) from error
    except OSError as error:
        raise ModelError(f"{folder / name} cannot be read: {error.strerror}") from error


def _decode(text: bytes, folder: Path) -> Manifest:
    if len(text) > LARGEST_MANIFEST:
        words = f"it has {len(text):,} bytes, which no model's has"
        raise ModelError(f"{folder / MANIFEST} is damaged: {words}; copy the folder again")
    try:
        found = msgspec.json.decode(text).get("format_version")
        if found != FORMAT_VERSION:
            raise ModelError(
                f"{folder} has model format {_shortened(repr(found))}, this software reads {FORMAT_VERSION}: "
                "teach it again from the same pictures, or use the version it was made with"
            )
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, AttributeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{folder / MANIFEST} is damaged ({error}): copy the folder again, or teach anew") from error


def _write_files(folder: Path, manifest: Manifest, head: AnyHead, network: AnyBackbone) -> None:
    write_atomically(folder / manifest.tensors_file, _pack(head))
    for name, data in backbone_files(network).items():
        write_atomically(folder / name, data)
    shutil.rmtree(folder / GRAPH_FOLDER, ignore_errors=True)  # of the older model: better none than another's
    write_atomically(folder / MANIFEST, _sealed(manifest))


def to_json(manifest: Manifest) -> bytes:
    """The manifest as JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def _sealed(manifest: Manifest) -> bytes:
    """The manifest file with its checksum: that of what will be read, where a whole number is one with a point."""
    read = msgspec.json.decode(to_json(manifest), type=Manifest)
    return to_json(msgspec.structs.replace(read, sha256=_sha256(to_json(read))))


def _pack(head: AnyHead) -> bytes:
    return bytes(safetensors.save(tensors_of(head)))


def tensors_sha256(head: AnyHead) -> str:
    """What a manifest calls the tensors of this head."""
    return _sha256(_pack(head))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
