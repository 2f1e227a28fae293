"""What is kept: entries, what was said of them, and minutes; and how messages become entries."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from server.words import PartResult, PartVerdict, Result, Verdict

EntryKind = Literal["part", "change", "sample"]
Disposition = Literal["confirmed", "false_reject", "escape"]
"""What a person found out: the reject is one; it is a good part; a bad part that passed."""

LONGEST_NOTE, LONGEST_WHO = 1000, 200
"""Characters of what a person writes."""
LONGEST_KEPT = 500
"""Characters of texts that others pass through."""
Count = Annotated[int, Meta(ge=0)]
_FRAME_ID = re.compile(r".+-(\d{1,15})-\d{1,20}", re.ASCII)


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="entry", tag_field="op"):
    """One part; or, on a stream that runs freely, the frame with which its verdict became another one.

    Times are milliseconds since 1970, UTC, by the server's clock.

    Attributes:
        seq: number in the order of insertion, which no clock changes; 0 while it is not stored.
        id: never given twice: a part's, or :func:`frame_id`.
        kind: part, change, or sample: a good frame of a stream that runs freely, of which a picture was archived.
        number: of the part on its stream, or of the frame on its connection.
        source: of a part what said that there is one; ``frame`` of a change.
        overruns: of a part, triggers that were refused since the part before.
        was: of a change the verdict before; None for the first of a connection.
        picture: its id in the archive, where there is or was one; ``picture_kept``: whether it is there.
        disposition: what was said of it last, when, by whom, with which note.
    """

    seq: int = 0
    id: str
    kind: EntryKind
    stream: str
    at: int
    began_at: int
    number: int
    part: str | None = None
    source: str
    trigger: int | None = None
    trigger_id: str | None = None
    triggered_by: str | None = None
    verdict: PartVerdict
    was: Verdict | None = None
    why: str | None = None
    score: float | None = None
    raw_score: float | None = None
    threshold: float | None = None
    threshold_source: str | None = None
    frames: Count
    anomalous: Count
    cycle_ms: float | None = None
    inspection_ms: float | None = None
    overruns: Count = 0
    recipe: str | None = None
    recipe_version: int | None = None
    model: str | None = None
    simulated: bool = False
    picture: str | None = None
    picture_kept: bool = False
    disposition: Disposition | None = None
    disposed_at: int | None = None
    disposed_by: str | None = None
    note: str | None = None


class Disposed(Struct, frozen=True):
    """One thing that was said of an entry; None took back what was said before. ``at``: as in :class:`Entry`."""

    disposition: Disposition | None
    note: str | None
    who: str | None
    at: int


class Minute(Struct, frozen=True, kw_only=True, tag="minute", tag_field="op"):
    """One minute of a stream that runs freely, with one version of one recipe.

    Attributes:
        start: milliseconds since 1970, UTC, of its beginning.
        frames: that were inspected; ``anomalies``: of them with an ANOMALY as the stream's verdict.
        dropped: frames; ``failed``: frames.
        score_p05: percentiles and the like of the scores, 0..1; ``raw_score_max``: and raw ones; None without frames.
        latency_p50: milliseconds from arrival to result.
        scores: counts of its scores in :data:`server.records.schema.BINS` bins from 0 to 1; not told of stored ones.
    """

    id: str
    start: int
    stream: str
    recipe: str
    recipe_version: int
    simulated: bool
    frames: Count
    anomalies: Count
    dropped: Count
    failed: Count
    score_p05: float | None = None
    score_median: float | None = None
    score_p95: float | None = None
    score_max: float | None = None
    raw_score_median: float | None = None
    raw_score_max: float | None = None
    threshold: float | None = None
    latency_p50: float | None = None
    latency_p95: float | None = None
    latency_max: float | None = None
    scores: Annotated[list[Count], Meta(max_length=1000)] = []


class Linked(Struct, frozen=True, tag="linked", tag_field="op"):
    """An entry has a picture in the archive."""

    id: str
    picture: str


class Gone(Struct, frozen=True, tag="gone", tag_field="op"):
    """Pictures are no longer in the archive."""

    pictures: list[str]


Event = Entry | Minute | Linked | Gone
"""What is written down, in the order it came."""


def frame_id(result: Result) -> str:
    """What the entry of a change is called that came with this frame; letters, digits, dot, underscore, hyphen."""
    return f"{result.stream}-{milliseconds(result.at)}-{result.seq}"


def moment_of(id_: str) -> int | None:
    """When the frame was that :func:`frame_id` named so, milliseconds since 1970; None where it named none so."""
    found = _FRAME_ID.fullmatch(id_)
    return None if found is None else int(found[1])


def milliseconds(at: str) -> int:
    """ISO 8601 as milliseconds since 1970; now, where it is none."""
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        when = datetime.now(UTC)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return round(when.timestamp() * 1000)


def iso(at: int) -> str:
    """Milliseconds since 1970 as ISO 8601, UTC, with milliseconds; of what no calendar holds the nearest that is."""
    at = min(max(at, -62_135_596_800_000), 253_402_300_799_999)
    seconds, left = divmod(at, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=left * 1000).isoformat(timespec="milliseconds")


def of_part(part: PartResult) -> Entry:
    """The entry of a part."""
    return Entry(
        id=part.id,
        kind="part",
        stream=part.stream,
        at=milliseconds(part.at),
        began_at=milliseconds(part.began_at),
        number=part.number,
        part=_short(part.part),
        source=part.source,
        trigger=part.trigger,
        trigger_id=_short(part.trigger_id),
        triggered_by=_short(part.triggered_by),
        verdict=part.verdict,
        why=_short(part.why),
        score=part.score,
        raw_score=part.raw_score,
        threshold=part.threshold,
        threshold_source=part.threshold_source,
        frames=part.frames,
        anomalous=part.anomalous,
        cycle_ms=part.cycle_ms,
        inspection_ms=part.inspection_ms,
        overruns=part.overruns,
        recipe=part.recipe,
        recipe_version=part.recipe_version,
        model=part.model,
        simulated=part.simulated,
    )


def of_change(result: Result, was: Verdict | None) -> Entry:
    """The entry of a frame with which a stream's verdict became another one."""
    at = milliseconds(result.at)
    return Entry(
        id=frame_id(result),
        kind="change",
        stream=result.stream,
        at=at,
        began_at=at - round(result.latency_ms),
        number=result.seq,
        part=None if result.part is msgspec.UNSET else result.part,
        source="frame",
        verdict=result.verdict,
        was=was,
        score=result.score,
        raw_score=result.raw_score,
        threshold=result.threshold,
        threshold_source=result.threshold_source,
        frames=1,
        anomalous=int(result.is_anomaly),
        inspection_ms=result.latency_ms,
        recipe=result.recipe,
        recipe_version=result.recipe_version,
        model=result.model,
        simulated=result.simulated is not msgspec.UNSET,
    )


def _short(text: str | None) -> str | None:
    # PostgreSQL keeps every character but this one.
    return text if text is None else text.replace("\0", "")[:LONGEST_KEPT]
