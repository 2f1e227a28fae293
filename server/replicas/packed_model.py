"""A taught model as it travels: what it learned once, and what it was told since by itself, a few kB."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, replace

from detector import Detector, ModelError, TaughtModel
from detector.backbones import Backbone, GraphBackbone, load_backbone
from detector.heads import Corrections, MemoryBanks
from detector.model_folder import Manifest, tensors_sha256
from detector.runtimes import runtime


@dataclass(frozen=True)
class Packed:
    """A model as it was taught is named by ``taught``, with these corrections by ``hash``.

    Attributes:
        runtime: it is compiled for.
        corrections: all it was told, put together.
    """

    hash: str
    taught: str
    runtime: str
    corrections: tuple[Corrections, ...] = ()


def packed(model: Detector) -> Packed | None:
    """A model's name and corrections; None where it cannot travel: one that anomalib exported."""
    if not isinstance(model, TaughtModel):
        return None
    return Packed(model.hash, model.taught_hash, model.runtime, model.corrections)


def base_of(model: Detector) -> bytes:
    """What a model learned when it was taught, some MB. Pickled: gateway and replicas are one program on one cluster,
    whose members already run what they are handed.

    Raises:
        ModelError: it cannot travel.
    """
    if not isinstance(model, TaughtModel):
        raise ModelError("a model that anomalib exported is looked at with on the gateway only")
    head = replace(model.head, corrections=()) if isinstance(model.head, MemoryBanks) else model.head
    network = model.backbone.name if isinstance(model.backbone, Backbone) else model.backbone
    return pickle.dumps((model.manifest, head, network), protocol=5)


def unpacked(packed: Packed, base: TaughtModel | bytes, *, threads: int | None = None) -> TaughtModel:
    """The model, compiled.

    Args:
        base: a model with the same taught hash, or :func:`base_of` one.
        threads: it may compute with.

    Raises:
        ModelError: it is another one than the name says, or cannot be used here.
    """
    model = _as_taught(base, packed, threads) if isinstance(base, bytes) else base
    if model.hash != packed.hash:
        model = model.carrying(packed.corrections)
    if model.taught_hash != packed.taught or model.hash != packed.hash:
        raise ModelError(f"the model that came is {model.hash[:12]}, not {packed.hash[:12]}: its bytes are damaged")
    return model


def _as_taught(base: bytes, packed: Packed, threads: int | None) -> TaughtModel:
    manifest, head, network = pickle.loads(base)
    if not isinstance(manifest, Manifest) or tensors_sha256(head) != manifest.tensors_sha256:
        raise ModelError("the model that came is damaged: its sha256 is not the one it names")
    backbone = load_backbone(network) if isinstance(network, str) else network
    if isinstance(backbone, GraphBackbone):
        for name, sha256 in manifest.backbone_files.items():
            data = backbone.xml if name.endswith(".xml") else backbone.weights if name.endswith(".bin") else b""
            if data and hashlib.sha256(data).hexdigest() != sha256:
                raise ModelError("the model that came is damaged: its backbone is another one")
    engine = runtime(packed.runtime, workers=1, precision=manifest.precision, threads=threads)
    return TaughtModel(manifest, head, backbone, engine)
