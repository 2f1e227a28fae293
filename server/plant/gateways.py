"""Which gateways a plant has: each says now and then that it is there, and looks who says so in its place, by its name,
or of its streams."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from detector import VERSION
from server.plant.link import PlantAway, Unanswered

log = logging.getLogger("defectvision.plant")

BEAT_S, ALIVE_S = 3.0, 10.0
"""Seconds between two times that a gateway says so; after which it is taken for gone."""
FORGOTTEN = "30 days"
NO_TABLE = "42P01"
"""SQLSTATE of a table that is not there."""
MOST_NAMED = 5
"""Streams that are named in a warning."""

TABLE = """
CREATE TABLE IF NOT EXISTS plant_gateways (
    id text PRIMARY KEY,
    process text NOT NULL,
    name text NOT NULL,
    host text NOT NULL,
    software text NOT NULL,
    streams text[] NOT NULL,
    seen timestamptz NOT NULL
);
"""
_BEAT = f"""
WITH before AS (SELECT process, host, seen FROM plant_gateways WHERE id = $1),
mine AS (
    INSERT INTO plant_gateways (id, process, name, host, software, streams, seen) VALUES ($1, $2, $3, $4, $5, $6, now())
    ON CONFLICT (id) DO UPDATE SET process = $2, name = $3, host = $4, software = $5, streams = $6, seen = now()
),
gone AS (DELETE FROM plant_gateways WHERE id <> $1 AND seen < now() - interval '{FORGOTTEN}')
SELECT process, host, seen FROM before
"""
_OTHERS = f"""
SELECT name, host, streams, seen FROM plant_gateways WHERE id <> $1 AND seen > now() - interval '{ALIVE_S} s'
ORDER BY seen
"""


@dataclass(frozen=True)
class ListedGateway:
    """A gateway that was ever seen. ``seen_s``: seconds since then; ``software``: its version."""

    name: str
    host: str
    software: str
    streams: tuple[str, ...]
    seen_s: float

    @property
    def is_there(self) -> bool:
        """Whether it runs, as far as the database knows."""
        return self.seen_s < ALIVE_S


async def listed(connection: Any) -> list[ListedGateway]:
    """All gateways that the database remembers, by name; none where no gateway of this version ever ran."""
    if not await connection.fetchval("SELECT to_regclass('plant_gateways') IS NOT NULL"):
        return []
    rows = await connection.fetch(
        "SELECT name, host, software, streams, extract(epoch FROM now() - seen)::float8 AS seen_s FROM plant_gateways "
        "ORDER BY name, host"
    )
    return [
        ListedGateway(row["name"], row["host"], row["software"], tuple(row["streams"]), row["seen_s"]) for row in rows
    ]


class Beats:
    """This gateway among those of its plant. For one thread.

    Args:
        name: what it is called.

    Attributes:
        id: tells this data directory from others; a copy of it has the same.
        streams: names of those that somebody sends here now.
    """

    def __init__(self, name: str) -> None:
        self.id = self._process = secrets.token_hex(8)
        self.streams: Callable[[], Sequence[str]] = tuple
        self._name, self._host = name, socket.gethostname()
        self._is_known = False
        self._seen: dict[str, datetime] = {}
        """What was found the time before, and when the other had first said so. It is told once he says so again: a
        stream that moves is at both for a moment, and what a gateway that ended said last stands there for a while."""
        self._told: frozenset[str] = frozenset()
        self._unwritable: str | None = None

    @property
    def warning(self) -> str | None:
        """Who is taken for this gateway, or has its name or streams, and what to do; or nothing."""
        found = [*sorted(self._told), *([] if self._unwritable is None else [self._unwritable])]
        return "; ".join(found) or None

    def beat(self, ask: Callable[[Callable[[Any], Any]], Any]) -> bool:
        """Say that this gateway is there.

        Args:
            ask: as :meth:`server.plant.link.Link.ask`.

        Returns:
            whether there is a table for that, as far as it is known.

        Raises:
            PlantAway: the database does not answer.
        """
        mine = sorted(self.streams())

        async def work(connection: Any) -> tuple[Any, list[Any]]:
            before = await connection.fetchrow(_BEAT, self.id, self._process, self._name, self._host, VERSION, mine)
            return before, await connection.fetch(_OTHERS, self.id)

        try:
            before, others = ask(work)
        except PlantAway as error:
            if error.sqlstate is None and not isinstance(error, Unanswered):
                raise
            if self._unwritable is None:  # it was asked for the versions a moment ago, and answered
                log.warning("%s", error)
            self._unwritable = f"{error}: nothing can be changed at this gateway until it can be written"
            return error.sqlstate != NO_TABLE
        self._unwritable = None
        found = {words: other["seen"] for other in others for words in self._clashes(other, mine)}
        if self._is_known and before is not None and before["process"] != self._process:
            words = (
                f"another server says that it is this gateway, on {before['host']}: one of the two data directories is "
                "a copy of the other. Stop one, and give it an empty DATA_DIR"
            )
            found[words] = before["seen"]
        self._is_known = True
        # One that is missed once stays told: of two who say so every three seconds, one may come twice in a row.
        told = frozenset(
            words
            for words in {*found, *self._seen}
            if words in self._told or (words in found and self._seen.get(words, found[words]) < found[words])
        )
        for words in sorted(told - self._told):
            log.warning("%s", words)
        self._seen = {words: min(seen, self._seen.get(words, seen)) for words, seen in found.items()}
        self._told = told
        return True

    def _clashes(self, other: Any, mine: Sequence[str]) -> list[str]:
        who = f"{other['name']} on {other['host']}"
        found = []
        if other["name"] == self._name:
            found.append(
                f"another gateway of the plant, on {other['host']}, is called {self._name}, too: give one of them "
                "another GATEWAY_NAME"
            )
        if both := sorted({*mine} & {*other["streams"]}):
            more = f" and {len(both) - MOST_NAMED} more" if len(both) > MOST_NAMED else ""
            found.append(
                f"{', '.join(both[:MOST_NAMED])}{more}: a stream of this name comes to {who} as well. In the history "
                "the two are one, and counted together: give each camera of the plant a name of its own"
            )
        return found
