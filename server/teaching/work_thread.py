"""The one thread in which models are loaded, corrected and stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from server.ground import NotKept, why_not_kept

T = TypeVar("T")


class NotStored(NotKept):
    """It cannot be stored, and nothing was changed; the message says why."""


class WorkThread:
    """Does one thing after the other."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "library")

    async def run(self, work: Callable[[], T]) -> T:
        """Wait for what it does.

        Raises:
            NotStored: a file could not be written or read.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except OSError as error:
            raise NotStored(why_not_kept(error)) from error

    def close(self) -> None:
        """Take no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)
