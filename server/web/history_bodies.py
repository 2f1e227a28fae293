"""What the history answers, field by field."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from server.records import LONGEST_NOTE, Disposed, Entry, Minute, RecordsState, iso
from server.records import Disposition as Disposition
from server.words import PartVerdict, Verdict

Count = Annotated[int, Meta(ge=0)]


class EntryBody(Struct, frozen=True, kw_only=True):
    """One part; or, on a stream that runs freely, the frame with which its verdict became another one."""

    seq: Annotated[int, Meta(description="number in the order of insertion, whatever the clock did")]
    id: Annotated[str, Meta(description="never given twice")]
    kind: Annotated[
        Literal["part", "change", "sample"],
        Meta(description="part, change of a verdict, or a good frame of a stream that runs freely"),
    ]
    stream: Annotated[str, Meta(description="name of the stream")]
    at: Annotated[str, Meta(description="when the verdict was given, ISO 8601, by the server's clock")]
    began_at: Annotated[str, Meta(description="trigger or arrival of its first frame, ISO 8601")]
    number: Annotated[Count, Meta(description="of the part on its stream; of a change the frame's on its connection")]
    part: Annotated[str | None, Meta(description="id of the part as the line said it, which may come twice; or null")]
    source: Annotated[str, Meta(description="what said that there is a part: trigger, gate, id; frame of a change")]
    trigger: Annotated[int | None, Meta(description="number of its trigger; null without")]
    trigger_id: Annotated[str | None, Meta(description="what whoever triggered calls it")]
    triggered_by: Annotated[str | None, Meta(description="rest, websocket, mqtt, opcua, modbus, gpio; or null")]
    verdict: Annotated[PartVerdict, Meta(description="NORMAL, ANOMALY or FAILED")]
    was: Annotated[Verdict | None, Meta(description="of a change, the verdict before; null with the first")]
    why: Annotated[str | None, Meta(description="of FAILED, one sentence")]
    score: Annotated[float | None, Meta(description="0..1, the threshold at 0.5, of its worst frame")]
    raw_score: Annotated[float | None, Meta(description="of its worst frame")]
    threshold: Annotated[float | None, Meta(description="raw, of its worst frame")]
    threshold_source: Annotated[str | None, Meta(description="as in a result")]
    frames: Annotated[Count, Meta(description="that were inspected")]
    anomalous: Annotated[Count, Meta(description="of them above their threshold")]
    cycle_ms: Annotated[float | None, Meta(description="from its beginning to the verdict; null of a change")]
    inspection_ms: Annotated[float | None, Meta(description="from the arrival of its last frame to the verdict")]
    overruns: Annotated[Count, Meta(description="of a part, triggers that were refused since the part before")]
    recipe: Annotated[str | None, Meta(description="id of the recipe; null without one")]
    recipe_version: Annotated[int | None, Meta(description="of that")]
    model: Annotated[str | None, Meta(description="sha256 that names the very model")]
    simulated: Annotated[bool, Meta(description="true on the simulated line: there is no such part")]
    picture: Annotated[str | None, Meta(description="its id in the archive, where there is or was one")]
    picture_kept: Annotated[bool, Meta(description="whether that picture is there")]
    disposition: Annotated[
        Disposition | None, Meta(description="what a person found out: confirmed, false_reject, escape; or null")
    ]
    disposed_at: Annotated[str | None, Meta(description="when, ISO 8601")]
    disposed_by: Annotated[str | None, Meta(description="who: an address, or a page at one")]
    note: Annotated[str | None, Meta(description="what else was said of it")]


class EntriesBody(Struct, frozen=True):
    """A page of the history, newest first in the order of insertion."""

    entries: list[EntryBody]
    next: Annotated[
        int | None,
        Meta(
            description="`before` of the page that follows; null where there is none. A page may be short, even empty, "
            "and have one: so much was looked through in its time"
        ),
    ]


class CountBody(Struct, frozen=True):
    """How many entries fit."""

    count: Count
    exact: Annotated[bool, Meta(description="false: there may be more, older than those that were counted in time")]


class DisposedBody(Struct, frozen=True):
    """One thing that was said of an entry."""

    disposition: Annotated[Disposition | None, Meta(description="null: what was said before was taken back")]
    note: str | None
    who: Annotated[str | None, Meta(description="an address, or a page at one")]
    at: Annotated[str, Meta(description="ISO 8601")]


class EntryWithHistoryBody(Struct, frozen=True):
    """An entry, and all that was ever said of it."""

    entry: EntryBody
    said: Annotated[list[DisposedBody], Meta(description="oldest first")]


class DisposeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a person found out of an entry."""

    disposition: Annotated[
        Disposition | None,
        Meta(
            description="confirmed: the reject is one; false_reject: it is a good part; escape: a bad part that "
            "passed; null takes back what was said"
        ),
    ]
    note: Annotated[Annotated[str, Meta(max_length=LONGEST_NOTE)] | None, Meta(description="what else to say")] = None
    seen: Annotated[
        Disposition | UnsetType | None,
        Meta(
            description="what had been said of it, null for nothing, as whoever says this saw it: where that is not so "
            "any more it is refused; left out: whatever it was"
        ),
    ] = UNSET


class MinuteBody(Struct, frozen=True, kw_only=True):
    """One minute of a stream that runs freely, with one version of one recipe."""

    start: Annotated[str, Meta(description="its beginning, ISO 8601")]
    stream: str
    recipe: str
    recipe_version: int
    simulated: bool
    frames: Annotated[Count, Meta(description="that were inspected")]
    anomalies: Annotated[Count, Meta(description="of them with ANOMALY as the stream's verdict")]
    dropped: Annotated[Count, Meta(description="frames")]
    failed: Annotated[Count, Meta(description="frames")]
    score_p05: Annotated[float | None, Meta(description="0..1")]
    score_median: float | None
    score_p95: float | None
    score_max: float | None
    raw_score_median: float | None
    raw_score_max: float | None
    threshold: Annotated[float | None, Meta(description="raw, of its last frame")]
    latency_p50: Annotated[float | None, Meta(description="milliseconds from a frame's arrival to its result")]
    latency_p95: float | None
    latency_max: float | None


class MinutesBody(Struct, frozen=True):
    """Minutes, newest first."""

    minutes: list[MinuteBody]


class HistoryStateBody(Struct, frozen=True):
    """How the history itself is doing."""

    state: Annotated[
        Literal["starting", "ok", "away", "off"],
        Meta(
            description="starting: being opened; ok; away: the database is, and what comes waits on disk; off: nothing "
            "is kept before somebody acts"
        ),
    ]
    database: Annotated[str, Meta(description="which one, without user and password")]
    since: Annotated[str, Meta(description="when this state began, ISO 8601")]
    last_error: Annotated[str | None, Meta(description="why it is away or off, or was last")]
    warning: Annotated[str | None, Meta(description="what the operator should know, one sentence; as in /health")]
    stored: Annotated[Count, Meta(description="events since the start of the server")]
    waiting: Annotated[Count, Meta(description="events in memory")]
    backlog: Annotated[Count, Meta(description="events on disk, to be delivered")]
    backlog_bytes: Annotated[Count, Meta(description="that they take")]
    dropped: Annotated[Count, Meta(description="events that were lost to a bound since the start")]
    damaged: Annotated[Count, Meta(description="lines of the backlog that could not be read since the start")]
    refused: Annotated[Count, Meta(description="events that the database does not take")]
    flickered: Annotated[
        Count, Meta(description="changes of a verdict beyond 60 in a minute of a stream, which are not kept one by one")
    ]
    entries: Annotated[Count, Meta(description="in the database, about")]
    deleted: Annotated[Count, Meta(description="entries that were too old or too many, since the start")]
    parquet: Annotated[bool, Meta(description="whether parts can be had as Parquet: it needs one more package")]


def entry_body(entry: Entry) -> EntryBody:
    """An entry as it is told."""
    fields = msgspec.structs.asdict(entry)
    disposed_at = None if entry.disposed_at is None else iso(entry.disposed_at)
    return EntryBody(**fields | {"at": iso(entry.at), "began_at": iso(entry.began_at), "disposed_at": disposed_at})


def disposed_body(said: Disposed) -> DisposedBody:
    return DisposedBody(said.disposition, said.note, said.who, iso(said.at))


def minute_body(minute: Minute) -> MinuteBody:
    fields = {name: value for name, value in msgspec.structs.asdict(minute).items() if name not in ("id", "scores")}
    return MinuteBody(**fields | {"start": iso(minute.start)})


def state_body(state: RecordsState, warning: str | None, *, parquet: bool) -> HistoryStateBody:
    return HistoryStateBody(
        state=state.state,
        database=state.database,
        since=state.since,
        last_error=state.last_error,
        warning=warning,
        stored=state.stored,
        waiting=state.waiting,
        backlog=state.backlog,
        backlog_bytes=state.backlog_bytes,
        dropped=state.dropped,
        damaged=state.damaged,
        refused=state.refused,
        flickered=state.flickered,
        entries=state.entries,
        deleted=state.deleted,
        parquet=parquet,
    )
