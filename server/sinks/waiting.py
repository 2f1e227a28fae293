"""What waited to go out when the server was stopped: on disk until it has gone out, so that a restart loses none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from detector.files import read_at_most
from server.ground import private_file
from server.sinks.sink import Outgoing, What
from server.words import Message

log = logging.getLogger("defectvision.sinks")

LARGEST = 64_000_000
"""Bytes; 10,000 events take about 10 MB."""


class _Event(msgspec.Struct, frozen=True, array_like=True):
    id: str
    what: What
    at: str
    number: int
    message: Message


_decoder = msgspec.msgpack.Decoder(list[_Event])


class Waiting:
    """The file of one sink. Nothing here raises: what cannot be kept is said in the log, and lost. For threads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Outgoing]:
        """Oldest first, without pictures. They stay in the file: after a crash they go out again, under their ids."""
        try:
            data = read_at_most(self._path, LARGEST + 1)
            if len(data) > LARGEST:
                raise ValueError("too large")
            events = _decoder.decode(data)
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            log.warning("events that waited cannot be read file=%s reason=%s", self._path.name, type(error).__name__)
            return []
        long_ago = float("-inf")
        return [Outgoing(one.message, None, one.id, one.what, one.at, one.number, long_ago) for one in events]

    def write(self, events: Sequence[Outgoing]) -> None:
        if not events:
            return self.clear()
        kept = [_Event(one.id, one.what, one.at, one.number, one.message) for one in events]
        try:
            private_file.make_folder(self._path.parent)
            private_file.write(self._path, msgspec.msgpack.encode(kept))
        except OSError as error:
            log.warning(
                "events that waited are lost file=%s n=%d reason=%s", self._path.name, len(kept), error.strerror
            )
        return None

    def clear(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("events go out again at the next start file=%s reason=%s", self._path.name, error.strerror)
