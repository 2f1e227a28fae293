"""The tables of the first version."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "entries",
        sa.Column("seq", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("stream", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("began_at", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("part", sa.String(128)),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("trigger", sa.BigInteger),
        sa.Column("trigger_id", sa.Text),
        sa.Column("triggered_by", sa.Text),
        sa.Column("verdict", sa.String(8), nullable=False),
        sa.Column("was", sa.String(8)),
        sa.Column("why", sa.Text),
        sa.Column("score", sa.Float),
        sa.Column("raw_score", sa.Float),
        sa.Column("threshold", sa.Float),
        sa.Column("threshold_source", sa.String(32)),
        sa.Column("frames", sa.Integer, nullable=False),
        sa.Column("anomalous", sa.Integer, nullable=False),
        sa.Column("cycle_ms", sa.Float),
        sa.Column("inspection_ms", sa.Float),
        sa.Column("recipe", sa.String(64)),
        sa.Column("recipe_version", sa.Integer),
        sa.Column("model", sa.String(64)),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("picture", sa.String(128)),
        sa.Column("picture_kept", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("disposition", sa.String(16)),
        sa.Column("disposed_at", sa.BigInteger),
        sa.Column("disposed_by", sa.Text),
        sa.Column("note", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("entries_by_id", "entries", ["id"], unique=True)
    op.create_index(
        "entries_seen_through",
        "entries",
        ["seq", "at", "stream", "recipe", "verdict", "disposition", "score", "kind"],
    )
    _partial("entries_rejected", ["verdict", "seq"], "verdict <> 'NORMAL'")
    _partial("entries_disposed", ["disposition", "seq"], "disposition IS NOT NULL")
    _partial("entries_by_part", ["part", "seq"], "part IS NOT NULL")
    _partial("entries_by_picture", ["picture"], "picture IS NOT NULL")
    _partial("entries_pictured", ["seq"], "picture_kept = 1", "picture_kept")

    op.create_table(
        "dispositions",
        sa.Column("seq", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("entry", _NUMBER, sa.ForeignKey("entries.seq", ondelete="CASCADE"), nullable=False),
        sa.Column("disposition", sa.String(16)),
        sa.Column("note", sa.Text),
        sa.Column("who", sa.Text),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("dispositions_of", "dispositions", ["entry", "seq"])

    op.create_table(
        "minutes",
        sa.Column("seq", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("stream", sa.String(64), nullable=False),
        sa.Column("recipe", sa.String(64), nullable=False),
        sa.Column("recipe_version", sa.Integer, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        *_counts("frames", "anomalies", "dropped", "failed"),
        sa.Column("score_p05", sa.Float),
        sa.Column("score_median", sa.Float),
        sa.Column("score_p95", sa.Float),
        sa.Column("score_max", sa.Float),
        sa.Column("raw_score_median", sa.Float),
        sa.Column("raw_score_max", sa.Float),
        sa.Column("threshold", sa.Float),
        sa.Column("latency_p50", sa.Float),
        sa.Column("latency_p95", sa.Float),
        sa.Column("latency_max", sa.Float),
        sqlite_autoincrement=True,
    )
    op.create_index("minutes_by_id", "minutes", ["id"], unique=True)
    op.create_index("minutes_by_start", "minutes", ["stream", "start"])
    op.create_index("minutes_by_age", "minutes", ["start"])

    op.create_table(
        "counts",
        sa.Column("width", sa.BigInteger, primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("stream", sa.String(64), primary_key=True),
        sa.Column("recipe", sa.String(64), primary_key=True),
        sa.Column("recipe_version", sa.Integer, primary_key=True),
        *_counts("total", "rejected", "failed", "confirmed", "false_rejects", "escapes"),
        sa.Column("cycle_sum", sa.Float, nullable=False, server_default=sa.text("0")),
        sa.Column("cycle_max", sa.Float),
        sa.Column("slowest", sa.String(128)),
        sa.Column("first_seq", sa.BigInteger),
        sa.Column("last_seq", sa.BigInteger),
        *_counts(*(f"s{number:02}" for number in range(50))),
        sqlite_with_rowid=False,
    )


def _counts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0")) for name in names]


def _partial(name: str, columns: list[str], where: str, where_postgresql: str | None = None) -> None:
    op.create_index(
        name,
        "entries",
        columns,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where_postgresql or where),
    )
