"""Frames that are kept so that somebody may say what they were: alarms, and the latest. In memory, bounded. No I/O.

An *alarm* is a run of ANOMALY verdicts, or what one part has of it; of its frames the one with the highest score is
kept. What is kept of a frame costs a worker some milliseconds, so it is made only where it is wanted: for a frame that
scores higher than all of its alarm so far, and twice a second for one of the latest.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from server.inspection import Inspected, KeptPicture
from server.words import Verdict

Kind = Literal["alarm", "recent"]
Disposition = Literal["good", "bad"]

MOST_ALARMS, MOST_RECENT, MOST_HELD = 300, 8, 16
"""Of one stream. *Held*: they were listed as the latest, or as the worst frame of an alarm, and newer or worse ones
took their place; somebody may be looking at them and pressing a button below, and what an id names must not become
another picture. Counted among the latest; the one that was asked for longest ago goes first."""
RECENT_EVERY_S = 0.5
MOST_BYTES, MOST_RECENT_BYTES = 64 << 20, 16 << 20
"""Of all streams together, and of these for the latest."""
MOST_STREAMS = 256
"""Names whose frames are kept while nobody sends them; of more, those of the one that was seen last longest ago go."""
OVERHEAD = 2048
"""Bytes that a kept frame takes beside its pictures, about."""


@dataclass(frozen=True)
class KeptFrame:
    """A frame that is kept.

    Attributes:
        id: never given twice, restarts of the server included.
        at: when its verdict was given, ISO 8601.
        part: what the line said which part it shows.
        verdict: of the stream with this frame.
        inspected: what was found in it; without pictures for viewers and calibrations.
        kept: what is kept of its picture.
        disposition: what somebody said it is; ``correction``: id of what was made of that.
    """

    id: str
    kind: Kind
    stream: str
    at: str
    part: str | None
    verdict: Verdict
    inspected: Inspected
    kept: KeptPicture
    disposition: Disposition | None = None
    correction: str | None = None

    @property
    def size(self) -> int:
        """Bytes it takes in memory, about."""
        return self.kept.size + self.inspected.heatmap.nbytes + OVERHEAD


@dataclass(eq=False)
class _Run:
    """What may become an alarm, or is one."""

    part: int
    best: float = float("-inf")
    frame: KeptFrame | None = None
    is_alarm: bool = False
    age: int = 0
    id: str = ""
    """Of the alarm: its first frame's."""


@dataclass(eq=False)
class _OfStream:
    alarms: deque[str] = field(default_factory=deque)
    recent: deque[str] = field(default_factory=deque)
    held: deque[str] = field(default_factory=deque)
    listed: set[str] = field(default_factory=set)
    """Of the latest, those that somebody was told of."""
    run: _Run | None = None
    forgotten: int = 0
    due: float = 0.0
    size: int = 0


class KeptFrames:
    """The kept frames of all streams, by stream name: they outlive their connections. The event loop owns it.

    Args:
        clock: seconds, monotonic.
        most_bytes, most_recent_bytes: of all frames, and of the latest among them.

    Attributes:
        on_kept: called with each frame as it is kept, and the id of its alarm: that of the alarm's first frame, the
            same for worse ones that take its place; None with one of the latest. Returns at once.
    """

    def __init__(
        self, clock: Callable[[], float], *, most_bytes: int = MOST_BYTES, most_recent_bytes: int = MOST_RECENT_BYTES
    ) -> None:
        self._clock = clock
        self._most_bytes, self._most_recent_bytes = most_bytes, most_recent_bytes
        self._streams: dict[str, _OfStream] = {}
        self._frames: dict[str, KeptFrame] = {}
        self.size = self.recent_size = 0
        self.on_kept: Callable[[KeptFrame, str | None], None] = lambda frame, alarm: None

    def wanted(self, stream: str, part: int | None) -> Callable[[float, bool], bool]:
        """Asked in a worker thread, with the raw score and whether it is above the threshold: whether what is kept of a
        frame is to be made.

        Args:
            part: which one lies there now; None while it is not known before the frame was seen.
        """
        of = self._streams.get(stream)
        is_due = of is None or self._clock() >= of.due
        run = of.run if of else None
        best = float("-inf") if run is None or part not in (None, run.part) else run.best

        def keep(raw_score: float, is_anomaly: bool) -> bool:
            return is_due or (is_anomaly and raw_score > best)

        return keep

    def see(
        self,
        stream: str,
        inspected: Inspected,
        verdict: Verdict,
        *,
        at: str,
        part: int,
        told: str | None,
        window: int = 1,
    ) -> None:
        """A frame was inspected.

        Args:
            verdict: of the stream with it.
            part: which one it shows, counted by the server; ``told``: what the line said it is.
            window: frames that a verdict may come from: by ``n_of_m`` the worst one may lie before the first ANOMALY.
        """
        of = self._of(stream)
        run = of.run
        if run is not None and (run.part != part or (verdict == "NORMAL" and run.is_alarm) or run.age >= window):
            run = None
        if run is None:
            run = _Run(part)
        run.age = run.age + 1 if verdict == "NORMAL" and not inspected.is_anomaly else 0
        kept = inspected.kept
        frame = None
        if kept is not None:
            slim = replace(inspected, kept=None, picture=None, sample=None)
            frame = KeptFrame(secrets.token_hex(8), "recent", stream, at, told, verdict, slim, kept)
            if self._clock() >= of.due:
                of.due = self._clock() + RECENT_EVERY_S
                self._add(of, of.recent, frame, MOST_RECENT)
                self.on_kept(frame, None)
        if frame is not None and inspected.is_anomaly and inspected.raw_score > run.best:
            self._better(of, run, replace(frame, id=secrets.token_hex(8), kind="alarm"))
        if verdict == "ANOMALY" and not run.is_alarm and run.frame is not None:
            run.is_alarm, run.id = True, run.frame.id
            run.frame = replace(run.frame, verdict="ANOMALY")
            self._add(of, of.alarms, run.frame, MOST_ALARMS)
            self.on_kept(run.frame, run.id)
        of.run = run if run.frame is not None else None
        self._make_room()

    def list(self, stream: str, kind: Kind) -> list[KeptFrame]:
        """The kept frames of a stream, newest first."""
        of = self._streams.get(stream)
        ids = (of.alarms if kind == "alarm" else of.recent) if of else ()
        if of and kind == "recent":
            of.listed.update(ids)
        return [self._frames[id] for id in reversed(ids)]

    def forgotten(self, stream: str) -> int:
        """Alarms of a stream that are not kept any more."""
        of = self._streams.get(stream)
        return of.forgotten if of else 0

    def get(self, id: str) -> KeptFrame | None:
        """A kept frame, as long as it is kept; one that is held is held on."""
        frame = self._frames.get(id)
        if frame is not None and id in (held := self._streams[frame.stream].held):
            held.remove(id)
            held.append(id)
        return frame

    def dispose(self, id: str, disposition: Disposition | None, correction: str | None = None) -> KeptFrame | None:
        """Note what a kept frame was said to be, or take it back; nothing if it is not kept any more."""
        frame = self._frames.get(id)
        if frame is not None:
            frame = self._frames[id] = replace(frame, disposition=disposition, correction=correction)
        return frame

    def end(self, stream: str) -> None:
        """The connection of a stream ended: what comes next is no part of an alarm of now."""
        if (of := self._streams.get(stream)) is not None:
            of.run = None

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[KeptFrame]:
        return iter(tuple(self._frames.values()))

    def _of(self, stream: str) -> _OfStream:
        """What is kept of a stream, as the one seen last."""
        of = self._streams.pop(stream, None) or _OfStream()
        self._streams[stream] = of
        while len(self._streams) > MOST_STREAMS:
            gone = self._streams[next(iter(self._streams))]
            for ids in (gone.alarms, gone.recent, gone.held):
                while ids:
                    self._drop(gone, ids)
            del self._streams[next(iter(self._streams))]
        return of

    def _better(self, of: _OfStream, run: _Run, frame: KeptFrame) -> None:
        """The worst frame of an alarm so far, or of what may become one."""
        older, run.best = run.frame, frame.inspected.raw_score
        if older is None or not run.is_alarm:
            run.frame = frame
            return
        said = self._frames.get(older.id)
        if said is None or said.disposition is not None:
            return  # it had to make room; or somebody said already what this alarm was
        self._frames[older.id] = replace(said, kind="recent")
        self._count(of, "alarm", -said.size)
        self._count(of, "recent", said.size)
        self._hold(of, older.id)
        of.alarms[of.alarms.index(older.id)] = frame.id
        run.frame = self._frames[frame.id] = replace(frame, verdict="ANOMALY")
        self._count(of, "alarm", frame.size)
        self.on_kept(run.frame, run.id)

    def _add(self, of: _OfStream, ids: deque[str], frame: KeptFrame, most: int) -> None:
        self._frames[frame.id] = frame
        ids.append(frame.id)
        self._count(of, frame.kind, frame.size)
        while len(ids) > most:
            if ids[0] in of.listed:
                of.listed.remove(ids[0])
                self._hold(of, ids.popleft())
            else:
                self._drop(of, ids)

    def _hold(self, of: _OfStream, id: str) -> None:
        of.held.append(id)
        while len(of.held) > MOST_HELD:
            self._drop(of, of.held)

    def _make_room(self) -> None:
        """The oldest goes of the stream that holds the most: one that raises alarms all day takes nobody else's."""
        while self.recent_size > self._most_recent_bytes:
            of = max(self._streams.values(), key=lambda of: len(of.recent) + len(of.held))
            self._drop(of, of.held or of.recent)
        while self.size > self._most_bytes:
            of = max(self._streams.values(), key=lambda of: of.size)
            self._drop(of, of.alarms or of.held or of.recent)

    def _drop(self, of: _OfStream, ids: deque[str]) -> None:
        frame = self._frames.pop(ids.popleft())
        of.listed.discard(frame.id)
        self._count(of, frame.kind, -frame.size)
        of.forgotten += frame.kind == "alarm"

    def _count(self, of: _OfStream, kind: Kind, size: int) -> None:
        of.size += size
        self.size += size
        self.recent_size += size if kind == "recent" else 0
