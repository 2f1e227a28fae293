"""The teachings of a server that are open, and how they end by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from server.streams import OpenStream
from server.teaching import words
from server.teaching.files import FOLDER, Files, remove_stale
from server.teaching.learner import Learner, LearnerProcess
from server.teaching.others import Find, Shelf
from server.teaching.teaching import CannotNow, NotThere, Teaching, Wanted
from server.teaching.words import Progress, Region

log = logging.getLogger("defectvision.teaching")

MOST_OPEN = 2
MOST_DONE = 8
"""Teachings that can still be asked for after they are done; the oldest go."""
IDLE_S = 30 * 60.0
"""Without a picture taken and without a request, after which a teaching ends by itself."""
TICK_S = 1.0
_SHUTDOWN_S = 0.8

MakeLearner = Callable[[words.Wanted, Callable[[Progress | Region], None]], Learner]


class TooMany(Exception):
    """So many teachings are open already; one sentence."""


class Teachings:
    """All teachings, by id.

    Args:
        data_dir: of the server; the pictures of open teachings are in a folder of it.
        shelf: where taught models go.
        find: streams by name.
        runtime: that models are taught for.
        make_learner: makes the process that learns.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        data_dir: Path,
        shelf: Shelf,
        find: Find,
        *,
        runtime: str = "openvino",
        make_learner: MakeLearner = LearnerProcess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._shelf, self._find, self._runtime = data_dir / FOLDER, shelf, find, runtime
        self._make_learner, self._clock = make_learner, clock
        self._teachings: dict[str, Teaching] = {}
        self._beginning: list[Wanted] = []

    async def open(self) -> None:
        """Remove what teachings left that a crash ended; for the start, before the first request."""
        await asyncio.to_thread(remove_stale, self._root)

    @property
    def all(self) -> list[Teaching]:
        return [*self._teachings.values()]

    def get(self, id: str) -> Teaching:
        """Raises NotThere: there is none of this id, or not any more."""
        teaching = self._teachings.get(id)
        if teaching is None:
            raise NotThere("there is no such teaching, or not any more: begin anew")
        teaching.touch()
        return teaching

    async def begin(self, wanted: Wanted) -> Teaching:
        """Begin to teach.

        Raises:
            NotThere: there is no such stream now.
            CannotNow: the stream is taught already, or the recipe is taught more.
            TooMany: two are open.
            NoRecipe, RecipeError, ModelError: its model cannot be taught more.
            NotStored: there is no room for another model, or the pictures of the one cannot be fetched.
            OSError: the data directory cannot be written.
        """
        self._require_may_begin(wanted)
        self._beginning.append(wanted)  # until it is among the others, others count it
        try:
            teaching = await self._begin(wanted)
        finally:
            self._beginning.remove(wanted)
        log.info("teaching began teaching=%s stream=%s more_of=%s", teaching.id, wanted.stream, wanted.more_of)
        return teaching

    def _require_may_begin(self, wanted: Wanted) -> None:
        taught = [*(one.wanted for one in self.all if one.is_open), *self._beginning]
        if wanted.stream is not None:
            if self._find(wanted.stream) is None:
                raise NotThere(f"there is no stream {wanted.stream[:64]} now: start its camera first")
            if any(one.stream == wanted.stream for one in taught):
                raise CannotNow(f"{wanted.stream} is taught already: go on there, or cancel it first")
        if wanted.more_of is not None and any(one.more_of == wanted.more_of for one in taught):
            raise CannotNow(f"{wanted.name} is taught more already: go on there, or cancel it first")
        if len(taught) >= MOST_OPEN:
            raise TooMany(f"{MOST_OPEN} parts are taught already: finish one, or cancel it")

    async def _begin(self, wanted: Wanted) -> Teaching:
        await self._shelf.require_room()  # before anybody shows thirty parts
        earlier = await self._shelf.pictures_of(wanted.more_of) if wanted.more_of is not None else None
        id = secrets.token_hex(6)
        how = words.Wanted(wanted.preset, self._runtime)
        teaching = Teaching(
            id,
            wanted,
            Files(self._root / id),
            self._shelf,
            self._find,
            partial(self._make_learner, how),
            earlier=earlier,
            clock=self._clock,
        )
        try:
            teaching.attach()
        except CannotNow:
            await teaching.end()
            raise
        self._teachings[id] = teaching
        done = [one for one in self.all if not one.is_open]
        for one in done[: max(0, len(done) - MOST_DONE)]:
            del self._teachings[one.id]
        return teaching

    async def end(self, id: str) -> None:
        """Cancel one, or forget one that is done.

        Raises:
            NotThere: there is none.
            CannotNow: its recipe is being put in force this moment.
        """
        teaching = self.get(id)
        await teaching.end()
        self._teachings.pop(id, None)
        log.info("teaching ended teaching=%s state=%s", id, teaching.state)

    def opened(self, stream: OpenStream) -> None:
        """A stream is sent (again): if it is taught, it is shown its frames from the first one on."""
        for teaching in self.all:
            if teaching.wanted.stream == stream.name:
                with contextlib.suppress(CannotNow):
                    teaching.attach()

    async def run(self) -> None:
        """Wait for streams that went away, learn ahead, and end what nobody wants any more, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except Exception:  # of one teaching; the others, and the next second, go on
                log.exception("teachings cannot be looked after")

    async def tick(self) -> None:
        """What :meth:`run` does every second."""
        for teaching in self.all:
            with contextlib.suppress(CannotNow):
                teaching.attach()
            await teaching.rehearse()
            if self._clock() - teaching.touched >= IDLE_S:
                with contextlib.suppress(CannotNow):
                    await teaching.end()
                    self._teachings.pop(teaching.id, None)
                    log.info("teaching ended by itself teaching=%s", teaching.id)

    async def close(self) -> None:
        """The server stops: nothing is left, but what is being put in force."""
        for teaching in self.all:
            with contextlib.suppress(TimeoutError, CannotNow):
                async with asyncio.timeout(_SHUTDOWN_S):
                    await teaching.finish_putting_in_force()
                await teaching.end()
        self._teachings.clear()
