"""Alembic, called from code: where the database stands, and the way to today."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

FOLDER = Path(__file__).parent


class NewerSchema(Exception):
    """The database was written by a newer version of this software."""


class NoWayBack(Exception):
    """The tables cannot be made an older version's; one sentence that says why."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def is_behind(connection: Connection) -> bool:
    """Whether there are tables, of an older version.

    Raises:
        NewerSchema: they are of one that is not known here.
    """
    now = MigrationContext.configure(connection).get_current_revision()
    return now is not None and require_known(now) != now


def require_known(version: str) -> str:
    """Check that tables are of a version that is known here; returns today's.

    Raises:
        NewerSchema: they are not.
    """
    script = ScriptDirectory.from_config(_config())
    head = script.get_current_head()
    if version not in {step.revision for step in script.walk_revisions()}:
        raise NewerSchema(
            f"the history's database is of a newer version ({version}; this one knows {head}): update this software, "
            "or put another database in its place"
        )
    assert head is not None
    return head


def migrate(connection: Connection) -> None:
    """Make the tables today's, in one transaction of the caller's."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def goal_back(connection: Connection, to: str | None = None, begun: str | None = None) -> tuple[str, str]:
    """Which older version the tables are to be made.

    Args:
        to: that version, such as ``0001``; None: the one before.
        begun: where that is not said, what they were to be made before; where they are that, they are to stay so.

    Returns:
        what they are, and what they are to be: the same, where that is so already.

    Raises:
        NoWayBack: there are none, or no such older ones.
        NewerSchema: they are of a version that is not known here.
    """
    is_behind(connection)
    now = MigrationContext.configure(connection).get_current_revision()
    if now is None:
        raise NoWayBack("the database has no history yet: there is nothing to bring back")
    if now == (to or begun):
        return now, now
    script = ScriptDirectory.from_config(_config())
    older = [step.revision for step in script.iterate_revisions(now, "base")][1:]
    if not older:
        raise NoWayBack(f"the history is of the first version there was ({now}): every DefectVision reads it")
    wanted = to or older[0]
    if wanted not in older:
        raise NoWayBack(
            f"the history is of version {now}: it can be brought back to {', '.join(older)}, not to {wanted!r}"
        )
    return now, wanted


def migrate_back(connection: Connection, to: str) -> tuple[str, str]:
    """Make the tables an older version's, in one transaction of the caller's, if they are not. Every entry stays.

    Returns:
        what they were, and what they are.

    Raises:
        NoWayBack, NewerSchema: as :func:`goal_back`.
    """
    was, now = goal_back(connection, to)
    if was != now:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, now)
    return was, now
