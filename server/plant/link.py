"""One connection to the plant's database, for whoever asks from whichever thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib.util
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from detector.extras import to_install
from server.ground import DatabaseAddress, NotKept, one_line

T = TypeVar("T")

CONNECT_S, ANSWER_S = 5.0, 10.0
"""Seconds that a connection and a question may take, where nothing else is asked for."""

_ENDED = ("08", "57")
"""Classes of SQLSTATE with which a connection ends, whatever became of what was asked."""


_LATE = "it does not answer in time"


class PlantAway(NotKept):
    """The plant's database, or its store, cannot be reached now; one sentence that says why.

    Attributes:
        sqlstate: of the answer, where the database did answer, and would not.
    """

    sqlstate: str | None = None


class Unanswered(PlantAway):
    """It was asked, and no answer came: what was to be written may be written."""


def cannot_be_used(shared: object, why: str) -> str:
    """Of the plant's database or store, in words."""
    return f"{shared}, which the plant's gateways share, cannot be used ({why})"


class Link:
    """Asks one thing after the other, in a thread of its own that has an event loop; a connection that is lost is made
    anew with the next question.

    Args:
        connect_s, answer_s: seconds that a connection and a question may take.
    """

    def __init__(self, address: DatabaseAddress, *, connect_s: float = CONNECT_S, answer_s: float = ANSWER_S) -> None:
        self._address, self._connect_s, self._answer_s = address, connect_s, answer_s
        self._connection: Any = None
        self._turn: asyncio.Lock | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="plant", daemon=True)
        self._thread.start()

    def ask(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Wait for what a piece of work with an asyncpg connection comes to. Not for an event loop.

        Raises:
            Unanswered: it was asked, and did not answer. Whether what was to be written was is not known then.
            PlantAway: it cannot be asked, or would not; nothing was written.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(self._ask(work), self._loop)
        except RuntimeError as error:
            raise PlantAway("the server stops") from error
        try:
            return future.result(self._connect_s + 2 * self._answer_s)
        except concurrent.futures.CancelledError as error:
            raise PlantAway("the server stops") from error
        except TimeoutError as error:
            future.cancel()
            raise self._away(_LATE, Unanswered) from error

    def close(self) -> None:
        """Let go of it."""

        async def let_go() -> None:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.terminate()
            others = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
            for one in others:
                one.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self._loop.call_soon(self._loop.stop)

        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(let_go(), self._loop)
            self._thread.join(2.0)
            if not self._thread.is_alive():
                self._loop.close()

    async def _ask(self, work: Callable[[Any], Awaitable[T]]) -> T:
        if importlib.util.find_spec("asyncpg") is None:
            raise PlantAway(f"a plant needs more packages: {to_install('plant')}")
        import asyncpg

        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            is_asked = False
            try:
                async with asyncio.timeout(self._connect_s + self._answer_s):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await self._connect(asyncpg)
                    is_asked = True
                    return await work(self._connection)
            except TimeoutError as error:
                self._drop()
                raise self._away(_LATE, Unanswered if is_asked else PlantAway) from error
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                if isinstance(error, NotKept):
                    raise
                self._drop()
                sqlstate = str(getattr(error, "sqlstate", None) or "")
                if is_asked and sqlstate[:2] in ("", *_ENDED):
                    raise self._away(one_line(error), Unanswered) from error
                away = self._away(one_line(error))
                away.sqlstate = sqlstate or None
                raise away from error

    async def _connect(self, asyncpg: Any) -> Any:
        at = self._address
        arguments: dict[str, Any] = {} if at.ssl is None else {"ssl": at.ssl}
        return await asyncpg.connect(
            host=at.host,
            port=at.port,
            database=at.database,
            user=at.user,
            password=at.password,
            timeout=self._connect_s,
            command_timeout=self._answer_s,
            server_settings={"application_name": "defectvision plant", "lock_timeout": str(int(self._answer_s * 500))},
            statement_cache_size=0,  # pgbouncer hands another connection to each transaction
            **arguments,
        )

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _away(self, why: str, kind: type[PlantAway] = PlantAway) -> PlantAway:
        return kind(cannot_be_used(self._address, why))
