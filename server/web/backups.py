"""``GET /api/backup``: the data directory as one file, made beside what it holds, and gone once it was fetched."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.backup import BackupError, to_be_fetched
from server.web.answers import NO_STORE, MadeForGet, Refused, refuse_other_sites
from server.web.temporary_file import TemporaryFile
from server.words import BYTES, Content, Operation, Reply, Role, documented

log = logging.getLogger("defectvision.backup")


@dataclass(frozen=True)
class Backups:
    """Attributes:
    making: held while one is made and sent: each takes as much of the disk as what it holds.
    begun: that which is.
    """

    data_dir: Path
    making: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    begun: list[_Made] = field(default_factory=list)

    def stop(self) -> None:
        """Nobody needs it any more, for the server stops: it holds secrets, and should not lie there until the next
        start."""
        for made in self.begun:
            made.done()

    @property
    def routes(self) -> list[Route]:
        return [MadeForGet("/api/backup", self.download)]

    def _gone(self) -> None:
        self.begun.clear()
        self.making.release()

    @documented(
        Operation(
            "A backup of this server, for `defectvision restore`",
            {
                200: Reply(
                    "a ZIP file: all but the archive of pictures, and a history that is a PostgreSQL's",
                    Content(BYTES, "application/zip"),
                    {"Content-Disposition": "its name, with the day"},
                ),
                406: "over a WebSocket: ask for it over HTTP",
                503: "one is made and fetched already",
                507: "it cannot be made: no room, or something that cannot be read",
            },
            description="It holds keys and passwords, of cameras and of machines around, too. The audit log says who "
            "fetched it.",
            role=Role.ADMIN,
            tells_secrets=True,
        )
    )
    async def download(self, request: Request) -> Response:
        if "inner" in request.scope["state"]:
            raise Refused(406, "a backup is no JSON: ask for it over HTTP")
        refuse_other_sites(request, "a backup")
        if self.making.locked():
            raise Refused(503, "a backup is made or fetched already: try again when it is done")
        await self.making.acquire()
        try:
            made = await _Made(self._gone).begin(self.data_dir, self.begun)
        except BackupError as error:
            raise Refused(507, f"no backup was made: {error}") from error
        name = f"defectvision-{datetime.now(UTC):%Y-%m-%d-%H%M}.zip"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', **NO_STORE}
        return TemporaryFile(made.folder / "backup.zip", made.done, headers, "application/zip")


class _Made:
    """A backup that a thread of its own makes, and removes when it was fetched or nobody waits for it.

    Args:
        gone: called on the event loop once nothing of it is left.
    """

    def __init__(self, gone: Callable[[], None]) -> None:
        self._fetched, self._gone = threading.Event(), gone
        self.folder = Path()

    async def begin(self, data_dir: Path, begun: list[_Made]) -> _Made:
        """Wait until it is there.

        Args:
            begun: has it from now on.

        Raises:
            BackupError: it cannot be made.
        """
        loop = asyncio.get_running_loop()
        begun.append(self)
        there: asyncio.Future[Path] = loop.create_future()
        thread = threading.Thread(target=self._work, args=(data_dir, loop, there), name="backup", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._gone()
            raise BackupError("this machine has no room for another thread: try again") from error
        try:
            self.folder = await there
        except asyncio.CancelledError:
            self.done()
            raise
        return self

    def done(self) -> None:
        """It was fetched, or is not wanted any more."""
        self._fetched.set()

    def _work(self, data_dir: Path, loop: asyncio.AbstractEventLoop, there: asyncio.Future[Path]) -> None:
        def tell(found: Path | BackupError) -> None:
            if there.done():
                return
            if isinstance(found, BackupError):
                there.set_exception(found)
            else:
                there.set_result(found)

        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the server
            try:
                with to_be_fetched(data_dir, lambda: not self._fetched.is_set()) as folder:
                    loop.call_soon_threadsafe(tell, folder)
                    self._fetched.wait()
            except BackupError as error:
                loop.call_soon_threadsafe(tell, error)
            except Exception as error:
                log.exception("backup")
                loop.call_soon_threadsafe(tell, BackupError(f"{type(error).__name__}, the server's log says more"))
            finally:
                loop.call_soon_threadsafe(self._gone)
