"""The documents that all gateways of a plant share: rows of a PostgreSQL, and a copy of each here.

A change is stored in the database before it counts, if nobody came in between (compare and set by the row's version).
What others changed is noticed by one small question several times a second, which asks for versions alone. While the
database is away, what is known goes on holding, from the copies after a restart, too, and nothing can be changed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from detector.files import read_at_most, write_atomically
from server.ground import DatabaseAddress, Form, KeptFile, NewerVersion, NotKept, private_file
from server.plant.link import Link, PlantAway
from server.plant.object_store import NotOurs, ObjectStore, StoreAddress

T = TypeVar("T")

log = logging.getLogger("defectvision.plant")

FORMAT = 1
FILE = "plant.json"
LOOK_S, AWAY_S, LOOKED_S = 0.3, 2.0, 2.0
"""Seconds between two looks at the versions; while the database is away; that a look may take."""
TRIES = 8
"""Of a change that others come in between."""
_TURN = 0x646566656374
"""PostgreSQL's advisory lock while tables are made."""
_NEXT = "1 + floor(random() * 4294967296)::bigint"
"""What a version grows by. Not by one: after an older dump was put back, a version would come again with other
contents, and a gateway that was cut off meanwhile would take what it knows for the newest."""

_TABLES = """
CREATE TABLE IF NOT EXISTS plant (id text PRIMARY KEY, format integer NOT NULL);
CREATE TABLE IF NOT EXISTS plant_documents (
    name text PRIMARY KEY,
    version bigint NOT NULL,
    data bytea NOT NULL,
    gateway text NOT NULL,
    changed timestamptz NOT NULL DEFAULT now()
);
"""


class PlantError(Exception):
    """This gateway cannot be one of the plant; one sentence for the operator."""


class _Joined(msgspec.Struct):
    """``plant.json``: which plant this data directory belongs to."""

    plant: str


class Plant:
    """A shelf (:class:`server.ground.Shelf`) of documents, and the store of the plant's files.

    Args:
        address: of the database; ``store``: of the files.
        folder: the data directory, with a copy of each document.
        gateway: who changes something, for people.

    Attributes:
        store: the files.
        warning: what the operator should see to; or nothing.
    """

    def __init__(self, address: DatabaseAddress, store: StoreAddress, folder: Path, *, gateway: str) -> None:
        self.store = ObjectStore(store)
        self._folder, self._gateway, self._where = folder, gateway, str(address)
        self._link = Link(address)
        # Its own: it finds out that the database is away while somebody else waits for it.
        self._looker = Link(address, connect_s=LOOKED_S, answer_s=LOOKED_S)
        self._documents: dict[str, PlantDocument[Any]] = {}
        self._newest: dict[str, int] = {}
        self._id: str | None = None
        self._away: str | None = None
        self._news: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._stopped = threading.Event()
        self._looking: threading.Thread | None = None

    @classmethod
    def of(
        cls, address: DatabaseAddress | None, store: StoreAddress | None, folder: Path, gateway: str
    ) -> Plant | None:
        """What these settings name, opened; None where they name no store: this server shares nothing.

        Raises:
            PlantError: this gateway cannot be one of the plant.
        """
        if store is None or address is None:
            return None
        plant = cls(address, store, folder, gateway=gateway or socket.gethostname())
        try:
            plant.open()
        except BaseException:
            plant.close()
            raise
        return plant

    @property
    def warning(self) -> str | None:
        if self._away is None:
            return None
        return (
            f"{self._away}: this gateway goes on with what it knows, and recipes, calibrations and logins cannot be "
            "changed until it can"
        )

    def open(self) -> None:
        """Reach the database, for seconds at the most. Where it is away, a gateway that belongs to the plant starts
        with what it knew.

        Raises:
            PlantError: it belongs to no plant yet, or to another one, or the plant is of a newer version.
        """
        joined = self._joined()
        try:
            self._id, self._newest = self._link.ask(self._open)
        except PlantAway as error:
            if joined is None:
                raise PlantError(
                    f"{error}; this data directory belongs to no plant yet, so there is nothing to go on with: see to "
                    "DATABASE_URL and the database"
                ) from error
            self._say_away(str(error))
            self._id = joined
            self.store.belong_to(joined, is_new=False)
            return
        if joined is not None and joined != self._id:
            raise PlantError(
                f"the data directory {self._folder.absolute()} belongs to another plant than the one in {self._where}: "
                "give this gateway an empty DATA_DIR, or the database that it had"
            )
        self.store.belong_to(self._id, is_new=joined is None)
        try:
            self.store.check()
        except NotOurs as error:
            raise PlantError(str(error)) from error
        except PlantAway as error:
            log.warning("%s", error)  # whoever needs it says it again

    def join(self) -> None:
        """Remember that this data directory belongs to the plant: all that is kept here was opened, and nothing of its
        own stands against the plant's.

        Raises:
            OSError: it cannot be written.
        """
        if self._joined() is None and self._id is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._folder / FILE, msgspec.json.encode(_Joined(self._id)))
            for document in self._documents.values():
                document.keep_copy()
            log.info("joined plant=%s database=%s store=%s", self._id, self._where, self.store.address)

    @property
    def has_joined(self) -> bool:
        """Whether the data directory belongs to the plant already."""
        return self._joined() is not None

    def keep(self, path: Path, form: Form[T]) -> PlantDocument[T]:
        """One of the documents; its name is the file's.

        Raises:
            PlantError: this data directory has one of its own, from before.
        """
        document = PlantDocument(self, path, form)
        if not self.has_joined and document.is_of_before:
            raise PlantError(
                f"{path.name} in the data directory is from before there was a plant, and would be lost: give this "
                "gateway an empty DATA_DIR, or make the plant of it with 'defectvision plant make'"
            )
        self._documents[path.name] = document
        return document

    def make(self, documents: Mapping[str, bytes]) -> None:
        """Make the plant of these documents, by their names, and join it.

        Raises:
            PlantError: it has documents already.
            OSError: the database does not answer, or the data directory cannot be written; nothing has changed then.
        """

        async def work(connection: Any) -> bool:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _TURN)
                if await connection.fetchval("SELECT count(*) FROM plant_documents"):
                    return False
                for name, data in documents.items():
                    await connection.execute(
                        "INSERT INTO plant_documents (name, version, data, gateway) VALUES ($1, 1, $2, $3)",
                        name, data, self._gateway,
                    )  # fmt: skip
            return True

        if not self._link.ask(work):
            raise PlantError(f"the plant in {self._where} has recipes or logins already: nothing was changed")
        self.join()

    # ---- what others change -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look, from now on, for what others change. On the event loop."""
        if self._looking is None:
            self._news = asyncio.get_running_loop(), asyncio.Event()
            self._looking = threading.Thread(target=self._look, name="plant looks", daemon=True)
            self._looking.start()

    async def news(self, at_most_s: float) -> None:
        """Wait until somebody else changed something, or the database is back; at most so many seconds."""
        assert self._news is not None
        _, event = self._news
        try:
            async with asyncio.timeout(at_most_s):
                await event.wait()
        except TimeoutError:
            return
        event.clear()

    def close(self) -> None:
        """Let go of the database."""
        self._stopped.set()
        for link in (self._link, self._looker):
            link.close()

    def _look(self) -> None:
        while not self._stopped.wait(LOOK_S if self._away is None else AWAY_S):
            try:
                found = self._looker.ask(self._versions)
            except PlantAway as error:
                self._say_away(str(error))
                continue
            is_back, self._away = self._away is not None, None
            if is_back:
                log.info("the plant's database is back")
            if is_back or found != self._newest:
                self._newest = found
                self.tell()

    def tell(self) -> None:
        """Whoever waits for news has some. From any thread."""
        if self._news is not None:
            loop, event = self._news
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                return  # the server stops

    def _say_away(self, why: str) -> None:
        if self._away is None and not self._stopped.is_set():
            log.error("%s", why)
        self._away = why

    # ---- for documents ----------------------------------------------------------------------------------------------

    def newest(self, name: str) -> int | None:
        """Version that a document was seen to have last; None where it was not looked at."""
        return self._newest.get(name, 0) if self._away is None else None

    def fetch(self, name: str, but: int, most: int) -> tuple[int, bytes]:
        """A document's version, 0 where there is none, and its bytes, if that is another one than ``but``; of more than
        ``most`` bytes none.

        Raises:
            PlantAway: nobody answers, or another plant does.
        """

        async def work(connection: Any) -> Any:
            question = (
                "SELECT version, CASE WHEN version <> $2 AND octet_length(data) <= $3 THEN data END AS data "
                "FROM plant LEFT JOIN plant_documents ON name = $1 WHERE id = $4"
            )
            return self._ours(await connection.fetchrow(question, name, but, most, self._id))

        row = self._ask(work)
        return int(row["version"] or 0), bytes(row["data"] or b"")

    def store_if(self, name: str, version: int, data: bytes) -> int | None:
        """Store a document's next version, if ``version`` is the newest still; 0: if there is none.

        Returns:
            that version; None where it was not stored.

        Raises:
            PlantAway: nobody answers; whether it was stored is seen later.
        """

        async def work(connection: Any) -> Any:
            if version == 0:
                return await connection.fetchval(
                    f"INSERT INTO plant_documents (name, version, data, gateway) SELECT $1, {_NEXT}, $2, $3 "
                    "WHERE EXISTS (SELECT FROM plant WHERE id = $4) ON CONFLICT (name) DO NOTHING RETURNING version",
                    name, data, self._gateway, self._id,
                )  # fmt: skip
            return await connection.fetchval(
                f"UPDATE plant_documents SET version = version + {_NEXT}, data = $3, gateway = $4, changed = now() "
                "WHERE name = $1 AND version = $2 AND EXISTS (SELECT FROM plant WHERE id = $5) RETURNING version",
                name, version, data, self._gateway, self._id,
            )  # fmt: skip

        stored = self._ask(work)
        if stored is None:
            return None
        self._newest = {**self._newest, name: int(stored)}
        return int(stored)

    def _ask(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """While it is known that nobody answers, nobody waits: whoever looks finds out when that is over."""
        if self._away is not None and self._looking is not None:
            raise PlantAway(self._away)
        return self._link.ask(work)

    async def _open(self, connection: Any) -> tuple[str, dict[str, int]]:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _TURN)
            await connection.execute(_TABLES)
            row = await connection.fetchrow("SELECT id, format FROM plant")
            if row is None:
                id = secrets.token_hex(16)
                await connection.execute("INSERT INTO plant (id, format) VALUES ($1, $2)", id, FORMAT)
            else:
                id = str(row["id"])
                if row["format"] > FORMAT:
                    raise PlantError("the plant is of a newer version of DefectVision: upgrade this gateway")
        return id, await versions_of(connection, id)

    async def _versions(self, connection: Any) -> dict[str, int]:
        found = await versions_of(connection, self._id)
        if not found:
            self._ours(await connection.fetchrow("SELECT FROM plant WHERE id = $1", self._id))
        return found

    def _ours(self, row: Any) -> Any:
        """What the plant's own row came with.

        Raises:
            PlantAway: it is not there: since this gateway began, the database became another plant's.
        """
        if row is None:
            raise PlantAway(f"{self._where} holds another plant than this gateway's now: put the plant's own back")
        return row

    def _joined(self) -> str | None:
        return joined_in(self._folder)


def joined_in(folder: Path) -> str | None:
    """Id of the plant that a data directory belongs to; None where it belongs to none yet.

    Raises:
        PlantError: it cannot be known.
    """
    path = folder / FILE
    try:
        return msgspec.json.decode(read_at_most(path, 1000), type=_Joined).plant
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise PlantError(f"{path} cannot be read ({error}): it says which plant this gateway belongs to") from error


async def versions_of(connection: Any, plant: str | None) -> dict[str, int]:
    """Of all documents of a plant, or of whichever there is, by name."""
    rows = await connection.fetch(
        "SELECT name, version FROM plant_documents WHERE $1::text IS NULL OR EXISTS (SELECT FROM plant WHERE id = $1)",
        plant,
    )
    return {str(row["name"]): int(row["version"]) for row in rows}


class PlantDocument(Generic[T]):
    """One of them, and its copy in a file."""

    def __init__(self, plant: Plant, path: Path, form: Form[T]) -> None:
        self._plant, self._path, self._form = plant, path, form
        self._lock = threading.RLock()
        self._copy = KeptFile(path, form)
        self._contents, self._version = self._copy.contents, 0
        self._bytes: bytes | None = None
        """As stored in the plant, until there is a copy here."""
        self._fault: str | None = None
        self._is_untold = False
        """Whether a change here took in what others had changed: who follows them is told of it."""
        self.refresh()

    @property
    def contents(self) -> T:
        return self._contents

    @property
    def warning(self) -> str | None:
        """What is wrong with it; that the plant is away is told by the plant."""
        return self._fault or (self._copy.warning if self._version == 0 else None)

    @property
    def is_unread(self) -> bool:
        return self._version == 0 and (self._copy.is_unread or self._plant.newest(self._path.name) != 0)

    @property
    def is_whole(self) -> bool:
        return self._version > 0 and self._fault is None

    @property
    def is_of_before(self) -> bool:
        """Whether there is a file here that says something else than the plant does."""
        found = self._copy.contents
        return found != self._form.empty and (self._version == 0 or found != self._contents)

    def recover(self) -> bool:
        with self._lock:
            is_new = self._fetched() or self._is_untold
            self._is_untold = False
            return is_new

    def _fetched(self) -> bool:
        """Take in what others changed; whether there was anything."""
        version, data = self._plant.fetch(self._path.name, self._version, self._form.largest)
        if version == self._version:
            self._fault = None
            return False
        if version == 0:
            raise self._faulty(
                "is gone from its database: put back its row in plant_documents, or restart this gateway and change "
                "something there, which stores what it knows"
            )
        try:
            contents, _ = self._form.decode(data)
        except NewerVersion as error:
            raise self._faulty("is of a newer version: upgrade this gateway") from error
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._faulty("is damaged: put back a copy of its row in plant_documents") from error
        was, self._fault = self._contents, None
        self._take(version, contents, data)
        return contents != was

    def _faulty(self, words: str) -> NotKept:
        self._fault = (
            f"the plant's {self._path.name} {words}; until then this gateway goes on with what it knew, and nothing "
            "can be set"
        )
        return NotKept(self._fault)

    def refresh(self) -> bool:
        if self._plant.newest(self._path.name) in (None, self._version) and not (self._fault or self._is_untold):
            return False
        try:
            return self.recover()
        except OSError as error:
            log.debug("%s", error)  # the plant, or the warning, says it
            return False

    def change(self, step: Callable[[T], T]) -> None:
        with self._lock:
            for _ in range(TRIES):
                if self._fetched():
                    self._is_untold = True
                    self._plant.tell()
                after = step(self._contents)
                if after == self._contents:
                    return
                data = self._form.bytes_of(after, self._path.name)
                stored = self._plant.store_if(self._path.name, self._version, data)
                if stored is not None:
                    self._take(stored, after, data)
                    return
        raise NotKept(f"other gateways change {self._path.name} all the time: try again; nothing was changed")

    def _take(self, version: int, contents: T, data: bytes) -> None:
        self._contents, self._version, self._bytes = contents, version, data
        if self._plant.has_joined:  # before, what lies here is looked at first
            self.keep_copy()

    def keep_copy(self) -> None:
        """Write what is in force into the file here, for a start without the database."""
        data, self._bytes = self._bytes, None
        if data is None:
            return
        try:
            if self._form.mode & 0o077:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            else:
                private_file.make_folder(self._path.parent)
            write_atomically(self._path, data, mode=self._form.mode)
        except OSError as error:
            log.warning("%s: no copy can be kept here (%s)", self._path.name, error.strerror)
