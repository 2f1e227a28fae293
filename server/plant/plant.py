"""The documents that all gateways of a plant share: rows of a PostgreSQL, and a copy of each here.

A change is stored in the database before it counts, if nobody came in between (compare and set by the row's version).
What others changed is noticed by one small question several times a second, which asks for versions alone. While the
database is away, what is known goes on holding, from the copies after a restart, too, and nothing can be changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from detector.files import read_at_most, write_atomically
from server.ground import DatabaseAddress, Form, KeptFile, NewerVersion, NotKept, private_file
from server.plant.gateways import BEAT_S, NO_TABLE, TABLE, Beats
from server.plant.link import Link, PlantAway, Unanswered
from server.plant.object_store import NotOurs, ObjectStore, StoreAddress

T = TypeVar("T")

log = logging.getLogger("defectvision.plant")

FORMAT = 1
FILE = "plant.json"
LOOK_S, AWAY_S, LOOKED_S = 0.3, 2.0, 2.0
"""Seconds between two looks at the versions; while the database is away; that a look may take."""
COPY_AGAIN_S = 10.0
"""Seconds after which a copy that could not be written is tried again."""
TRIES = 8
"""Of a change that others come in between."""
_TURN = 0x646566656374
"""PostgreSQL's advisory lock while tables are made."""
_NEXT = 1 << 32
"""What a version grows by, at the most; by chance, not by one: after an older dump was put back, a version would come
again with other contents, and a gateway that was cut off meanwhile would take what it knows for the newest. It is drawn
here, so that who got no answer sees whether his is the one that stands there."""
_NEWER = "the plant is of a newer version of DefectVision: upgrade this gateway"

_TABLES = f"""
CREATE TABLE IF NOT EXISTS plant (id text PRIMARY KEY, format integer NOT NULL);
CREATE TABLE IF NOT EXISTS plant_documents (
    name text PRIMARY KEY,
    version bigint NOT NULL,
    data bytea NOT NULL,
    gateway text NOT NULL,
    changed timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS plant_names (name text PRIMARY KEY);
INSERT INTO plant_names SELECT name FROM plant_documents ON CONFLICT DO NOTHING;
{TABLE}"""
"""``plant_names``: of all documents that were ever stored: one whose row is gone is not one that never was."""
_INSERT = """
WITH stored AS (
    INSERT INTO plant_documents (name, version, data, gateway) SELECT $1, $2, $3, $4
    WHERE EXISTS (SELECT FROM plant WHERE id = $5 AND format <= $6)
    ON CONFLICT (name) DO NOTHING RETURNING name, version
),
named AS (INSERT INTO plant_names SELECT name FROM stored ON CONFLICT DO NOTHING)
SELECT version FROM stored
"""


class PlantError(Exception):
    """This gateway cannot be one of the plant; one sentence for the operator."""


class _Joined(msgspec.Struct):
    """``plant.json``: which plant this data directory belongs to, and what tells it from others of it."""

    plant: str
    gateway: str = ""


class Plant:
    """A shelf (:class:`server.ground.Shelf`) of documents, and the store of the plant's files.

    Args:
        address: of the database; ``store``: of the files.
        folder: the data directory, with a copy of each document.
        gateway: who changes something, for people.

    Attributes:
        store: the files.
        among: this gateway among the others: warns of those that are taken for it.
        warning: what the operator should see to; or nothing.
    """

    def __init__(self, address: DatabaseAddress, store: StoreAddress, folder: Path, *, gateway: str) -> None:
        self.store = ObjectStore(store)
        self._folder, self._gateway, self._where = folder, gateway, str(address)
        self._link = Link(address)
        # Its own: it finds out that the database is away while somebody else waits for it.
        self._looker = Link(address, connect_s=LOOKED_S, answer_s=LOOKED_S)
        self.among, self._beat_at = Beats(gateway), 0.0
        self._has_tables = False
        self._documents: dict[str, PlantDocument[Any]] = {}
        self._newest: dict[str, int] = {}
        self._ahead_s = 0.0
        """Of this machine's clock is the database's, as it was asked last."""
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

    def now(self) -> float:
        """Seconds since 1970 by the database's clock: one for all gateways."""
        return time.time() + self._ahead_s

    @property
    def warning(self) -> str | None:
        if self._away is None:
            return None
        return (
            f"{self._away}: this gateway goes on with what it knows, and recipes, calibrations and logins cannot be "
            "changed until it can; who was logged out or removed at another one since then is still let in here"
        )

    def open(self) -> None:
        """Reach the database, for seconds at the most. Where it is away, or of a newer version, a gateway that belongs
        to the plant starts with what it knew.

        Raises:
            PlantError: it belongs to no plant yet, or to another one.
        """
        found = self._joined()
        joined = None if found is None else found.plant
        if found is not None:
            self.among.id = found.gateway or self.among.id
        try:
            self._id, self._newest = self._link.ask(self._open)
            self._has_tables = True
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
        found = self._joined()
        if found is not None and not found.gateway:  # of an earlier version
            with contextlib.suppress(OSError):
                self._remember(found.plant)
        if found is None and self._id is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remember(self._id)
            for document in self._documents.values():
                document.keep_copy()
            log.info("joined plant=%s database=%s store=%s", self._id, self._where, self.store.address)

    def _remember(self, plant: str) -> None:
        write_atomically(self._folder / FILE, msgspec.json.encode(_Joined(plant, self.among.id)))

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
        """Make the plant of these documents, by their names, and join it. What was made of the same ones before, and
        cut off, is finished.

        Raises:
            PlantError: it has other documents already.
            OSError: the database does not answer, or the data directory cannot be written; to be called again then.
        """

        async def work(connection: Any) -> bool:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _TURN)
                rows = await connection.fetch("SELECT name, data FROM plant_documents")
                if rows:
                    return {row["name"]: bytes(row["data"]) for row in rows} == dict(documents)
                for name, data in documents.items():
                    await connection.fetchval(_INSERT, name, 1, data, self._gateway, self._id, FORMAT)
            return True

        if not self._ask_again(work):
            raise PlantError(
                f"the plant in {self._where} has recipes or logins already: nothing was changed. Where they are those "
                "of this data directory, or should take their place, give this gateway an empty DATA_DIR: it takes "
                "them over at its start"
            )
        self.join()

    # ---- what others change -----------------------------------------------------------------------------------------

    def start(self, streams: Callable[[], Sequence[str]] = tuple) -> None:
        """Look, from now on, for what others change, and who they are. On the event loop.

        Args:
            streams: names of those that somebody sends here now; from any thread.
        """
        if self._looking is None:
            self.among.streams = streams
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
        copy_at = 0.0
        while not self._stopped.wait(LOOK_S if self._away is None else AWAY_S):
            try:
                if time.monotonic() >= copy_at:
                    copy_at = time.monotonic() + COPY_AGAIN_S
                    for document in self._documents.values():
                        document.copy_again()
                found = self._looked()
            except PlantAway as error:
                self._has_tables = self._has_tables and error.sqlstate != NO_TABLE
                self._say_away(str(error))
                continue
            except Exception as error:  # who looks must not end: nothing others change would be heard of any more
                if self._away is None:
                    log.exception("looking for what other gateways change failed, and goes on")
                self._say_away(f"{self._where} cannot be asked ({type(error).__name__}: {error})")
                continue
            is_back, self._away = self._away is not None, None
            if is_back:
                log.info("the plant's database is back")
            if is_back or found != self._newest:
                self._newest = found
                self.tell()

    def _looked(self) -> dict[str, int]:
        """The documents' versions, by name; and now and then that this gateway is there."""
        is_due = time.monotonic() >= self._beat_at
        if is_due and not self._has_tables:  # it was away at the start, or a dump of an earlier version was put back
            with contextlib.suppress(PlantAway):  # then the beat says why
                self._has_tables = self._looker.ask(self._make_missing_tables)
        found = self._looker.ask(self._versions)
        if is_due:
            self._beat_at = time.monotonic() + BEAT_S
            self._has_tables = self.among.beat(self._looker.ask) and self._has_tables
        return found

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

    @property
    def is_behind(self) -> bool:
        """Whether others changed something that is not known here, as far as it was seen, or may have."""
        return any(one.is_behind for one in self._documents.values())

    def newest(self, name: str) -> int | None:
        """Version that a document was seen to have last; None where it was not looked at."""
        return self._newest.get(name, 0) if self._away is None else None

    def fetch(self, name: str, but: int, most: int) -> tuple[int, bytes, bool]:
        """A document's version, 0 where there is none, and its bytes, if that is another one than ``but``, of more than
        ``most`` bytes none; and whether there ever was one.

        Raises:
            PlantAway: nobody answers, or another plant does.
        """

        async def work(connection: Any) -> Any:
            question = (
                "SELECT version, CASE WHEN version <> $2 AND octet_length(data) <= $3 THEN data END AS data, "
                "format, EXISTS (SELECT FROM plant_names WHERE plant_names.name = $1) AS is_known "
                "FROM plant LEFT JOIN plant_documents ON name = $1 WHERE id = $4"
            )
            return self._ours(await connection.fetchrow(question, name, but, most, self._id))

        row = self._ask_again(work)
        return int(row["version"] or 0), bytes(row["data"] or b""), bool(row["is_known"])

    def store_if(self, name: str, version: int, data: bytes) -> int | None:
        """Store a document's next version, if ``version`` is the newest still; 0: if there is none.

        Returns:
            that version; None where it was not stored.

        Raises:
            PlantAway: nobody answers; the words say where it may be stored all the same, which is seen later then.
        """
        next_version = version + 1 + secrets.randbelow(_NEXT)

        async def work(connection: Any) -> Any:
            if version == 0:
                return await connection.fetchval(_INSERT, name, next_version, data, self._gateway, self._id, FORMAT)
            return await connection.fetchval(
                "UPDATE plant_documents SET version = $6, data = $3, gateway = $4, changed = now() WHERE name = $1 AND "
                "version = $2 AND EXISTS (SELECT FROM plant WHERE id = $5 AND format <= $7) RETURNING version",
                name, version, data, self._gateway, self._id, next_version, FORMAT,
            )  # fmt: skip

        async def again(connection: Any) -> Any:
            """Of the first, only the answer may be lost."""
            stands = await work(connection) or await connection.fetchval(
                "SELECT version FROM plant_documents WHERE name = $1", name
            )
            return stands if stands == next_version else None

        stored = self._ask_again(work, again)
        if stored is None:
            return None
        self._newest = {**self._newest, name: int(stored)}
        return int(stored)

    def _ask(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """While it is known that nobody answers, nobody waits: whoever looks finds out when that is over."""
        if self._away is not None and self._looking is not None:
            raise PlantAway(self._away)
        return self._link.ask(work)

    def _ask_again(self, work: Callable[[Any], Awaitable[T]], again: Callable[[Any], Awaitable[T]] | None = None) -> T:
        """Ask, and where no answer comes, once more.

        Raises:
            PlantAway: nobody answers, both times.
        """
        try:
            return self._ask(work)
        except Unanswered as first:
            try:
                return self._ask(again or work)
            except PlantAway as error:
                if again is None:
                    raise
                raise PlantAway(
                    f"{error}; whether the change was made all the same is seen once it can be: look before you try "
                    "again"
                ) from first

    async def _open(self, connection: Any) -> tuple[str, dict[str, int]]:
        async with connection.transaction():
            await self._make_tables(connection)
            row = await connection.fetchrow("SELECT id, format FROM plant")
            if row is None:
                id = secrets.token_hex(16)
                await connection.execute("INSERT INTO plant (id, format) VALUES ($1, $2)", id, FORMAT)
            else:
                id = str(row["id"])
        return id, await self._versions(connection, id)

    async def _make_missing_tables(self, connection: Any) -> bool:
        """Into a database that holds no plant at all, nothing is put."""
        if not await connection.fetchval("SELECT to_regclass('plant') IS NOT NULL"):
            return False
        await self._make_tables(connection)
        return True

    async def _make_tables(self, connection: Any) -> None:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _TURN)
            if await connection.fetchval("SELECT to_regclass('plant') IS NOT NULL"):
                await self._require_format(connection)
            await connection.execute(_TABLES)

    async def _require_format(self, connection: Any) -> None:
        if (await connection.fetchval("SELECT max(format) FROM plant") or 0) > FORMAT:
            raise PlantAway(_NEWER)

    async def _versions(self, connection: Any, plant: str | None = None) -> dict[str, int]:
        """Of all documents of the plant, by name; of those whose row is gone -1."""
        rows = await connection.fetch(
            "SELECT format, name, coalesce(version, -1) AS version, "
            "extract(epoch FROM clock_timestamp())::float8 AS clock FROM plant "
            "LEFT JOIN (plant_names FULL JOIN plant_documents USING (name)) ON true WHERE id = $1",
            plant or self._id,
        )
        self._ahead_s = self._ours(rows[0] if rows else None)["clock"] - time.time()
        return {str(row["name"]): int(row["version"]) for row in rows if row["name"] is not None}

    def _ours(self, row: Any) -> Any:
        """What the plant's own row came with, its format among it.

        Raises:
            PlantAway: it is not there: since this gateway began, the database became another plant's; or it is of a
                newer version.
        """
        if row is None:
            raise PlantAway(f"{self._where} holds another plant than this gateway's now: put the plant's own back")
        if row["format"] > FORMAT:
            raise PlantAway(_NEWER)
        return row

    def _joined(self) -> _Joined | None:
        return _read_joined(self._folder)


def joined_in(folder: Path) -> str | None:
    """Id of the plant that a data directory belongs to; None where it belongs to none yet.

    Raises:
        PlantError: it cannot be known.
    """
    joined = _read_joined(folder)
    return None if joined is None else joined.plant


def _read_joined(folder: Path) -> _Joined | None:
    path = folder / FILE
    try:
        return msgspec.json.decode(read_at_most(path, 1000), type=_Joined)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise PlantError(f"{path} cannot be read ({error}): it says which plant this gateway belongs to") from error


class PlantDocument(Generic[T]):
    """One of them, and its copy in a file."""

    def __init__(self, plant: Plant, path: Path, form: Form[T]) -> None:
        self._plant, self._path, self._form = plant, path, form
        self._lock = threading.RLock()
        self._copy = KeptFile(path, form)
        self._contents, self._version = self._copy.contents, 0
        self._has_copy = path.is_file() and not self._copy.is_unread
        self._bytes: bytes | None = None
        """As stored in the plant, until there is a copy here."""
        self._fault: str | None = None
        self._uncopied: str | None = None
        """Why there is no copy of what is known here."""
        self._is_untold = False
        """Whether a change here took in what others had changed: who follows them is told of it."""
        self.refresh()

    @property
    def contents(self) -> T:
        return self._contents

    @property
    def warning(self) -> str | None:
        """What is wrong with it; that the plant is away is told by the plant."""
        return self._fault or (self._copy.warning if self._version == 0 else None) or self._uncopied

    @property
    def is_unread(self) -> bool:
        return self._version == 0 and (
            self._copy.is_unread or self._fault is not None or self._plant.newest(self._path.name) != 0
        )

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
        version, data, is_known = self._plant.fetch(self._path.name, self._version, self._form.largest)
        if version == 0 and self._version == 0 and is_known and self._has_copy:
            self._fault = (
                f"the plant's {self._path.name} is gone from its database: put back its row in plant_documents, or "
                "change something at this gateway, which stores what it knows"
            )
            return False
        if version == self._version and (version or not is_known):
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
            raise self._faulty(
                "is damaged, or of a newer version: put back a copy of its row in plant_documents, or upgrade this "
                "gateway"
            ) from error
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
        if self._plant.newest(self._path.name) is None or not self.is_behind:
            return False
        try:
            return self.recover()
        except OSError as error:
            log.debug("%s", error)  # the plant, or the warning, says it
            return False

    @property
    def is_behind(self) -> bool:
        """Whether others changed it, as far as it was seen, or may have."""
        return self._plant.newest(self._path.name) != self._version or bool(self._fault or self._is_untold)

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
        self._contents, self._version, self._bytes, self._fault = contents, version, data, None
        if self._plant.has_joined:  # before, what lies here is looked at first
            self.keep_copy()

    def keep_copy(self) -> None:
        """Write what is in force into the file here, for a start without the database; where it cannot be, that is said
        and tried again."""
        with self._lock:
            if self._bytes is not None:
                self._uncopied = self._unwritten(self._bytes)
                self._bytes = None if self._uncopied is None else self._bytes

    def copy_again(self) -> None:
        """Write it where it could not be before; not while somebody changes it."""
        if self._uncopied is not None and self._lock.acquire(blocking=False):
            try:
                self.keep_copy()
            finally:
                self._lock.release()

    def _unwritten(self, data: bytes) -> str | None:
        """Write the copy; why it could not be."""
        try:
            if self._form.mode & 0o077:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            else:
                private_file.make_folder(self._path.parent)
            write_atomically(self._path, data, mode=self._form.mode)
        except OSError as error:
            if self._uncopied is None:
                log.warning("%s: no copy can be kept here (%s)", self._path.name, error.strerror)
            return (
                f"no copy of the plant's {self._path.name} can be kept here ({error.strerror}): started without the "
                f"database, this gateway would go by an older one; make room, or let this user write {self._path}"
            )
        return None
