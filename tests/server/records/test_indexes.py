"""What the databases say of how they answer: by indexes, never by looking through the table."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from server.records import Records, Span, Wanted, database, reading, records
from server.records.schema import HOUR_MS
from server.words import PartVerdict
from tests.server.records.histories import Place

FILL = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series(1, 20000)) ",
}
ENTRIES = """
INSERT INTO entries (id, kind, stream, at, began_at, number, part, source, verdict, score, frames, anomalous, recipe,
    simulated, disposition, model)
SELECT 'e' || i, 'part', 'stream-' || (i % 3), 1000 * i, 0, i, 'part-' || i, 'trigger',
    CASE WHEN i % 100 = 0 THEN 'ANOMALY' ELSE 'NORMAL' END, i % 90 / 200.0, 1, 0, 'recipe-' || (i % 3), false,
    CASE WHEN i % 1000 = 0 THEN 'false_reject' END, '0123456789012345678901234567890123456789012345678901234567890123'
FROM n
"""
COUNTS = """
INSERT INTO counts (width, start, kind, stream, recipe, recipe_version, total, first_seq, last_seq)
SELECT 3600000, CAST(3600000 AS bigint) * (i / 4), 'part', 'stream-' || (i % 4), 'recipe', 1, 1, i, i FROM n
"""
LISTS = {
    "newest": (Wanted(), "entries_seen_through"),
    "a stream": (Wanted(stream="stream-2"), "entries_seen_through"),
    "scores": (Wanted(least_score=0.4, most_score=0.41), "entries_seen_through"),
    "good parts of a time": (Wanted(since=10**6, until=10**7, verdict="NORMAL"), "entries_seen_through"),
    "rejects": (Wanted(verdict="ANOMALY"), "entries_rejected"),
    "rejects of a stream and time": (Wanted(verdict="ANOMALY", stream="stream-1", since=5), "entries_rejected"),
    "false rejects": (Wanted(disposition="false_reject"), "entries_disposed"),
    "a part": (Wanted(part="part-77"), "entries_by_part"),
}


@pytest.fixture(autouse=True)
def patient(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here much is written at once."""
    monkeypatch.setattr(database, "WRITE_S", 60.0)
    monkeypatch.setattr(database, "CONNECT_S", 20.0)


async def filled(history: Records, dialect: str) -> None:
    async def fill(connection: AsyncConnection) -> None:
        for statement in (ENTRIES, COUNTS):
            await connection.execute(text(FILL[dialect] + statement))

    await history._database.write(fill)
    if dialect == "postgresql":

        async def vacuum(connection: AsyncConnection) -> None:
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("VACUUM ANALYZE"))

        await history._database.read(vacuum)


async def plan(connection: AsyncConnection, query: Any, values: dict[str, Any] | None = None) -> str:
    if values is None:
        compiled = query.compile(connection.sync_connection, compile_kwargs={"literal_binds": True})
        query, values = str(compiled), {}
    else:
        query = str(query)
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    found = await connection.execute(text(explain + query.replace("%%", "%")), values)
    return "\n".join(str(row[-1]) for row in found)


def looked_through(said: str) -> bool:
    """Whether a whole table is."""
    return bool(re.search(r"Seq Scan on (entries|counts|minutes)|SCAN (entries|q|counts|minutes)(?! USING)", said))


async def test_lists_are_answered_by_indexes(place: Place) -> None:
    dialect = "sqlite" if place.address is None else "postgresql"
    async with place.opened(days=36_500) as history:
        await filled(history, dialect)

        async def plans(connection: AsyncConnection) -> dict[str, str]:
            found = {}
            for name, (wanted, _) in LISTS.items():
                found[name] = await plan(connection, reading.seqs(wanted, 1, 20_000, 50))
            return found

        for name, said in (await history._database.read(plans)).items():
            assert not looked_through(said), f"{name}: {said}"
            assert re.search(LISTS[name][1], said), f"{name}: {said}"
            assert "TEMP B-TREE" not in said and "Sort" not in said, f"{name}: {said}"
            if LISTS[name][1] == "entries_seen_through":
                assert "COVERING INDEX" in said or "Index Only Scan" in said, f"{name}: {said}"


async def test_numbers_are_answered_by_the_index(place: Place) -> None:
    dialect = "sqlite" if place.address is None else "postgresql"
    async with place.opened(days=36_500) as history:
        await filled(history, dialect)
        spans = [Span(hour * HOUR_MS, (hour + 1) * HOUR_MS) for hour in range(24)]
        found = await history.numbers(spans, by_stream=True)
        assert sum(one.total for one in found) == 24 * 4 - 1

        async def plans(connection: AsyncConnection) -> str:
            query = reading._numbers_query(dialect, True, True, False, False)
            ranges = ", ".join(f"[0, 3600000, {span.since}, {span.until}]" for span in spans)
            return await plan(connection, query, {"ranges": f"[{ranges}]", "kind": "part", "most": 20_000})

        said = await history._database.read(plans)
        assert not looked_through(said), said
        assert "counts_pkey" in said or "USING PRIMARY KEY (width=? AND start>? AND start<?)" in said, said


async def test_a_list_goes_on_behind_what_was_looked_through(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LOOKED_THROUGH", 3000)
    dialect = "sqlite" if place.address is None else "postgresql"
    async with place.opened(days=36_500) as history:
        await filled(history, dialect)
        monkeypatch.setattr(records, "PAGE_S", 60.0)
        page = await history.find(Wanted(verdict="NORMAL", least_score=0.9))
        assert page.entries == [] and page.next is None
        assert await history.count(Wanted(stream="stream-1")) == reading.Counted(6667, True)
        page = await history.find(Wanted(stream="stream-1"), limit=500)
        assert len(page.entries) == 500 and page.next is not None
        monkeypatch.setattr(records, "PAGE_S", -1)
        assert await history.count(Wanted(stream="stream-1")) == reading.Counted(1000, False)
        found: dict[PartVerdict, int] = {"NORMAL": 2970, "ANOMALY": 30}
        for verdict, number in found.items():  # of the rejected ones, too, scores are looked up one by one
            page = await history.find(Wanted(verdict=verdict, least_score=0.9))
            assert page.entries == [] and page.next == 17_001
            counted = await history.count(Wanted(verdict=verdict, least_score=0.0))
            assert counted == reading.Counted(number, False)
        assert await history.count(Wanted(verdict="ANOMALY")) == reading.Counted(200, True)
        assert await history.count(Wanted(part="part-77")) == reading.Counted(1, True)
