"""The cameras that were added on the page: in ``cameras.json``, and running."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from detector.files import read_at_most, set_aside
from server.cameras import shown
from server.ground import private_file
from server.kept_cameras.cameras_file import LARGEST_FILE, MOST, NewerVersion, check_addable, decode, encode
from server.settings import PulledCamera

log = logging.getLogger("defectvision.camera")

FILE = "cameras.json"
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
        self._path = folder / FILE
        self._own = frozenset(own)
        self._run: Run | None = None
        self._running: dict[str, RunningCamera] = {}
        self._left_behind: list[RunningCamera] = []
        self._changing: set[str] = set()
        self._writing = asyncio.Lock()
        self._unread = False
        self._file_warning: str | None = None
        self._cameras = self._read()

    @property
    def all(self) -> tuple[PulledCamera, ...]:
        """Those that are kept, in the order in which they were added."""
        return self._cameras

    @property
    def warning(self) -> str | None:
        """What the operator should see to: the file could not be used, or a camera of it is not run."""
        if self._file_warning is not None:
            return self._file_warning
        return why_not_run(self.hidden[0]) if self.hidden else None

    @property
    def hidden(self) -> list[str]:
        """Names of those that are not run, because another camera of the server has their name."""
        return [camera.name for camera in self._cameras if camera.name in self._own]

    def __contains__(self, name: object) -> bool:
        """Whether no sender's stream may have this name."""
        return name in self._own or name in self._changing or any(camera.name == name for camera in self._cameras)

    def runs(self, name: str) -> bool:
        return name in self._running

    def start(self, run: Run) -> None:
        """Run those that are kept, and from now on each that is added."""
        self._run = run
        for camera in self._cameras:
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
                await self._store((*self._cameras, camera))
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
            if all(camera.name != name for camera in self._cameras):
                raise KeyError(name)
            await self._store(tuple(camera for camera in self._cameras if camera.name != name))
            running = self._running.pop(name, None)
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
            self._running[camera.name] = self._run(camera)

    def _check_place(self, name: str) -> None:
        if name in self:
            raise CannotAdd(f"the name {name} is taken by another camera, or the server's own: choose another")
        if len(self._cameras) + len(self._changing) >= MOST:
            raise CannotAdd(f"there are {MOST} cameras of the page already: remove one first")

    async def _store(self, cameras: tuple[PulledCamera, ...]) -> None:
        data = encode(cameras)

        def write() -> None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            private_file.write(self._path, data)

        await asyncio.to_thread(write)
        self._cameras, self._file_warning = cameras, None  # the operator has acted on it

    async def _recover(self) -> None:
        """Read what could not be read at the start: whatever is written now would take its place."""
        if not self._unread:
            return
        cameras = await asyncio.to_thread(self._read)
        if self._unread:
            raise OSError(errno.EIO, f"{FILE} is there and cannot be read")
        self._cameras = cameras
        for camera in cameras:
            self._begin(camera)

    def _read(self) -> tuple[PulledCamera, ...]:
        self._unread, self._file_warning = False, None
        try:
            data = read_at_most(self._path, LARGEST_FILE + 1)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self._path.is_symlink():
                return ()
            self._unread = True
            self._warn(
                f"{self._path} cannot be read ({error.strerror}): the cameras of the page do not run, and none can be "
                "added or removed until it can"
            )
            return ()
        with contextlib.suppress(OSError):  # a read-only disk
            private_file.close_to_others(self._path)
        try:
            return decode(data)
        except ValueError as error:
            try:
                then = f"it was set aside as {set_aside(self._path).name}"
            except OSError as refusal:
                self._unread = True  # nothing takes its place
                then = f"it could not be set aside ({refusal.strerror})"
            what = "is of a newer version" if isinstance(error, NewerVersion) else "was damaged"
            self._warn(f"{FILE} {what} ({error}); {then}, and the cameras of the page are gone: add them again")
            return ()

    def _warn(self, words: str) -> None:
        self._file_warning = words
        log.warning("%s", words)


def why_not_run(name: str) -> str:
    return (
        f"the camera {name} that was added on the page is not run, for the setting CAMERAS or the simulated line has "
        "its name: remove it, and add it under another one"
    )
