"""A model that is not loaded, because no stream that runs needs it: what is known of it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from detector import Described, Detection, ModelError, TaughtModel
from detector.images import BGRImage
from detector.model_folder import Manifest


@dataclass(frozen=True)
class Resting(Described):
    """What is told of a model, a few kB where the model itself takes tens of MB.

    Attributes:
        manifest: how it was made.
        hash: sha256 that names this very model; empty where it has corrections and was never loaded.
        runtime: name of the runtime that it will be compiled for.
    """

    manifest: Manifest
    hash: str
    runtime: str

    @classmethod
    def of(cls, model: TaughtModel) -> Resting:
        """What stays of a model that is let go of."""
        return cls(model.manifest, model.hash, model.runtime)

    def detect(self, frame: BGRImage, /) -> Detection:
        """Raises ModelError: it has to be loaded first."""
        raise ModelError("the model is not loaded")
