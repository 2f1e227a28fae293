"""A taught model: what it learned, compiled for a runtime."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from detector import anomalib, corrections, model_folder
from detector.backbones import AnyBackbone, Features
from detector.corrections import BadPatches, GoodPatches, Mask, Polygon
from detector.errors import ImageError, ModelError, reason_of
from detector.heads import Corrections, MemoryBanks, Patches
from detector.images import BGRImage
from detector.light import AnyHead, LightGated, ordinary
from detector.model import Detector
from detector.model_folder import Described, Manifest
from detector.registration import Laid, Moved, lay
from detector.runtimes import Distances, Runtime, distances_of, runtime
from detector.score import LARGEST, Detection, to_detection

_BELOW = 0.97
"""Thresholds that a forgiven part scores where the threshold lies below typical good parts."""


class TaughtModel(Described):
    """PatchCore or PaDiM, taught by :func:`detector.fit`. ``detect`` may be called from several threads at once.

    Attributes:
        manifest: how it was made.
        head: what it learned, and its corrections.
        taught_hash: sha256 that names the model as it was taught.
        hash: sha256 that names this very model, its corrections included; a calibration belongs to it.
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
        self.taught_hash, self.runtime = manifest.hash, engine.name
        given = head.corrections if isinstance(head, MemoryBanks) else ()
        self.hash = corrections.hash_of(self.taught_hash, given)
        self._backbone, self._engine = backbone, engine
        self._distances = distances or distances_of(engine, backbone, manifest.input_size, head)
        self._features: dict[int, Features] = {}

    @property
    def backbone(self) -> AnyBackbone:
        """The network its patch features come from."""
        return self._backbone

    def detect(self, frame: BGRImage, /) -> Detection:
        """Score one frame (H×W×3 uint8 BGR, any size; its region is resized to the model's input). Where the model has
        a reference, the frame is first laid on it, and the map turned back.

        Returns:
            the image score and the anomaly map of the whole frame, 0 outside of the region. Both finite: a frame whose
            distances are not is an ANOMALY by any threshold (:func:`detector.score.finite`).

        Raises:
            ImageError: not such an array.
        """
        return self.detect_through(frame, self.detect_input)

    def detect_through(self, frame: BGRImage, detect_input: Callable[[BGRImage], Detection]) -> Detection:
        """:meth:`detect`, where somebody else does what :meth:`detect_input` would: the same model, elsewhere.

        Raises:
            ImageError: not a frame.
        """
        laid = lay(frame, self.manifest.reference)
        return detect_input(np.ascontiguousarray(self._input(laid))).laid(laid.as_seen)

    def input_of(self, frame: BGRImage) -> BGRImage:
        """All of a frame that :meth:`detect` looks at: what is inspected, at the size of the model's input (h×w×3 uint8
        BGR, some 300 kB). What has to be kept of a frame so that it can be corrected later; a model taught anew may see
        another part of the frame.

        Raises:
            ImageError: not a frame.
        """
        return self.looked_at(frame)[0]

    def looked_at(self, frame: BGRImage) -> tuple[BGRImage, Moved | None]:
        """:meth:`input_of` a frame, and how the part lies, where the model lays frames on a reference and is sure of
        this one: 2×3 numbers that take a place on the reference to its place in the frame, both 0..1 of width and
        height.

        Raises:
            ImageError: not a frame.
        """
        laid = lay(frame, self.manifest.reference)
        return np.array(self._input(laid)), laid.moved

    def detect_input(self, small: BGRImage) -> Detection:
        """:meth:`detect` of the frame of which this is the input, the score bit for bit. Where the model has a
        reference, the map is that of the frame as it is laid on it.

        Raises:
            ImageError: not an input of this model.
        """
        return to_detection(*self._distances(self._checked(small))).laid(self.manifest.region.to_frame)

    def good_of(
        self,
        small: BGRImage,
        place: Polygon | None = None,
        *,
        threshold: float | None = None,
        inspected: Mask | None = None,
    ) -> GoodPatches:
        """What has to be learned so that a part passes: the frame itself, and the part as it may be seen the next time,
        moved by a pixel or two, a little brighter or darker, with noise.

        As few patches as it takes until it scores half way from the threshold to a typical good part. They do not
        depend on what was forgiven before, so that it can be taken back. Takes as long as five frames; the first time
        on a model and its corrected ones something is compiled as well.

        Args:
            small: the part, from :meth:`input_of`.
            place: what of it is good; whatever else deviates alarms as before.
            threshold: raw, in force; without it the model's own, or the part's score if that is lower.
            inspected: without a place, which patches of the whole frame count (``region.rows``×``region.columns``);
                None for all.

        Raises:
            ImageError: not an input of this model.
            ModelError: such a place or threshold cannot be, it would take too many patches, or the model cannot be
                corrected.
        """
        head, grids = self._correctable(), self._grids()
        limit = self.threshold if threshold is None else _checked_threshold(threshold)
        places = None if place is None else [corrections.cells(place, self.manifest.region, grid) for grid in grids]
        here = None if inspected is None else self.manifest.region.of_frame(inspected)
        distances = self._distances_as_taught(head)
        looks = [distances.seen(one) for one in corrections.seen_again(self._checked(small))]
        if threshold is None:
            limit = min(limit, to_detection(*self._distances(small)).score)
        goal = (self._typical + limit) / 2 if self._typical < limit else _BELOW * limit
        assert isinstance(self.head, MemoryBanks)
        return corrections.to_forgive(looks, self.head, grids, places, goal, limit, here)

    def bad_of(
        self, small: BGRImage, threshold: float, place: Polygon | None = None, *, inspected: Mask | None = None
    ) -> BadPatches:
        """What is kept of a defect that escaped, so that this frame scores 1.25 times the threshold from then on, or
        more, and others of its kind are found more often. Takes as long as two frames, and compiles as
        :meth:`good_of`.

        Args:
            small: the part, from :meth:`input_of`.
            threshold: raw, in force.
            place: where the defect is; without it, where the part deviates most.
            inspected: as for :meth:`good_of`.

        Raises:
            ImageError: not an input of this model.
            ModelError: such a place or threshold cannot be, nothing there deviates, or the model cannot be corrected.
        """
        head, grids = self._correctable(), self._grids()
        threshold = _checked_threshold(threshold)
        marked = None if place is None else corrections.cells(place, self.manifest.region, grids[0])
        look = self._distances_as_taught(head).seen(self._checked(small))
        if marked is None:
            here = None if inspected is None else self.manifest.region.of_frame(inspected)
            marked = corrections.most_deviating(look, grids[0], here)
        return corrections.to_remember(look, head, grids[0], marked, threshold)

    def corrected(self, good: Sequence[GoodPatches] = (), bad: Sequence[BadPatches] = ()) -> TaughtModel:
        """The model as it was taught with these corrections and no others: without one, it is as if that had never been
        made, bit for bit. Takes milliseconds; the first correction of a model compiles something, as :meth:`good_of`.

        The very patches of a known defect outweigh what was forgiven, whichever came first; what is only like them
        yields to it.

        Raises:
            ModelError: corrections are of another model or too many, or the model cannot be corrected.
        """
        return self.carrying(corrections.put_together(self._correctable(), good, bad, self._typical))

    @property
    def corrections(self) -> tuple[Corrections, ...]:
        """All it was told, put together: one, or none."""
        return self.head.corrections if isinstance(self.head, MemoryBanks) else ()

    def carrying(self, given: tuple[Corrections, ...]) -> TaughtModel:
        """The model as it was taught with the :attr:`corrections` of another one that was taught the same.

        Raises:
            ModelError: the model cannot be corrected.
        """
        changed = replace(self._correctable(), corrections=given)
        distances = self._distances.with_corrections(changed)
        return TaughtModel(self.manifest, changed, self._backbone, self._engine, distances)

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

    def on(self, engine: Runtime) -> TaughtModel:
        """The same model, compiled for another runtime."""
        return TaughtModel(self.manifest, self.head, self._backbone, engine)

    def save(self, folder: Path | str) -> None:
        """Write the model folder; an older model there is replaced in one step.

        Raises:
            ModelError: the path exists and is no model folder, or the model has corrections.
        """
        if self.hash != self.taught_hash:
            raise ModelError(
                "a model is written as it was taught: write corrected(), without corrections, and keep them beside it"
            )
        model_folder.write(Path(folder), self.manifest, self.head, self._backbone)

    @property
    def _typical(self) -> float:
        """Score of a good part that was not taught."""
        return statistics.fmean(self.manifest.held_out_scores)

    def _correctable(self) -> MemoryBanks:
        """What was taught, without corrections."""
        if isinstance(self.head, LightGated):
            raise ModelError(
                "a model that is blind to light where it is new can neither forgive nor remember: teach without "
                "--light-blind"
            )
        if not isinstance(self.head, MemoryBanks):
            raise ModelError(f"a {self.manifest.method} model can neither forgive nor remember: use patchcore")
        return replace(self.head, corrections=())

    def _grids(self) -> list[tuple[int, int]]:
        """Rows and columns of patches at each scale."""
        return [
            self.input_size.shrunk(shrink).grid(self._backbone.grid_stride) for shrink, _ in self._correctable().scales
        ]

    def _distances_as_taught(self, head: MemoryBanks) -> Distances:
        return self._distances if self.hash == self.taught_hash else self._distances.with_corrections(head)

    def _input(self, laid: Laid) -> BGRImage:
        return self.manifest.region.to_input(laid.frame, self.manifest.input_size)

    def _checked(self, small: BGRImage) -> BGRImage:
        height, width = self.manifest.input_size
        if small.dtype != np.uint8 or small.shape != (height, width, 3):
            raise ImageError(f"an input of this model is {height}×{width}×3 uint8 BGR, not {small.shape} {small.dtype}")
        return small


def _checked_threshold(threshold: float) -> float:
    if not 0 < threshold < LARGEST:
        raise ModelError(f"a threshold of {threshold:g} cannot be: give the raw one in force")
    return threshold


def load(path: Path | str, *, runtime_name: str = "openvino", workers: int = 1) -> Detector:
    """Load a model: a folder of ours, or what anomalib exported to OpenVINO.

    Raises:
        ModelError: what is wrong with it, in one sentence.
    """
    path = Path(path)
    if anomalib.is_anomalib_export(path):
        with _computing(path):
            return anomalib.load(path, runtime_name=runtime_name, workers=workers)
    return load_taught(path, runtime_name=runtime_name, workers=workers)


def load_taught(folder: Path | str, *, runtime_name: str = "openvino", workers: int = 1) -> TaughtModel:
    """Load a model folder.

    Raises:
        ModelError: what is wrong with it, in one sentence.
    """
    manifest, head, backbone = model_folder.read(Path(folder))
    engine = runtime(runtime_name, workers=workers, precision=manifest.precision)
    with _computing(folder):
        return TaughtModel(manifest, head, backbone, engine)


@contextmanager
def _computing(path: Path | str) -> Iterator[None]:
    """Say of a graph in this folder that a runtime cannot compute it.

    Raises:
        ModelError: OpenVINO or torch cannot.
    """
    try:
        yield
    except RuntimeError as error:
        words = f"{path} cannot be computed here ({reason_of(error)}): copy the folder again, or teach anew"
        raise ModelError(words) from error
