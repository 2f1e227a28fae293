"""What is wrong with a history, found without changing anything: for ``defectvision doctor``."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path

from server.ground import DatabaseAddress
from server.records.database import FILE, Database, PackageMissing, RecordsAway
from server.records.migrations import NewerSchema, require_known

LOOK_S = 10.0
"""For the inside of a file: of a larger one as much as it takes."""
_STEPS = 100_000
"""Of SQLite's, between looks at the time."""


def history_fault(data: Path, address: DatabaseAddress | None) -> str | None:
    """Why a history cannot be used, one sentence; nothing where it can, or there is none yet."""
    try:
        if address is not None:
            asyncio.run(Database(data, address).look())
        elif (data / FILE).exists():
            return _fault_of(data / FILE)
    except (NewerSchema, PackageMissing, RecordsAway) as error:
        return str(error)
    return None


def _fault_of(path: Path) -> str | None:
    """Raises NewerSchema."""
    until = time.monotonic() + LOOK_S
    # Where no server has it open and none crashed, SQLite would make files beside it, and leave them there.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=5)) as file:
            with contextlib.suppress(sqlite3.OperationalError):  # there are no tables yet
                for (version,) in file.execute("SELECT version_num FROM alembic_version"):
                    require_known(version)
            file.set_progress_handler(lambda: int(time.monotonic() > until), _STEPS)
            (found,) = file.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            return None
        found = str(error)
    if found == "ok":
        return None
    return (
        f"{path.name} is damaged ({found}): entries cannot all be read; `defectvision restore` a backup, or, with the "
        f"server stopped, `sqlite3 {path.name} .recover` into another file"
    )
