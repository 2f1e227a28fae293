"""Forgive and remember: what a person says of a kept frame changes its recipe's model, and what that costs is said
first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from detector import TaughtModel
from detector.corrections import BadPatches, GoodPatches
from detector.counted import counted
from detector.images import decode
from detector.registration import Moved
from server.inspection import Inspection, KeptPicture, inspected_cells
from server.recipes import Correction, Kind, ModelVersion, Polygon, Recipe, RecipeError, Regions, check_polygon
from server.streams import KeptFrame
from server.teaching.library import Library
from server.teaching.models import Known, correctable, score_of
from server.words import now

log = logging.getLogger("defectvision.recipes")

MOST_PREPARED = 4
MOST_CORRECTIONS = 300
"""Of one model; each is read again when a recipe is loaded."""


class FrameGone(Exception):
    """The frame is not kept any more, or means nothing to the model in use; the message says which."""


@dataclass(frozen=True)
class Cost:
    """What a correction does to what is known. Scores and ``threshold`` are raw.

    Attributes:
        goods: stored good parts that were asked; ``rejected`` of them now, ``rejected_then`` with the correction;
            ``changed``: whose score changes at all.
        defects: remembered ones; ``passing`` now, ``passing_then``; ``would_pass``: ids of those found now that would
            not be.
        score, score_then: of the frame itself.
    """

    goods: int
    rejected: int
    rejected_then: int
    changed: int
    defects: int
    passing: int
    passing_then: int
    would_pass: tuple[str, ...]
    score: float
    score_then: float
    threshold: float
    sentence: str


@dataclass(frozen=True)
class Prepared:
    """A correction that was not applied yet: what the model would keep, and the model that it would be."""

    recipe: Recipe
    patches: GoodPatches | BadPatches | None
    model: TaughtModel
    cost: Cost


@dataclass(frozen=True)
class Done:
    """Attributes:
    correction: its id, where it was applied.
    """

    recipe: Recipe
    cost: Cost
    correction: str | None


class Correcting:
    """The event loop owns it; what computes runs in the library's thread."""

    def __init__(self, library: Library, inspection: Inspection) -> None:
        self._library, self.inspection = library, inspection
        self._prepared: dict[tuple[object, ...], Prepared] = {}

    async def correct(
        self,
        frame: KeptFrame,
        kind: Kind,
        place: Polygon | None,
        *,
        learn: bool,
        dry_run: bool,
        version: int | None,
        who: str,
        why: str,
    ) -> Done:
        """Say of a kept frame what it shows, or, in a dry run, what that would cost.

        Args:
            learn: whether scores change; a known defect may be kept to be asked only.
            version: of the recipe that the cost was told for.

        Raises:
            FrameGone, NoRecipe, NotTheNewest, RecipeError, ModelError: it cannot be; nothing changes.
            OSError: it cannot be stored; nothing changes.
        """
        if place is not None:
            check_polygon(place)
        async with self._library.changing(frame.inspected.recipe.id, version) as recipe:
            prepared = await self._library.in_thread(partial(self._prepare, frame, recipe, kind, place, learn))
            if dry_run:
                return Done(recipe, prepared.cost, None)
            correction = Correction(
                id=self._library.new_id(),
                kind=kind,
                learned=learn,
                at=now(),
                who=who,
                why=why,
                stream=frame.stream,
                place=place,
                raw_score=frame.inspected.raw_score,
                threshold=prepared.cost.threshold,
                patches=0 if prepared.patches is None else len(prepared.patches),
            )
            await self._library.in_thread(partial(self._write_down, recipe, correction, prepared, frame.kept))
            model = ModelVersion(recipe.model.taught, (*recipe.model.corrections, correction.id))
            stored = await self._library.store(
                recipe,
                {"model": model},
                "forgiven" if kind == "good" else "remembered",
                who=who,
                why=why or ("this part is good" if kind == "good" else "this part is bad"),
                on=f"a frame of {frame.stream}, score {frame.inspected.raw_score:.4g}",
                model=prepared.model,
            )
            return Done(stored, prepared.cost, correction.id)

    async def undo(self, recipe: str, correction: str, version: int | None, *, who: str) -> Recipe:
        """Take one correction back: scores are what they were without it, bit for bit.

        Raises:
            NoRecipe, NotTheNewest, RecipeError, ModelError: it cannot be; nothing changes.
            OSError: it cannot be stored; nothing changes.
        """
        async with self._library.changing(recipe, version) as found:
            if correction not in found.model.corrections:
                raise RecipeError(f"{found.name} has no such correction: it was undone already")
            left = tuple(name for name in found.model.corrections if name != correction)
            model = ModelVersion(found.model.taught, left)
            return await self._library.store(
                found, {"model": model}, "correction undone", who=who, why=f"without the correction {correction}"
            )

    def _prepare(self, frame: KeptFrame, recipe: Recipe, kind: Kind, place: Polygon | None, learn: bool) -> Prepared:
        threshold = self.inspection.decisive(
            recipe.id, frame.stream, frame.inspected.threshold, everywhere=kind == "bad"
        )
        if threshold is None or not threshold.known:
            raise RecipeError("there is no threshold yet: calibrate first, then say what was good or bad")
        key = frame.id, recipe.id, recipe.version, kind, place, learn, threshold.value
        if (found := self._prepared.get(key)) is not None:
            return found
        if frame.kept.input is None or frame.kept.taught != recipe.model.taught:
            raise FrameGone("the model was taught anew since this frame: say it of a newer one")
        if len(recipe.model.corrections) >= MOST_CORRECTIONS:
            raise RecipeError(
                f"the model has {MOST_CORRECTIONS} corrections already: teach it more, on parts like these"
            )
        models = self._library.models
        model = correctable(models.of(recipe))
        seen = decode(frame.kept.input)
        patches: GoodPatches | BadPatches | None = None
        place = place and _on_reference(place, frame.kept.moved)
        regions = _regions_on_reference(recipe.regions, frame.kept.moved)
        inspected = inspected_cells(regions, model.manifest.region.rows, model.manifest.region.columns)
        if kind == "good":
            patches = model.good_of(seen, place, threshold=threshold.value, inspected=inspected)
        elif learn:
            patches = model.bad_of(seen, threshold.value, place, inspected=inspected)
        then = model if patches is None else models.corrected(recipe, [patches])
        known = models.known(recipe)
        score, score_then = (score_of(one, regions, seen) for one in (model, then))
        cost = _cost(
            kind,
            known,
            models.scores(model, recipe, known),
            models.scores(then, recipe, known),
            (score, score_then),
            threshold.value,
        )
        prepared = Prepared(recipe, patches, then, cost)
        self._prepared[key] = prepared
        while len(self._prepared) > MOST_PREPARED:
            del self._prepared[next(iter(self._prepared))]
        return prepared

    def _write_down(self, recipe: Recipe, correction: Correction, prepared: Prepared, kept: KeptPicture) -> None:
        assert kept.input is not None
        tensors = {} if prepared.patches is None else prepared.patches.tensors()
        self._library.keep.keep_correction(recipe.model.taught, correction, tensors, kept.picture[0], kept.input)


def _on_reference(place: Polygon, moved: Moved | None) -> Polygon:
    """A place that was marked on a frame, where it lies on the model's reference."""
    if moved is None:
        return place
    back = np.linalg.inv([*moved, (0, 0, 1)])
    corners = [back @ (x, y, 1) for x, y in place]
    return tuple((min(max(float(x), 0.0), 1.0), min(max(float(y), 0.0), 1.0)) for x, y, _ in corners)


def _regions_on_reference(regions: Regions, moved: Moved | None) -> Regions:
    include, ignore = (
        tuple(_on_reference(place, moved) for place in some) for some in (regions.include, regions.ignore)
    )
    return Regions(include, ignore)


def _cost(
    kind: Kind,
    known: Known,
    now_: tuple[list[float], dict[str, float]],
    then: tuple[list[float], dict[str, float]],
    frame: tuple[float, float],
    threshold: float,
) -> Cost:
    (goods, defects), (goods_then, defects_then) = now_, then
    would_pass = tuple(name for name, score in defects.items() if score > threshold >= defects_then[name])
    cost = Cost(
        goods=len(known.goods),
        rejected=_above(goods, threshold),
        rejected_then=_above(goods_then, threshold),
        changed=sum(before != after for before, after in zip(goods, goods_then, strict=True)),
        defects=len(known.defects),
        passing=len(defects) - _above([*defects.values()], threshold),
        passing_then=len(defects) - _above([*defects_then.values()], threshold),
        would_pass=would_pass,
        score=frame[0],
        score_then=frame[1],
        threshold=threshold,
        sentence="",
    )
    return replace(cost, sentence=_sentence(kind, cost))


def _above(scores: Sequence[float], threshold: float) -> int:
    return sum(score > threshold for score in scores)


def _sentence(kind: Kind, cost: Cost) -> str:
    passes = cost.score_then <= cost.threshold
    if kind == "good":
        frame = (
            "this part passes then" if passes else "this part still alarms: another place of it is above the threshold"
        )
        if not cost.defects:
            known = "no defect is remembered, so what else would pass is not known"
        elif cost.would_pass:
            known = f"{len(cost.would_pass)} of {_defects(cost.defects)} would pass"
        else:
            known = (
                f"{_defects(cost.defects)}: none of them would pass"
                if cost.defects > 1
                else "the remembered defect is found as before"
            )
        return f"{frame}; {known}; the scores of {cost.changed} of {_goods(cost.goods)} change"
    frame = "this part still passes" if passes else "this part alarms then"
    more = cost.rejected_then - cost.rejected
    if not cost.goods:
        known = "no good part is stored, so what it costs in false rejects is not known"
    elif more > 0:
        known = (
            f"{more} more of {_goods(cost.goods)} would be rejected ({cost.rejected_then} instead of {cost.rejected})"
        )
    else:
        known = f"no more of {_goods(cost.goods)} would be rejected ({cost.rejected_then})"
    found = cost.passing - cost.passing_then
    also = f"; {found} more of {_defects(cost.defects)} would be found" if found > 0 else ""
    return f"{frame}; {known}{also}"


def _goods(number: int) -> str:
    return counted(number, "stored good part")


def _defects(number: int) -> str:
    return counted(number, "remembered defect")
