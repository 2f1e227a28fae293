"""What is written in one transaction: entries, minutes, links to pictures, and the counts that go with them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import and_, bindparam, case, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from server.records.entry import Disposed, Disposition, Entry, Event, Gone, Linked, Minute
from server.records.schema import BIN_NAMES, QUARTER_MS, WIDTHS, bin_of, counts, dispositions, entries, minutes

Key = tuple[int, int, str, str, str, int]
_KEY = ("width", "start", "kind", "stream", "recipe", "recipe_version")
_ADDED = ("total", "rejected", "failed", "overruns", "confirmed", "false_rejects", "escapes", "cycle_sum", *BIN_NAMES)
_COUNTED_AS: dict[Disposition, str] = {"confirmed": "confirmed", "false_reject": "false_rejects", "escape": "escapes"}
_WORDS: dict[Disposition, str] = {
    "confirmed": "a confirmed reject",
    "false_reject": "a false reject",
    "escape": "an escape",
}
_NOT_A_COLUMN = ("seq",)


class DispositionRefused(Exception):
    """It cannot be said of this entry; one sentence."""


_LINKING = (  # made once; parameters need other names than the columns have
    update(entries).where(entries.c.id == bindparam("entry")).values(picture=bindparam("its"), picture_kept=True)
)


async def store(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Write events down in their order, within a transaction; what was written before by the same id is left."""
    for kind, some in groupby(events, type):
        run: list[Any] = list(some)
        if kind is Entry:
            await _store_entries(connection, run)
        elif kind is Minute:
            await _store_minutes(connection, run)
        elif kind is Linked:
            await connection.execute(_LINKING, [{"entry": link.id, "its": link.picture} for link in run])
        elif kind is Gone:
            gone = {picture for one in run for picture in one.pictures}
            await connection.execute(
                update(entries).where(entries.c.picture.in_(sorted(gone))).values(picture_kept=False)
            )


async def dispose(
    connection: AsyncConnection,
    id_: str,
    disposition: Disposition | None,
    note: str | None,
    who: str | None,
    at: int,
    *,
    seen: Disposition | UnsetType | None = UNSET,
) -> bool:
    """Say of an entry what it was, within a transaction; returns whether there is one.

    Args:
        seen: what had been said of it, as far as who says this knows.

    Raises:
        DispositionRefused: it cannot be said of an entry with its verdict, or something else was said meanwhile.
    """
    found = (await connection.execute(select(entries).where(entries.c.id == id_).with_for_update())).mappings().first()
    if found is None:
        return False
    if found["verdict"] == "NORMAL" and disposition in ("confirmed", "false_reject"):
        raise DispositionRefused("it was passed: nothing but an escape can be said of it")
    if found["verdict"] != "NORMAL" and disposition == "escape":
        raise DispositionRefused("it was rejected: an escape is a part that was passed")
    if (found["disposition"], found["note"]) == (disposition, note):
        return True
    if seen is not UNSET and found["disposition"] != seen:
        raise DispositionRefused(_said_meanwhile(found["disposition"], found["disposed_by"]))
    last = (
        {"disposed_at": at, "disposed_by": who} if disposition or note else {"disposed_at": None, "disposed_by": None}
    )
    await connection.execute(
        update(entries).where(entries.c.seq == found["seq"]).values(disposition=disposition, note=note, **last)
    )
    said = Disposed(disposition, note, who, at)
    await connection.execute(dispositions.insert().values(entry=found["seq"], **msgspec.structs.asdict(said)))
    if found["disposition"] != disposition:
        steps = {_COUNTED_AS[one]: step for one, step in ((found["disposition"], -1), (disposition, 1)) if one}
        key = _quarter_of(found["kind"], found["at"], found["stream"], found["recipe"], found["recipe_version"])
        for wider in _wider(key):
            await connection.execute(
                update(counts)
                .where(and_(*(counts.c[name] == value for name, value in zip(_KEY, wider, strict=True))))
                .values({name: counts.c[name] + step for name, step in steps.items()})
            )
    return True


def _said_meanwhile(disposition: Disposition | None, who: str | None) -> str:
    said = "took back what was said of it" if disposition is None else f"called it {_WORDS[disposition]}"
    return f"{who or 'somebody'} {said} meanwhile: nothing was changed"


async def _store_entries(connection: AsyncConnection, run: Sequence[Entry]) -> None:
    found = {entry.id: entry for entry in reversed(run)}  # the first of an id that came twice
    rows = [
        {name: value for name, value in msgspec.structs.asdict(entry).items() if name not in _NOT_A_COLUMN}
        for entry in run
        if found.get(entry.id) is entry
    ]
    stored = await connection.execute(_storing(connection.dialect.name), rows)
    await _add(connection, counted((row.seq, found[row.id]) for row in sorted(stored, key=lambda row: row.seq)))


def counted(stored: Iterable[tuple[int, Entry]]) -> dict[Key, dict[str, Any]]:
    """What entries add to the counts.

    Args:
        stored: with their numbers, in order.
    """
    added: dict[Key, dict[str, Any]] = {}
    for seq, entry in stored:
        key = _quarter_of(entry.kind, entry.at, entry.stream, entry.recipe, entry.recipe_version)
        its = added.get(key) or added.setdefault(key, _nothing(key))
        its["total"] += 1
        its["rejected"] += entry.verdict == "ANOMALY"
        its["failed"] += entry.verdict == "FAILED"
        its["overruns"] += entry.overruns
        if entry.score is not None and math.isfinite(entry.score):
            its[BIN_NAMES[bin_of(entry.score)]] += 1
        if entry.kind == "part" and entry.cycle_ms is not None and math.isfinite(entry.cycle_ms):
            its["cycle_sum"] += entry.cycle_ms
            if its["cycle_max"] is None or entry.cycle_ms > its["cycle_max"]:
                its["cycle_max"], its["slowest"] = entry.cycle_ms, entry.id
        its["first_seq"] = its["first_seq"] or seq
        its["last_seq"] = seq
    return _widened(added)


async def _store_minutes(connection: AsyncConnection, run: Sequence[Minute]) -> None:
    found = {minute.id: minute for minute in run}
    rows = [
        {name: value for name, value in msgspec.structs.asdict(minute).items() if name != "scores"}
        for minute in found.values()
    ]
    stored = await connection.execute(_storing_minutes(connection.dialect.name), rows)
    added: dict[Key, dict[str, Any]] = {}
    for (id_,) in stored:
        minute = found[id_]
        key = _quarter_of("frame", minute.start, minute.stream, minute.recipe, minute.recipe_version)
        its = added.setdefault(key, _nothing(key))
        its["total"] += minute.frames
        its["rejected"] += minute.anomalies
        its["failed"] += minute.failed
        for name, count in zip(BIN_NAMES, minute.scores, strict=False):
            its[name] += count
    await _add(connection, _widened(added))


def _widened(quarters: dict[Key, dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """The same, and for hours and days."""
    added: dict[Key, dict[str, Any]] = {}
    for key, its in quarters.items():
        for wider in _wider(key):
            there = added.get(wider) or added.setdefault(wider, _nothing(wider))
            for name in _ADDED:
                there[name] += its[name]
            if its["cycle_max"] is not None and (there["cycle_max"] is None or its["cycle_max"] > there["cycle_max"]):
                there["cycle_max"], there["slowest"] = its["cycle_max"], its["slowest"]
            if its["first_seq"] is not None:
                there["first_seq"] = min(there["first_seq"] or its["first_seq"], its["first_seq"])
                there["last_seq"] = max(there["last_seq"] or 0, its["last_seq"])
    return added


async def _add(connection: AsyncConnection, added: dict[Key, dict[str, Any]]) -> None:
    if added:
        await connection.execute(_counting(connection.dialect.name), [added[key] for key in sorted(added)])


# Made once: it takes SQLAlchemy longer to make a statement than the database to run it.
@functools.cache
def _storing(dialect: str) -> Any:
    return (
        _insert(dialect, entries).on_conflict_do_nothing(index_elements=["id"]).returning(entries.c.seq, entries.c.id)
    )


@functools.cache
def _storing_minutes(dialect: str) -> Any:
    return _insert(dialect, minutes).on_conflict_do_nothing(index_elements=["id"]).returning(minutes.c.id)


@functools.cache
def _counting(dialect: str) -> Any:
    statement = _insert(dialect, counts)
    new, old = statement.excluded, counts.c
    slower = and_(new.cycle_max.is_not(None), or_(old.cycle_max.is_(None), new.cycle_max > old.cycle_max))
    return statement.on_conflict_do_update(
        index_elements=list(_KEY),
        set_={
            **{name: old[name] + new[name] for name in _ADDED},
            "cycle_max": case((slower, new.cycle_max), else_=old.cycle_max),
            "slowest": case((slower, new.slowest), else_=old.slowest),
            "first_seq": func.coalesce(old.first_seq, new.first_seq),
            "last_seq": func.coalesce(new.last_seq, old.last_seq),
        },
    )


def _quarter_of(kind: str, at: int, stream: str, recipe: str | None, recipe_version: int | None) -> Key:
    return QUARTER_MS, at - at % QUARTER_MS, kind, stream, recipe or "", recipe_version or 0


def _wider(key: Key) -> Iterator[Key]:
    """The stretches that a quarter of an hour lies in, itself among them."""
    _, start, *rest = key
    for width in WIDTHS:
        yield (width, start - start % width, *rest)  # type: ignore[misc]


def _nothing(key: Key) -> dict[str, Any]:
    return {
        **dict(zip(_KEY, key, strict=True)),
        **dict.fromkeys(_ADDED, 0),
        "cycle_max": None,
        "slowest": None,
        "first_seq": None,
        "last_seq": None,
    }


def _insert(dialect: str, table: Any) -> Any:
    """The two dialects say what to do about a row that is there in the same words, each with a class of its own."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
