"""What is costly to make and only read: made once for all processes that run tests side by side."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from detector.folder_lock import FolderInUse, hold

WITHIN_S = 240.0
"""Less than a test may take, the making of what it needs included."""


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run see; with one process, its own."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder of this name, filled by whoever asks for it first; the others wait for that.

    Args:
        make: fills an empty folder. What it raises is raised, and the next one who asks tries again.

    Returns:
        a folder that no test may write to.
    """
    folder = shared_folder(factory) / "once" / name
    with _alone(folder.with_name(f"{name}.lock")):
        if not folder.exists():
            made = folder.with_name(f"{name}.part")
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            make(made)
            made.rename(folder)
    return folder


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            lock = hold(place, f"making {place.stem} for tests")
            break
        except FolderInUse:
            if time.monotonic() > deadline:
                raise
    try:
        yield
    finally:
        lock.release()
