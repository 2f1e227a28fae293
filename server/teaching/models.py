"""Models as recipes name them: as they were taught, with the corrections given since. For one worker thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from detector import Detector, ImageError, ModelError, TaughtModel, load, load_taught
from detector.corrections import MOST_BAD, MOST_GOOD, BadPatches, GoodPatches
from detector.files import read_whole
from detector.images import BGRImage, decode
from detector.model_folder import Manifest, read_manifest
from detector.region import Spread
from server.inspection import within
from server.recipes import Correction, Kind, ModelKeep, Recipe, Regions

MOST_SPARE = 1
"""Models as they were taught, in memory at once beside those in force: one that is exported, or was just corrected."""
MOST_GOODS = 40
"""Stored good parts that a correction's cost is told by: 12 MB, and a second of inspecting."""
MOST_SCORED = 8
MOST_SAID = 30_000
"""Corrections held, what was said of each: all that 100 recipes may have."""


_KINDS: dict[Kind, type[GoodPatches | BadPatches]] = {"good": GoodPatches, "bad": BadPatches}


@dataclass(frozen=True)
class Known:
    """Parts of which it is known what they are, as the model sees them (h×w×3 uint8 BGR each).

    Attributes:
        goods: it was taught on, some evenly, and those that were forgiven.
        defects: that were remembered, by the ids of their corrections.
    """

    goods: tuple[BGRImage, ...]
    defects: dict[str, BGRImage]


@dataclass
class Models:
    """Attributes:
    goods_of: pictures of good parts of a model that was given at the start, if there are any.
    in_force: hashes of the models that streams may be inspected with this moment; they stay loaded.
    """

    keep: ModelKeep
    runtime: str
    workers: int
    goods_of: Callable[[str], Iterable[BGRImage]] = lambda taught: ()
    in_force: frozenset[str] = frozenset()
    _taught: dict[str, Detector] = field(default_factory=dict)
    _given: dict[str, Detector] = field(default_factory=dict)
    _goods: dict[str, tuple[BGRImage, ...]] = field(default_factory=dict)
    _scores: dict[tuple[str, Regions, tuple[str, ...], int], tuple[list[float], dict[str, float]]] = field(
        default_factory=dict
    )

    _said: dict[tuple[str, str], Correction] = field(default_factory=dict)

    def give(self, model: Detector) -> None:
        """A model that lies somewhere else than here, for as long as the server runs."""
        self._given[model.taught_hash if isinstance(model, TaughtModel) else model.hash] = model

    def took_in(self, taught: str, model: Detector) -> None:
        """A model was loaded from a folder that lies here now: it need not be loaded again."""
        if taught not in self._given:
            self._taught.setdefault(taught, model)
            self._let_go()

    def keep_loaded(self, taught: frozenset[str]) -> None:
        """These are in force from now on; of all others no more than one stays."""
        self.in_force = taught
        self._let_go()

    def is_loaded(self, taught: str) -> bool:
        """Whether a model need not be loaded to be used; from any thread."""
        return taught in self._given or taught in self._taught

    def about(self, taught: str) -> Manifest:
        """What a model that lies here says of itself, without its being loaded.

        Raises:
            ModelError: it is not here, or not readable, or another one.
        """
        manifest = read_manifest(self._folder(taught))
        if manifest.hash != taught:
            raise ModelError(f"the model in {self._folder(taught)} is another one than the recipe names")
        return manifest

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
            model = self.fetch(taught)
        if taught not in self._given:
            self._taught[taught] = model
            self._let_go()
        return model

    def fetch(self, taught: str) -> Detector:
        """Load a model that lies here; nothing else comes of it, so any thread may.

        Raises:
            ModelError: it is not here, or damaged.
        """
        folder = self._folder(taught)
        model = self.load(folder)
        if model.hash != taught:
            raise ModelError(f"the model in {folder} is another one than the recipe names")
        return model

    def _folder(self, taught: str) -> Path:
        folder = self.keep.model_folder(taught)
        if not folder.is_dir():
            raise ModelError(
                "its model is not here: MODEL_PATH gave it and names another one now, or its folder is gone"
            )
        return folder

    def _let_go(self) -> None:
        spare = [taught for taught in self._taught if taught not in self.in_force]
        for taught in spare[: max(0, len(spare) - MOST_SPARE)]:
            del self._taught[taught]

    def load(self, folder: Path) -> Detector:
        """A model folder, wherever it lies.

        Raises:
            ModelError: what is wrong with it, in one sentence.
        """
        return load(folder, runtime_name=self.runtime, workers=self.workers)

    def load_taught(self, folder: Path) -> TaughtModel:
        """A model folder of ours, wherever it lies.

        Raises:
            ModelError: what is wrong with it, in one sentence; or other software made it.
        """
        return load_taught(folder, runtime_name=self.runtime, workers=self.workers)

    def of(self, recipe: Recipe) -> Detector:
        """The model of a recipe, its corrections included.

        Raises:
            ModelError: it is not here, or damaged, or cannot be corrected.
        """
        model = self.as_taught(recipe.model.taught)
        if not recipe.model.corrections:
            return model
        return self.corrected(recipe, ())

    def corrected(self, recipe: Recipe, more: Sequence[GoodPatches | BadPatches]) -> TaughtModel:
        """The model of a recipe with more corrections. Takes milliseconds once it is loaded.

        Raises:
            ModelError: it cannot be corrected, or has no room for more.
        """
        good, bad = list[GoodPatches](), list[BadPatches]()
        for one in (*self._patches(recipe), *more):
            if isinstance(one, GoodPatches):
                good.append(one)
            else:
                bad.append(one)
        return correctable(self.as_taught(recipe.model.taught)).corrected(good, bad)

    def corrections(self, recipe: Recipe) -> list[Correction]:
        """A recipe's corrections, oldest first; those that cannot be read are left out."""
        found = []
        for name in recipe.model.corrections:
            try:
                found.append(self._correction(recipe.model.taught, name))
            except ModelError:
                continue
        return found

    def _correction(self, taught: str, name: str) -> Correction:
        """What was said, read once: lists of recipes tell of all of them, on the event loop."""
        said = self._said.get((taught, name))
        if said is None:
            said = self._said[taught, name] = self.keep.correction(taught, name)
            while len(self._said) > MOST_SAID:
                self._said.pop(next(iter(self._said)), None)
        return said

    def room(self, recipe: Recipe) -> tuple[int, int]:
        """Patches that a recipe's corrections keep, and that all may keep together."""
        return sum(one.patches for one in self.corrections(recipe)), sum(MOST_GOOD) + MOST_BAD

    def known(self, recipe: Recipe) -> Known:
        """What is known to be good or bad of a recipe's parts.

        Raises:
            ModelError: the model is not here.
        """
        taught = recipe.model.taught
        if not self._goods.get(taught):  # none: another gateway taught it, and its pictures were not fetched yet
            self._goods[taught] = tuple(self._inputs(taught))
            while len(self._goods) > 2:
                del self._goods[next(iter(self._goods))]
        goods, defects = [*self._goods[taught]], dict[str, BGRImage]()
        for correction in self.corrections(recipe):
            try:
                seen = decode(self.keep.correction_file(taught, correction.id, ".png"))
            except (ModelError, ImageError):
                continue
            if correction.kind == "bad":
                defects[correction.id] = seen
            elif correction.place is None:  # of a part that was forgiven in one place the rest is not known
                goods.append(seen)
        return Known(tuple(goods), defects)

    def scores(self, model: TaughtModel, recipe: Recipe, known: Known) -> tuple[list[float], dict[str, float]]:
        """Raw scores of all known parts, goods and defects, by a model where a recipe inspects."""
        key = model.hash, recipe.regions, recipe.model.corrections, len(known.goods)
        if key not in self._scores:
            # Regions are of the frame: of a model that lays parts on a reference, how these lay in it is not known.
            regions = recipe.regions if model.manifest.reference is None else Regions()
            goods = [score_of(model, regions, seen) for seen in known.goods]
            defects = {name: score_of(model, regions, seen) for name, seen in known.defects.items()}
            self._scores[key] = goods, defects
            while len(self._scores) > MOST_SCORED:
                del self._scores[next(iter(self._scores))]
        return self._scores[key]

    def _patches(self, recipe: Recipe) -> list[GoodPatches | BadPatches]:
        found = list[GoodPatches | BadPatches]()
        for name in recipe.model.corrections:
            correction = self.keep.correction(recipe.model.taught, name)
            if not correction.learned:
                continue
            tensors = self.keep.patches(recipe.model.taught, name)
            found.append(_KINDS[correction.kind].from_tensors(tensors))
        return found

    def _inputs(self, taught: str) -> Iterable[BGRImage]:
        model = self.as_taught(taught)
        if not isinstance(model, TaughtModel):
            return
        pictures = self.keep.pictures(taught)
        if not pictures:
            yield from (model.input_of(frame) for frame in self.goods_of(taught))
            return
        for path in Spread(pictures, MOST_GOODS):
            try:
                yield np.ascontiguousarray(model.input_of(decode(read_whole(path))))
            except (OSError, ImageError):
                continue


def correctable(model: Detector) -> TaughtModel:
    """The model, if it can learn from corrections.

    Raises:
        ModelError: it cannot.
    """
    if not isinstance(model, TaughtModel):
        raise ModelError("this model was made by other software and cannot learn from corrections: teach one here")
    return model


def score_of(model: TaughtModel, regions: Regions, seen: BGRImage) -> float:
    """Raw score of what the model sees of a part (h×w×3 uint8 BGR), where it is inspected: regions lie as in that."""
    return within(model.detect_input(seen), regions).score
