"""What teaching needs of the rooms around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from detector.images import BGRImage
from server.recipes import Recipe


class Watcher(Protocol):
    """Is shown the frames of a stream instead of their being inspected."""

    def look(self, frame: BGRImage) -> Any:
        """Look at a frame (H×W×3 uint8 BGR), in a worker thread, one at a time."""
        ...

    def seen(self, outcome: Any) -> None:
        """On the event loop: what :meth:`look` returned, or the exception that came of it or of decoding."""
        ...

    def gone(self, why: str) -> None:
        """The stream ended."""
        ...


class Watched(Protocol):
    """A stream that somebody sends."""

    def watch(self, watcher: Watcher) -> None:
        """Show it the frames instead of inspecting them.

        Raises:
            ValueError: somebody is shown them already, or the stream ended.
        """
        ...

    def unwatch(self) -> None:
        """Inspect the frames again."""
        ...


Find = Callable[[str], Watched | None]
"""The stream that somebody sends under this name now."""


class Shelf(Protocol):
    """Where taught models go, and the recipes that use them; see :class:`server.teaching.Library`.

    Every method may raise an exception whose message is one sentence: of the recipe, the model, or the disk.
    """

    async def add_taught(
        self, folder: Path, pictures: Path, *, name: str, stream: str | None, who: str, on: str
    ) -> Recipe:
        """Make a recipe of a model folder, and inspect a stream with it at once. The folder and that of the pictures
        are moved.

        Args:
            name: of the recipe.
            on: on which data, one clause.
        """
        ...

    async def taught_more(self, recipe: str, folder: Path, pictures: Path, *, who: str, on: str) -> Recipe:
        """Replace a recipe's model by one that was taught on more pictures."""
        ...

    def get(self, recipe: str) -> Recipe:
        """The newest version of a recipe."""
        ...

    def pictures_of(self, recipe: str) -> list[Path]:
        """The pictures its model was taught on; none where they are not kept here."""
        ...
