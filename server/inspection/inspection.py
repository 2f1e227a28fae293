"""The heart: a frame comes in, a verdict goes out. The only door between the server and the detector."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from detector import Detector, TaughtModel
from detector.images import BGRImage, encode_jpeg
from detector.thresholds import Calibration, Rule, judge
from server.inspection.calibration_file import Action, Change, StoredCalibration
from server.inspection.calibrations import Calibrations, Step, now
from server.inspection.captured import Captured, Draft, among_all
from server.inspection.inspected import Inspected, heatmap_of, sample_of
from server.inspection.threshold import InUse, Threshold, held_out_scores, typical_score
from server.words import Load, Way

log = logging.getLogger("defectvision.inspection")

PICTURE_SIDE, PICTURE_QUALITY = 640, 80


class NoModel(Exception):
    """There is no model to inspect with; the message says why."""


class ModelReplaced(Exception):
    """What was captured was scored by a model that is not in use any more; the message says so."""


@dataclass(frozen=True)
class Changed:
    """A change of the calibrations, and what was and is in force where it was made."""

    change: Change
    was: Threshold
    became: Threshold


class Inspection:
    """The model in use and the thresholds in force. ``inspect`` may run in several threads at once.

    Args:
        threshold: raw; stays in force whatever is calibrated.
        per_stream: whether a calibration holds for the stream it was made on, instead of for all.
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
        self._in_use: InUse | None = None
        # What is in force must be what is on disk, also when two people calibrate at once.
        self._changing = threading.Lock()
        self.why_no_model = "the server is starting"

    def use(self, model: Detector) -> None:
        """Inspect with this model from now on."""
        with self._changing:
            self._in_use = self._put_together(model, typical_score(model))
        log.info(
            "model in use category=%s hash=%s runtime=%s threshold=%.4g source=%s",
            self.category,
            model.hash[:12],
            model.runtime,
            self.threshold.value,
            self.threshold.source,
        )

    @property
    def ready(self) -> bool:
        return self._in_use is not None

    @property
    def model(self) -> Detector:
        """The model in use.

        Raises:
            NoModel: there is none yet.
        """
        return self._now().model

    @property
    def threshold(self) -> Threshold:
        """The threshold that was calibrated last, or what is in force without one.

        Raises:
            NoModel: there is no model yet.
        """
        return self._now().newest()

    def threshold_on(self, stream: str | None, transport: Way) -> Threshold:
        """The threshold in force on a stream, or for pictures: environment before calibration before the model's
        default, if it has one.

        Raises:
            NoModel: there is no model yet.
        """
        return self._now().on(stream, transport)

    @property
    def category(self) -> str:
        return self._category or self.model.category

    @property
    def calibration(self) -> StoredCalibration | None:
        """The newest stored calibration of this model on this runtime, in force or not."""
        calibrations = self._now().calibrations
        return calibrations[-1] if calibrations else None

    @property
    def warning(self) -> str | None:
        """What the operator has to do before a verdict means anything; or nothing."""
        if self._in_use is None or self.threshold.known:
            return None
        return "not calibrated: the model brings no threshold, so every part is an ANOMALY; calibrate on good parts"

    @property
    def taught_shapes(self) -> tuple[float, float] | None:
        """Narrowest and widest shape (width to height) of the pictures the model was taught with, if it says so."""
        model = self._in_use.model if self._in_use else None
        return model.manifest.shapes if isinstance(model, TaughtModel) else None

    def inspect(
        self,
        load: Load,
        *,
        stream: str | None = None,
        transport: Way = "pictures",
        picture: bool = False,
        sample: bool = False,
        progress: Callable[[], None] = lambda: None,
    ) -> Inspected:
        """Judge one frame. For a worker thread; ``progress`` is called after each of its steps.

        Args:
            load: makes the frame.
            stream, transport: whose threshold it is judged by.
            picture: whether a JPEG of it is asked for; ``sample``: whether what a calibration keeps of it is.

        Raises:
            ImageError: the frame cannot be decoded.
            NoModel: there is no model yet.
        """
        frame = load()
        progress()
        in_use = self._now()  # taken together: a new calibration or model never mixes into a frame
        model, threshold = in_use.model, in_use.on(stream, transport)
        detection = model.detect(frame)
        progress()
        return Inspected(
            detection.score,
            threshold,
            heatmap_of(detection.anomaly_map, threshold),
            (frame.shape[1], frame.shape[0]),
            (model.hash, model.runtime),
            encode_jpeg(frame, quality=PICTURE_QUALITY, longest_side=PICTURE_SIDE) if picture else None,
            sample_of(frame, model) if sample else None,
        )

    def inspect_frame(
        self, frame: BGRImage, *, sample: bool = False, progress: Callable[[], None] = lambda: None
    ) -> Inspected:
        """Judge one decoded picture (H×W×3 uint8 BGR) of no stream. For a worker thread."""
        return self.inspect(lambda: frame, sample=sample, progress=progress)

    def judge(self, captured: Captured, rule: Rule, left_out: Iterable[int] = ()) -> Draft:
        """Say what a calibration from these frames would be, and what is wrong with it. For a thread; changes nothing.

        Raises:
            ModelReplaced: another model is in use than the one that scored them.
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
            ModelReplaced: another model is in use than the one that scored the frames; nothing changes.
            OSError: it cannot be stored; nothing changes.
        """
        captured = draft.captured
        model_hash, runtime = captured.model
        promise = calibration.promise
        stored = StoredCalibration(
            model_hash=model_hash,
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
        )
        with self._change_begins():
            self._of(captured)
            kept = [older for older in self._stored() if older.place != stored.place]
            done = self._change("set", [*kept, stored], who, why, captured.stream, captured.transport)
        log.info("calibrated threshold=%.4g images=%d by=%s", stored.threshold, stored.n_images, who)
        return done

    def others(self, captured: Captured) -> tuple[StoredCalibration, ...]:
        """Calibrations that hold in other places than one made from these frames."""
        return tuple(stored for stored in self._stored() if stored.transport != captured.transport or stored.alone)

    def forget_calibration(self, *, who: str) -> None:
        """Go back to the model's default threshold everywhere.

        Raises:
            OSError: the file cannot be written; nothing changes.
        """
        with self._change_begins():
            if stored := self._stored():
                self._change("forget", [], who, "calibration forgotten", stored[-1].stream, stored[-1].transport)
        log.info("calibration deleted threshold=%.4g source=%s", self.threshold.value, self.threshold.source)

    def undo(self, *, who: str, when: str | None = None) -> Changed | None:
        """Take back the newest change of this model's calibrations that was not taken back yet, if there is one.

        Args:
            when: that change was made; if it is another one, nothing is taken back: of two who press at once the
                second would take back what neither of them saw.

        Returns:
            the change taken back.

        Raises:
            OSError: the file cannot be written; nothing changes.
        """
        with self._change_begins():
            model = self.model
            change = self._calibrations.to_undo(model.hash, model.runtime)
            if change is None or when not in (None, change.when):
                return None
            back = {older.place for older in change.before}
            kept = [one for one in self._stored() if one not in change.after and one.place not in back]
            why = f"undone: {change.why}"
            done = self._change("undo", [*kept, *change.before], who, why, change.stream, change.transport)
        log.info("calibration undone threshold=%.4g source=%s by=%s", done.became.value, done.became.source, who)
        return dataclasses.replace(done, change=change)

    def history(self) -> tuple[Change, ...]:
        """What was done to this model's calibrations, the newest first."""
        return self._calibrations.history(self.model.hash, self.model.runtime)

    @contextmanager
    def _change_begins(self) -> Iterator[None]:
        """One change at a time, and none before all that is stored was read.

        Raises:
            OSError: it cannot be read.
        """
        with self._changing:
            if self._calibrations.recover():
                in_use = self._now()
                self._in_use = self._put_together(in_use.model, in_use.typical)
            yield

    def _change(
        self,
        action: Action,
        calibrations: Iterable[StoredCalibration],
        who: str,
        why: str,
        stream: str | None,
        transport: Way,
    ) -> Changed:
        """Store this model's calibrations and put them in force; under the lock."""
        in_use, calibrations = self._now(), tuple(calibrations)
        was = in_use.on(stream, transport)
        became = dataclasses.replace(in_use, calibrations=self._that_hold(calibrations)).on(stream, transport)
        step = Step(action, who, why, transport, stream, _value(was), _value(became))
        change = self._calibrations.replace(in_use.model.hash, in_use.model.runtime, calibrations, step)
        self._in_use = self._put_together(in_use.model, in_use.typical)
        return Changed(change, was, became)

    def _put_together(self, model: Detector, typical: float) -> InUse:
        stored = self._calibrations.of(model.hash, model.runtime)
        return InUse(model, self._that_hold(stored), self._environment_threshold, typical)

    def _that_hold(self, calibrations: tuple[StoredCalibration, ...]) -> tuple[StoredCalibration, ...]:
        return tuple(stored for stored in calibrations if self._per_stream or not stored.alone)

    def _stored(self) -> tuple[StoredCalibration, ...]:
        return self._calibrations.of(self.model.hash, self.model.runtime)

    def _of(self, captured: Captured) -> InUse:
        in_use = self._now()
        if captured.model != (in_use.model.hash, in_use.model.runtime):
            raise ModelReplaced("another model is in use since: capture again; nothing was changed")
        return in_use

    def _now(self) -> InUse:
        if self._in_use is None:
            raise NoModel(self.why_no_model)
        return self._in_use


def _value(threshold: Threshold) -> float | None:
    return threshold.value if threshold.known else None
