"""Figures of the ways out, the history and the archive, made from what they say of how they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from server.words import Figure


class SinkDoing(Protocol):
    """As :class:`server.sinks.SinkState`."""

    @property
    def state(self) -> str: ...
    @property
    def delivered(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def waiting(self) -> int: ...


class StoredSink(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...


class AllSinks(Protocol):
    @property
    def all(self) -> Sequence[StoredSink]: ...
    def state(self, id: str, /) -> SinkDoing: ...


@dataclass(frozen=True)
class OfSinks:
    """Of each way out; their number is bounded where they are kept."""

    sinks: AllSinks

    def figures(self) -> Iterator[Figure]:
        for one in self.sinks.all:
            labels, doing = {"sink": one.name, "kind": one.kind, "id": one.id}, self.sinks.state(one.id)
            is_on = float(doing.state != "off")
            yield Figure("sink_on", "1 while it is switched on", is_on, labels)
            yield Figure("sink_up", "1 while its connection stands", float(doing.state == "up"), labels)
            yield Figure("sink_backlog", "events that wait to go out", doing.waiting, labels)
            yield Figure("sink_delivered", "events that arrived at the peer", doing.delivered, labels, "counter")
            yield Figure("sink_refused", "events that the peer never took", doing.refused, labels, "counter")
            yield Figure("sink_dropped", "events lost to the outbox's bounds", doing.dropped, labels, "counter")


@dataclass(frozen=True)
class OfRecords:
    """Of the history; ``state`` answers its state, as :class:`server.records.RecordsState`, on the event loop."""

    state: Callable[[], Any]

    def figures(self) -> Iterator[Figure]:
        doing = self.state()
        yield Figure("records_up", "1 while the database takes what comes", float(doing.state == "ok"))
        yield Figure("records_waiting", "events in memory that wait for the database", doing.waiting)
        yield Figure("records_backlog", "events on disk that wait for the database", doing.backlog)
        yield Figure("records_entries", "entries in the database, about", doing.entries)
        yield Figure("records_stored", "events that were stored", doing.stored, kind="counter")
        yield Figure("records_dropped", "events lost to a bound", doing.dropped, kind="counter")
