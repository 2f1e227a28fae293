"""The tables of the history, as they are now; how older ones become these is said in ``migrations``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

BINS = 50
"""Of the histograms of scores: of equal width, from 0 to 1 on the scale of ``score``."""
QUARTER_MS, HOUR_MS, DAY_MS = 15 * 60_000, 60 * 60_000, 24 * 60 * 60_000
WIDTHS = (QUARTER_MS, HOUR_MS, DAY_MS)
"""What numbers are kept by: shifts, hours and time zones begin at quarters of an hour, and a year is 365 days."""
BIN_NAMES = tuple(f"s{number:02}" for number in range(BINS))

metadata = MetaData()


def bin_of(score: float) -> int:
    """The bin of the histograms that a score falls into: from 0 to 1, and what is beyond an end into its last one.

    Raises:
        ValueError, OverflowError: it is no number.
    """
    return min(max(int(score * BINS), 0), BINS - 1)


_NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by themselves only in an INTEGER


def _counts(*names: str) -> list[Column[Any]]:
    return [Column(name, Integer, nullable=False, server_default=text("0")) for name in names]


entries = Table(
    "entries",
    metadata,
    # The order of everything: of insertion. The clock may be set back, this is not.
    Column("seq", _NUMBER, Identity(), primary_key=True),
    Column("id", String(128), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("stream", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("part", String(128)),
    Column("source", String(16), nullable=False),
    Column("trigger", BigInteger),
    Column("trigger_id", Text),
    Column("triggered_by", Text),
    Column("verdict", String(8), nullable=False),
    Column("was", String(8)),
    Column("why", Text),
    Column("score", Float),
    Column("raw_score", Float),
    Column("threshold", Float),
    Column("threshold_source", String(32)),
    Column("frames", Integer, nullable=False),
    Column("anomalous", Integer, nullable=False),
    Column("cycle_ms", Float),
    Column("inspection_ms", Float),
    Column("overruns", Integer, nullable=False, server_default=text("0")),
    Column("recipe", String(64)),
    Column("recipe_version", Integer),
    Column("model", String(64)),
    Column("simulated", Boolean, nullable=False),
    Column("picture", String(128)),
    Column("picture_kept", Boolean, nullable=False, server_default=text("false")),
    Column("disposition", String(16)),
    Column("disposed_at", BigInteger),
    Column("disposed_by", Text),
    Column("note", Text),
    # Numbers are not given again after the newest rows were deleted: cursors stay true.
    sqlite_autoincrement=True,
)
"""Parts, and of streams that run freely the changes of their verdict. Times are milliseconds since 1970, UTC."""

ENTRIES_BY_ID = Index("entries_by_id", entries.c.id, unique=True)
ENTRIES_SEEN_THROUGH = Index(
    "entries_seen_through",
    entries.c.seq,
    entries.c.at,
    entries.c.stream,
    entries.c.recipe,
    entries.c.verdict,
    entries.c.disposition,
    entries.c.score,
    entries.c.kind,
)
"""All that a list is filtered by, in the order it is shown in: a filter that fits few looks through this alone."""


def _where(condition: str, name: str, *columns: Column[Any]) -> Index:
    """An index of the rows alone that a condition holds for."""
    return Index(name, *columns, sqlite_where=text(condition), postgresql_where=text(condition))


ENTRIES_REJECTED = _where("verdict <> 'NORMAL'", "entries_rejected", entries.c.verdict, entries.c.seq)
ENTRIES_DISPOSED = _where("disposition IS NOT NULL", "entries_disposed", entries.c.disposition, entries.c.seq)
ENTRIES_BY_PART = _where("part IS NOT NULL", "entries_by_part", entries.c.part, entries.c.seq)
ENTRIES_BY_PICTURE = _where("picture IS NOT NULL", "entries_by_picture", entries.c.picture)
ENTRIES_PICTURED = Index(
    "entries_pictured",
    entries.c.seq,
    sqlite_where=text("picture_kept = 1"),
    postgresql_where=text("picture_kept"),
)

dispositions = Table(
    "dispositions",
    metadata,
    Column("seq", _NUMBER, Identity(), primary_key=True),
    Column("entry", _NUMBER, ForeignKey("entries.seq", ondelete="CASCADE"), nullable=False),
    Column("disposition", String(16)),
    Column("note", Text),
    Column("who", Text),
    Column("at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""What was said of an entry, all of it, one row each time: the entry holds the last."""
DISPOSITIONS_OF = Index("dispositions_of", dispositions.c.entry, dispositions.c.seq)

minutes = Table(
    "minutes",
    metadata,
    Column("seq", _NUMBER, Identity(), primary_key=True),
    Column("id", String(64), nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("stream", String(64), nullable=False),
    Column("recipe", String(64), nullable=False),
    Column("recipe_version", Integer, nullable=False),
    Column("simulated", Boolean, nullable=False),
    *_counts("frames", "anomalies", "dropped", "failed"),
    Column("score_p05", Float),
    Column("score_median", Float),
    Column("score_p95", Float),
    Column("score_max", Float),
    Column("raw_score_median", Float),
    Column("raw_score_max", Float),
    Column("threshold", Float),
    Column("latency_p50", Float),
    Column("latency_p95", Float),
    Column("latency_max", Float),
    sqlite_autoincrement=True,
)
"""Of streams that run freely: one row a minute, recipe and version; two where the server was started anew in it."""
MINUTES_BY_ID = Index("minutes_by_id", minutes.c.id, unique=True)
MINUTES_BY_START = Index("minutes_by_start", minutes.c.stream, minutes.c.start)
MINUTES_BY_AGE = Index("minutes_by_age", minutes.c.start)

counts = Table(
    "counts",
    metadata,
    Column("width", BigInteger, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("stream", String(64), primary_key=True),
    Column("recipe", String(64), primary_key=True),
    Column("recipe_version", Integer, primary_key=True),
    *_counts("total", "rejected", "failed", "overruns", "confirmed", "false_rejects", "escapes"),
    Column("cycle_sum", Float, nullable=False, server_default=text("0")),
    Column("cycle_max", Float),
    Column("slowest", String(128)),
    Column("first_seq", BigInteger),
    Column("last_seq", BigInteger),
    *_counts(*BIN_NAMES),
    sqlite_with_rowid=False,
)
"""Counts of what is in ``entries`` and ``minutes``, by stretches of time (:data:`WIDTHS`, milliseconds, UTC), stream,
recipe and version, kept in the same transactions: numbers over months are read from here. ``kind`` is that of the
entries, or ``frame`` for the minutes. Where nothing was inspected, recipe is empty and its version 0."""
