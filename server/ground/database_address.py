"""Where a PostgreSQL is, as one setting says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
_SCHEMES = ("postgresql", "postgres")
_SSL = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class DatabaseAddress:
    """Attributes:
    host: a name, an address, or a folder of sockets, which begins with a slash.
    ssl: PostgreSQL's sslmode, or nothing.
    """

    host: str
    port: int
    database: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl: str | None = None

    @classmethod
    def parse(cls, text: str) -> DatabaseAddress:
        """The address in the form of :data:`EXAMPLE`; ``?sslmode=`` and ``?host=`` (a folder of sockets) are taken.

        Raises:
            ValueError: it cannot be one; the sentence repeats nothing of it.
        """
        try:
            parts = urlsplit(text.strip())
            port = parts.port
            query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), max_num_fields=8)
        except ValueError as error:
            raise ValueError(f"it must be an address such as {EXAMPLE}, with % signs and the like as %25") from error
        if parts.scheme not in _SCHEMES:
            raise ValueError(f"it must begin with postgresql:// as {EXAMPLE} does; without it SQLite is used")
        database = unquote(parts.path.removeprefix("/"))
        if not database or "/" in database:
            raise ValueError(f"it names no database: write {EXAMPLE}")
        asked = dict(query)
        if len(asked) < len(query) or set(asked) - {"sslmode", "host"} or parts.fragment:
            raise ValueError("after its ? only sslmode and host (a folder of sockets) may stand, once")
        host = unquote(parts.hostname or "") or asked.get("host", "")
        if not host or (parts.hostname and "host" in asked):
            raise ValueError(f"it names no host, or two: write {EXAMPLE}")
        ssl = asked.get("sslmode")
        if ssl is not None and ssl not in _SSL:
            raise ValueError(f"sslmode must be one of {', '.join(_SSL)}")
        user, password = (None if one is None else unquote(one) for one in (parts.username, parts.password))
        if any("\0" in one for one in (host, database, user or "", password or "")):
            raise ValueError("it holds a character that cannot be in one")
        return cls(host, 5432 if port is None else port, database, user, password, ssl)

    def __str__(self) -> str:
        """Which one, without user and password."""
        return f"PostgreSQL {self.database} on {self.host}:{self.port}"
