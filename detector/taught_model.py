"""A taught model: what it learned, compiled for a runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector import anomalib, model_folder
from detector.backbones import AnyBackbone, Features
from detector.errors import ModelError
from detector.heads import LARGEST, MemoryBanks, Patches
from detector.images import BGRImage
from detector.input_size import InputSize
from detector.light import AnyHead, LightGated, ordinary
from detector.model import Detector
from detector.model_folder import Manifest
from detector.registration import lay
from detector.runtimes import Distances, Runtime, distances_of, runtime
from detector.score import Detection, to_detection

Entries = Sequence[int] | NDArray[np.intp]
"""Numbers of entries of a memory bank."""


class TaughtModel:
    """PatchCore or PaDiM, taught by :func:`detector.fit`. ``detect`` may be called from several threads at once.

    Attributes:
        manifest: how it was made.
        head: what it learned.
        hash: sha256 that names this very model; a calibration belongs to it.
        runtime: name of the runtime it is compiled for.
    """

    def __init__(
        self,
        manifest: Manifest,
        head: AnyHead,
        backbone: AnyBackbone,
        engine: Runtime,
        distances: Distances | None = None,
    ) -> None:
        self.manifest, self.head = manifest, head
        self.hash, self.runtime = manifest.hash, engine.name
        self._backbone, self._engine = backbone, engine
        self._distances = distances or distances_of(engine, backbone, manifest.input_size, head)
        self._features: dict[int, Features] = {}

    @property
    def category(self) -> str:
        """What the parts are called."""
        return self.manifest.category

    @property
    def backbone(self) -> AnyBackbone:
        """The network its patch features come from."""
        return self._backbone

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

    def detect(self, frame: BGRImage, /) -> Detection:
        """Score one frame (H×W×3 uint8 BGR, any size; its region is resized to the model's input). Where the model has
        a reference, the frame is first laid on it, and the map turned back.

        Returns:
            the image score and the anomaly map of the whole frame, 0 outside of the region. Both finite: a frame whose
            distances are not is an ANOMALY by any threshold (:func:`detector.score.finite`).

        Raises:
            ImageError: not such an array.
        """
        region, laid = self.manifest.region, lay(frame, self.manifest.reference)
        detection = to_detection(*self._distances(region.to_input(laid.frame, self.manifest.input_size)))
        return Detection(detection.score, laid.as_seen(region.to_frame(detection.anomaly_map)))

    def patches(self, frame: BGRImage) -> Patches:
        """Projected patch features of a frame at each scale, row by row of the patch grid: what memory banks hold
        (those for the light which was taught).

        Raises:
            ImageError: not a frame.
            ModelError: the model has no memory bank.
        """
        head = ordinary(self.head)
        if not isinstance(head, MemoryBanks):
            raise ModelError(f"a {self.manifest.method} model has no memory bank: use patchcore")
        small = self.manifest.region.to_input(lay(frame, self.manifest.reference).frame, self.manifest.input_size)
        found = head.banks.none()
        for shrink, scale in head.scales:
            if shrink not in self._features:
                self._features[shrink] = self._engine.features(self._backbone, self.manifest.input_size, shrink)
            patches = np.asarray((self._features[shrink](small) - scale.mean) @ scale.projection, np.float32)
            found = replace(found, fine=patches) if shrink == 1 else replace(found, coarse=patches)
        return found

    def remember(self, patches: Patches) -> TaughtModel:
        """A model whose memory banks hold these patches (of :meth:`patches`) too, at their ends. Takes about a
        millisecond: nothing is compiled again until some hundreds have been added.

        Raises:
            ModelError: they do not fit, or the model has no memory bank, or banks for two kinds of light.
        """
        banks = self._banks()
        for new, bank in ((patches.fine, banks.fine), (patches.coarse, banks.coarse)):
            if new.ndim != 2 or new.shape[1] != bank.shape[1] or not (np.abs(new) <= LARGEST).all():
                raise ModelError(f"patches of this model are K×{bank.shape[1]} finite numbers, not {new.shape}")
        if len(patches.coarse) and not len(banks.coarse):
            raise ModelError("this model has no coarse scale, so it cannot remember patches of one")
        return self._with_banks(banks + patches)

    def forget(self, fine: Entries = (), coarse: Entries = ()) -> TaughtModel:
        """A model whose memory banks lack these entries.

        Raises:
            ModelError: there are no such entries, none would be left, or the model has no memory bank, or banks for two
                kinds of light.
        """
        banks = self._banks()
        return self._with_banks(Patches(_without(banks.fine, fine), _without(banks.coarse, coarse)))

    def on(self, engine: Runtime) -> TaughtModel:
        """The same model, compiled for another runtime."""
        return TaughtModel(self.manifest, self.head, self._backbone, engine)

    def save(self, folder: Path | str) -> None:
        """Write the model folder; an older model there is replaced in one step.

        Raises:
            ModelError: the path exists and is no model folder.
        """
        model_folder.write(Path(folder), self.manifest, self.head, self._backbone)

    def _banks(self) -> Patches:
        if isinstance(self.head, LightGated):
            raise ModelError(
                "a model that is blind to light where it is new cannot remember or forget: teach without --light-blind"
            )
        if not isinstance(self.head, MemoryBanks):
            raise ModelError(f"a {self.manifest.method} model has no memory bank: use patchcore")
        return self.head.banks

    def _with_banks(self, banks: Patches) -> TaughtModel:
        assert isinstance(self.head, MemoryBanks)
        head = self.head.with_banks(banks)
        manifest = msgspec.structs.replace(
            self.manifest, coreset_size=head.entries, tensors_sha256=model_folder.tensors_sha256(head)
        )
        return TaughtModel(manifest, head, self._backbone, self._engine, self._distances.with_banks(head))


def _without(bank: NDArray[np.float32], entries: Entries) -> NDArray[np.float32]:
    chosen = np.asarray(entries, np.intp)
    if not chosen.size:
        return bank
    if not (chosen.min() >= 0 and chosen.max() < len(bank)):
        raise ModelError(f"the memory bank has entries 0 to {len(bank) - 1}")
    kept = np.delete(bank, chosen, 0)
    if not len(kept):
        raise ModelError("a memory bank cannot be empty")
    return kept


def load(path: Path | str, *, runtime_name: str = "openvino", workers: int = 1) -> Detector:
    """Load a model: a folder of ours, or what anomalib exported to OpenVINO.

    Raises:
        ModelError: what is wrong with it, in one sentence.
    """
    path = Path(path)
    if anomalib.is_anomalib_export(path):
        return anomalib.load(path, runtime_name=runtime_name, workers=workers)
    return load_taught(path, runtime_name=runtime_name, workers=workers)


def load_taught(folder: Path | str, *, runtime_name: str = "openvino", workers: int = 1) -> TaughtModel:
    """Load a model folder.

    Raises:
        ModelError: what is wrong with it, in one sentence.
    """
    manifest, head, backbone = model_folder.read(Path(folder))
    return TaughtModel(manifest, head, backbone, runtime(runtime_name, workers=workers, precision=manifest.precision))
