"""The cameras that were added on the page: in ``cameras.json``, and running."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from server.cameras import shown
from server.ground import Form, KeptFile
from server.kept_cameras.cameras_file import FORM, MOST, check_addable
from server.settings import PulledCamera

log = logging.getLogger("defectvision.camera")

FILE = "cameras.json"
DOCUMENTS: Mapping[str, Form[Any]] = {FILE: FORM}
MOST_STUCK = 8
"""Removed cameras whose driver never came back, with up to four threads each."""


class CannotAdd(Exception):
    """Its name is taken, or there are too many; one sentence."""


class Stuck(Exception):
    """Too many removed cameras are left behind in their drivers; one sentence."""


class RunningCamera(Protocol):
    """A camera that runs until it is stopped."""

    async def stop(self) -> None:
        """Stop it, within a second; a stuck driver is left behind in its thread."""

    @property
    def let_go(self) -> bool:
        """Whether nothing of it is left behind, once it was stopped."""
        ...


Run = Callable[[PulledCamera], RunningCamera]


class KeptCameras:
    """The cameras that were added on the page. Reads once, writes atomically, readable by this user alone: addresses
    hold credentials. What runs is what a restart would find. Lives on the event loop.

    Args:
        folder: the data directory.
        own: names of the server's other streams (``CAMERAS``, the simulated line): a camera of the page that has one of
            them, because it was there first, is not run.
    """

    def __init__(self, folder: Path, own: Collection[str] = ()) -> None:
        self._file = KeptFile(folder / FILE, FORM)
        self._own = frozenset(own)
        self._run: Run | None = None
        self._running: dict[str, RunningCamera] = {}
        self._left_behind: list[RunningCamera] = []
        self._faults: dict[str, str] = {}
        self._changing: set[str] = set()
        self._writing = asyncio.Lock()

    @property
    def all(self) -> tuple[PulledCamera, ...]:
        """Those that are kept, in the order in which they were added."""
        return self._file.contents

    @property
    def warning(self) -> str | None:
        """What the operator should see to: the file could not be used, or a camera of it is not run."""
        if self._file.warning is not None:
            return self._file.warning
        if self.hidden:
            return why_not_run(self.hidden[0])
        name, why = next(iter(self._faults.items()), ("", ""))
        return f"the camera {name} cannot be run ({why}): remove it, and add it again" if name else None

    @property
    def hidden(self) -> list[str]:
        """Names of those that are not run, because another camera of the server has their name."""
        return [camera.name for camera in self.all if camera.name in self._own]

    def __contains__(self, name: object) -> bool:
        """Whether no sender's stream may have this name."""
        return name in self._own or name in self._changing or any(camera.name == name for camera in self.all)

    def runs(self, name: str) -> bool:
        return name in self._running

    def start(self, run: Run) -> None:
        """Run those that are kept, and from now on each that is added."""
        self._run = run
        for camera in self.all:
            self._begin(camera)

    async def stop(self) -> None:
        """Stop all of them, within a second."""
        running, self._running, self._run = [*self._running.values()], {}, None
        await asyncio.gather(*(camera.stop() for camera in running))

    async def add(self, camera: PulledCamera, who: str) -> None:
        """Keep one more, and run it. Its name is taken before anything is waited for.

        Raises:
            ValueError: there can be no such camera on the page.
            CannotAdd: its name is taken, or there are :data:`MOST` already.
            Stuck: too many removed ones are left behind.
            OSError: it could not be written; nothing has changed then.
        """
        check_addable(camera)
        self._check_place(camera.name)
        self._left_behind = [one for one in self._left_behind if not one.let_go]
        if len(self._left_behind) >= MOST_STUCK:
            raise Stuck(
                f"{MOST_STUCK} cameras that were removed hang in their drivers: unplug them, or restart the server"
            )
        self._changing.add(camera.name)
        try:
            async with self._writing:
                await self._recover()
                self._changing.discard(camera.name)
                self._check_place(camera.name)  # the file may have come back with one of that name
                self._changing.add(camera.name)
                await self._store((*self.all, camera))
                self._begin(camera)
        finally:
            self._changing.discard(camera.name)
        log.info("camera %s: added by %s: %s", camera.name, who, shown(camera.source))

    async def remove(self, name: str, who: str) -> None:
        """Forget one, and stop it within a second.

        Raises:
            KeyError: there is none of that name.
            OSError: that could not be written; it goes on then.
        """
        async with self._writing:
            await self._recover()
            if all(camera.name != name for camera in self.all):
                raise KeyError(name)
            await self._store(tuple(camera for camera in self.all if camera.name != name))
            running = self._running.pop(name, None)
            self._faults.pop(name, None)
            self._changing.add(name)
        try:
            if running is not None:
                await running.stop()
                self._left_behind.append(running)
        finally:
            self._changing.discard(name)
        log.info("camera %s: removed by %s", name, who)

    def _begin(self, camera: PulledCamera) -> None:
        if self._run is not None and camera.name not in self._own:
            try:
                self._running[camera.name] = self._run(camera)
            except Exception as error:  # of one camera: the others, and the server, go on
                self._faults[camera.name] = f"{type(error).__name__}: {error}"[:200]
                log.error("camera %s: cannot be run", camera.name, exc_info=error)

    def _check_place(self, name: str) -> None:
        if name in self:
            raise CannotAdd(f"the name {name} is taken by another camera, or the server's own: choose another")
        if len(self.all) + len(self._changing) >= MOST:
            raise CannotAdd(f"there are {MOST} cameras of the page already: remove one first")

    async def _store(self, cameras: tuple[PulledCamera, ...]) -> None:
        await asyncio.to_thread(self._file.replace, cameras)

    async def _recover(self) -> None:
        """Read what could not be read at the start: whatever is written now would take its place."""
        if await asyncio.to_thread(self._file.recover):
            for camera in self.all:
                self._begin(camera)


def why_not_run(name: str) -> str:
    return (
        f"the camera {name} that was added on the page is not run, for the setting CAMERAS or the simulated line has "
        "its name: remove it, and add it under another one"
    )
