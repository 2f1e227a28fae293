"""What waited to go out when the server was stopped: on disk until it has gone out, so that a restart loses none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from detector.files import read_at_most, set_aside
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


_list_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_decoder = msgspec.msgpack.Decoder(_Event)
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class Waiting:
    """The file of one sink. What cannot be kept is said in the log, and lost. For threads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[list[Outgoing], int]:
        """Oldest first, without pictures, and how many more there were that cannot be read: as of kinds that only a
        newer version knows. Those that can stay in the file: after a crash they go out again, under their ids.

        A damaged file is set aside; how many were in one that is none of ours at all, nobody knows.

        Raises:
            OSError: it cannot be read now; it is as it was.
        """
        try:
            data = read_at_most(self._path, LARGEST + 1)
        except FileNotFoundError:
            return [], 0
        try:
            if len(data) > LARGEST:
                raise ValueError("too large")
            found = _list_decoder.decode(data)
        except _UNREADABLE as error:
            self._set_aside(type(error).__name__)
            return [], 0
        events = [event for event in map(_event, found) if event is not None]
        if lost := len(found) - len(events):
            self._set_aside(f"{lost} of {len(found)} events")
            self.write(events)
        return events, lost

    def _set_aside(self, reason: str) -> None:
        try:
            then = f"set_aside={set_aside(self._path).name}"
        except OSError as error:
            then = f"not set aside: {error.strerror}"
        log.warning("events that waited cannot be read file=%s reason=%s %s", self._path.name, reason, then)

    def write(self, events: Sequence[Outgoing], is_to_be_read: bool = False) -> None:
        """``is_to_be_read``: what is kept was not read yet, and comes before them; where that is still so, it stays."""
        try:
            if is_to_be_read:
                events = [*self.read()[0], *events]
            if not events:
                return self.clear()
            kept = [_Event(one.id, one.what, one.at, one.number, one.message) for one in events]
            private_file.make_folder(self._path.parent)
            private_file.write(self._path, msgspec.msgpack.encode(kept))
        except OSError as error:
            log.warning(
                "events that waited are lost file=%s n=%d reason=%s", self._path.name, len(events), error.strerror
            )
        return None

    def clear(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("events go out again at the next start file=%s reason=%s", self._path.name, error.strerror)


def _event(raw: msgspec.Raw) -> Outgoing | None:
    """None where it cannot be read."""
    try:
        one = _decoder.decode(raw)
    except _UNREADABLE:
        return None
    long_ago = float("-inf")
    return Outgoing(one.message, None, one.id, one.what, one.at, one.number, long_ago)
