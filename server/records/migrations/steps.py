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
    script = ScriptDirectory.from_config(_config())
    now = MigrationContext.configure(connection).get_current_revision()
    if now is None:
        return False
    if now not in {step.revision for step in script.walk_revisions()}:
        raise NewerSchema(
            f"the history's database is of a newer version ({now}; this one knows {script.get_current_head()}): update "
            "this software, or put another database in its place"
        )
    return now != script.get_current_head()


def migrate(connection: Connection) -> None:
    """Make the tables today's, in one transaction of the caller's."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
