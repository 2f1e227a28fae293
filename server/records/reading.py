"""Questions to the history: pages, counts, numbers, minutes. All of them are bounded in what they look through."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, TextClause, func, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from server.records.entry import Disposed, Entry, Minute
from server.records.numbers import Numbers
from server.records.schema import BIN_NAMES, DAY_MS, HOUR_MS, QUARTER_MS, WIDTHS, counts, dispositions, entries, minutes
from server.records.wanted import Page, Span, Wanted

LOOKED_THROUGH = 200_000
"""Entries that are looked through at once where no index leads to those wanted alone: some 30 ms of them all."""
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
    floor = _floor(wanted, least, most)
    if most < least:
        return Page()
    found = (await connection.execute(seqs(wanted, floor, most, limit))).scalars().all()
    rows = []
    if found:
        asked = select(*_COLUMNS).where(entries.c.seq.in_(found)).order_by(entries.c.seq.desc())
        kept = await connection.execute(asked)
        rows = await asyncio.to_thread(lambda: [_entry(row) for row in kept.all()])
    if len(found) == limit:
        return Page(rows, found[-1] if found[-1] > least else None)
    return Page(rows, floor if floor > least else None)


def seqs(wanted: Wanted, least: int, most: int, limit: int) -> Select[Any]:
    """The query for the numbers of the newest entries wanted, from ``least`` to ``most``."""
    asked = select(entries.c.seq).where(entries.c.seq.between(least, most), *conditions(wanted))
    if _is_led(wanted):
        return asked.order_by(entries.c.seq.desc()).limit(limit)
    # The second column changes no order; without it PostgreSQL may take the primary key, and look at every row itself.
    asked = asked.order_by(entries.c.seq.desc(), entries.c.at.desc()).limit(limit)
    return asked.with_hint(entries, "INDEXED BY entries_seen_through", "sqlite")


async def count(connection: AsyncConnection, wanted: Wanted, seconds: float) -> Counted:
    """How many are wanted; of the newest of them, where counting takes longer than so many seconds."""
    least, most = await _bounds(connection, wanted)
    until, found = time.monotonic() + seconds, 0
    while most >= least:
        floor = _floor(wanted, least, most)
        asked = select(func.count()).select_from(entries).where(entries.c.seq.between(floor, most), *conditions(wanted))
        if not _is_led(wanted):
            asked = asked.with_hint(entries, "INDEXED BY entries_seen_through", "sqlite")
        found += (await connection.execute(asked)).scalar_one()
        most = floor - 1
        if time.monotonic() >= until:
            break
    return Counted(found, most < least)


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
    found = await connection.execute(asked)
    return await asyncio.to_thread(lambda: [Minute(**row._mapping) for row in found.all()])


async def numbers(
    connection: AsyncConnection,
    spans: Sequence[Span],
    *,
    kind: str,
    stream: str | None,
    recipe: str | None,
    by_stream: bool,
    by_recipe: bool,
    limit: int,
) -> list[Numbers]:
    """Counts of each span, in their order, of those with any; the first so many."""
    ranges = [(number, *stretch) for number, span in enumerate(spans) for stretch in stretches(span.since, span.until)]
    query = _numbers_query(connection.dialect.name, by_stream, by_recipe, stream is not None, recipe is not None)
    asked = {"ranges": msgspec.json.encode(ranges).decode(), "kind": kind, "stream": stream, "recipe": recipe}
    asked = {name: value for name, value in asked.items() if value is not None}
    found = await connection.execute(query, {**asked, "most": limit})

    def made(its: Mapping[Any, Any]) -> Numbers:
        return Numbers(
            span=its["span"],
            stream=its["stream"] if by_stream else stream,
            recipe=(its["recipe"] or None) if by_recipe else recipe,
            recipe_version=(its["recipe_version"] or None) if by_recipe else None,
            **{name: int(its[name]) for name in _SUMMED},
            cycle_sum=float(its["cycle_sum"]),
            cycle_max=its["cycle_max"],
            scores=[int(its[name]) for name in BIN_NAMES],
        )

    return await asyncio.to_thread(lambda: [made(row._mapping) for row in found.all()])


def stretches(since: int, until: int, widths: Sequence[int] = WIDTHS) -> Iterator[tuple[int, int, int]]:
    """A span in as few stretches as there are counts for: days where it holds some, hours and quarters at its ends.

    Yields:
        width, beginning and end, milliseconds.
    """
    width = widths[-1]
    first, last = -(-since // width) * width, until // width * width
    if len(widths) == 1:
        if until > since:
            yield width, since, until
    elif first < last:
        yield from stretches(since, first, widths[:-1])
        yield width, first, last
        yield from stretches(last, until, widths[:-1])
    else:
        yield from stretches(since, until, widths[:-1])


@functools.cache
def _numbers_query(dialect: str, by_stream: bool, by_recipe: bool, of_stream: bool, of_recipe: bool) -> TextClause:
    """One look-up in the index for each stretch, whatever the database thinks of it."""
    names = ["r.span", *(["q.stream"] if by_stream else []), *(["q.recipe", "q.recipe_version"] if by_recipe else [])]
    sums = [f"SUM(q.{name}) AS {name}" for name in (*_SUMMED, "cycle_sum", *BIN_NAMES)]
    of = ["kind = :kind", *(["stream = :stream"] if of_stream else []), *(["recipe = :recipe"] if of_recipe else [])]
    if dialect == "sqlite":
        cells = [f"json_extract(value, '$[{number}]')" for number in range(4)]
        ranges = f"SELECT {cells[0]} AS span, {cells[1]} AS w, {cells[2]} AS a, {cells[3]} AS b FROM json_each(:ranges)"
        where = " AND ".join(["q.width = r.w", "q.start >= r.a", "q.start < r.b", *(f"q.{one}" for one in of)])
        source = f"({ranges}) AS r CROSS JOIN counts AS q WHERE {where}"
    else:
        cells = [f"(value->>{number})::bigint" for number in range(4)]
        ranges = (
            f"SELECT {cells[0]} AS span, {cells[1]} AS w, {cells[2]} AS a, {cells[3]} AS b "
            "FROM jsonb_array_elements(CAST(:ranges AS jsonb)) AS e(value) OFFSET 0"
        )
        where = " AND ".join(["width = r.w", "start >= r.a", "start < r.b", *of])
        source = f"({ranges}) AS r CROSS JOIN LATERAL (SELECT * FROM counts WHERE {where} OFFSET 0) AS q"
    groups = ", ".join(names)
    columns = ", ".join([*names, *sums, "MAX(q.cycle_max) AS cycle_max"])
    return text(f"SELECT {columns} FROM {source} GROUP BY {groups} ORDER BY {groups} LIMIT :most")


_SUMMED = ("total", "rejected", "failed", "overruns", "confirmed", "false_rejects", "escapes")


async def first_start(connection: AsyncConnection) -> int | None:
    """The quarter of an hour in which the oldest of what is counted was, milliseconds; None where nothing is."""
    asked = select(func.min(counts.c.start)).where(counts.c.width == QUARTER_MS)
    first: int | None = (await connection.execute(asked)).scalar_one()
    return first


async def slowest(
    connection: AsyncConnection, span: Span, stream: str | None, recipe: str | None, limit: int
) -> list[Entry]:
    """The slowest part of each quarter of an hour, or hour in more than 8 days: those with the longest cycles."""
    its = counts.c
    width = QUARTER_MS if span.until - span.since <= 8 * DAY_MS else HOUR_MS
    asked = select(its.slowest).where(
        its.width == width,
        its.kind == "part",
        its.start >= span.since - span.since % width,
        its.start < span.until,
        its.slowest.is_not(None),
    )
    if stream is not None:
        asked = asked.where(its.stream == stream)
    if recipe is not None:
        asked = asked.where(its.recipe == recipe)
    ids = (await connection.execute(asked.order_by(its.cycle_max.desc()).limit(limit))).scalars().all()
    found = await connection.execute(select(*_COLUMNS).where(entries.c.id.in_(ids)))
    return sorted(map(_entry, found), key=lambda entry: -(entry.cycle_ms or 0))


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


def _floor(wanted: Wanted, least: int, most: int) -> int:
    """Where one look, from ``most`` downwards, ends. An index leads to all that it is led by and nothing else; what is
    wanted of these beside is looked up row by row, and all may be rejected."""
    asked = [value for value in astuple(wanted) if value is not None and value is not False]
    return least if _is_led(wanted) and len(asked) == 1 else max(least, most - LOOKED_THROUGH + 1)


async def _bounds(connection: AsyncConnection, wanted: Wanted) -> tuple[int, int]:
    """The first and the last number that an entry within the time asked for can have."""
    its = counts.c
    if wanted.since is None and wanted.until is None:
        # Each by itself: asked together, SQLite would look through all.
        asked = select(
            select(func.min(entries.c.seq)).scalar_subquery(), select(func.max(entries.c.seq)).scalar_subquery()
        )
    else:
        asked = select(func.min(its.first_seq), func.max(its.last_seq)).where(its.width == HOUR_MS)
        if wanted.since is not None:
            asked = asked.where(its.start > wanted.since - HOUR_MS)
        if wanted.until is not None:
            asked = asked.where(its.start < wanted.until)
    least, most = (await connection.execute(asked)).one()
    return (1, 0) if least is None else (least, most)


def _entry(row: Any) -> Entry:
    return Entry(**row._mapping)
