"""Hears what is inspected, and says when a stream is no longer as it was when calibrated."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from server.drift.conditions import Pictures
from server.drift.scores import Scores
from server.drift.telling import OTHER_REGIONS, Words, back_words, sentence, words_of, words_of_scores
from server.drift.thinning import Counted, Thinning
from server.inspection import Inspected
from server.streams import Hub, Told
from server.words import Drift, DriftWhat, Figure, Result, now

log = logging.getLogger("defectvision.drift")

MOST = 256
"""Names of streams that are watched, up to 100 kB each; of more, the one seen last longest ago is forgotten."""

WHATS: tuple[DriftWhat, ...] = ("score", "light", "contrast", "focus", "position", "size")

Key = tuple[object, ...]


@dataclass
class Watch:
    """One stream, compared with one reference.

    Attributes:
        key: what is in force; anything else begins anew.
        scores: None where those of the calibration are of other regions than are inspected.
        is_calibration: whether the reference is a calibration, or the first parts; ``since``: when that was.
        out: what left, and what is said of it.
    """

    key: Key
    thinning: Thinning
    scores: Scores | None
    pictures: Pictures
    is_calibration: bool
    since: str
    out: dict[DriftWhat, Words] = field(default_factory=dict)

    @property
    def than(self) -> str:
        return "than when calibrated" if self.is_calibration else f"than in the first parts since {self.since[:16]}"

    def see(self, counted: Counted) -> bool:
        """A part counts; says whether anything left or came back."""
        changed = self.pictures.see(counted.condition)
        # While pictures are taken otherwise, scores would say the same once more, or learn it.
        if self.scores is not None and counted.score is not None and not self.pictures.whats:
            changed |= self.scores.see(counted.score)
        return changed

    @property
    def now_out(self) -> dict[DriftWhat, Words]:
        """What is out by the tests, in words of now."""
        found: dict[DriftWhat, Words] = {}
        for what in WHATS:
            if what == "score":
                if self.scores is not None and self.scores.out:
                    found[what] = words_of_scores(self.scores.place, self.than)
            elif self.pictures.tests is not None and what in self.pictures.whats:
                found[what] = words_of(what, self.pictures.tests.off, self.than)
        return found


class Drifts:
    """Watches all streams. Hangs on the hub as an ear; the event loop owns it.

    Args:
        hub: to hear from, and to tell.
        transport_of: how a stream's frames come now; a calibration made in another way is no reference.
        clock: seconds, monotonic.
    """

    def __init__(
        self, hub: Hub, transport_of: Callable[[str], str | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hub, self._transport_of, self._clock = hub, transport_of, clock
        self._watches: dict[str, Watch] = {}
        hub.listen(self.hear)

    def hear(self, told: Told) -> None:
        """Something was told of a stream; some hundredths of a millisecond for a result, nothing for all else."""
        message, seen = told.message, told.seen
        if not isinstance(message, Result) or seen is None or seen.condition is None:
            return
        transport = self._transport_of(message.stream)
        if transport is None:  # it has just ended
            return
        watch = self._watch(message.stream, transport, seen)
        accepted = message.verdict == "NORMAL" and not seen.is_anomaly
        part = message.part if isinstance(message.part, str) else None
        score = seen.raw_score if accepted else None
        counted = watch.thinning.see(self._clock(), part, seen.condition, score)
        if counted is not None and watch.see(counted):
            self._tell(message.stream, watch, watch.now_out)

    def warnings(self, stream: str) -> list[str]:
        """What the operator should know of a stream."""
        watch = self._watches.get(stream)
        if watch is None:
            return []
        not_compared = [OTHER_REGIONS] if watch.scores is None else []
        return [*not_compared, *(sentence(words) for words in watch.out.values())]

    def figures(self) -> Iterator[Figure]:
        """Of each stream, what is out and by how much."""
        for name, watch in self._watches.items():
            if self._transport_of(name) is None:  # nobody sends it
                continue
            for what in WHATS:
                labels = {"stream": name, "what": what}
                words = watch.out.get(what)
                yield Figure("drift", "1 while this is not as it was when calibrated", float(words is not None), labels)
                change = words.change if words else 0.0
                yield Figure("drift_change", "by how much, as in the drift message; 0 while it is not", change, labels)
            ready = float(watch.pictures.stands)
            yield Figure("drift_ready", "1 once there is something to compare pictures with", ready, {"stream": name})

    def _watch(self, stream: str, transport: str, seen: Inspected) -> Watch:
        key = _key(transport, seen)
        watch = self._watches.pop(stream, None)
        if watch is None or watch.key != key:
            if watch is not None:
                self._tell(stream, watch, {}, anew=True)
            watch = self._begin(stream, transport, key, seen)
        self._watches[stream] = watch  # the newest last
        while len(self._watches) > MOST:
            del self._watches[next(iter(self._watches))]
        return watch

    def _begin(self, stream: str, transport: str, key: Key, seen: Inspected) -> Watch:
        stored = seen.threshold.calibration
        here = stored is not None and (stored.stream, stored.transport) == (stream, transport)
        if stored is None or not here or stored.baseline is None:
            return Watch(key, Thinning(), Scores(), Pictures(), False, now())
        kept = stored.baseline
        scores = None if seen.threshold.in_other_regions else Scores(kept.scores, kept.worth)
        return Watch(key, Thinning(), scores, Pictures(kept), True, stored.created)

    def _tell(self, stream: str, watch: Watch, found: dict[DriftWhat, Words], *, anew: bool = False) -> None:
        was, watch.out = watch.out, {what: watch.out.get(what, words) for what, words in found.items()}
        for what in _apart(found, was):
            words = sentence(found[what])
            log.warning("drift stream=%s what=%s words=%s", stream, what, words)
            self._publish(stream, watch, what, True, found[what].change, words)
        for what in _apart(was, found):
            words = "another calibration, recipe, model or transport is in force: compared anew" if anew else ""
            words = words or back_words(what, "the calibration" if watch.is_calibration else "the first parts")
            log.info("drift over stream=%s what=%s words=%s", stream, what, words)
            self._publish(stream, watch, what, False, 0.0, words)

    def _publish(self, stream: str, watch: Watch, what: DriftWhat, is_out: bool, change: float, words: str) -> None:
        reference: Literal["calibration", "first parts"] = "calibration" if watch.is_calibration else "first parts"
        self._hub.publish(Drift(stream, what, is_out, round(change, 4), words, reference, watch.since, now()))


def _apart(some: Iterable[DriftWhat], others: Iterable[DriftWhat]) -> list[DriftWhat]:
    without = set(others)
    return [what for what in some if what not in without]


def _key(transport: str, seen: Inspected) -> Key:
    """How frames come, and what is in force; corrections of a model leave it the same, since calibrations outlive
    them."""
    threshold, recipe = seen.threshold, seen.recipe
    created = threshold.calibration.created if threshold.calibration else None
    inspects = recipe.id, recipe.model.taught, recipe.regions, seen.model[1]
    return transport, *inspects, threshold.value, threshold.source, created
