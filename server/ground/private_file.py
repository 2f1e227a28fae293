"""Small files that only this user may read (keys, the access code), written whole or not at all."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path

from detector.files import give_to_owner, write_atomically


def make_folder(path: Path) -> None:
    """Make a folder only this user may enter (mode 0700), or close an existing one to others. Made by root, it
    belongs to whom the folder belongs to that it lies in, and so does what was made on the way to it.

    Raises:
        OSError: It cannot be made, or belongs to someone else.
    """
    made = [path, *takewhile(lambda parent: not parent.exists(), path.parents)]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in reversed(made):
        give_to_owner(folder.parent, folder)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)


def write(path: Path, data: bytes) -> None:
    """Replace a file by ``data`` in one step, readable by its owner alone from its first byte on.

    Raises:
        OSError: The disk is full, or the folder may not be written; the old file is untouched.
    """
    write_atomically(path, data, mode=0o600)


def close_to_others(path: Path) -> bool:
    """Take reading rights from everyone but the owner; True when there were any to take."""
    if os.name != "posix" or not path.stat().st_mode & 0o077:
        return False
    path.chmod(0o600)
    return True
