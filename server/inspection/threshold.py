"""Which threshold is in force where: the environment's, one put there by hand, a calibration's, the model's own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import Literal, get_args

import msgspec

from detector import Described, Detector
from server.inspection.calibration_file import StoredCalibration, digest_of
from server.recipes import LONGEST_NAME, ModelVersion, Recipe, ThresholdRule
from server.words import HOW, CalibrationInfo, RuleInfo, Way

Source = Literal["environment", "recipe", "calibration", "model", "uncalibrated"]


@dataclass(frozen=True)
class Threshold:
    """The threshold in force (raw) and where it comes from.

    Source ``uncalibrated``: there is none, ``value`` is 0, and every frame is an ANOMALY. Scores of other people's
    models may be on any scale, so no number would be a safe guess.

    Attributes:
        typical: raw score of a good part; NaN where it is unknown.
        calibration: the one that is in force.
        in_other_regions: whether that was made in other regions than are inspected now.
    """

    value: float
    source: Source
    typical: float = field(default=math.nan, compare=False)
    calibration: StoredCalibration | None = None
    in_other_regions: bool = field(default=False, compare=False)

    @property
    def known(self) -> bool:
        return self.source != "uncalibrated"


@dataclass(frozen=True)
class InUse:
    """A recipe, its model, and what may be in force with it; never changed, so that a frame is judged by one and the
    same.

    Attributes:
        key: whose the calibrations are, see :func:`key_of`.
        calibrations: of this key on this runtime, oldest first.
        typical: mean of the scores of good pictures that were held out while it was taught; NaN where there were none.
    """

    recipe: Recipe
    model: Detector
    key: str
    calibrations: tuple[StoredCalibration, ...]
    environment: float | None
    typical: float

    def on(self, stream: str | None, transport: Way) -> Threshold:
        """What is in force on a stream, or for pictures that come without one."""
        return self._of(in_force(self.calibrations, stream, transport))

    def passed_by(self, stream: str, was: Threshold) -> Threshold:
        """Which threshold decides whether a frame passes on a stream: the one that was in force for it, if that still
        is; else the lowest that may be, since which way it came is not known."""
        there = [self.on(stream, way) for way in get_args(Way)]
        same = (one for one in there if was.calibration is not None and one.calibration == was.calibration)
        return next(same, min(there, key=lambda one: one.value))

    def highest(self, stream: str) -> Threshold:
        """The highest that is in force anywhere, on a stream or on another."""
        streams = {stream, None, *(one.stream for one in self.calibrations if one.alone)}
        return max((self.on(one, way) for one in streams for way in get_args(Way)), key=lambda one: one.value)

    def with_rule(self, rule: ThresholdRule) -> InUse:
        """The same with another rule."""
        return replace(self, recipe=msgspec.structs.replace(self.recipe, rule=rule))

    @property
    def calibrated_apart(self) -> bool:
        """Whether streams of this recipe may have calibrations of their own in force."""
        return any(one.alone for one in self.calibrations) or len({one.transport for one in self.calibrations}) > 1

    @cached_property
    def _regions(self) -> str:
        """Digest of what is inspected: asked for each frame, so worked out once."""
        return digest_of(self.recipe.regions)

    def newest(self) -> Threshold:
        """What was calibrated last; for who does not ask about one stream."""
        return self._of(self.calibrations[-1] if self.calibrations else None)

    def _of(self, stored: StoredCalibration | None) -> Threshold:
        typical = self.typical if stored is None else stored.mean
        if self.environment is not None:
            return Threshold(self.environment, "environment", typical)
        if self.recipe.rule.raw is not None:
            return Threshold(self.recipe.rule.raw, "recipe", typical)
        if stored is not None:
            elsewhere = stored.regions not in (None, self._regions)
            return Threshold(stored.threshold, "calibration", typical, stored, elsewhere)
        if not 0 < self.model.threshold < math.inf:
            return Threshold(0.0, "uncalibrated")
        return Threshold(self.model.threshold, "model", typical)


GIVEN = "given-"
"""How the names of recipes begin whose model was given at the start (MODEL_PATH, the simulated line)."""


def key_of(recipe: Recipe) -> str:
    """Whose calibrations they are: those of a model as it was taught, whatever it was told since; and, but for a model
    that was given at the start, of one recipe alone."""
    return recipe.model.taught if recipe.id.startswith(GIVEN) else f"{recipe.model.taught}:{recipe.id}"


def given_recipe(model: Detector, name: str) -> Recipe:
    """The recipe of a model that was given at the start, before anybody changed it."""
    taught = taught_hash(model)
    return Recipe(f"{GIVEN}{taught[:12]}", " ".join(name.split())[:LONGEST_NAME] or "parts", 1, ModelVersion(taught))


def taught_hash(model: Detector) -> str:
    """Of the model as it was taught, whatever it was told since."""
    return str(getattr(model, "taught_hash", model.hash))


def held_out_scores(model: Detector) -> list[float]:
    """Raw scores of good pictures that were held out while the model was taught; none of other people's models."""
    return list(model.manifest.held_out_scores) if isinstance(model, Described) else []


def typical_score(model: Detector) -> float:
    """Their mean; NaN where there are none."""
    scores = held_out_scores(model)
    return fmean(scores) if scores else math.nan


def in_force(calibrations: Iterable[StoredCalibration], stream: str | None, transport: Way) -> StoredCalibration | None:
    """Of some, oldest first, the calibration that holds on a stream.

    Its own comes before one for all; of those, the one of its transport before the newest of another.
    """
    newest_first = [stored for stored in reversed(tuple(calibrations)) if not stored.alone or stored.stream == stream]
    return max(newest_first, key=lambda stored: (stored.alone, stored.transport == transport), default=None)


def other_transport(threshold: Threshold, transport: Way) -> str | None:
    """What the operator should know where a calibration of another transport is in force; or nothing."""
    stored = threshold.calibration
    if stored is None or stored.transport in (transport, "unknown"):
        return None
    return (
        f"its calibration was made {HOW[stored.transport]}, but it comes {HOW[transport]}, which moves scores: "
        "calibrate on this stream"
    )


def other_regions(threshold: Threshold) -> str | None:
    """What the operator should know where the calibration in force was made in other regions; or nothing."""
    if not threshold.in_other_regions:
        return None
    return (
        "calibrated in other regions than are inspected now, which moves scores; its threshold stays in force: "
        "calibrate again, or go back to those regions"
    )


def described(stored: StoredCalibration) -> CalibrationInfo:
    """A calibration in the words of messages."""
    return CalibrationInfo(
        rule=rule_info(stored.k, stored.one_in),
        n=stored.n_images,
        when=stored.created,
        who=stored.who,
        transport=stored.transport,
        stream=stored.stream,
        promise=stored.promise.sentence if stored.promise else None,
        no_promise=stored.no_promise,
    )


def rule_info(k: float | None, one_in: int | None) -> RuleInfo:
    """Whichever of the two it is."""
    return RuleInfo(k=k) if k is not None else RuleInfo(one_in=one_in or 0)
