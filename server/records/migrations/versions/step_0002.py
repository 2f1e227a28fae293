"""Triggers that were refused are counted with the part that came after them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for table in ("entries", "counts"):
        op.add_column(table, sa.Column("overruns", sa.Integer, nullable=False, server_default=sa.text("0")))


def downgrade() -> None:
    for table in ("entries", "counts"):
        op.drop_column(table, "overruns")
