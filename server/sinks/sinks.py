"""The sinks there are: kept in ``sinks.json``, running, changed, and tried."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from detector.counted import counted
from server.ground import Form, KeptFile
from server.sinks.choice import Choice
from server.sinks.kind import Around, Kind
from server.sinks.kinds import KINDS
from server.sinks.running_sink import RunningSink, SinkState, in_short
from server.sinks.sink import Line, SinkError
from server.sinks.sinks_file import FORM, LARGEST_SETTINGS, MOST, StoredSink, check_sink_name
from server.sinks.waiting import Waiting
from server.streams import Hub, Told
from server.words import now

log = logging.getLogger("defectvision.sinks")

FILE = "sinks.json"
DOCUMENTS: Mapping[str, Form[Any]] = {FILE: FORM}
FOLDER = "sinks"
KEEP_WITHIN_S = 1.0
TEST_WITHIN_S = 25.0
MOST_TESTS = 2
MOST_LEFT_BEHIND = 8
"""Tests that were given up and have not ended."""


class CannotAdd(Exception):
    """Its name is taken, or there are too many; one sentence."""


class TooManyTests(Exception):
    """No other sink can be tried now; one sentence."""


class NoSink(KeyError):
    """There is none of that id."""


@dataclass(frozen=True)
class Draft:
    """A sink as somebody wants it. ``settings``: those of an existing one that are not in here stay as they are."""

    kind: str
    name: str
    enabled: bool
    told: Choice
    settings: Mapping[str, Any]


class Sinks:
    """Reads once, writes atomically, readable by this user alone. What runs is what a restart would find. On the event
    loop.

    Args:
        folder: the data directory.
        folders: below which sinks may write beside it.
        address: where others find this server.
        line: what plants may ask of it.
    """

    def __init__(
        self,
        folder: Path,
        hub: Hub,
        *,
        folders: tuple[Path, ...] = (),
        address: str | None = None,
        line: Line | None = None,
        kinds: Mapping[str, Kind[Any]] = KINDS,
    ) -> None:
        self.kinds, self.line = kinds, line
        self._file = KeptFile(folder / FILE, FORM)
        self._around = Around("", "", folder, folders, line, address)
        self._hub = hub
        self._running: dict[str, RunningSink] = {}
        self._writing = asyncio.Lock()
        self._deaf: Callable[[], None] | None = None
        self._tests = 0
        self._left_behind: list[asyncio.Task[str]] = []
        self._off_since: dict[str, str] = {}
        self._switching: set[asyncio.Task[None]] = set()

    @property
    def all(self) -> tuple[StoredSink, ...]:
        """Those that are kept, in the order in which they were added."""
        return self._file.contents

    @property
    def room(self) -> int:
        return max(0, MOST - len(self.all))

    @property
    def warning(self) -> str | None:
        """What the operator should see to: the file could not be used, or a sink does not get through."""
        if self._file.warning is not None:
            return self._file.warning
        away = [(one, state) for one in self.all if (state := self.state(one.id)).state in ("trouble", "retrying")]
        away += [(one, state) for one in self.all if one.why_off and (state := self.state(one.id))]
        if not away:
            return None
        (one, state), more = away[0], f" (and {len(away) - 1} more: see Settings)" if len(away) > 1 else ""
        lost = f"; {counted(state.dropped, 'event was', 'events were')} lost" if state.dropped else ""
        return f"{one.name} is not told: {(state.words or state.last_error or '').rstrip('.')}{lost}{more}"

    def get(self, id: str) -> StoredSink:
        """Raises NoSink."""
        for one in self.all:
            if one.id == id:
                return one
        raise NoSink(id)

    def state(self, id: str) -> SinkState:
        """How one is doing. Raises NoSink."""
        stored = self.get(id)
        if (running := self._running.get(id)) is not None:
            return running.state
        if stored.enabled and stored.kind not in self.kinds:
            words = f"this software knows no {stored.kind}: update it, or remove this"
            return SinkState("trouble", self._off_since.setdefault(id, now()), words, last_error=words)
        return SinkState("off", self._off_since.setdefault(id, now()), last_error=stored.why_off)

    def start(self) -> None:
        """Run those that are on, and from now on each that is switched on."""
        self._deaf = self._hub.listen(self._hear)
        for one in self.all:
            self._begin(one)

    async def stop(self) -> None:
        """End all of them, within a second, and keep what waits."""
        if self._deaf is not None:
            self._deaf()
            self._deaf = None
        running, self._running = [*self._running.values()], {}
        for task in (*self._switching, *self._left_behind):
            task.cancel()
        await asyncio.gather(*(one.stop() for one in running))
        keeping = [asyncio.create_task(one.keep()) for one in running]
        if keeping:
            await asyncio.wait(keeping, timeout=KEEP_WITHIN_S)  # a disk that hangs holds up no end

    async def add(self, draft: Draft, who: str) -> StoredSink:
        """Keep one more, and run it if it is on.

        Raises:
            ValueError: there can be no such sink.
            CannotAdd: its name is taken, or there are :data:`MOST`.
            OSError: it could not be written; nothing has changed then.
        """
        async with self._writing:
            await self._recover()
            stored = self._checked(draft, secrets.token_hex(4))
            if not self.room:
                raise CannotAdd(f"there are {MOST} sinks already: remove one first")
            await self._store((*self.all, stored))
            self._begin(stored)
        log.info("sink=%s kind=%s added by=%s enabled=%s", stored.name, stored.kind, who, stored.enabled)
        return stored

    async def change(
        self,
        id: str,
        who: str,
        *,
        name: str | None = None,
        enabled: bool | None = None,
        told: Choice | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> StoredSink:
        """Change what is given, and run it anew. What waited to go out still does, unless it is switched off.

        Raises:
            NoSink: there is none of that id. Otherwise as :meth:`add`.
        """
        async with self._writing:
            await self._recover()
            before = self.get(id)
            draft = Draft(
                before.kind,
                before.name if name is None else name,
                before.enabled if enabled is None else enabled,
                before.told if told is None else told,
                {} if settings is None else settings,
            )
            stored = self._checked(draft, id, before)
            if stored == before:
                return stored
            await self._store(tuple(stored if one.id == id else one for one in self.all))
            ended = await self._end(id)
            if not stored.enabled:
                await asyncio.to_thread(self._waiting_of(id).clear)
            self._begin(stored, ended)
        log.info("sink=%s kind=%s changed by=%s enabled=%s", stored.name, stored.kind, who, stored.enabled)
        return stored

    async def remove(self, id: str, who: str) -> StoredSink:
        """Forget one, and end it within a second.

        Raises:
            NoSink: there is none of that id.
            OSError: that could not be written; it goes on then.
        """
        async with self._writing:
            await self._recover()
            stored = self.get(id)
            await self._store(tuple(one for one in self.all if one.id != id))
            await self._end(id)
            await asyncio.to_thread(self._waiting_of(id).clear)
            self._off_since.pop(id, None)
        log.info("sink=%s kind=%s removed by=%s", stored.name, stored.kind, who)
        return stored

    async def test(self, id: str) -> str:
        """Try one that is kept; the one that runs where it does. As :meth:`try_out`; raises NoSink."""
        stored = self.get(id)
        running = self._running.get(id)
        if running is not None and running.sink is not None:
            return await self._tried(running.sink.test, stored.kind)
        return await self._try(stored)

    async def try_out(self, draft: Draft, id: str | None = None) -> str:
        """Try one before it is kept, or before the one of an id is changed: one sentence that says what was done.

        Raises:
            ValueError: there can be no such sink.
            NoSink: there is none of that id.
            SinkError: it does not work.
            TooManyTests: two are being tried, or too many never ended.
        """
        before = None if id is None else self.get(id)
        return await self._try(self._checked(draft, id or "draft", before, to_be_kept=False))

    async def _try(self, stored: StoredSink) -> str:
        kind = self._kind(stored.kind)
        if kind.missing is not None:
            raise SinkError(kind.missing)

        async def run() -> str:
            await asyncio.to_thread(kind.preload)
            around = self._around_of(stored)
            return await kind.make(kind.read(stored.settings, around), around).test()

        return await self._tried(run, stored.kind)

    async def _tried(self, test: Callable[[], Any], kind: str) -> str:
        self._left_behind = [task for task in self._left_behind if not task.done()]
        if self._tests >= MOST_TESTS or len(self._left_behind) >= MOST_LEFT_BEHIND:
            raise TooManyTests(f"{MOST_TESTS} are being tested already, or tests hang: try again in a moment")
        task: asyncio.Task[str] = asyncio.create_task(test())
        self._tests += 1
        try:
            await asyncio.wait({task}, timeout=TEST_WITHIN_S)
        finally:
            self._tests -= 1
            if not task.done():
                task.cancel()
                self._left_behind.append(task)
                task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        if not task.done() or task.cancelled():
            raise SinkError(f"nothing came of it within {TEST_WITHIN_S:.0f} s")
        try:
            return in_short(task.result())
        except (SinkError, ValueError) as error:
            raise SinkError(in_short(error)) from error
        except (Exception, SystemExit) as error:
            log.error("a test of kind=%s failed by a fault of this software's", kind, exc_info=error)
            raise SinkError("it failed by a fault of this software; the server's log says more") from error

    def _checked(
        self, draft: Draft, id: str, before: StoredSink | None = None, *, to_be_kept: bool = True
    ) -> StoredSink:
        kind = self._kind(draft.kind)
        settings = dict(before.settings) | dict(draft.settings) if before is not None else dict(draft.settings)
        stored = StoredSink(id, kind.name, draft.name, draft.enabled, draft.told, settings)
        check_sink_name(draft.name)
        if to_be_kept and any(one.name == draft.name and one.id != id for one in self.all):
            raise CannotAdd(f"the name {draft.name} is taken by another one: choose another")
        if len(msgspec.json.encode(settings)) > LARGEST_SETTINGS:
            raise ValueError(f"its settings take more than {LARGEST_SETTINGS // 1000} kB")
        if before is not None:
            _check_secrets(kind, before.settings, draft.settings, settings)
            if stored.enabled == before.enabled and stored.settings == before.settings:
                stored = msgspec.structs.replace(stored, why_off=before.why_off)
            if not stored.enabled and stored.settings == before.settings:
                return stored  # what cannot be any more can be switched off all the same
        kind.read(settings, self._around_of(stored))
        return stored

    def _kind(self, name: str) -> Kind[Any]:
        kind = self.kinds.get(name)
        if kind is None:
            raise ValueError(f"there is no kind {name[:40]!r}, but {', '.join(self.kinds)}")
        return kind

    def _around_of(self, stored: StoredSink) -> Around:
        return replace(self._around, id=stored.id, name=stored.name, streams=stored.told.streams)

    def _hear(self, told: Told) -> None:
        for running in [*self._running.values()]:
            running.hear(told)

    def _begin(self, stored: StoredSink, before: RunningSink | None = None) -> None:
        if self._deaf is None or not stored.enabled or stored.kind not in self.kinds:
            return
        self._off_since.pop(stored.id, None)

        def over(why: str) -> None:
            task = asyncio.create_task(self._switch_off(stored, why))
            self._switching.add(task)
            task.add_done_callback(self._switching.discard)

        kind, around = self.kinds[stored.kind], self._around_of(stored)
        kept = self._waiting_of(stored.id) if kind.keeps else None
        self._running[stored.id] = RunningSink(stored, kind, around, over, before, kept)

    def _waiting_of(self, id: str) -> Waiting:
        return Waiting(self._around.data_dir / FOLDER / f"{id}.waiting")

    async def _switch_off(self, stored: StoredSink, why: str) -> None:
        """A sink asked not to be run again. Where that cannot be written, it stays as it is until the next start."""
        async with self._writing:
            if stored not in self.all:
                return  # changed meanwhile
            off = msgspec.structs.replace(stored, enabled=False, why_off=why)
            try:
                await self._store(tuple(off if one.id == stored.id else one for one in self.all))
            except OSError as error:
                log.warning("sink=%s could not be switched off for good why=%r", stored.name, error.strerror)
                return
            await self._end(stored.id)
            await asyncio.to_thread(self._waiting_of(stored.id).clear)
        log.warning("sink=%s kind=%s switched itself off why=%r", stored.name, stored.kind, why)

    async def _end(self, id: str) -> RunningSink | None:
        """It hears what is told until it has ended: one that takes its place misses nothing."""
        running = self._running.get(id)
        if running is not None:
            await running.stop()
            self._running.pop(id, None)
        return running

    async def _store(self, sinks: tuple[StoredSink, ...]) -> None:
        await asyncio.to_thread(self._file.replace, sinks)

    async def _recover(self) -> None:
        """Read what could not be read at the start: whatever is written now would take its place."""
        if await asyncio.to_thread(self._file.recover):
            for one in self.all:
                self._begin(one)


def _check_secrets(
    kind: Kind[Any], before: Mapping[str, Any], given: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """No secret goes to somebody it was not meant for: whoever may use the page may not read them."""
    defaults = {one.name: one.default for one in kind.fields}
    changed = [name for name in kind.peer if before.get(name, defaults[name]) != after.get(name, defaults[name])]
    kept = [name for name in kind.secrets if before.get(name) and name not in given]
    if changed and kept:
        titles = {one.name: one.title for one in kind.fields}
        raise ValueError(
            f"{titles[changed[0]]} is another one: give {' and '.join(titles[name] for name in sorted(kept))} again"
        )
