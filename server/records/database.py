"""The database behind the history: a file of SQLite's in the data directory, or a PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from detector.extras import to_install
from detector.files import give_to_owner, set_aside, sync_folder, temporary_beside
from server.ground import DatabaseAddress, one_line
from server.records.migrations import NewerSchema, NoWayBack, goal_back, is_behind, migrate, migrate_back

T = TypeVar("T")

log = logging.getLogger("defectvision.history")

FILE = "history.db"
WRITE_S, READ_S, CONNECT_S = 15.0, 10.0, 5.0
"""Seconds that a transaction, a question and a connection may take."""
READERS = 4
CACHE_KB = 2000
"""Of pages that a connection to SQLite keeps, kB. Sixteen times as much made no question and no writing faster, at a
million entries (docs/benchmarks.md), and memory grow for hours: the system keeps the file's pages anyway."""
MOST_QUESTIONS = 40
"""That are asked or wait to be."""
KEPT_BACKUPS = 3
_TURN = text("SELECT pg_advisory_xact_lock(x'686973746f7279'::bigint)")
"""One transaction after the other writes into a PostgreSQL, whichever gateway's it is: so entries are seen in the order
of their numbers, and no two wait for each other's rows."""
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")


class RecordsAway(Exception):
    """The history cannot be asked or written now; one sentence that says why."""


class PackageMissing(Exception):
    """PostgreSQL is asked for, and what speaks with it is not installed."""


class Damaged(RecordsAway):
    """The file of the history is none, or is broken."""


class Database:
    """Connections for one writer and some readers.

    Args:
        folder: the data directory.
        address: of a PostgreSQL; None: a file in the folder.
    """

    def __init__(self, folder: Path, address: DatabaseAddress | None = None) -> None:
        self.folder, self.address = folder, address
        self.is_sqlite = address is None
        self._engines: tuple[AsyncEngine, AsyncEngine] | None = None
        self._writing = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._inodes: dict[str, tuple[int, int]] = {}
        """Of SQLite's files, as they were opened."""

    @property
    def path(self) -> Path:
        return self.folder / FILE

    @property
    def words(self) -> str:
        """What it is, for people: without a password."""
        return str(self.path) if self.address is None else str(self.address)

    @property
    def _writer(self) -> AsyncEngine:
        return self._both()[0]

    @property
    def _readers(self) -> AsyncEngine:
        return self._both()[1]

    def _both(self) -> tuple[AsyncEngine, AsyncEngine]:
        if self._engines is None:  # late: PostgreSQL's package may be missing
            self._engines = self._engine(1, writes=True), self._engine(READERS, writes=False)
        return self._engines

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do something in a transaction; one at a time.

        Raises:
            RecordsAway: it did not come about, or it is not known whether it did.
        """

        async def transaction() -> T:
            async with self._writing, self._writer.begin() as connection:
                if not self.is_sqlite:
                    await connection.execute(_TURN)
                return await work(connection)

        return await self._in_time(transaction(), WRITE_S)

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Ask something.

        Raises:
            RecordsAway: it cannot be asked, or is not answered in time.
        """
        if len(self._running) >= MOST_QUESTIONS:
            raise RecordsAway("the history is asked too much at once: try again in a moment")

        async def question() -> T:
            async with self._readers.connect() as connection:
                return await work(connection)

        return await self._in_time(question(), READ_S)

    async def _in_time(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """PostgreSQL is given up in the middle: it may have gone for ever. What SQLite does goes on to its end whoever
        waits: one that is cut off in the middle leaves a statement behind which holds the lock of the file."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        async with _told(self):
            async with asyncio.timeout(seconds):
                return await (asyncio.shield(task) if self.is_sqlite else task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has heard it, or is gone

    async def open(self) -> str | None:
        """Bring it to today's tables, with a backup before where there are older ones.

        Returns:
            a sentence for the operator, where there is something to know.

        Raises:
            NewerSchema: it was written by a newer version.
            PackageMissing: what speaks with it is not installed.
            RecordsAway: it is not there, or cannot be written.
        """
        self.require_package()
        async with _told(self):
            return await asyncio.to_thread(lambda: asyncio.run(self._open()))

    async def _open(self) -> str | None:
        if self.is_sqlite:
            self.folder.mkdir(parents=True, exist_ok=True)
        engine, said = self._engine(1, writes=True), None
        try:
            async with asyncio.timeout(CONNECT_S * 2), engine.connect() as connection:
                behind = await connection.run_sync(is_behind)
                await connection.rollback()
            if behind:
                said = await asyncio.to_thread(self._back_up)
            async with engine.begin() as connection:
                if not self.is_sqlite:
                    await connection.execute(_TURN)
                await connection.run_sync(migrate)
        except Exception:
            # aiosqlite's thread still has to say that it ends, to the loop that ends with this.
            await asyncio.sleep(0.05)
            raise
        finally:
            await engine.dispose()
        return said

    async def look(self) -> None:
        """Look whether a PostgreSQL can be used, and change nothing.

        Raises:
            NewerSchema, PackageMissing, RecordsAway: it cannot.
        """
        self.require_package()
        engine = self._engine(1, writes=False)
        try:
            async with _told(self), asyncio.timeout(CONNECT_S * 2), engine.connect() as connection:
                await connection.run_sync(is_behind)
        finally:
            await engine.dispose()

    def require_package(self) -> None:
        """Check that what speaks with a PostgreSQL is installed, where one is used.

        Raises:
            PackageMissing: it is not.
        """
        if self.address is not None and importlib.util.find_spec("asyncpg") is None:
            raise PackageMissing(f"DATABASE_URL needs one more package: {to_install('postgres')}")

    async def close(self) -> None:
        """Let go of all connections; it can be used again."""
        if self._running:
            await asyncio.wait(self._running, timeout=1)
        engines, self._engines = self._engines or (), None
        for engine in engines:
            with contextlib.suppress(SQLAlchemyError, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await engine.dispose()

    def taken_away(self) -> str | None:
        """Whether the file that is written is not the one of its name any more: the end of a sentence, or nothing.

        SQLite writes on into a file that was removed or replaced, and says nothing.
        """
        if not self.is_sqlite:
            return None
        for ending in ("", "-wal"):
            now, before = _inode(self._beside(ending)), self._inodes.get(ending)
            if before is None and now is not None:
                self._inodes[ending] = now
            elif before != now:
                what = "taken away" if now is None else "replaced by another one"
                return f"{self.path.name}{ending} was {what} while the server ran"
        return None

    def open_anew(self) -> None:
        """After :meth:`close`: another file lies at the name, and must not be read with the journal of the old one."""
        if _inode(self.path) != self._inodes.get(""):
            for ending in ("-wal", "-shm"):
                before = self._inodes.get(ending)
                if ending == "-shm" or (before is not None and _inode(self._beside(ending)) == before):
                    self._beside(ending).unlink(missing_ok=True)
        self._inodes = {}

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(self.path.name + ending)

    def set_aside(self) -> str:
        """Rename a damaged file, for another to be begun; returns a sentence for the operator."""
        renamed = set_aside(self.path)
        self._inodes = {}
        for ending in ("-wal", "-shm"):
            beside = self._beside(ending)
            if beside.exists():
                beside.rename(renamed.with_name(renamed.name + ending))
        return (
            f"{FILE} was damaged: it was set aside as {renamed.name}, and a new history begun; "
            "`sqlite3 FILE .recover` gets out of the old one what can be read"
        )

    def _back_up(self) -> str:
        if self.address is not None:
            log.warning("history database=%s is brought to a newer version: its dump is yours to make", self.words)
            return f"{self.words} was brought to a newer version: its backups are the operator's"
        target = self.folder / f"{FILE}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        self._copy_to(target)
        kept = sorted(
            one for one in self.folder.iterdir() if re.fullmatch(rf"{FILE}\.before-\d{{8}}T\d{{6}}Z", one.name)
        )
        for old in kept[:-KEPT_BACKUPS]:
            old.unlink(missing_ok=True)
        log.info("history backup=%s", target.name)
        return f"{FILE} was brought to a newer version; what it was before is kept as {target.name}"

    def _copy_to(self, target: Path) -> None:
        """As it is now, whole or not at all; what a crash leaves of it goes at the next start."""
        unfinished = temporary_beside(target)
        try:
            with contextlib.closing(sqlite3.connect(self.path)) as source:
                source.execute("VACUUM INTO ?", (str(unfinished),))
            descriptor = os.open(unfinished, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            give_to_owner(target.parent, unfinished)
            unfinished.replace(target)
        except sqlite3.Error as error:
            raise OSError(f"no copy of it can be made before: {error}") from error
        finally:
            unfinished.unlink(missing_ok=True)
        sync_folder(target.parent)

    async def goal_back(self, to: str | None, begun: str | None) -> tuple[str, str]:
        """What version the tables are, and which older one they are to be made: :func:`migrations.goal_back`.

        Raises:
            NoWayBack, NewerSchema, RecordsAway: it cannot be.
        """
        async with self._going_back() as connection:
            return await connection.run_sync(goal_back, to, begun)

    async def take_back(self, aside: Path, to: str) -> tuple[str, str]:
        """Make the tables an older version's; of a file, what it was is kept in a folder first.

        Returns:
            the version that it was, and the one that it is.

        Raises:
            NoWayBack, NewerSchema, RecordsAway: it cannot be; nothing has changed.
        """
        async with self._going_back() as connection:
            if self.is_sqlite:
                await asyncio.to_thread(self._copy_to, aside / FILE)
            return await connection.run_sync(migrate_back, to)

    @contextlib.asynccontextmanager
    async def _going_back(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, alone."""
        self.require_package()
        if self.is_sqlite and not self.path.exists():
            raise NoWayBack(f"there is no {FILE}: there is nothing to bring back")
        engine = self._engine(1, writes=True)
        try:
            async with _told(self), engine.begin() as connection:
                yield connection
        finally:
            await engine.dispose()
            # aiosqlite's thread still has to say that it ends, to the loop that ends with this
            await asyncio.sleep(0.05)

    def _engine(self, connections: int, *, writes: bool) -> AsyncEngine:
        if self.address is not None:
            return create_async_engine(
                url_of(self.address),
                pool_size=connections,
                max_overflow=0,
                pool_timeout=READ_S,
                pool_pre_ping=True,
                connect_args=_connect_arguments(self.address, WRITE_S if writes else READ_S),
            )
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(self.path)),
            pool_size=connections,
            max_overflow=0,
            pool_timeout=READ_S,
            connect_args={"timeout": CONNECT_S, "isolation_level": None},
        )

        @event.listens_for(engine.sync_engine, "connect")
        def connected(connection: Any, record: Any) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")  # a part that is stored is there after a power cut
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute(f"PRAGMA cache_size=-{CACHE_KB}")
            cursor.execute("PRAGMA journal_size_limit=67108864")
            if not writes:
                cursor.execute("PRAGMA query_only=ON")
            cursor.close()

        if writes:

            @event.listens_for(engine.sync_engine, "begin")
            def begins(connection: Any) -> None:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # no deadlock on the way from reading to writing

        return engine


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def url_of(address: DatabaseAddress) -> URL:
    """As SQLAlchemy takes it; asyncpg knows a folder of sockets by its slash."""
    return URL.create(
        "postgresql+asyncpg", address.user, address.password, port=address.port, database=address.database
    )


def _connect_arguments(address: DatabaseAddress, statement_s: float) -> dict[str, Any]:
    """For asyncpg: nothing waits longer than so many seconds, here or there."""
    arguments: dict[str, Any] = {
        "host": address.host,
        "timeout": CONNECT_S,
        "command_timeout": statement_s,
        "server_settings": {
            "application_name": "defectvision",
            "statement_timeout": str(int(statement_s * 1000)),
            "lock_timeout": str(int(statement_s * 500)),
            "idle_in_transaction_session_timeout": str(int(statement_s * 1000)),  # its turn is another's then
        },
    }
    if address.ssl is not None:
        arguments["ssl"] = address.ssl
    return arguments


@contextlib.asynccontextmanager
async def _told(database: Database) -> AsyncIterator[None]:
    """What went wrong, as :class:`RecordsAway`."""
    try:
        yield
    except (NewerSchema, NoWayBack):
        raise
    except TimeoutError as error:
        raise RecordsAway(f"{database.words} does not answer in time") from error
    except OSError as error:
        raise RecordsAway(f"{database.words} cannot be reached or written ({error.strerror or error})") from error
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) else None
        if database.is_sqlite and _is_damage(cause):
            raise Damaged(f"{database.words} is damaged ({cause}): restart the server, which sets it aside") from error
        if is_refusal(error):
            raise
        raise RecordsAway(f"{database.words} cannot be used ({one_line(cause or error)})") from error


def _is_damage(cause: BaseException | None) -> bool:
    while cause is not None:
        if getattr(cause, "sqlite_errorname", "").startswith(_DAMAGED):
            return True
        cause = cause.__cause__
    return False


def is_refusal(error: BaseException) -> bool:
    """Whether it is about what was to be stored, not about the database: it would be refused again."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DataError | IntegrityError | ValueError | TypeError | ArithmeticError):
            return True
        if str(getattr(cause, "sqlstate", None) or "")[:2] in ("22", "23"):  # data exception, constraint violation
            return True
        cause = getattr(cause, "orig", None) or cause.__cause__
    return False
