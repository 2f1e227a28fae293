"""The way back of the history, for ``defectvision downgrade --history``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from server.backup import BackupError
from server.ground import DatabaseAddress
from server.records.database import Database, PackageMissing, RecordsAway
from server.records.migrations import NewerSchema, NoWayBack


class HistoryStays(BackupError):
    """The history cannot be brought back to an older version; one sentence that says why. Nothing has changed."""


class WayBack:
    """Of a history to the tables of an older version: all entries stay, what only newer tables hold goes.

    Args:
        data: directory of the data.
        address: of the PostgreSQL, if it is in one.
        to: the version, such as ``0001``, as the older server names the one it knows; None: the one before today's.
    """

    def __init__(self, data: Path, address: DatabaseAddress | None, to: str | None) -> None:
        self._database, self._to = Database(data, address), to

    def goal(self, begun: str | None) -> str:
        """The version that its tables are to be made.

        Args:
            begun: what an attempt that may have been cut off was to make them. Where they are that, it is the goal.

        Raises:
            HistoryStays: there is no such way.
        """
        return _done(self._database.goal_back(self._to, begun))[1]

    def take_back(self, aside: Path, goal: str) -> str:
        """Make its tables those of a version, or leave them where they are; a file is kept in ``aside`` as it was.

        Returns:
            what was done, one clause.

        Raises:
            HistoryStays: it cannot be done.
        """
        was, now = _done(self._database.take_back(aside, goal))
        return f"the history, from version {was} to {now}" if was != now else f"the history, in version {now} already"


def _done(work: Coroutine[Any, Any, tuple[str, str]]) -> tuple[str, str]:
    try:
        return asyncio.run(work)
    except (NoWayBack, NewerSchema, PackageMissing, RecordsAway) as error:
        raise HistoryStays(str(error)) from error
