"""Databases for the history's tests: a file, and a PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.ground import DatabaseAddress
from server.records import database, records
from tests.server.records.histories import Place
from tests.server.records.postgres import PostgreSQL, running_postgresql


@pytest.fixture(scope="session")
def postgresql_or_none() -> Iterator[PostgreSQL | None]:
    with running_postgresql() as running:
        yield running


@pytest.fixture
def postgresql(postgresql_or_none: PostgreSQL | None) -> PostgreSQL:
    pytest.importorskip("asyncpg")
    if postgresql_or_none is None:
        pytest.skip("PostgreSQL is not installed: python -m tests.equipment")
    return postgresql_or_none


@pytest.fixture
def address(postgresql: PostgreSQL) -> DatabaseAddress:
    """Of an empty database."""
    return postgresql.database()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a history is kept: both, one after the other."""
    return Place(tmp_path, request.getfixturevalue("address") if request.param == "postgresql" else None)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WRITE_S", 1.0)
    monkeypatch.setattr(database, "CONNECT_S", 1.0)
    monkeypatch.setattr(records, "RETRY_S", (0.05,))
    monkeypatch.setattr(records, "BATCH_S", 0.01)
