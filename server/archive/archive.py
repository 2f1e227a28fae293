"""The reject archive: hears what is inspected, and keeps pictures of every alarm and of some good parts on disk.

Nothing waits for it: what it hears goes into a queue with a bound, one thread writes, and what the bound drops is
counted and shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from server.archive.folder import FOLDER, Folder, Held, Limits, NoRoom, day_of
from server.archive.pictured import Disposition, Kind, Pictured, pictured, said_of
from server.archive.shared import SharedPictures
from server.ground import Calendar, Supervised
from server.plant import ObjectStore, PlantAway
from server.records import frame_id
from server.streams import KeptFrame, Told
from server.words import Figure, PartResult, PartVerdict, Result

log = logging.getLogger("defectvision.archive")

T = TypeVar("T")

MOST_WAITING, MOST_WAITING_BYTES = 64, 48 << 20
"""Pictures that wait to be written, and their bytes; a newer one than fits is dropped and counted."""
MOST_REMEMBERED = 1024
"""Streams of which the last sample's time is known, and alarms of which it is known what they are called."""
AGAIN_AFTER_S = 1.0
"""An alarm whose worst frame becomes worse is written again this long after it was written: what a crash loses."""
LOOK_EVERY_S = 60.0
SHORTENED_S = 600.0
"""How long it is told that the oldest had to go: a full disk is seen to within minutes, not within one picture."""
_SHUTDOWN_S = 1.0
FETCH_S = 10.0
"""Seconds that somebody waits for a picture out of the plant's store."""

FULL = (
    "the disk is full, and no older picture of the archive is left that could go: pictures are not kept until there is "
    "room; the inspection goes on"
)
SHORTENED = "the disk is full: the oldest pictures of the archive go so that new ones are kept"


@dataclass(frozen=True)
class ArchiveState:
    """How it is doing. ``problem``: one sentence for the operator, or None; ``waiting``: pictures to be written;
    ``written``, ``dropped``: since the start; ``limits``: it holds; ``held``: what is there."""

    on: bool
    limits: Limits
    held: Held
    waiting: int
    written: int
    dropped: int
    problem: str | None


class Archive:
    """The event loop owns it; its own thread reads and writes.

    Args:
        data_dir: of the server.
        limits: of the folder; with no bytes nothing is archived.
        normals_every_s: seconds between good parts of a stream that are archived; 0: none.
        calendar: what pictures are old by.
        clock: seconds, monotonic.
        store: of the plant, where there is one.

    Attributes:
        on_kept: called with each picture once it is on disk; ``on_gone``: with the ids of those that were removed from
            here and are nowhere else.
        shared: the pictures of all gateways of the plant; None without one.
        dropped: pictures that were not kept since the start: they came too fast, or the disk took none.
    """

    def __init__(
        self,
        data_dir: Path,
        limits: Limits,
        *,
        normals_every_s: float = 60.0,
        calendar: Calendar | None = None,
        clock: Callable[[], float] = time.monotonic,
        folder: Folder | None = None,
        store: ObjectStore | None = None,
    ) -> None:
        by = calendar or Calendar(None)

        def aged_by() -> date:
            return day_of(by.now())

        def reached() -> date | None:
            return None if (known := by.reached()) is None else day_of(known)

        self.folder = folder or Folder(
            data_dir / FOLDER, limits, aged_by=aged_by, reached=reached, has_store=store is not None
        )
        self.shared = None if store is None else SharedPictures(store, self.folder, days=limits.days, aged_by=aged_by)
        self.on_kept: Callable[[Pictured], None] = lambda pictured: None
        self.on_gone: Callable[[list[str]], None] = lambda ids: None
        self._limits, self._normals_every_s, self._clock = limits, normals_every_s, clock
        self._waiting: dict[str, Pictured] = {}
        self._waiting_bytes = 0
        self._writing: Pictured | None = None
        self._written_at: dict[str, float] = {}
        self._normal_at: dict[str, float] = {}
        self._written = self.dropped = 0
        self._problem: str | None = None
        self._said_dropped = False
        self._shortened_at = -math.inf
        self._begun: dict[str, tuple[str | None, KeptFrame]] = {}
        self._simulated: dict[str, None] = {}
        self._names: dict[str, str] = {}
        self._of_frame: dict[str, str] = {}
        self._said: dict[str, None] = {}
        self._looked_at: Counter[str] = Counter()
        self._worse: dict[str, Callable[[], None]] = {}
        self._came = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "archive")
        self._readers = ThreadPoolExecutor(2, "archive reads")
        self._fetchers = ThreadPoolExecutor(2, "archive fetches")  # others do not wait for a store that hangs
        self._writer = Supervised("the archive's writer", self._run)
        self._stopping = False

    @property
    def on(self) -> bool:
        """Whether pictures are archived at all."""
        return self._limits.bytes > 0

    # Hearing.

    def hear(self, told: Told) -> None:
        """An ear on the hub: parts with their one verdict."""
        message, seen = told.message, told.seen
        if isinstance(message, Result):
            self._name(message)
        if not isinstance(message, PartResult) or message.picture is None or seen is None or seen.kept is None:
            return
        self._put(
            pictured(
                "part",
                message.id,
                message.id,
                seen,
                seen.kept,
                stream=message.stream,
                at=message.at,
                part=message.part,
                verdict=message.verdict,
                simulated=message.simulated,
            )
        )

    def keeps_part(self, stream: str, verdict: PartVerdict) -> bool:
        """Whether the picture of a part is kept, of which there is one: see :class:`server.streams.Streams`. Whoever is
        told so hears of the part at once."""
        return self.on and (verdict != "NORMAL" or self._wants_normal(stream))

    def keep(self, frame: KeptFrame, alarm: str | None) -> None:
        """Hear of a kept frame of a stream that runs freely: see :attr:`server.streams.KeptFrames.on_kept`."""
        if not self.on or frame.part is not None or frame.inspected.recipe.parts.by != "line":
            return  # its part will be heard of
        if alarm is not None and (name := self._names.get(alarm)) is not None:
            self._put_frame("alarm", name, frame, simulated=frame.stream in self._simulated)
        elif alarm is not None or frame.verdict == "NORMAL":
            self._begun[frame.stream] = alarm, frame  # until its result says what it is called

    def _name(self, result: Result) -> None:
        """What was kept of this frame is called as the history calls it."""
        simulated = result.simulated is not msgspec.UNSET
        if simulated:
            _remember(self._simulated, result.stream, None)
        if (begun := self._begun.pop(result.stream, None)) is None:
            return
        alarm, frame = begun
        if alarm is not None:
            _remember(self._names, alarm, frame_id(result))
            self._put_frame("alarm", self._names[alarm], frame, simulated=simulated)
        elif self._wants_normal(frame.stream):
            self._put_frame("normal", frame.id, frame, simulated=simulated)

    def _put_frame(self, kind: Kind, id: str, frame: KeptFrame, *, simulated: bool) -> None:
        if id in self._said:
            return  # of this very picture; a worse one is another
        if id in self._looked_at:
            self._worse[id] = partial(self._put_frame, kind, id, frame, simulated=simulated)
            return
        _remember(self._of_frame, frame.id, id)
        self._put(
            pictured(
                kind,
                id,
                frame.id,
                frame.inspected,
                frame.kept,
                stream=frame.stream,
                at=frame.at,
                part=frame.part,
                verdict=frame.verdict,
                simulated=simulated,
            )
        )

    def _wants_normal(self, stream: str) -> bool:
        last = self._normal_at.get(stream)
        if self._normals_every_s <= 0 or (last is not None and self._clock() - last < self._normals_every_s):
            return False
        _remember(self._normal_at, stream, self._clock())
        return True

    def _put(self, new: Pictured) -> None:
        older = self._waiting.get(new.facts.id)
        size = self._waiting_bytes + new.size - (older.size if older else 0)
        if size > MOST_WAITING_BYTES or (older is None and len(self._waiting) >= MOST_WAITING):
            self.dropped += 1
            if not self._said_dropped:
                self._said_dropped = True
                log.warning("pictures come faster than the archive's disk takes them, some are not kept; said once")
            return
        self._waiting[new.facts.id] = new
        self._waiting_bytes = size
        self._came.set()

    # Asking.

    async def read(self, id: str) -> Pictured | None:
        """A picture of this server by the id of its part or alarm; also one that waits to be written. None where there
        is none.

        Raises:
            Damaged: it is not whole.
        """
        waiting = self._waiting.get(id)
        if waiting is None and self._writing is not None and self._writing.facts.id == id:
            waiting = self._writing
        if waiting is not None:
            return waiting
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.folder.read, id)

    async def read_newest(self, id: str) -> Pictured | None:
        """The same, with what was said of it last at any gateway.

        Raises:
            Damaged: it is not whole.
        """
        pictured = await self.read(id)
        if pictured is None or self.shared is None or id in self._waiting:
            return pictured
        try:
            return await self._fetched(partial(self.shared.newest, pictured))
        except PlantAway:
            return pictured

    async def fetch(self, id: str, at: int) -> Pictured | None:
        """A picture of another gateway of the plant; None where none is in its store.

        Args:
            at: when its entry in the history was, milliseconds since 1970.

        Raises:
            Damaged: it is not whole.
            PlantAway: the store does not answer.
        """
        return None if self.shared is None else await self._fetched(partial(self.shared.fetch, id, at))

    async def _fetched(self, ask: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(FETCH_S):
                return await asyncio.get_running_loop().run_in_executor(self._fetchers, ask)
        except TimeoutError as error:
            raise PlantAway("the plant's store does not answer in time: try again in a moment") from error

    def history_id(self, frame: str) -> str | None:
        """What the history calls the alarm that a kept frame belongs to, while that is remembered."""
        return self._of_frame.get(frame)

    @contextlib.contextmanager
    def staying(self, id: str) -> Iterator[None]:
        """While somebody makes up what to say of an alarm's picture, it stays the one that it is; a worse one that came
        meanwhile takes its place afterwards, unless something was said."""
        self._looked_at[id] += 1
        try:
            yield
        finally:
            self._looked_at[id] -= 1
            if not self._looked_at[id]:
                del self._looked_at[id]
                if (worse := self._worse.pop(id, None)) is not None:
                    worse()

    async def say(
        self, id: str, disposition: Disposition | None, correction: str | None, *, at: int | None = None
    ) -> None:
        """Note with a picture what was said of it; from now on it stays the one that this was said of.

        Args:
            at: when its entry in the history was, milliseconds since 1970; where it is another gateway's.

        Raises:
            Damaged: it is not whole.
            OSError: it cannot be written, here or into the plant's store.
        """
        _remember(self._said, id, None)
        if (waiting := self._waiting.get(id)) is not None:  # not written yet
            self._waiting[id] = said_of(waiting, disposition, correction)
            return
        say = partial(self.folder.say, id, disposition, correction)
        is_here = await asyncio.get_running_loop().run_in_executor(self._thread, say)
        if self.shared is not None and is_here:
            self.shared.put_soon(id)
        elif self.shared is not None and at is not None:
            await self._fetched(partial(self.shared.say, id, at, disposition, correction))

    async def state(self) -> ArchiveState:
        """How it is doing now."""
        held = await asyncio.get_running_loop().run_in_executor(self._readers, lambda: self.folder.held)
        problem = self._problem or (self.shared.warning if self.shared is not None else None)
        return ArchiveState(self.on, self._limits, held, len(self._waiting), self._written, self.dropped, problem)

    def figures(self) -> Iterator[Figure]:
        """For whoever watches over many servers."""
        pictures, size = self.folder.size
        yield Figure(
            "archive_on", "1 while pictures are archived and the disk takes them", float(self.on and not self._problem)
        )
        yield Figure("archive_pictures", "pictures in the archive", pictures)
        yield Figure("archive_bytes", "bytes they take", size)
        yield Figure("archive_waiting", "pictures that wait to be written", len(self._waiting))
        yield Figure("archive_written", "pictures that were written", self._written, kind="counter")
        yield Figure(
            "archive_dropped", "pictures lost: they came too fast, or the disk took none", self.dropped, kind="counter"
        )

        if self.shared is not None:
            words = "1 while the plant's store takes pictures"
            yield Figure("archive_shares", words, float(self.shared.warning is None))
            words = "pictures that were put into the plant's store"
            yield Figure("archive_shared", words, self.shared.put, kind="counter")

    @property
    def warning(self) -> str | None:
        """What the operator should see to, one sentence, or nothing."""
        return self._problem or self._writer.warning or (self.shared.warning if self.shared is not None else None)

    # Writing.

    def start(self) -> None:
        """Count what is there, and write what comes, until it is stopped."""
        self._writer.start()
        if self.shared is not None:
            loop = asyncio.get_running_loop()
            self.shared.on_gone = lambda ids: _told(loop, lambda: self.on_gone(ids))
            self.shared.start()

    async def stop(self) -> None:
        """Write what waits, for a second at the most, and end."""
        self._stopping = True
        if self.shared is not None:
            self.shared.stop()
        if self._writer.task is not None:
            self._came.set()
            await asyncio.wait({self._writer.task}, timeout=_SHUTDOWN_S)
            await self._writer.stop(0.0)
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._fetchers.shutdown(wait=False, cancel_futures=True)
        if self.shared is not None:
            await asyncio.to_thread(self.shared.end)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        counting = loop.run_in_executor(self._readers, self.folder.count, lambda: not self._stopping)
        looked_at = self._clock()
        while self._waiting or not self._stopping:
            if counting.done():
                counting.result()  # what it fails of is begun anew: limits are held of what was counted only
            next_ = self._next()
            if next_ is None:
                self._came.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._patience()):
                        await self._came.wait()
                if self._clock() - looked_at >= LOOK_EVERY_S:
                    looked_at = self._clock()
                    if await loop.run_in_executor(self._thread, self.folder.hold_limits):
                        self._shortened_at = self._clock()
                        self._say(SHORTENED)
                    self._tell_gone()
                continue
            await self._write(next_)

    def _next(self) -> Pictured | None:
        """What may be written now, the oldest first; what was written just now waits for a while."""
        now = self._clock()
        self._written_at = {id: at for id, at in self._written_at.items() if now - at < AGAIN_AFTER_S}
        for id, waiting in self._waiting.items():
            if id not in self._written_at or self._stopping:
                del self._waiting[id]
                self._waiting_bytes -= waiting.size
                return waiting
        return None

    def _patience(self) -> float:
        return AGAIN_AFTER_S / 4 if self._waiting else LOOK_EVERY_S

    async def _write(self, pictured: Pictured) -> None:
        self._writing = pictured
        try:
            write = partial(self.folder.write, pictured)
            if await asyncio.get_running_loop().run_in_executor(self._thread, write):
                self._shortened_at = self._clock()
        except NoRoom:
            self._lost(FULL)
        except OSError as error:
            self._lost(f"the archive cannot be written ({error.strerror}): see to {self.folder.root}")
        except Exception:
            if self._problem is None:
                log.exception("a picture could not be archived")
            self._lost("a picture could not be archived; the server's log says why")
        else:
            self._written += 1
            self.on_kept(pictured)
            if self.shared is not None:
                self.shared.put_soon(pictured.facts.id)
            self._say(SHORTENED if self._clock() - self._shortened_at < SHORTENED_S else None)
        finally:
            self._writing = None
            self._written_at[pictured.facts.id] = self._clock()
            self._tell_gone()

    def _tell_gone(self) -> None:
        if gone := self.folder.take_gone():
            self.on_gone(gone)

    def _lost(self, problem: str) -> None:
        self.dropped += 1
        self._say(problem)

    def _say(self, problem: str | None) -> None:
        """Once into the log, however often it happens; and that it is over."""
        if problem == self._problem:
            return
        was, self._problem = self._problem, problem
        if problem is not None:
            log.warning("archive %s", problem)
        elif was is not None:
            log.info("archive pictures are kept again dropped=%d", self.dropped)


def _told(loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the server stops: those who look for one find out
        loop.call_soon_threadsafe(tell)


def _remember(known: dict[str, T], name: str, value: T) -> None:
    """As the newest of a bounded number."""
    known.pop(name, None)
    known[name] = value
    if len(known) > MOST_REMEMBERED:
        del known[next(iter(known))]
