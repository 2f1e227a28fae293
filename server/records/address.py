"""Where a PostgreSQL is, as one setting says it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
_SSL = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class Address:
    """Attributes:
    url: as SQLAlchemy's asyncpg takes it; holds the password.
    ssl: PostgreSQL's sslmode, or nothing.
    """

    url: URL
    ssl: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address in the form of :data:`EXAMPLE`; ``?sslmode=`` and ``?host=`` (a folder of sockets) are taken.

        Raises:
            ValueError: it cannot be one; the sentence repeats nothing of it.
        """
        try:
            url = make_url(text.strip())
        except (ArgumentError, ValueError) as error:
            raise ValueError(f"it must be an address such as {EXAMPLE}") from error
        if url.drivername not in _SCHEMES:
            raise ValueError(f"it must begin with postgresql:// as {EXAMPLE} does; without it SQLite is used")
        if not url.database:
            raise ValueError(f"it names no database: write {EXAMPLE}")
        known = {name: value for name, value in url.query.items() if isinstance(value, str)}
        if set(url.query) - {"sslmode", "ssl", "host"} or len(known) < len(url.query):
            raise ValueError("after its ? only sslmode and host (a folder of sockets) may stand")
        if not (url.host or known.get("host")):
            raise ValueError(f"it names no host: write {EXAMPLE}")
        ssl = known.get("sslmode") or known.get("ssl")
        if ssl is not None and ssl not in _SSL:
            raise ValueError(f"sslmode must be one of {', '.join(_SSL)}")
        return cls(url.set(drivername="postgresql+asyncpg").difference_update_query(["sslmode", "ssl"]), ssl)

    @property
    def words(self) -> str:
        """Which one, without user and password."""
        host = self.url.query.get("host") or self.url.host
        return f"PostgreSQL {self.url.database} on {host}:{self.url.port or 5432}"

    @property
    def missing(self) -> str | None:
        """What has to be installed before it can be used, one sentence; or nothing."""
        if importlib.util.find_spec("asyncpg") is not None:
            return None
        return "DATABASE_URL needs one more package: pip install 'defectvision[postgres]'"

    def connect_arguments(self, statement_s: float, connect_s: float) -> dict[str, Any]:
        """For asyncpg: nothing waits longer than so many seconds, here or there."""
        arguments: dict[str, Any] = {
            "timeout": connect_s,
            "command_timeout": statement_s,
            "server_settings": {
                "application_name": "defectvision",
                "statement_timeout": str(int(statement_s * 1000)),
                "lock_timeout": str(int(statement_s * 500)),
                "idle_in_transaction_session_timeout": str(int(statement_s * 2000)),
            },
        }
        if self.ssl is not None:
            arguments["ssl"] = self.ssl
        return arguments
