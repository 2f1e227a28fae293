"""What is answered about the numbers that a line is run by, field by field."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]
By = Literal["hour", "shift", "day", "all"]
Of = Literal["part", "frame"]


class NumbersRow(Struct, frozen=True, kw_only=True):
    """The numbers of one stretch of time, and of one stream or recipe where they were asked for one by one."""

    since: Annotated[str, Meta(description="its beginning, ISO 8601, by the server's local time")]
    until: Annotated[str, Meta(description="its end, not included")]
    shift: Annotated[str | None, Meta(description="when the shift begins, HH:MM; null where it is no shift")]
    stream: Annotated[str | None, Meta(description="name; null: all of those asked for")]
    recipe: Annotated[str | None, Meta(description="id; null: all of those asked for")]
    recipe_version: Annotated[int | None, Meta(description="of that")]
    total: Annotated[Count, Meta(description="parts, or inspected frames")]
    rejected: Annotated[Count, Meta(description="of them ANOMALY")]
    failed: Annotated[Count, Meta(description="FAILED, of them, for nothing was inspected; of frames beside them")]
    overruns: Annotated[Count, Meta(description="triggers that were refused, mostly since a part was in work still")]
    first_pass_yield: Annotated[
        float | None,
        Meta(description="share of the parts that was NORMAL at once, 0..1; null without any, and of frames"),
    ]
    confirmed: Annotated[Count, Meta(description="rejects of which somebody said that they are")]
    false_rejects: Annotated[Count, Meta(description="rejects of which somebody said that they are good parts")]
    escapes: Annotated[Count, Meta(description="parts that passed and are bad, as somebody found out")]
    false_reject_rate: Annotated[
        float | None,
        Meta(
            description="share of the rejects that somebody judged which were good parts, 0..1; null before the first"
        ),
    ]
    score_p05: Annotated[float | None, Meta(description="percentile of the scores, 0..1, the threshold at 0.5")]
    score_median: float | None
    score_p95: float | None
    score_p99: float | None
    cycle_mean_ms: Annotated[float | None, Meta(description="of parts, from the beginning to the verdict")]
    cycle_worst_ms: Annotated[float | None, Meta(description="of the slowest part")]


class NumbersBody(Struct, frozen=True, kw_only=True):
    """Numbers of a time."""

    since: Annotated[str, Meta(description="ISO 8601, by the server's local time")]
    until: str
    of: Annotated[Of, Meta(description="part, or frame: the inspected frames of streams that run freely")]
    by: By
    rows: Annotated[list[NumbersRow], Meta(description="in the order of time; stretches without any are left out")]
    all: Annotated[NumbersRow, Meta(description="the whole time")]
    shifts: Annotated[list[str], Meta(description="when shifts begin, HH:MM by the server's clock (SHIFTS)")]
