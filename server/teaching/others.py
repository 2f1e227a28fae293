"""What teaching needs of the rooms around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from detector.images import BGRImage
from server.recipes import RecipeError


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


@dataclass(frozen=True)
class Earlier:
    """What a recipe's model was taught on.

    Attributes:
        taught: the model's hash.
        pictures: their files, in order.
    """

    taught: str
    pictures: list[Path]


class TaughtMeanwhile(RecipeError):
    """A recipe's model is not the one that was taught more any longer; one sentence."""


class Shelf(Protocol):
    """Where models go that were taught, and the recipes that use them; see :class:`server.teaching.Library`."""

    async def add_taught(
        self, name: str, folder: Path, pictures: Path, *, stream: str | None, who: str, why: str, on: str
    ) -> tuple[str, str]:
        """Make a recipe of a model folder, and inspect a stream with it at once. The folder and that of the pictures
        are moved.

        Args:
            name: of the recipe.
            on: on which data, one clause.

        Returns:
            the recipe's id, and what its threshold promises, one sentence.

        Raises:
            ModelError, RecipeError, NotStored: it cannot be, one sentence.
        """
        ...

    async def taught_more(
        self, recipe: str, folder: Path, pictures: Path, *, of: str, stream: str | None, who: str, why: str, on: str
    ) -> tuple[str, str]:
        """Replace a recipe's model by one that was taught on more pictures; otherwise as :meth:`add_taught`.

        Args:
            of: hash of the model whose pictures are among them.

        Raises:
            TaughtMeanwhile: the recipe has another one by now.
        """
        ...

    async def require_room(self, more: int = 0) -> None:
        """Check that there is room for another model and so many bytes of its pictures.

        Raises:
            NotStored: there is none, one sentence.
        """
        ...

    def name_of(self, recipe: str) -> str:
        """Raises NoRecipe: there is no such recipe."""
        ...

    async def pictures_of(self, recipe: str) -> Earlier:
        """The pictures its model was taught on.

        Raises:
            NoRecipe: there is no such recipe.
            RecipeError, ModelError, NotStored: they are not kept, damaged, or cannot be fetched here; one sentence.
        """
        ...

    async def picture_of(self, recipe: str) -> Path | None:
        """The file of one of the pictures that its model was taught on; None where none lies here.

        Raises:
            NoRecipe: there is no such recipe.
        """
        ...
