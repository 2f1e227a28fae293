"""Moments as messages and files say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now(ago_s: float = 0.0) -> str:
    """Now, or so many seconds ago: ISO 8601 with milliseconds, UTC, by the server's clock."""
    return (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat(timespec="milliseconds")
