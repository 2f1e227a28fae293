"""The history of everything that was inspected: heard from the hub, written in batches, read by pages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from detector.counted import counted
from server.ground import Calendar, DatabaseAddress
from server.records import reading, writing
from server.records.backlog import Backlog
from server.records.database import Damaged, Database, PackageMissing, RecordsAway
from server.records.entry import (
    LONGEST_NOTE,
    LONGEST_WHO,
    Disposed,
    Disposition,
    Entry,
    EntryKind,
    Event,
    Gone,
    Linked,
    Minute,
    of_part,
)
from server.records.migrations import NewerSchema
from server.records.numbers import Numbers
from server.records.reading import Counted
from server.records.retention import DELETED_AT_ONCE, EVERY_S, LEAST_DELETED, delete_minutes, delete_oldest, time_there
from server.records.running import Running
from server.records.wanted import Page, Span, Wanted
from server.streams import Told
from server.words import Error, PartResult, Result, now

T = TypeVar("T")

log = logging.getLogger("defectvision.history")

BATCH, BATCH_S = 100, 0.5
"""Events that are written at once, and seconds that are waited for more of them."""
MOST_WAITING = 10_000
"""Events that wait in memory; the oldest are lost beyond that."""
RETRY_S = (1.0, 2.0, 5.0, 10.0)
"""Seconds between tries while the database is away; the last again and again."""
QUIET_S = 5.0
"""Seconds after which the writer looks whether a minute is over although nothing came."""
CLOSING_S = 0.8
PAGE_S = 0.12
"""Seconds that a page looks for more entries where there are too few, and a count for more to count."""
MOST_ON_A_PAGE, MOST_SPANS, MOST_MINUTES, MOST_NUMBERS = 500, 800, 10_000, 20_000
FOLDER = "backlog"

Word = Literal["starting", "ok", "away", "off"]


@dataclass(frozen=True)
class RecordsState:
    """How the history is doing.

    Attributes:
        state: starting (it is being opened), ok, away (the database is: what comes waits on disk), or off.
        database: which one, for people.
        since: when this state began, ISO 8601.
        last_error: why it is away or off, or was last.
        stored: events (parts, changes, minutes, pictures) since the start.
        waiting: events in memory; ``backlog``: on disk, and the bytes they take there.
        dropped: that were lost to a bound since the start; ``damaged``: lines of the backlog that cannot be read.
        refused: that the database does not take, whatever happens.
        flickered: changes of a verdict that were not kept since there were too many of them in their minute.
        entries: in the database, about; ``deleted``: that were too old or too many, since the start.
    """

    state: Word
    database: str
    since: str
    last_error: str | None
    stored: int
    waiting: int
    backlog: int
    backlog_bytes: int
    dropped: int
    damaged: int
    refused: int
    flickered: int
    entries: int
    deleted: int


class Records:
    """Give :meth:`hear` to the hub, :meth:`start` it, and :meth:`close` it at the end. All of it on the event loop.

    Args:
        folder: the data directory.
        address: of a PostgreSQL; None: ``history.db`` in the folder.
        days: that an entry is kept; ``rows``: entries that are kept at the most.
        calendar: what entries are old by.
    """

    def __init__(
        self,
        folder: Path,
        address: DatabaseAddress | None = None,
        *,
        days: float = 400,
        rows: int = 10_000_000,
        calendar: Calendar | None = None,
    ) -> None:
        self._database = Database(folder, address)
        self._backlog = Backlog(folder / FOLDER)
        self._calendar = calendar or Calendar(None)
        self._running = Running()
        self._days, self._rows = days, rows
        self._waiting: deque[Event] = deque()
        self._in_hand: list[Event] = []
        self._came = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._opened = False
        self._opening: asyncio.Task[str | None] | None = None
        self._next_clearing, self._since_clearing, self._aged = 0.0, 0, 0
        self._state: Word = "starting"
        self._since = now()
        self._last_error: str | None = None
        self._note: str | None = None
        self._failures, self._try_again = 0, 0.0
        self._is_suspect = False
        """Whether somebody who asked found the file damaged."""
        self._dropped = self._refused = self._stored = 0
        self._entries = self._deleted = 0

    # Hearing

    def hear(self, told: Told) -> None:
        """An ear of the hub: costs microseconds, waits for nothing."""
        if self._state == "off" or self._closing:
            return
        match told.message:
            case PartResult() as part:
                self._running.part(part)
                self._put(of_part(part))
            case Result() as result:
                is_of_part = result.part is not msgspec.UNSET or (
                    told.seen is not None and told.seen.recipe.parts.by != "line"
                )
                for event in self._running.result(result, of_part=is_of_part):
                    self._put(event)
            case Error() as error:
                for minute in self._running.error(error):
                    self._put(minute)

    def sample(self, entry: Entry) -> None:
        """A good frame was archived; its stream runs freely, so that nothing else is kept of it by itself."""
        self._put(entry)

    def link_picture(self, id_: str, picture: str) -> None:
        """The entry (a part's id, or :func:`frame_id`) has a picture in the archive, called so there."""
        self._put(Linked(id_, picture[:128]))

    def pictures_gone(self, pictures: Sequence[str]) -> None:
        """Pictures are no longer in the archive."""
        for first in range(0, len(pictures), 500):
            self._put(Gone(list(pictures[first : first + 500])))

    def _put(self, event: Event) -> None:
        if self._state == "off":
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._drop(1)
        self._waiting.append(event)
        self._came.set()

    def _drop(self, count: int) -> None:
        if count and not self._dropped:
            log.warning("history loses entries: neither the database nor the backlog takes them; said once")
        self._dropped += count

    # Its life

    def start(self) -> None:
        """Open the database in the background, and write down what is heard."""
        self._task = asyncio.create_task(self._run(), name="history")

    async def close(self) -> None:
        """Write what waits, or put it on disk, within about a second."""
        if self._closing:
            return
        for minute in self._running.overdue(everything=True):
            self._put(minute)
        self._closing = True
        self._came.set()
        if self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=CLOSING_S)
            if not done:
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=CLOSING_S / 4)
        if self._opening is not None:
            self._opening.cancel()
        left = [*self._in_hand, *self._waiting]
        if left and self._state != "off":
            try:
                await asyncio.to_thread(self._backlog.append, left)
            except OSError as error:
                log.warning("history lost=%d at=shutdown reason=%s", len(left), error)
            self._in_hand, self._waiting = [], deque()
        await self._database.close()

    @property
    def state(self) -> RecordsState:
        """How it is doing now."""
        return RecordsState(
            state=self._state,
            database=self._database.words,
            since=self._since,
            last_error=self._last_error,
            stored=self._stored,
            waiting=len(self._waiting) + len(self._in_hand),
            backlog=self._backlog.events,
            backlog_bytes=self._backlog.size,
            dropped=self._dropped + self._backlog.lost,
            damaged=self._backlog.damaged,
            refused=self._refused,
            flickered=self._running.flickered,
            entries=self._entries,
            deleted=self._deleted,
        )

    @property
    def warning(self) -> str | None:
        """One sentence for the operator, or nothing."""
        now = self.state
        if now.state == "off":
            return f"the history is off: {now.last_error}"
        lost = f"; {counted(now.dropped, 'entry was', 'entries were')} lost" if now.dropped else ""
        if now.state == "away":
            return f"the history is away since {now.since}: {now.last_error}; {now.backlog} entries wait on disk{lost}"
        if lost:
            entries = counted(now.dropped, "entry", "entries")
            return f"the history lost {entries} since the start: neither database nor disk took them"
        if now.damaged:
            lines = counted(now.damaged, "line")
            return f"{lines} of the backlog could not be read: see to the disk; the file is in {FOLDER}, as .damaged"
        return self._note

    async def _run(self) -> None:
        try:
            await asyncio.to_thread(self._backlog.open)
        except OSError as error:
            self._trouble(f"{FOLDER} cannot be read ({error.strerror})")
        while self._state != "off":
            try:
                if await self._step():
                    continue
                if self._closing and not (self._waiting or self._in_hand):
                    return
                await self._something()
            except Exception as error:
                log.exception("the history's writer failed, and goes on")
                self._trouble(f"the writer failed ({type(error).__name__}); the log says why")
                await asyncio.sleep(RETRY_S[-1])

    async def _something(self) -> None:
        """Wait for events, a moment for more of them, or for the next try."""
        wait = QUIET_S if self._opening is None else BATCH_S
        if self._failures or self._backlog.events or (self._opening is None and not self._opened):
            wait = min(wait, max(self._try_again - time.monotonic(), 0.0))
        if self._opened and self._may_try:
            wait = min(wait, max(self._next_clearing - time.monotonic(), 0.0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._came.wait()
        if (self._in_hand or len(self._waiting) < BATCH) and not self._closing:
            await asyncio.sleep(BATCH_S)
        self._came.clear()

    async def _step(self) -> bool:
        """Write one batch; returns whether there is more to be done at once."""
        for minute in self._running.overdue():
            self._put(minute)
        if self._opened and await self._is_itself() and self._is_suspect:
            await self._set_aside()
        self._is_suspect = False
        able = self._may_try and await self._is_open()
        if self._state == "off":
            return False
        if self._opening is not None and len(self._waiting) < MOST_WAITING // 2 and not self._closing:
            return False  # it takes a moment, or minutes where older tables are changed
        while self._waiting and len(self._in_hand) < BATCH:
            self._in_hand.append(self._waiting.popleft())
        if self._in_hand and able and not self._backlog.events and await self._store(self._in_hand):
            self._in_hand = []
        if self._in_hand:
            try:
                await asyncio.to_thread(self._backlog.append, self._in_hand)
                self._in_hand = []
            except OSError as error:  # the disk is full: they wait in memory
                words = f"{FOLDER} cannot be written ({error.strerror}): make room on the disk"
                if self._may_try:
                    self._trouble(words)
                self._last_error = words
        if self._backlog.events and able and self._may_try:
            await self._deliver()
        if self._opened and self._may_try and time.monotonic() >= self._next_clearing and not self._closing:
            await self._clear()
        return not self._in_hand and (bool(self._waiting) or (bool(self._backlog.events) and not self._failures))

    @property
    def _may_try(self) -> bool:
        return time.monotonic() >= self._try_again

    async def _is_open(self) -> bool:
        """Whether the database is open; where it is not, that is begun."""
        if self._opened:
            return True
        if self._opening is None:
            self._opening = asyncio.create_task(self._database.open(), name="history opens")
        await asyncio.wait({self._opening}, timeout=BATCH_S)
        if not self._opening.done():
            return False
        opening, self._opening = self._opening, None
        try:
            self._note = opening.result() or self._note
        except (NewerSchema, PackageMissing) as error:
            if isinstance(error, NewerSchema) and not self._database.is_sqlite:
                self._trouble(str(error))  # another gateway was upgraded first: what comes waits on disk for this one
                return False
            self._become("off", str(error))
            self._in_hand = []
            self._waiting.clear()
            log.error("history off reason=%s", error)
        except Damaged:
            await self._set_aside()
        except RecordsAway as error:
            self._trouble(str(error))
        else:
            self._opened = True
            self._well()
        return self._opened

    async def _clear(self) -> None:
        """Delete what is too old or too much, a little at a time: what comes is written in between."""
        at, latest_s = await asyncio.to_thread(lambda: (self._calendar.now(), self._calendar.latest()))
        most = LEAST_DELETED + 2 * self._since_clearing
        try:
            if not self._database.is_sqlite:  # other gateways' too: one whose clock is ahead must not cost theirs
                at = min(at, await self._database.read(time_there))
            before, latest = round(at * 1000 - self._days * 86_400_000), round(latest_s * 1000)
            kept = await self._database.write(
                lambda connection: delete_oldest(
                    connection, before=before, latest=latest, rows=self._rows, most=most - self._aged
                )
            )
            if not kept.more:
                await self._database.write(
                    lambda connection: delete_minutes(connection, before=before, most=DELETED_AT_ONCE)
                )
        except RecordsAway as error:
            self._trouble(str(error))
            return
        self._entries = kept.entries
        self._deleted += kept.deleted
        self._aged += kept.aged
        if not (self._in_hand or self._backlog.events):
            self._well()  # where nothing comes, this alone shows that the database is back
        if kept.more:
            self._next_clearing = time.monotonic() + BATCH_S
        else:
            self._next_clearing = time.monotonic() + EVERY_S
            self._since_clearing = self._aged = 0

    async def _deliver(self) -> None:
        """Write the oldest of the backlog. A crash before it is taken out writes it again: ids stand once."""
        try:
            events, read = await asyncio.to_thread(self._backlog.oldest, BATCH)
            if await self._store(events):
                await asyncio.to_thread(self._backlog.taken, read)
        except OSError as error:
            self._trouble(f"{FOLDER} cannot be read ({error.strerror})")

    async def _is_itself(self) -> bool:
        """Whether the database is what it was when it was opened; where it is another file, that one is opened."""
        try:
            words = await asyncio.to_thread(self._database.taken_away)
        except OSError as error:
            words = f"history.db cannot be found any more ({error.strerror})"
        if words is None:
            return True
        await self._database.close()
        try:
            await asyncio.to_thread(self._database.open_anew)
        except OSError as error:
            self._trouble(f"{words}, and its journal cannot be removed ({error.strerror})")
        self._opened = False
        self._note = f"{words}: what had been kept in it is not in the history any more"
        log.error("history %s", self._note)
        return False

    async def _set_aside(self) -> None:
        await self._database.close()
        try:
            self._note = await asyncio.to_thread(self._database.set_aside)
        except OSError as error:
            self._trouble(f"history.db is damaged, and cannot be set aside ({error.strerror})")
            return
        log.error("history %s", self._note)
        self._opened = False
        self._try_again = 0.0

    async def _store(self, events: Sequence[Event]) -> bool:
        """Write events in one transaction; those that the database refuses by themselves are lost, and counted."""
        if not events:
            return True
        try:
            await self._database.write(lambda connection: writing.store(connection, events))
        except Damaged:
            await self._set_aside()
            return False
        except RecordsAway as error:
            self._trouble(str(error))
            return False
        except (SQLAlchemyError, ValueError, ArithmeticError, TypeError) as error:  # of what was to be stored
            if await self._is_outgrown():
                return False
            if len(events) > 1:
                for event in events:
                    if not await self._store([event]):
                        return False
                return True
            if not self._refused:
                log.warning("history refused=%r reason=%s; said once", events[0], error)
            self._refused += 1
            return True
        if not await self._is_itself():
            return False  # they are in a file that is gone
        self._stored += len(events)
        self._entries += len(events)  # about: it is counted anew when the oldest go
        self._since_clearing += len(events)
        self._well()
        return True

    async def _is_outgrown(self) -> bool:
        """Whether another gateway brought the tables to a newer version meanwhile: what they refuse then is not at
        fault, and waits on disk for this one's update."""
        if self._database.is_sqlite:
            return False
        try:
            await self._database.look()
        except (NewerSchema, RecordsAway) as error:
            self._opened = not isinstance(error, NewerSchema)
            self._trouble(str(error))
            return True
        return False

    def _trouble(self, words: str) -> None:
        if not self._failures:
            log.warning("history away reason=%s", words)
        if self._state != "away":
            self._become("away", words)
        self._last_error = words
        self._try_again = time.monotonic() + RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._failures += 1

    def _well(self) -> None:
        if self._failures:
            log.warning("history back since=%s backlog=%d", self._since, self._backlog.events)
        self._failures, self._try_again = 0, 0.0
        if self._state != "ok":
            self._become("ok", self._last_error)

    def _become(self, state: Word, words: str | None) -> None:
        self._state, self._since, self._last_error = state, now(), words

    # Asking

    async def _ask(self, question: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        self._need_open()
        try:
            return await self._database.read(question)
        except Damaged:
            self._is_suspect = True
            self._came.set()
            raise

    def _need_open(self) -> None:
        if self._state == "off":
            raise RecordsAway(f"the history is off: {self._last_error}")
        if not self._opened:
            raise RecordsAway(f"the history is not open: {self._last_error or 'it is being opened'}")

    async def find(self, wanted: Wanted, *, before: int | None = None, limit: int = 50) -> Page:
        """A page of entries, newest first by the order of insertion.

        Args:
            before: ``next`` of the page before.
            limit: entries, up to :data:`MOST_ON_A_PAGE`.

        Raises:
            RecordsAway: the history cannot be asked now.
        """
        most = min(max(limit, 1), MOST_ON_A_PAGE)
        until = time.monotonic() + PAGE_S

        async def look(connection: AsyncConnection) -> Page:
            found, last = list[Entry](), before
            while True:
                page = await reading.page(connection, wanted, last, most - len(found))
                found += page.entries
                last = page.next
                if last is None or len(found) >= most or time.monotonic() >= until:
                    return Page(found, last)

        return await self._ask(look)

    async def export(self, wanted: Wanted, most: int) -> AsyncIterator[list[Entry]]:
        """All that is wanted, newest first, piece by piece; up to ``most`` of them.

        Raises:
            RecordsAway: the history cannot be asked now.
        """
        before: int | None = None
        while most > 0:
            page = await self.find(wanted, before=before, limit=min(most, MOST_ON_A_PAGE))
            if page.entries:
                yield page.entries
            most -= len(page.entries)
            before = page.next
            if before is None:
                return

    async def get(self, id_: str) -> Entry | None:
        """The entry of this id, or None; raises RecordsAway."""
        return await self._ask(lambda connection: reading.get(connection, id_))

    async def said_of(self, id_: str) -> list[Disposed]:
        """All that was said of an entry, oldest first; raises RecordsAway."""
        return await self._ask(lambda connection: reading.said_of(connection, id_))

    async def dispose(
        self,
        id_: str,
        disposition: Disposition | None,
        *,
        note: str | None = None,
        who: str | None = None,
        seen: Disposition | UnsetType | None = UNSET,
    ) -> Entry | None:
        """Say of an entry what it was; None takes it back. What was said before is kept. Returns None without one.

        Args:
            seen: what had been said of it, as far as who says this knows; left out: whatever it was.

        Raises:
            DispositionRefused: it cannot be said of an entry with its verdict, or something else was said meanwhile.
            RecordsAway: nothing can be written now; it was not stored.
        """
        at = round(time.time() * 1000)
        note, who = (note or "")[:LONGEST_NOTE] or None, (who or "")[:LONGEST_WHO] or None
        self._need_open()
        await self._database.write(
            lambda connection: writing.dispose(connection, id_, disposition, note, who, at, seen=seen)
        )
        if (gone := await asyncio.to_thread(self._database.taken_away)) is not None:
            self._came.set()
            raise RecordsAway(f"{gone}: say it again in a moment")
        return await self.get(id_)

    async def count(self, wanted: Wanted) -> Counted:
        """How many entries are wanted; raises RecordsAway."""
        return await self._ask(lambda connection: reading.count(connection, wanted, PAGE_S))

    async def numbers(
        self,
        spans: Sequence[Span],
        *,
        kind: EntryKind | Literal["frame"] = "part",
        stream: str | None = None,
        recipe: str | None = None,
        by_stream: bool = False,
        by_recipe: bool = False,
        limit: int = MOST_NUMBERS,
    ) -> list[Numbers]:
        """Counts, yield and percentiles of each span (hours, shifts), of those with any, in order.

        Args:
            spans: up to :data:`MOST_SPANS`; they do not overlap.
            kind: of parts, of changes, or of the inspected frames of streams that run freely.
            by_stream: one for each stream; ``by_recipe``: and for each recipe and version.
            limit: the first so many.

        Raises:
            RecordsAway: the history cannot be asked now.
        """
        spans = spans[:MOST_SPANS]
        return await self._ask(
            lambda connection: reading.numbers(
                connection,
                spans,
                kind=kind,
                stream=stream,
                recipe=recipe,
                by_stream=by_stream,
                by_recipe=by_recipe,
                limit=limit,
            )
        )

    async def first_start(self) -> int | None:
        """Milliseconds from which on there are numbers; None without any; raises RecordsAway."""
        return await self._ask(reading.first_start)

    async def slowest(
        self, span: Span, *, stream: str | None = None, recipe: str | None = None, limit: int = 5
    ) -> list[Entry]:
        """The parts with the longest cycles, one of each quarter of an hour; raises RecordsAway."""
        return await self._ask(lambda connection: reading.slowest(connection, span, stream, recipe, min(limit, 100)))

    async def minutes(
        self, stream: str | None = None, since: int | None = None, until: int | None = None, limit: int = 1440
    ) -> list[Minute]:
        """Minutes of streams that run freely, newest first; raises RecordsAway."""
        return await self._ask(
            lambda connection: reading.newest_minutes(connection, stream, since, until, min(limit, MOST_MINUTES))
        )
