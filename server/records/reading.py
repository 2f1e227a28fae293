"""Questions to the history: pages, counts, numbers, minutes. All of them are bounded in what they look through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.records.entry import Disposed, Entry, Minute
from server.records.numbers import Numbers
from server.records.schema import BIN_NAMES, QUARTER_MS, dispositions, entries, minutes, quarters
from server.records.wanted import Page, Span, Wanted

LOOKED_THROUGH = 1_000_000
"""Entries that one page looks through at the most where no index leads to those wanted."""
SPANS_AT_ONCE = 100
_COLUMNS = tuple(column for column in entries.c)
_MINUTE_COLUMNS = tuple(column for column in minutes.c if column.name != "seq")


@dataclass(frozen=True)
class Counted:
    """How many entries there are. ``exact``: whether they were all counted; else there are at least so many."""

    count: int
    exact: bool


async def get(connection: AsyncConnection, id_: str) -> Entry | None:
    """The entry of this id."""
    found = (await connection.execute(select(*_COLUMNS).where(entries.c.id == id_))).first()
    return None if found is None else _entry(found)


async def said_of(connection: AsyncConnection, id_: str) -> list[Disposed]:
    """All that was said of an entry, oldest first; the last 1,000."""
    its = select(entries.c.seq).where(entries.c.id == id_).scalar_subquery()
    asked = select(dispositions).where(dispositions.c.entry == its).order_by(dispositions.c.seq.desc()).limit(1000)
    found = await connection.execute(asked)
    return [Disposed(one.disposition, one.note, one.who, one.at) for one in reversed(found.all())]


async def page(connection: AsyncConnection, wanted: Wanted, before: int | None, limit: int) -> Page:
    """The newest entries that are wanted, of those before a number."""
    least, most = await _bounds(connection, wanted)
    if before is not None:
        most = min(most, before - 1)
    floor = least if _is_led(wanted) else max(least, most - LOOKED_THROUGH + 1)
    if most < least:
        return Page()
    found = (await connection.execute(seqs(wanted, floor, most, limit))).scalars().all()
    rows = []
    if found:
        asked = select(*_COLUMNS).where(entries.c.seq.in_(found)).order_by(entries.c.seq.desc())
        rows = [_entry(row) for row in await connection.execute(asked)]
    if len(found) == limit:
        return Page(rows, found[-1] if found[-1] > least else None)
    return Page(rows, floor if floor > least else None)


def seqs(wanted: Wanted, least: int, most: int, limit: int) -> Select[Any]:
    """The query for the numbers of the newest entries wanted, from ``least`` to ``most``."""
    asked = select(entries.c.seq).where(entries.c.seq.between(least, most), *conditions(wanted))
    asked = asked.order_by(entries.c.seq.desc()).limit(limit)
    if not _is_led(wanted):
        asked = asked.with_hint(entries, "INDEXED BY entries_seen_through", "sqlite")
    return asked


async def count(connection: AsyncConnection, wanted: Wanted) -> Counted:
    """How many are wanted, of the newest :data:`LOOKED_THROUGH` of the time asked for."""
    least, most = await _bounds(connection, wanted)
    floor = max(least, most - LOOKED_THROUGH + 1)
    if most < least:
        return Counted(0, True)
    asked = select(func.count()).select_from(entries).where(entries.c.seq.between(floor, most), *conditions(wanted))
    if not _is_led(wanted):
        asked = asked.with_hint(entries, "INDEXED BY entries_seen_through", "sqlite")
    return Counted((await connection.execute(asked)).scalar_one(), floor == least)


async def newest_minutes(
    connection: AsyncConnection, stream: str | None, since: int | None, until: int | None, limit: int
) -> list[Minute]:
    """Minutes of streams that run freely, newest first."""
    asked = select(*_MINUTE_COLUMNS).order_by(minutes.c.start.desc(), minutes.c.seq.desc()).limit(limit)
    if stream is not None:
        asked = asked.where(minutes.c.stream == stream)
    if since is not None:
        asked = asked.where(minutes.c.start >= since)
    if until is not None:
        asked = asked.where(minutes.c.start < until)
    return [Minute(**row._mapping) for row in await connection.execute(asked)]


async def numbers(
    connection: AsyncConnection,
    spans: Sequence[Span],
    *,
    kind: str,
    stream: str | None,
    recipe: str | None,
    by_stream: bool,
    by_recipe: bool,
) -> list[Numbers]:
    """Counts of each span, in their order, of those with any."""
    found = []
    for first in range(0, len(spans), SPANS_AT_ONCE):
        asked = numbers_of(
            spans[first : first + SPANS_AT_ONCE],
            kind=kind,
            stream=stream,
            recipe=recipe,
            by_stream=by_stream,
            by_recipe=by_recipe,
        )
        for row in await connection.execute(asked):
            its = row._mapping
            found.append(
                Numbers(
                    span=first + its["span"],
                    stream=its["stream"] if by_stream else stream,
                    recipe=(its["recipe"] or None) if by_recipe else recipe,
                    recipe_version=(its["recipe_version"] or None) if by_recipe else None,
                    **{name: int(its[name]) for name in _SUMMED},
                    cycle_sum=float(its["cycle_sum"]),
                    cycle_max=its["cycle_max"],
                    scores=[int(its[name]) for name in BIN_NAMES],
                )
            )
    return found


_SUMMED = ("total", "rejected", "failed", "confirmed", "false_rejects", "escapes")


async def slowest(
    connection: AsyncConnection, span: Span, stream: str | None, recipe: str | None, limit: int
) -> list[Entry]:
    """The slowest part of each quarter of an hour, those with the longest cycles."""
    its = quarters.c
    asked = select(its.slowest).where(
        its.kind == "part", its.start >= span.since, its.start < span.until, its.slowest.is_not(None)
    )
    if stream is not None:
        asked = asked.where(its.stream == stream)
    if recipe is not None:
        asked = asked.where(its.recipe == recipe)
    ids = (await connection.execute(asked.order_by(its.cycle_max.desc()).limit(limit))).scalars().all()
    found = await connection.execute(select(*_COLUMNS).where(entries.c.id.in_(ids)))
    return sorted(map(_entry, found), key=lambda entry: -(entry.cycle_ms or 0))


def numbers_of(
    spans: Sequence[Span], *, kind: str, stream: str | None, recipe: str | None, by_stream: bool, by_recipe: bool
) -> Select[Any]:
    """The query for the counts of some spans."""
    its = quarters.c
    span: ColumnElement[int] = case(
        *((and_(its.start >= one.since, its.start < one.until), number) for number, one in enumerate(spans))
    )
    groups: list[ColumnElement[Any]] = [span.label("span")]
    if by_stream:
        groups.append(its.stream)
    if by_recipe:
        groups += [its.recipe, its.recipe_version]
    asked = select(
        *groups,
        *(func.sum(its[name]).label(name) for name in (*_SUMMED, "cycle_sum", *BIN_NAMES)),
        func.max(its.cycle_max).label("cycle_max"),
    ).where(its.kind == kind, its.start >= min(one.since for one in spans), its.start < max(one.until for one in spans))
    if stream is not None:
        asked = asked.where(its.stream == stream)
    if recipe is not None:
        asked = asked.where(its.recipe == recipe)
    names = ["span", *(["stream"] if by_stream else []), *(["recipe", "recipe_version"] if by_recipe else [])]
    return asked.group_by(*names).order_by(*names)


def conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    """What an entry that is wanted fulfils."""
    its, found = entries.c, []
    if wanted.since is not None:
        found.append(its.at >= wanted.since)
    if wanted.until is not None:
        found.append(its.at < wanted.until)
    for column, value in (
        (its.stream, wanted.stream),
        (its.recipe, wanted.recipe),
        (its.verdict, wanted.verdict),
        (its.kind, wanted.kind),
        (its.part, wanted.part),
    ):
        if value is not None:
            found.append(column == value)
    if wanted.least_score is not None:
        found.append(its.score >= wanted.least_score)
    if wanted.most_score is not None:
        found.append(its.score <= wanted.most_score)
    if wanted.disposition == "none":
        found.append(its.disposition.is_(None))
    elif wanted.disposition is not None:
        found.append(its.disposition.is_not(None))
        if wanted.disposition != "any":
            found.append(its.disposition == wanted.disposition)
    if wanted.with_picture:
        found.append(its.picture_kept)
    if wanted.verdict not in (None, "NORMAL"):
        found.append(
            its.verdict != literal_column("'NORMAL'")
        )  # said in so many words, it is what the partial index holds
    return found


def _is_led(wanted: Wanted) -> bool:
    """Whether an index leads to the few entries that are wanted."""
    return (
        wanted.part is not None
        or wanted.verdict not in (None, "NORMAL")
        or wanted.disposition not in (None, "none")
        or wanted.with_picture
    )


async def _bounds(connection: AsyncConnection, wanted: Wanted) -> tuple[int, int]:
    """The first and the last number that an entry within the time asked for can have."""
    its = quarters.c
    if wanted.since is None and wanted.until is None:
        # Each by itself: asked together, SQLite would look through all.
        asked = select(
            select(func.min(entries.c.seq)).scalar_subquery(), select(func.max(entries.c.seq)).scalar_subquery()
        )
    else:
        asked = select(func.min(its.first_seq), func.max(its.last_seq))
        if wanted.since is not None:
            asked = asked.where(its.start > wanted.since - QUARTER_MS)
        if wanted.until is not None:
            asked = asked.where(its.start < wanted.until)
    least, most = (await connection.execute(asked)).one()
    return (1, 0) if least is None else (least, most)


def _entry(row: Any) -> Entry:
    return Entry(**row._mapping)
