"""A folder that another machine looks into: one JSON file an event, and the part's picture beside it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from detector.files import remove_leftovers, sync_folder, temporary_beside
from server.sinks.hand import Hand
from server.sinks.kind import Around, Kind
from server.sinks.sink import Outbox, Outgoing, SinkError

LEFT_FREE = 200_000_000
"""Bytes of the disk that are not taken."""
MOST_FILES = 100_000
MOST_DEEP = 8
"""Folders that are made below one that SINK_FOLDERS names."""

_OURS = re.compile(r"[0-9]{8}T[0-9]{9}Z_[0-9]{8,20}_[A-Za-z0-9._-]{1,64}_[A-Za-z0-9._-]{1,80}\.(json|jpg)", re.ASCII)


class FolderSettings(Struct, frozen=True, forbid_unknown_fields=True):
    folder: Annotated[
        str,
        Meta(
            title="Folder",
            description="Empty: out/NAME in the data directory. Others must lie below a folder that the setting "
            "SINK_FOLDERS names.",
            max_length=500,
            extra={"placeholder": "out/NAME in the data directory"},
        ),
    ] = ""
    most_events: Annotated[
        int,
        Meta(
            title="Events at the most",
            description="Then the oldest are removed, unless somebody has fetched them before.",
            ge=10,
            le=MOST_FILES,
        ),
    ] = 10_000
    most_mb: Annotated[
        int,
        Meta(title="Megabytes at the most", description="As with events.", ge=1, le=1_000_000, extra={"unit": "MB"}),
    ] = 1000


def check(settings: FolderSettings, around: Around) -> None:
    """Raise ValueError where nothing may be written there."""
    place(settings, around)


def place(settings: FolderSettings, around: Around) -> tuple[Path, Path]:
    """The folder, and what must be there before it is made: a disk that is not mounted is not written beside.

    Raises:
        ValueError: it lies where nothing may be written.
    """
    if not settings.folder:
        return around.data_dir / "out" / around.name, around.data_dir
    if "\0" in settings.folder or not (wanted := Path(settings.folder)).is_absolute():
        raise ValueError("the folder must be a whole path, from the root, or empty")
    if not settings.folder.isprintable():
        raise ValueError("the folder must have no signs in it that cannot be seen: take them out")
    for root in around.folders:
        real = Path(os.path.realpath(wanted))  # past every link and ..
        if real.is_relative_to(whole := os.path.realpath(root)):
            if len(real.relative_to(whole).parts) > MOST_DEEP:
                raise ValueError(f"the folder must lie at most {MOST_DEEP} folders below {root}")
            return real, root
    named = ", ".join(map(str, around.folders)) or "which is not set"
    raise ValueError(f"the folder must lie below one that the setting SINK_FOLDERS names ({named}), or be left empty")


@dataclass
class Written:
    """What lies in the folder of ours, oldest first; ``size``: bytes; ``removed``: by us, since it was begun."""

    folder: Path
    files: deque[tuple[str, int]] = field(default_factory=deque)
    events: int = 0
    size: int = 0
    removed: int = 0

    def look(self) -> None:
        """Find what lies there, and remove what a crash left unfinished."""
        remove_leftovers(self.folder, older_than_s=60.0)
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if not _OURS.fullmatch(entry.name):
                    continue
                with contextlib.suppress(OSError):
                    about = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(about.st_mode):
                        found.append((entry.name, about.st_size))
        for name, size in sorted(found):
            self._count(name, size)

    def put(self, name: str, data: bytes) -> None:
        """Write a file in one step; a repeat takes the place of the first."""
        temporary = temporary_beside(self.folder / name)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.folder / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if not any(known == name for known, _ in list(self.files)[-4:]):
            self._count(name, len(data))

    def make_room(self, most_events: int, most_bytes: int) -> None:
        while self.files and (self.events > most_events or self.size > most_bytes):
            name, size = self.files.popleft()
            self.events -= name.endswith(".json")
            self.size -= size
            try:
                (self.folder / name).unlink()
            except FileNotFoundError:
                continue  # fetched
            self.removed += name.endswith(".json")

    def _count(self, name: str, size: int) -> None:
        self.files.append((name, size))
        self.events += name.endswith(".json")
        self.size += size


@dataclass(frozen=True)
class Folder:
    settings: FolderSettings
    around: Around

    async def run(self, outbox: Outbox) -> None:
        hand = Hand(self.around.id)
        try:
            written = Written(await hand.do(self._folder))
            await hand.do(partial(self._guarded, written.look))
            outbox.is_up(_words(written))
            async for event in outbox:
                await hand.do(partial(self._guarded, partial(self._write, written, event)))
                outbox.confirm()
                outbox.is_up(_words(written))
        finally:
            hand.finish()

    async def test(self) -> str:
        hand = Hand(f"{self.around.id} test")
        try:
            return await hand.do(self._try)
        finally:
            hand.finish()

    def _try(self) -> str:
        folder, _ = self._place()
        missing = [one for one in (folder, *folder.parents) if not one.exists()]  # the deepest first
        try:
            return self._written_to(self._folder())
        finally:
            for one in missing:
                with contextlib.suppress(OSError):  # it is somebody's by now, or was never made
                    one.rmdir()

    def _written_to(self, folder: Path) -> str:
        def write() -> None:
            probe = temporary_beside(folder / "test")
            try:
                probe.write_bytes(b"a test\n")
            finally:
                probe.unlink(missing_ok=True)

        self._guarded(write)
        return f"{folder} can be written; {shutil.disk_usage(folder).free / 1e9:.1f} GB are free there"

    def _place(self) -> tuple[Path, Path]:
        """Looked at before each step: a link may have been laid meanwhile."""
        try:
            return place(self.settings, self.around)
        except ValueError as error:
            raise SinkError(str(error)) from None

    def _folder(self) -> Path:
        folder, root = self._place()
        if not root.is_dir():
            raise SinkError(f"{root} is not there: is the disk mounted?")
        self._guarded(lambda: folder.mkdir(parents=True, exist_ok=True))
        return folder

    def _guarded(self, do: Callable[[], object]) -> None:
        folder, _ = self._place()
        try:
            if folder.is_dir() and shutil.disk_usage(folder).free < LEFT_FREE:
                raise SinkError(f"the disk of {folder} is full ({LEFT_FREE // 1_000_000} MB are left free): make room")
            do()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SinkError(f"the disk of {folder} is full: make room") from None
            raise SinkError(f"{folder} cannot be written ({error.strerror}): see to the disk and its rights") from None

    def _write(self, written: Written, event: Outgoing) -> None:
        """The picture before the words: who sees the JSON finds all of it."""
        name, picture = _name(event), _picture(event)
        if picture is not None:
            written.put(f"{name}.jpg", picture)
        body = {
            "id": event.id,
            "type": event.what,
            "timestamp": event.at,
            "picture": None if picture is None else f"{name}.jpg",
            "data": event.message,
        }
        written.put(f"{name}.json", msgspec.json.encode(body))
        sync_folder(written.folder)
        written.make_room(self.settings.most_events, self.settings.most_mb * 1_000_000)


def _name(event: Outgoing) -> str:
    """Sorted by name is sorted by time; nothing of it is a path."""
    at = re.sub(r"[^0-9T]", "", event.at.partition("+")[0])[:18].ljust(18, "0")
    return f"{at}Z_{event.number:08}_{_plain(event.message.stream, 64)}_{_plain(event.id, 80)}"


def _plain(text: str, most: int) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text, flags=re.ASCII)[:most] or "_"


def _picture(event: Outgoing) -> bytes | None:
    """JPEG of the part's worst frame, where one was kept."""
    if event.seen is None:
        return None
    if event.seen.kept is not None:
        return event.seen.kept.picture[0]
    return None if event.seen.picture is None else event.seen.picture[0]


def _words(written: Written) -> str:
    removed = f"; the oldest {written.removed} were removed to keep its bounds" if written.removed else ""
    return f"{written.folder} holds {written.events} events, {written.size / 1e6:.1f} MB{removed}"


FOLDER = Kind(
    name="folder",
    title="Folder",
    about="Writes one JSON file an event into a folder, and the part’s picture beside it.",
    settings=FolderSettings,
    make=Folder,
    check=check,
    pictures=True,
)
