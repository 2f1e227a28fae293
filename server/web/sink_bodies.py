"""What is asked and answered about sinks, field by field."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from server.sinks import Choice, Field, FieldKind, Kind, SinkState, State, StoredSink

Count = Annotated[int, Meta(ge=0)]
Value = str | int | float | bool | None
Values = Annotated[
    dict[str, Value],
    Meta(
        description="of its kind's fields, by their names; those that are absent stay as they are, or as they are by "
        "default",
        max_length=64,
    ),
]
Name = Annotated[str, Meta(max_length=64, description="1 to 64 of A-Z a-z 0-9 . _ -, given once")]


class SinkWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A sink to add, or to try."""

    kind: Annotated[str, Meta(max_length=64, description="as GET /api/sinks lists them")]
    name: Name
    settings: Values
    enabled: Annotated[bool, Meta(description="whether it runs")] = False
    told: Annotated[Choice, Meta(description="what it is told")] = Choice()


class SinkTry(Struct, frozen=True, forbid_unknown_fields=True):
    """A sink to try before it is added or changed."""

    kind: Annotated[str, Meta(max_length=64, description="as GET /api/sinks lists them")]
    name: Name
    settings: Values
    id: Annotated[str | None, Meta(description="of the one that is to be changed: what is absent is as there")] = None


class SinkChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a sink; what is absent stays."""

    name: Name | UnsetType = UNSET
    enabled: Annotated[bool, Meta(description="whether it runs")] | UnsetType = UNSET
    told: Annotated[Choice, Meta(description="what it is told, all of it")] | UnsetType = UNSET
    settings: Values | UnsetType = UNSET


class SinkBody(Struct, frozen=True):
    """A sink: how it is set, and how it is doing."""

    id: Annotated[str, Meta(description="never changes")]
    kind: Annotated[str, Meta(description="of the kinds")]
    name: Annotated[str, Meta(description="what it is called")]
    enabled: Annotated[bool, Meta(description="whether it runs")]
    told: Annotated[Choice, Meta(description="what it is told")]
    settings: Annotated[dict[str, Value], Meta(description="without its secrets")]
    secrets: Annotated[list[str], Meta(description="names of the secret fields that are given; they are never told")]
    state: Annotated[
        State,
        Meta(
            description="off; connecting; up; trouble: it runs, or cannot, and somebody should see to it; retrying: it "
            "failed and is tried again"
        ),
    ]
    since: Annotated[str, Meta(description="when this state began, ISO 8601")]
    words: Annotated[str, Meta(description="of up: with whom; of trouble: what is wrong; else empty")]
    retry_in_s: Annotated[float | None, Meta(description="seconds until the next try, only while retrying")]
    delivered: Annotated[Count, Meta(description="events that its peer took since the server was started")]
    refused: Annotated[Count, Meta(description="events that its peer would not take, and that were given up")]
    dropped: Annotated[Count, Meta(description="events that were lost, the oldest first, because too many waited")]
    waiting: Annotated[Count, Meta(description="events that wait to go out")]
    failures: Annotated[Count, Meta(description="tries that failed since it was last up")]
    last_error: Annotated[str | None, Meta(description="the last thing that went wrong, one sentence; or null")]
    last_error_at: Annotated[str | None, Meta(description="when that was, ISO 8601")]


class FieldBody(Struct, frozen=True):
    """A field of a kind's form."""

    name: Annotated[str, Meta(description="in `settings`")]
    title: Annotated[str, Meta(description="what the page calls it")]
    about: Annotated[str, Meta(description="what it is, one sentence or two; may be empty")]
    kind: Annotated[FieldKind, Meta(description="lines: text of several lines; whole: a whole number")]
    required: Annotated[bool, Meta(description="whether it must be given")]
    default: Annotated[Value, Meta(description="where it is not given")]
    secret: Annotated[bool, Meta(description="whether it is never told back")]
    more: Annotated[bool, Meta(description="whether few will need it")]
    choices: Annotated[list[str], Meta(description="of a choice; else []")]
    least: Annotated[float | None, Meta(description="of a number")]
    most: Annotated[float | None, Meta(description="of a number")]
    longest: Annotated[int | None, Meta(description="characters of a text")]
    placeholder: Annotated[str, Meta(description="what it may look like")]
    unit: Annotated[str, Meta(description="of a number; may be empty")]
    makes: Annotated[str, Meta(description="what the page can make by chance: whsec, a signing secret; or empty")]


class KindBody(Struct, frozen=True):
    """A kind of sinks."""

    name: Annotated[str, Meta(description="in `kind`")]
    title: Annotated[str, Meta(description="what the page calls it")]
    about: Annotated[str, Meta(description="what it is good for, one sentence")]
    missing: Annotated[str | None, Meta(description="what has to be installed for it, one sentence; null: nothing")]
    told: Annotated[bool, Meta(description="whether it can be chosen what it is told")]
    fields: Annotated[list[FieldBody], Meta(description="of its form")]


class SinksBody(Struct, frozen=True):
    """All sinks, and which kinds there are."""

    sinks: Annotated[list[SinkBody], Meta(description="in the order in which they were added")]
    kinds: Annotated[list[KindBody], Meta(description="all there are")]
    room: Annotated[Count, Meta(description="how many more can be added")]


class SinkTried(Struct, frozen=True):
    """What came of a sink that was tried."""

    ok: Annotated[bool, Meta(description="whether it works")]
    words: Annotated[str, Meta(description="what was done, or why it does not work and what to do; one sentence")]


class SinkRemoved(Struct, frozen=True):
    """It is gone."""

    deleted: Annotated[str, Meta(description="its id")]


def kind_body(kind: Kind[Struct]) -> KindBody:
    fields = [_field_body(one) for one in kind.fields]
    return KindBody(kind.name, kind.title, kind.about, kind.missing, kind.is_told, fields)


def sink_body(stored: StoredSink, state: SinkState, secrets: frozenset[str]) -> SinkBody:
    """``secrets``: names of what is never told."""
    return SinkBody(
        id=stored.id,
        kind=stored.kind,
        name=stored.name,
        enabled=stored.enabled,
        told=stored.told,
        settings={name: value for name, value in stored.settings.items() if name not in secrets},
        secrets=sorted(name for name in secrets if stored.settings.get(name)),
        state=state.state,
        since=state.since,
        words=state.words,
        retry_in_s=state.retry_in_s,
        delivered=state.delivered,
        refused=state.refused,
        dropped=state.dropped,
        waiting=state.waiting,
        failures=state.failures,
        last_error=state.last_error,
        last_error_at=state.last_error_at,
    )


def _field_body(field: Field) -> FieldBody:
    return FieldBody(
        name=field.name,
        title=field.title,
        about=field.about,
        kind=field.kind,
        required=field.required,
        default=None if field.secret else field.default,
        secret=field.secret,
        more=field.more,
        choices=[*field.choices],
        least=field.least,
        most=field.most,
        longest=field.longest,
        placeholder=field.placeholder,
        unit=field.unit,
        makes=field.makes,
    )
