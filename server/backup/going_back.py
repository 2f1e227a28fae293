"""``defectvision downgrade``: files that an upgrade wrote anew, as the older software wrote them."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from detector import VERSION
from detector.files import give_to_owner, read_whole, sync_folder, temporary_folder, write_atomically
from server.backup.aside import made_aside
from server.backup.contents import BackupError
from server.ground import DataDirectoryError, before_upgrade, data_directory

UNFINISHED = "before-downgrade-unfinished.json"
"""Which version the history was to be brought to: while that and what follows goes on, and after a crash in it."""


class History(Protocol):
    """The history of a data directory, on its way back to an older version."""

    def goal(self, begun: str | None) -> str:
        """The version to bring it to.

        Args:
            begun: what an attempt that may have been cut off was to bring it to. Where it is there, it goes no further.

        Raises:
            BackupError: there is no such way.
        """
        ...

    def take_back(self, aside: Path, goal: str) -> str:
        """Bring it there, and keep what it was in a folder; says so in one clause.

        Raises:
            BackupError: it cannot be done, and nothing has changed.
        """
        ...


class _Unfinished(msgspec.Struct, frozen=True):
    """``software``: the version that began it: what another one meant by the version before says nothing here."""

    software: str
    history: str


@dataclass(frozen=True)
class GoneBack:
    """What was done. ``files``: by name; ``aside``: where what they replaced lies now."""

    files: tuple[str, ...]
    aside: Path


def go_back(data: Path, *, history: History | None = None) -> GoneBack:
    """Put the files that the upgrade to this version kept in the place of today's; no server may be using them.

    What was changed in them since is in none of them: it is kept aside, and is there again after the next upgrade only
    if it is put back by hand. All of it is on disk, those of before and copies of today's, before the first one is
    replaced. One that was cut off is finished by another, which brings the history no further than that was to.

    Args:
        history: is brought back, too; before any file is replaced.

    Raises:
        BackupError: there is no way back, or it cannot be gone.
    """
    try:
        with data_directory(data, "where an upgrade is taken back") as lock:
            if lock is None:
                raise BackupError(f"{data} cannot be written: nothing can be put back there")
            kept = before_upgrade(data)
            names = _files_in(kept)
            if not names and history is None:
                raise BackupError(_no_way_back(data))
            goal = None if history is None else history.goal(_begun(data))
            with temporary_folder(data / "downgrade") as ready:
                aside = made_aside(data, "downgrade")
                try:
                    for name in names:
                        write_atomically(ready / name, read_whole(kept / name), mode=0o600)
                        with contextlib.suppress(FileNotFoundError):
                            write_atomically(aside / name, read_whole(data / name), mode=0o600)
                    give_to_owner(data, *ready.iterdir())
                    done: list[str] = []
                    if history is not None and goal is not None:
                        write_atomically(data / UNFINISHED, msgspec.json.encode(_Unfinished(VERSION, goal)), mode=0o600)
                        done.append(history.take_back(aside, goal))
                except BaseException:
                    shutil.rmtree(aside)
                    raise
                for name in names:
                    (ready / name).replace(data / name)
                sync_folder(data)
            if names:
                # The next upgrade keeps anew what it finds.
                kept.rename(aside / kept.name)
            (data / UNFINISHED).unlink(missing_ok=True)
    except DataDirectoryError as error:
        raise BackupError(str(error)) from error
    except OSError as error:
        raise BackupError(f"{error.filename or data}: {error.strerror or error}") from error
    return GoneBack((*done, *names), aside)


def _begun(data: Path) -> str | None:
    """The version that an attempt of this software that was cut off was to bring the history to."""
    try:
        found = msgspec.json.decode(read_whole(data / UNFINISHED), type=_Unfinished)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return found.history if found.software == VERSION else None


def _files_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [path.name for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink()]


def _no_way_back(data: Path) -> str:
    said = (
        f"the upgrade to {VERSION} wrote nothing anew in {data.absolute()}: the older software reads what is there, "
        "but for a history that it calls newer (--history)"
    )
    others = sorted(path.name for path in data.glob(before_upgrade(data, "*").name))
    if others:
        said += f". {', '.join(others)} is of upgrades before: install the version of that name, and run this with it"
    return said
