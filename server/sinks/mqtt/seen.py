"""How streams stand now, as the line says: what was told of them may be of then, be lost, or not be wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from server.sinks.kind import Around
from server.sinks.sink import Line, Outgoing
from server.words import Status


@dataclass(frozen=True)
class Seen:
    """Attributes:
    line: that is asked; None where nothing can be.
    chosen: streams that we are told of; none: of all.
    most: streams that are looked at.
    """

    line: Line | None
    chosen: tuple[str, ...]
    most: int

    @classmethod
    def of(cls, around: Around, most: int) -> Seen:
        return cls(around.line, around.streams, most)

    def is_ours(self, stream: str) -> bool:
        return not self.chosen or stream in self.chosen

    def running(self, told: Iterable[str]) -> tuple[str, ...]:
        """Streams that run now, of those that we are told of.

        Args:
            told: those that run by what was told, where nobody can be asked.
        """
        if self.line is None:
            return tuple(told)
        return tuple(name for name in self.line.streams if self.is_ours(name))[: self.most]

    def status(self, stream: str, was: Status | None) -> Status:
        """How a stream that runs stands now; ``was`` itself where that is so still.

        Args:
            was: what was told of it last. A recipe whose model is not there at the moment is the one of before.
        """
        if was is None or was.state == "waiting":
            was = Status(stream, "live")
        if self.line is None:
            return was
        standing = self.line.standing(stream)
        status = msgspec.structs.replace(was, state=standing.camera, parts_by=standing.by)
        if (recipe := standing.recipe) is not None:
            status = msgspec.structs.replace(
                status, recipe=recipe.id, recipe_name=recipe.name, recipe_version=recipe.version
            )
        return status

    def is_stale(self, event: Outgoing) -> bool:
        """Whether it says how a stream stands, and that is not so any more: it waited while we were away."""
        message = event.message
        if not isinstance(message, Status) or self.line is None:
            return False
        if message.stream not in self.line.streams:
            return message.state != "waiting"
        return message.state == "waiting" or self.status(message.stream, message) != message
