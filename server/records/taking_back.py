"""The way back of the history, for ``defectvision downgrade --history``."""

from __future__ import annotations

import asyncio
from pathlib import Path

from server.ground import DatabaseAddress
from server.records.database import Database, PackageMissing, RecordsAway
from server.records.migrations import NewerSchema, NoWayBack


class HistoryStays(Exception):
    """The history cannot be brought back to an older version; one sentence that says why. Nothing has changed."""


def take_back(data: Path, address: DatabaseAddress | None, aside: Path, to: str | None) -> str:
    """Make the history's tables those of an older version: all entries stay, what only newer tables hold goes.

    Args:
        aside: where a file is kept as it was.
        to: the version, such as ``0001``, as the older server names the one it knows; None: the one before today's.

    Returns:
        what was done, one clause.

    Raises:
        HistoryStays: it cannot be done.
    """
    try:
        was, now = asyncio.run(Database(data, address).take_back(aside, to))
    except (NoWayBack, NewerSchema, PackageMissing, RecordsAway) as error:
        raise HistoryStays(str(error)) from error
    return f"the history, from version {was} to {now}"
