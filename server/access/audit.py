"""Who did what: told on the event loop, written by a thread, never waited for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from detector.counted import counted
from server.access.audit_chain import FOLDER, Chain, Entry, Happened, newest
from server.access.identity import Identity
from server.words import Role, now

MOST_WAITING = 1000
"""Entries that wait for the disk; above that the newest are lost, and counted."""
COLLAPSED_S = 60.0
REPEATED_BURST, REPEATED_S = 20, 60.0
MANY = ("many names", "many addresses")
"""Failures that get an entry of their own: twenty, then one a minute; the others are one."""
OWN_BURST, OWN_S = 60, 20.0
"""Entries of one viewer, operator, phone or token of theirs: sixty, then one in 20 s; what is above is collapsed."""
TOGETHER, TOGETHER_BURST, TOGETHER_S = "", 600, 5.0
"""And of all of these: they may pair phones, and log in, under any number of names."""
AGAIN_S = 5.0
CLOSE_WITHIN_S = 1.0

log = logging.getLogger("defectvision.audit")


@dataclass
class _Repeated:
    since: float
    first: Happened
    times: int = 0


class Audit:
    """The audit log of a server. What cannot be written waits, up to a bound, and is tried again: nothing else of the
    server stands still for it. Used from the event loop.

    Args:
        data_dir: its folder lies there.
        clock: seconds, monotonic.
    """

    def __init__(self, data_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = data_dir / FOLDER
        self._chain = Chain(self.folder)
        self._clock = clock
        self._waiting: list[Happened] = []
        self._repeated: dict[tuple[str, ...], _Repeated] = {}
        self._whole_at: dict[str, float] = {}
        """When the allowance of a name, and that of all together, is whole again."""
        self._next_free_at = 0.0
        self._thread = ThreadPoolExecutor(1, "audit")
        self._writing: asyncio.Task[None] | None = None
        self._lost = 0
        self._fault: str | None = None

    @property
    def warning(self) -> str | None:
        """That it cannot be written, for the operator; or nothing."""
        if self._fault is None:
            return None
        lost = f", {counted(self._lost, 'entry', 'entries')} lost" if self._lost else ""
        return f"the audit log cannot be written ({self._fault}): {len(self._waiting)} wait{lost}; inspection goes on"

    def note(
        self,
        who: Identity,
        what: str,
        *,
        address: str,
        detail: str = "",
        method: str = "",
        path: str = "",
        status: int = 0,
    ) -> None:
        """Note that something happened just now. Of who may not do much, what comes in floods is noted once a minute:
        the log has an end, and what others did is not washed out of it."""
        happened = Happened(now(), who.signature, what, who.how, who.role.word, address, detail, method, path, status)
        flood = self._flood_of(who)
        if flood is None:
            self._take(happened)
        elif (seen := self._repeated.get((flood, what, "flood"))) is None:
            happened = msgspec.structs.replace(happened, who=flood)
            self._repeated[flood, what, "flood"] = _Repeated(self._clock(), happened)
            self._take(happened)
        else:
            seen.first, seen.times = msgspec.structs.replace(happened, who=flood), seen.times + 1

    def _flood_of(self, who: Identity) -> str | None:
        """Under whose name that what somebody did is collapsed; None where it has an entry of its own."""
        if who.role >= Role.ENGINEER:
            return None
        at = self._clock()
        together, own = (max(self._whole_at.get(name, at), at) for name in (TOGETHER, who.signature))
        if together - at > (TOGETHER_BURST - 1) * TOGETHER_S:
            return MANY[0]
        if own - at > (OWN_BURST - 1) * OWN_S:
            return who.signature
        self._whole_at[TOGETHER], self._whole_at[who.signature] = together + TOGETHER_S, own + OWN_S
        return None

    def note_line(self, who: str, what: str, detail: str, stream: str) -> None:
        """Note what the line changed; a controller may do so many times a minute."""
        self._note_repeated(Happened("", who, what, "line", "line", f"stream {stream}", detail))

    def note_repeated(self, who: str, what: str, *, address: str) -> None:
        """Note what strangers may make happen as often as they like: the first time at once, then once a minute how
        often it was; and where too many different ones come, all of those together. Otherwise what somebody did could
        be washed out of the log."""
        self._note_repeated(Happened("", who, what, "nobody", "nobody", address))

    def _note_repeated(self, first: Happened) -> None:
        at = self._clock()
        key = (first.who, first.address)
        if key not in self._repeated:
            self._next_free_at = max(self._next_free_at, at) + REPEATED_S
            if self._next_free_at - at > REPEATED_BURST * REPEATED_S:
                self._next_free_at -= REPEATED_S
                key = MANY
        seen = self._repeated.get(key)
        if seen is None:
            first = msgspec.structs.replace(first, at=now(), who=key[0], address=key[1])
            seen = self._repeated[key] = _Repeated(at, first)
            self._take(seen.first)
        else:
            seen.times += 1

    def sweep(self) -> None:
        """Write of what was repeated how often, once its minute is over; and try again what could not be written."""
        at = self._clock()
        for key in [key for key, seen in self._repeated.items() if at - seen.since >= COLLAPSED_S]:
            self._tell(self._repeated.pop(key))
        self._whole_at = {name: whole_at for name, whole_at in self._whole_at.items() if whole_at > at}
        self._write()

    async def read(self, before: int | None, limit: int) -> list[Entry]:
        """Entries with smaller numbers, the newest first.

        Raises:
            OSError: it cannot be read.
        """
        await self.written()
        return await asyncio.to_thread(newest, self.folder, before, limit)

    async def log_head(self) -> None:
        """Say in the server's log where the chain stands, so that there is something elsewhere to compare it with."""
        try:
            head = await asyncio.get_running_loop().run_in_executor(self._thread, self._chain.head)
        except OSError as error:
            log.warning("audit log cannot be read reason=%s", error.strerror)
            return
        if head.seq:
            log.info("audit log seq=%d hash=%s", head.seq, head.hash)

    async def written(self) -> None:
        """Wait until what was noted is on disk, or could not be written."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def close(self) -> None:
        """Write what waits, within a second."""
        for seen in self._repeated.values():
            self._tell(seen)
        self._repeated.clear()
        self._write()
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=CLOSE_WITHIN_S)
        if self._waiting:
            log.error("audit entries lost at shutdown count=%d reason=%s", len(self._waiting), self._fault)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _tell(self, seen: _Repeated) -> None:
        if seen.times:
            self._take(msgspec.structs.replace(seen.first, at=now(), detail=f"{counted(seen.times, 'time')} more"))

    def _take(self, happened: Happened) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        self._waiting.append(happened)
        if self._fault is None:
            self._write()

    def _write(self) -> None:
        if self._waiting and (self._writing is None or self._writing.done()):
            try:
                self._writing = asyncio.get_running_loop().create_task(self._write_all())
            except RuntimeError:  # no loop runs: it waits for one
                return

    async def _write_all(self) -> None:
        while self._waiting:
            batch, lost = self._waiting[:], self._lost
            if lost:
                words = f"{counted(lost, 'entry', 'entries')} could not be written: {self._fault}"
                batch.append(Happened(now(), "this machine", "lost entries of this log", detail=words))
            before = len(batch)
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, partial(self._chain.add, batch))
            except OSError as error:
                del self._waiting[: before - len(batch)]
                if self._fault is None:
                    log.error("audit log cannot be written reason=%s waiting=%d", error.strerror, len(self._waiting))
                self._fault = error.strerror or str(error)
                return
            del self._waiting[: before - bool(lost)]
            self._lost -= lost
            if self._fault is not None:
                log.info("audit log is written again")
                self._fault = None
