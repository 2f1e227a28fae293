"""Models as recipes name them: as they were taught, with the corrections given since. For one worker thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from detector import Detector, ModelError, TaughtModel, load
from detector.images import BGRImage
from server.recipes import Correction, ModelKeep, Recipe

MOST_LOADED = 8
"""Models as they were taught, in memory at once; of more, the one unused for longest goes."""
MOST_GOODS = 40
"""Stored good parts that a correction's cost is told by: 12 MB, and a second of inspecting."""
MOST_SCORED = 8


@dataclass
class Models:
    """Attributes:
    goods_of: pictures of good parts of a model that was given at the start, if there are any.
    """

    keep: ModelKeep
    runtime: str
    workers: int
    goods_of: Callable[[str], Iterable[BGRImage]] = lambda taught: ()
    _taught: dict[str, Detector] = field(default_factory=dict)
    _given: dict[str, Detector] = field(default_factory=dict)

    def give(self, model: Detector) -> None:
        """A model that lies somewhere else than here, for as long as the server runs."""
        self._given[model.hash] = model

    def is_given(self, taught: str) -> bool:
        """Whether a model was handed over at the start."""
        return taught in self._given

    def as_taught(self, taught: str) -> Detector:
        """A model without corrections.

        Raises:
            ModelError: it is not here, or damaged.
        """
        model = self._given.get(taught) or self._taught.pop(taught, None)
        if model is None:
            folder = self.keep.model_folder(taught)
            if not folder.is_dir():
                raise ModelError(
                    "its model is not here: MODEL_PATH gave it and names another one now, or its folder is gone"
                )
            model = self.load(folder)
            if model.hash != taught:
                raise ModelError(f"the model in {folder} is another one than the recipe names")
        if taught not in self._given:
            self._taught[taught] = model
            while len(self._taught) > MOST_LOADED:
                del self._taught[next(iter(self._taught))]
        return model

    def load(self, folder: Path) -> Detector:
        """A model folder, wherever it lies.

        Raises:
            ModelError: what is wrong with it, in one sentence.
        """
        return load(folder, runtime_name=self.runtime, workers=self.workers)

    def of(self, recipe: Recipe) -> Detector:
        """The model of a recipe, its corrections included.

        Raises:
            ModelError: it is not here, or damaged, or cannot be corrected.
        """
        model = self.as_taught(recipe.model.taught)
        if not recipe.model.corrections:
            return model
        raise ModelError("corrections come later")

    def corrections(self, recipe: Recipe) -> list[Correction]:
        """A recipe's corrections, oldest first; those that cannot be read are left out."""
        found = []
        for name in recipe.model.corrections:
            try:
                found.append(self.keep.correction(recipe.model.taught, name))
            except ModelError:
                continue
        return found


def correctable(model: Detector) -> TaughtModel:
    """The model, if it can learn from corrections.

    Raises:
        ModelError: it cannot.
    """
    if not isinstance(model, TaughtModel):
        raise ModelError("this model was made by other software and cannot learn from corrections: teach one here")
    return model
