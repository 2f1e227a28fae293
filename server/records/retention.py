"""What is too old, or too much, goes: a few entries at a time, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import Row, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.records.schema import WIDTHS, counts, entries, minutes

DELETED_AT_ONCE = 200
"""In one transaction: some milliseconds."""
EVERY_S = 30.0
LEAST_DELETED = 100


@dataclass(frozen=True)
class Kept:
    """``entries``: that are there, about; ``deleted``: that went now; ``aged``: of them by age; ``more``: whether
    others should follow."""

    entries: int
    deleted: int
    aged: int
    more: bool


async def delete_oldest(connection: AsyncConnection, *, before: int, latest: int, rows: int, most: int) -> Kept:
    """Delete entries, within a transaction: those stored first, as long as they are too old or too many.

    Args:
        before: milliseconds since 1970: what is older may go; ``latest``: what is later has the time of a wrong clock.
        rows: entries that are kept at the most.
        most: that may go by age. A clock that is wrong must not cost a history, so that age alone deletes little more
            than came in meanwhile; by number there is no such bound.
    """
    first, last = (
        await connection.execute(
            select(select(func.min(entries.c.seq)).scalar_subquery(), select(func.max(entries.c.seq)).scalar_subquery())
        )
    ).one()
    if first is None:
        return Kept(0, 0, 0, False)
    there = last - first + 1
    oldest = (
        await connection.execute(select(entries.c.seq, entries.c.at).order_by(entries.c.seq).limit(DELETED_AT_ONCE))
    ).all()
    gone: int | None = None
    aged = 0
    for seq, at in await _dated(connection, oldest, latest):
        if last - seq + 1 <= rows:
            if at >= before or aged >= most:
                break
            aged += 1
        gone = seq
    if gone is None:
        return Kept(there, 0, 0, False)
    deleted = (await connection.execute(delete(entries).where(entries.c.seq <= gone))).rowcount
    return Kept(last - gone, deleted, aged, deleted == DELETED_AT_ONCE)


async def _dated(connection: AsyncConnection, oldest: Sequence[Row[int, int]], latest: int) -> list[tuple[int, int]]:
    """Numbers of entries, and when they were; of those that a clock which ran ahead calls later than it is now, when
    what was stored after them was: nothing behind them would ever become too old otherwise."""
    dated, after = list[tuple[int, int]](), None
    for seq, at in reversed(oldest):
        if at <= latest:
            after = at
        elif after is None:
            following = select(entries.c.at).where(entries.c.seq > seq, entries.c.at <= latest)
            after = (await connection.execute(following.order_by(entries.c.seq).limit(1))).scalar()
            if after is None:
                after = at
        dated.append((seq, after))
    return dated[::-1]


async def time_there(connection: AsyncConnection) -> float:
    """Seconds since 1970 by a PostgreSQL's clock."""
    return float((await connection.execute(select(sqlalchemy.extract("epoch", func.now())))).scalar_one())


async def delete_minutes(connection: AsyncConnection, *, before: int, most: int) -> int:
    """Delete minutes and counts that are too old, within a transaction; returns how many minutes went."""
    some = select(minutes.c.seq).where(minutes.c.start < before).order_by(minutes.c.start).limit(most)
    deleted = (await connection.execute(delete(minutes).where(minutes.c.seq.in_(some)))).rowcount
    # Counts go only once nothing of what they count is there; where there was too much of it, they outlive it.
    first = func.coalesce(select(func.min(entries.c.seq)).scalar_subquery(), sqlalchemy.literal(2**62))
    for width in WIDTHS:
        over = (
            (counts.c.width == width)
            & (counts.c.start < before - width)
            & (func.coalesce(counts.c.last_seq, 0) < first)
        )
        starts = select(counts.c.start).where(over).order_by(counts.c.start).limit(most).subquery()
        newest = (await connection.execute(select(func.max(starts.c.start)))).scalar()
        if newest is not None:
            await connection.execute(delete(counts).where(over, counts.c.start <= newest))
    return int(deleted)
