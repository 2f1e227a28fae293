"""The heart: a frame comes in, a verdict goes out. The only door between the server and the detector."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from detector import Detector, TaughtModel
from detector.images import BGRImage
from detector.thresholds import Calibration, Rule, judge
from server.inspection.baseline import Baseline, baseline_of
from server.inspection.calibration_file import Action, Change, StoredCalibration, digest_of
from server.inspection.calibrations import Calibrations, Step
from server.inspection.captured import Captured, Draft, among_all
from server.inspection.inspected import Inspected, heatmap_of, kept_of
from server.inspection.looking import Here, Looker, Wanted, picture_of
from server.inspection.resting import Resting
from server.inspection.threshold import (
    InUse,
    Threshold,
    given_recipe,
    held_out_scores,
    key_of,
    other_regions,
    typical_score,
)
from server.recipes import Recipe, ThresholdRule
from server.words import Load, Way, now

log = logging.getLogger("defectvision.inspection")

T = TypeVar("T")


class NoModel(Exception):
    """There is no model to inspect with; the message says why."""


class ModelReplaced(Exception):
    """What was captured was scored by a model, or in regions, not in use any more; the message says so."""


@dataclass(frozen=True)
class Changed:
    """A change of the calibrations, and what was and is in force where it was made."""

    change: Change
    was: Threshold
    became: Threshold


class Inspection:
    """The recipes in use, their models, and the thresholds in force. ``inspect`` may run in several threads at once.

    Args:
        threshold: raw; stays in force whatever is calibrated.
        per_stream: whether a calibration holds for the stream it was made on, instead of for all.

    Attributes:
        looker: who looks at frames: this process, or others.
    """

    def __init__(
        self,
        calibrations: Calibrations,
        *,
        threshold: float | None = None,
        category: str | None = None,
        per_stream: bool = False,
    ) -> None:
        self._calibrations = calibrations
        self._environment_threshold = threshold
        self._category = category
        self._per_stream = per_stream
        # Replaced as wholes, never changed: a worker reads them while the event loop or a thread puts others in place.
        self._in_use: Mapping[str, InUse] = {}
        self._resting: Mapping[str, InUse] = {}
        self._coming: frozenset[str] = frozenset()
        self._chosen: Mapping[str, str] = {}
        self._default: str | None = None
        self._why_not: Mapping[str, str] = {}
        # What is in force must be what is on disk, also when two people calibrate at once: for threads alone, and as
        # long as a disk or a database takes.
        self._storing = threading.Lock()
        # For the event loop too, so for moments only: whoever has it reads and stores nothing, and waits for nobody.
        self._changing = threading.Lock()
        self.why_no_model = "the server is starting"
        self.looker: Looker = Here()

    def use(self, model: Detector, recipe: Recipe | None = None) -> None:
        """Inspect with this model from now on: the streams that a recipe was chosen for, or, without one, all that none
        was chosen for."""
        with self._changing:
            made = given_recipe(model, self._category or model.category) if recipe is None else recipe
            in_use = self._put_together(made, model)
            self._forget(made.id)
            self._in_use = {**self._in_use, made.id: in_use}
            if recipe is None or self._default is None:
                self._default = made.id
        threshold = in_use.newest()
        log.info(
            "model in use recipe=%s version=%d category=%s hash=%s runtime=%s threshold=%.4g source=%s",
            made.id,
            made.version,
            model.category,
            model.hash[:12],
            model.runtime,
            threshold.value,
            threshold.source,
        )

    def drop(self, recipe: str, why: str) -> None:
        """Inspect with this recipe no more; ``why`` is told on streams that it was chosen for."""
        with self._changing:
            self._forget(recipe)
            self._in_use = _without(self._in_use, recipe)
            self._why_not = {**self._why_not, recipe: why}

    def rest(self, recipe: Recipe, model: Resting) -> None:
        """Let go of the model of a recipe that no stream needs now; :meth:`use` it again before one does."""
        with self._changing:
            in_use = self._put_together(recipe, model)
            self._forget(recipe.id)
            self._resting = {**self._resting, recipe.id: in_use}
            self._why_not = {**self._why_not, recipe.id: f"the model of the recipe {recipe.name} is not loaded yet"}
            self._in_use = _without(self._in_use, recipe.id)

    def expect(self, recipe: str) -> None:
        """A model is being loaded: frames that need it wait, until it is there or it is said why not."""
        with self._changing:
            self._coming |= {recipe}

    def _forget(self, recipe: str) -> None:
        """What was known of a recipe, but for what streams are inspected with this moment."""
        self._coming -= {recipe}
        self._resting = _without(self._resting, recipe)
        self._why_not = _without(self._why_not, recipe)

    def choose(self, chosen: Mapping[str, str], default: str) -> None:
        """Inspect streams with these recipes from now on, by name, and all others with the default one."""
        with self._changing:
            self._chosen, self._default = dict(chosen), default

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """Those in use, and those whose models rest."""
        return tuple(one.recipe for one in (*self._in_use.values(), *self._resting.values()))

    @property
    def models(self) -> tuple[Detector, ...]:
        """Of the recipes in use."""
        return tuple(one.model for one in self._in_use.values())

    def recipe(self, id: str) -> Recipe | None:
        """One of them."""
        known = self._known(id)
        return known.recipe if known else None

    @property
    def default(self) -> str | None:
        """Id of the recipe that streams are inspected with that none was chosen for."""
        return self._default

    def recipe_on(self, stream: str | None) -> Recipe:
        """The recipe that a stream is inspected with, or pictures that come without one.

        Raises:
            NoModel: there is no model for it yet.
        """
        return self._on(stream).recipe

    def model_of(self, recipe: str) -> Detector | None:
        """The model of a recipe in use."""
        in_use = self._in_use.get(recipe)
        return in_use.model if in_use else None

    def known_model(self, recipe: str) -> Detector | None:
        """The model of a recipe, or, where it is not loaded, a :class:`Resting` one; None where it cannot be used."""
        known = self._known(recipe)
        return known.model if known else None

    def rests(self, recipe: str) -> bool:
        """Whether a recipe can be used, but its model is not loaded."""
        return recipe in self._resting

    def threshold_of(self, recipe: str) -> Threshold | None:
        """What was calibrated last for a recipe that can be used, or what is in force there without."""
        known = self._known(recipe)
        return known.newest() if known else None

    def threshold_there(self, recipe: str, stream: str, transport: Way) -> Threshold | None:
        """What is in force on a stream for a recipe that can be used, once that is chosen for it."""
        known = self._known(recipe)
        return known.on(stream, transport) if known else None

    def decisive(self, recipe: str, stream: str, was: Threshold, *, everywhere: bool) -> Threshold | None:
        """Which threshold of a recipe that can be used decides on frames like one that came on a stream; or, where
        they are to alarm ``everywhere``, the highest that is in force.

        Args:
            was: in force for that frame.
        """
        if (known := self._known(recipe)) is None:
            return None
        return known.highest(stream) if everywhere else known.passed_by(stream, was)

    def threshold_by(self, recipe: str, rule: ThresholdRule) -> tuple[Threshold, bool] | None:
        """What would be in force for a recipe in use with another rule, and whether that may be another on each
        stream."""
        in_use = self._in_use.get(recipe)
        if in_use is None:
            return None
        threshold = in_use.with_rule(rule).newest()
        return threshold, threshold.source == "calibration" and in_use.calibrated_apart

    def calibrations_of(self, recipe: Recipe, runtime: str) -> tuple[Change, ...]:
        """What was done to a recipe's calibrations, the newest first."""
        return self._calibrations.history(key_of(recipe), runtime)

    def why_not(self, recipe: str) -> str | None:
        """Why a recipe cannot be used, where it is known."""
        return None if self._known(recipe) is not None else self._why_not.get(recipe, self.why_no_model)

    def recipe_id_on(self, stream: str | None) -> str | None:
        """Id of the recipe that is chosen for a stream, in use or not."""
        return self._chosen.get(stream or "", self._default)

    @property
    def ready(self) -> bool:
        return self._default in self._in_use

    def is_ready_for(self, stream: str | None) -> bool:
        """Whether there is a model for a stream."""
        return self.recipe_id_on(stream) in self._in_use

    def says_why_not(self, stream: str | None) -> bool:
        """Whether it is known why there is no model for a stream, and will be none before somebody does something."""
        return not self.is_coming_for(stream) and self.recipe_id_on(stream) in self._why_not

    def is_coming_for(self, stream: str | None) -> bool:
        """Whether the model for a stream is being loaded."""
        return self.recipe_id_on(stream) in self._coming and not self.is_ready_for(stream)

    @property
    def model(self) -> Detector:
        """The model of the default recipe.

        Raises:
            NoModel: there is none yet.
        """
        return self._on(None).model

    @property
    def threshold(self) -> Threshold:
        """The threshold that was calibrated last for the default recipe, or what is in force without one.

        Raises:
            NoModel: there is no model yet.
        """
        return self._on(None).newest()

    def newest_on(self, stream: str | None) -> Threshold:
        """What was calibrated last for a stream's recipe, or the default one, or what is in force there without.

        Raises:
            NoModel: there is no model yet.
        """
        return self._on(stream).newest()

    def threshold_on(self, stream: str | None, transport: Way) -> Threshold:
        """The threshold in force on a stream, or for pictures: environment before one put there by hand before
        calibration before the model's default, if it has one.

        Raises:
            NoModel: there is no model yet.
        """
        return self._on(stream).on(stream, transport)

    @property
    def category(self) -> str:
        return self._category or self.model.category

    @property
    def calibration(self) -> StoredCalibration | None:
        """The newest stored calibration of the default recipe, in force or not."""
        calibrations = self._on(None).calibrations
        return calibrations[-1] if calibrations else None

    @property
    def warning(self) -> str | None:
        """What the operator has to do before a verdict means anything; or nothing."""
        unknown = [in_use.recipe.name for in_use in self._in_use.values() if not in_use.newest().known]
        if not unknown:
            return None
        what = "" if len(self._in_use) == 1 else f" ({', '.join(unknown)})"
        return (
            f"not calibrated{what}: the model brings no threshold, so every part is an ANOMALY; calibrate on good parts"
        )

    @property
    def regions_warning(self) -> str | None:
        """Of which recipes the threshold that was calibrated last was placed in other regions; or nothing."""
        known = ((one.recipe.name, other_regions(one.newest())) for one in self._in_use.values())
        told = {name: words for name, words in known if words is not None}
        return f"{', '.join(told)}: {next(iter(told.values()))}" if told else None

    def taught_shapes_on(self, stream: str | None) -> tuple[float, float] | None:
        """Narrowest and widest shape (width to height) of the pictures a stream's model was taught with, if it says
        so."""
        if not self.is_ready_for(stream):
            return None
        model = self._on(stream).model
        return model.manifest.shapes if isinstance(model, TaughtModel) else None

    def inspect(
        self,
        load: Load,
        *,
        stream: str | None = None,
        transport: Way = "pictures",
        picture: bool = False,
        sample: bool = False,
        scene: bool = False,
        keep: Callable[[float, bool], bool] | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> Inspected:
        """Judge one frame. For a worker thread; ``progress`` is called after each of its steps.

        Args:
            load: makes the frame.
            stream, transport: whose recipe and threshold it is judged by.
            picture: whether a JPEG of it is asked for; ``sample``: whether what a calibration keeps of it is.
            scene: whether a look that tells scenes apart is.
            keep: asked with its raw score and whether it is above the threshold: whether it is kept for a correction.

        Raises:
            ImageError: the frame cannot be decoded.
            NoModel: there is no model yet.
            NotLooked: nobody looked at it.
        """
        # Taken together: a new calibration or model never mixes into a frame.
        took: list[InUse] = []

        def ask() -> tuple[Detector, Wanted]:
            in_use = self._on(stream)
            took[:] = [in_use]
            parts, is_due = in_use.recipe.parts, keep is not None and keep(-math.inf, False)
            return in_use.model, Wanted(
                in_use.recipe.model.taught,
                in_use.recipe.regions,
                parts.gate if parts.by == "gate" else None,
                picture,
                sample,
                is_due,
                scene,
            )

        looked = self.looker.look(load, ask, progress)
        (in_use,) = took
        model, threshold, score = in_use.model, in_use.on(stream, transport), looked.found.score
        kept = looked.kept
        if keep is not None and kept is None and keep(score, not threshold.known or score > threshold.value):
            frame = load() if looked.frame is None else looked.frame
            kept = kept_of(frame, model, looked.picture or picture_of(frame), in_use.recipe.model.taught)
        return Inspected(
            score,
            threshold,
            heatmap_of(looked.found.anomaly_map, threshold),
            looked.size,
            (model.hash, model.runtime),
            looked.picture,
            looked.sample,
            kept,
            in_use.recipe,
            looked.gate,
            looked.condition,
            looked.scene,
        )

    def inspect_frame(
        self, frame: BGRImage, *, sample: bool = False, progress: Callable[[], None] = lambda: None
    ) -> Inspected:
        """Judge one decoded picture (H×W×3 uint8 BGR) of no stream. For a worker thread."""
        return self.inspect(lambda: frame, sample=sample, progress=progress)

    def judge(self, captured: Captured, rule: Rule, left_out: Iterable[int] = ()) -> Draft:
        """Say what a calibration from these frames would be, and what is wrong with it. For a thread; changes nothing.

        Raises:
            ModelReplaced: another model or other regions are in use than scored them.
            ValueError: too few are left, or scores that no threshold follows from.
        """
        in_use = self._of(captured)
        without = frozenset(left_out)
        kept = [number for number in range(len(captured.scores)) if number not in without]
        threshold = in_use.on(captured.stream, captured.transport)
        judgement = judge(
            [captured.scores[number] for number in kept],
            rule,
            in_force=threshold.value if threshold.known else None,
            taught=held_out_scores(in_use.model),
            recent=captured.recent,
            defects=captured.defects,
            looks=[captured.looks[number] for number in kept],
        )
        return Draft(captured, rule, without, among_all(judgement, kept), threshold)

    def set(self, draft: Draft, calibration: Calibration, *, who: str, why: str) -> Changed:
        """Put a calibration made from a draft's frames in force, and store it. For a thread.

        Raises:
            ModelReplaced: another model or other regions are in use than scored the frames; nothing changes.
            OSError: it cannot be stored; nothing changes.
        """
        captured = draft.captured
        key, (_, runtime) = self._of(captured).key, captured.model
        promise = calibration.promise
        stored = StoredCalibration(
            model_hash=key,
            runtime=runtime,
            transport=captured.transport,
            stream=captured.stream,
            alone=self._per_stream and captured.stream is not None,
            threshold=float(calibration.threshold),  # a whole number would be read as another text than it was written
            mean=float(calibration.mean),
            std=float(calibration.std),
            n_images=calibration.n_images,
            k=None if calibration.k is None else float(calibration.k),
            one_in=calibration.one_in,
            lowest_defect=None if calibration.lowest_defect is None else float(calibration.lowest_defect),
            promise=promise,
            no_promise=calibration.no_promise,
            created=now(),
            who=who,
            baseline=_baseline(draft),
            regions=None if captured.regions is None else digest_of(captured.regions),
        )
        with self._change_begins():
            in_use = self._of(captured)
            kept = [older for older in self._stored(in_use) if older.place != stored.place]
            done = self._change(in_use, "set", [*kept, stored], who, why, captured.stream, captured.transport)
        log.info("calibrated threshold=%.4g images=%d by=%s", stored.threshold, stored.n_images, who)
        return done

    def others(self, captured: Captured) -> tuple[StoredCalibration, ...]:
        """Calibrations that hold in other places than one made from these frames."""
        stored = self._stored(self._of(captured))
        return tuple(one for one in stored if one.transport != captured.transport or one.alone)

    def forget_calibration(self, *, who: str, stream: str | None = None) -> None:
        """Go back to the model's default threshold everywhere, in the recipe of a stream, or the default one.

        Raises:
            OSError: the file cannot be written; nothing changes.
        """
        with self._change_begins():
            in_use = self._on(stream, resting=True)
            if stored := self._stored(in_use):
                last = stored[-1]
                self._change(in_use, "forget", [], who, "calibration forgotten", last.stream, last.transport)
        log.info("calibration deleted recipe=%s", in_use.recipe.id)

    def undo(self, *, who: str, when: str | None = None, stream: str | None = None) -> Changed | None:
        """Take back the newest change of a recipe's calibrations that was not taken back yet, if there is one.

        Args:
            when: that change was made; if it is another one, nothing is taken back: of two who press at once the
                second would take back what neither of them saw.
            stream: whose recipe; none: the default one.

        Returns:
            the change taken back.

        Raises:
            OSError: the file cannot be written; nothing changes.
        """
        with self._change_begins():
            in_use = self._on(stream, resting=True)
            change = self._calibrations.to_undo(in_use.key, in_use.model.runtime)
            if change is None or when not in (None, change.when):
                return None
            back = {older.place for older in change.before}
            stored = self._stored(in_use)
            kept = [one for one in stored if one not in change.after and one.place not in back]
            why = f"undone: {change.why}"
            calibrations = [*kept, *change.before]
            done = self._change(in_use, "undo", calibrations, who, why, change.stream, change.transport)
        log.info("calibration undone threshold=%.4g source=%s by=%s", done.became.value, done.became.source, who)
        return dataclasses.replace(done, change=change)

    def history(self, stream: str | None = None) -> tuple[Change, ...]:
        """What was done to the calibrations of a stream's recipe, or the default one, the newest first."""
        in_use = self._on(stream, resting=True)
        return self._calibrations.history(in_use.key, in_use.model.runtime)

    def renew(self) -> bool:
        """Put in force what others calibrated since; whether there is anything. For a thread."""
        with self._storing:
            try:
                return self._recovered()
            except OSError:
                return False  # the plant says it

    @contextmanager
    def _change_begins(self) -> Iterator[None]:
        """One change at a time, and none before all that is stored was read.

        Raises:
            OSError: it cannot be read.
        """
        with self._storing:
            self._recovered()
            yield

    def _recovered(self) -> bool:
        """Whether more calibrations were read than before; then those are in force."""
        if not self._calibrations.recover():
            return False
        self._put_in_force()
        return True

    def _put_in_force(self, key: str | None = None) -> None:
        """What is stored, where the calibrations are of this key, or everywhere. What came into use while it was
        stored may have it already, or gets it here."""
        with self._changing:
            self._in_use, self._resting = (
                {name: self._again(one) if key in (None, one.key) else one for name, one in some.items()}
                for some in (self._in_use, self._resting)
            )

    def _change(
        self,
        in_use: InUse,
        action: Action,
        calibrations: Iterable[StoredCalibration],
        who: str,
        why: str,
        stream: str | None,
        transport: Way,
    ) -> Changed:
        """Store a recipe's calibrations and put them in force; under the lock of what is stored."""
        calibrations = tuple(calibrations)
        was = in_use.on(stream, transport)
        became = dataclasses.replace(in_use, calibrations=self._that_hold(calibrations)).on(stream, transport)
        step = Step(action, who, why, transport, stream, _value(was), _value(became))
        change = self._calibrations.replace(in_use.key, in_use.model.runtime, calibrations, step)
        self._put_in_force(in_use.key)  # recipes of one key share their calibrations
        return Changed(change, was, became)

    def _again(self, in_use: InUse) -> InUse:
        return self._put_together(in_use.recipe, in_use.model)

    def _put_together(self, recipe: Recipe, model: Detector) -> InUse:
        key = key_of(recipe)
        stored = self._calibrations.of(key, model.runtime)
        return InUse(recipe, model, key, self._that_hold(stored), self._environment_threshold, typical_score(model))

    def _that_hold(self, calibrations: tuple[StoredCalibration, ...]) -> tuple[StoredCalibration, ...]:
        return tuple(stored for stored in calibrations if self._per_stream or not stored.alone)

    def _stored(self, in_use: InUse) -> tuple[StoredCalibration, ...]:
        return self._calibrations.of(in_use.key, in_use.model.runtime)

    def _of(self, captured: Captured) -> InUse:
        in_use = self._on(None) if captured.recipe is None else self._in_use.get(captured.recipe)
        if in_use is None or captured.model != (in_use.model.hash, in_use.model.runtime):
            raise ModelReplaced("another model is in use since: capture again; nothing was changed")
        if captured.regions not in (None, in_use.recipe.regions):
            raise ModelReplaced("other regions are inspected since: capture again; nothing was changed")
        return in_use

    def _known(self, recipe: str) -> InUse | None:
        return self._in_use.get(recipe) or self._resting.get(recipe)

    def _on(self, stream: str | None, *, resting: bool = False) -> InUse:
        """What is in use on a stream; or, where that may rest, would be."""
        recipe = self.recipe_id_on(stream)
        in_use = self._known(recipe or "") if resting else self._in_use.get(recipe or "")
        if in_use is None:
            raise NoModel(self._why_not.get(recipe or "", self.why_no_model))
        return in_use


def _baseline(draft: Draft) -> Baseline | None:
    """Of the frames that were not left out."""
    captured = draft.captured
    kept = [number for number in range(len(captured.scores)) if number not in draft.left_out]
    if not captured.conditions:
        return None
    conditions = [captured.conditions[number] for number in kept]
    return baseline_of([captured.scores[number] for number in kept], conditions, draft.judgement.independent)


def _without(some: Mapping[str, T], name: str) -> dict[str, T]:
    return {other: one for other, one in some.items() if other != name}


def _value(threshold: Threshold) -> float | None:
    return threshold.value if threshold.known else None
