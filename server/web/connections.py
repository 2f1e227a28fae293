"""The connections of a server: how many at once, from whom, and how long each may keep its place.

A connection is *idle* while it has asked for nothing: it shakes hands, its request has not come yet, or the answer has
gone; and while it is not known that whoever asks may enter, or strangers could take all places by sending slowly. Where
there is no place left, the oldest idle one makes room; a connection at work keeps its place, and where all are at work
the newcomer is refused.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from server.ground import Refusals, source_of

HEAD_S = 10.0
"""Within which a handshake must be done, and a request's head be there."""

UNREAD_S = 30.0
"""How long a peer may take nothing of what was written to it."""

LINGER_S, LINGER_SILENT_S, LINGER_BYTES = 30.0, 2.0, 64 * 1024 * 1024
"""How long, after how much silence and for how many bytes a closing connection goes on being read: a peer that is still
writing would otherwise be told *connection reset*, and never see the sentence that says why."""

CLOSING_S = 5.0
"""How long a peer may take to fetch what was written to it before its connection was closed."""

SWEEP_S = 0.5


class Swept(Protocol):
    """A protocol that is looked at now and then."""

    def sweep(self, now: float) -> None:
        """End the connection if something is overdue. ``now`` is the event loop's time."""
        ...


class Connection:
    """The transport of one connection, as its protocol sees it: with deadlines, and a close that lets peers read why.

    Attributes:
        source: whom it comes from.
        expects_input: the peer is in the middle of something, or may be; closing then lingers.
        protocol: asked for what is overdue.
        give_up: closes it while nothing is spoken through yet.
        silent: it has not said anything yet.
    """

    _transport: asyncio.Transport

    def __init__(self, source: str, connections: Connections) -> None:
        self.source = source
        self.expects_input = False
        self.protocol: Swept | None = None
        self.give_up: Callable[[], None] | None = None
        self.silent = True
        self._since = asyncio.get_running_loop().time()
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._unread_since: float | None = None
        self._ending_since: float | None = None
        self._lingering: _Lingering | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def made(self, transport: asyncio.BaseTransport) -> None:
        """Its handshake is done; this is what it is spoken to through."""
        self._transport = cast(asyncio.Transport, transport)
        self.give_up = None

    def working(self) -> None:
        """It was asked for something: it keeps its place."""
        self._connections.working(self)

    def idle(self) -> None:
        """It may have to make room from now on."""
        self._connections.idle(self)

    def writing_paused(self) -> None:
        self._unread_since = self._loop.time()

    def writing_resumed(self) -> None:
        self._unread_since = None

    def write(self, data: bytes) -> None:
        if self._ending_since is None:
            self._transport.write(data)

    def is_closing(self) -> bool:
        return self._ending_since is not None or self._transport.is_closing()

    def close(self) -> None:
        """Close when what was written is gone, and, if the peer is still writing, when it stops or goes too far."""
        if self._ending_since is not None:
            return
        self._ending_since = self._loop.time()
        self.idle()
        if not self.expects_input or self._transport.is_closing():
            self._transport.close()
            return
        self._lingering = _Lingering(self._transport, self._transport.get_protocol(), self._loop)
        self._transport.set_protocol(self._lingering)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()

    def abort(self) -> None:
        """Close now."""
        self._ending_since = self._ending_since or self._loop.time()
        if self.give_up is not None:
            self.give_up()
        else:
            self._transport.abort()

    def lost(self) -> None:
        """It is over: its place is free."""
        self._ending_since = self._ending_since or self._loop.time()
        self._connections.forget(self)

    def sweep(self, now: float) -> None:
        if self._ending_since is not None:
            over = CLOSING_S if self._lingering is None or self._lingering.silent(now) else LINGER_S
            if now - self._ending_since > over:
                self.abort()
        elif self._unread_since is not None and now - self._unread_since > UNREAD_S:
            self._connections.refusals.note("connection closed: its peer reads nothing", self.source)
            self.abort()
        elif self.protocol is not None:
            self.protocol.sweep(now)
        elif self.silent and now - self._since > HEAD_S:
            self.abort()
            self.lost()


class _Lingering(asyncio.Protocol):
    """Reads on, for a bounded while, for nobody."""

    def __init__(self, transport: asyncio.Transport, before: asyncio.BaseProtocol, loop: asyncio.AbstractEventLoop):
        self._transport, self._before, self._loop = transport, before, loop
        self._left = LINGER_BYTES
        self._heard = loop.time()

    def silent(self, now: float) -> bool:
        if now - self._heard > LINGER_SILENT_S:
            self._transport.close()
            return True
        return False

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    def eof_received(self) -> None:
        self._transport.close()

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def connection_lost(self, error: Exception | None) -> None:
        self._before.connection_lost(error)


@dataclass
class _Places:
    """Those of one source, or of all; the oldest idle one first."""

    limit: int
    taken: int = 0
    idle: OrderedDict[Connection, None] = field(default_factory=OrderedDict)

    def make_room(self) -> bool:
        """Whether there is a place, or one that was idle makes room."""
        if self.taken < self.limit:
            return True
        if not self.idle:
            return False
        oldest, _ = self.idle.popitem(last=False)
        oldest.abort()
        # Not when the event loop gets to closing it: a rush of newcomers would find nobody else to make room.
        oldest.lost()
        return True


class Connections:
    """All connections of a server. Used from the event loop only.

    Args:
        in_all: most at once.
        per_address: most at once from one address, a network of 2^64 for IPv6.
        refusals: where refused and overdue ones are counted.
    """

    def __init__(self, in_all: int, per_address: int, refusals: Refusals) -> None:
        self.refusals = refusals
        self._per_address = per_address
        self._all = _Places(in_all)
        self._sources: dict[str, _Places] = {}
        self._open: dict[Connection, _Places] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def limit(self) -> int:
        """Most at once."""
        return self._all.limit

    def admit(self, address: str, give_up: Callable[[], None]) -> Connection | None:
        """A place for a connection that was just accepted, idle as yet; nothing where all places are at work.

        Args:
            address: its peer's.
            give_up: closes it, as long as it has no transport.
        """
        source = source_of(address)
        places = self._sources.get(source) or _Places(self._per_address)
        for some, kind in ((places, "too many connections from one address"), (self._all, "too many connections")):
            if some.taken >= some.limit:
                room = some.make_room()
                self.refusals.note(f"{kind}: {'the oldest idle one' if room else 'a new one'} was closed", source)
                if not room:
                    return None
        connection = Connection(source, self)
        connection.give_up = give_up
        self._sources[source] = self._open[connection] = places
        for some in (places, self._all):
            some.taken += 1
            some.idle[connection] = None
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        return connection

    def working(self, connection: Connection) -> None:
        if connection in self._open:
            self._open[connection].idle.pop(connection, None)
            self._all.idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        if connection in self._open:
            for some in (self._open[connection], self._all):
                some.idle[connection] = None
                some.idle.move_to_end(connection)

    def forget(self, connection: Connection) -> None:
        places = self._open.pop(connection, None)
        if places is None:
            return
        for some in (places, self._all):
            some.taken -= 1
            some.idle.pop(connection, None)
        if places.taken == 0:
            self._sources.pop(connection.source, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in list(self._open):
            connection.sweep(loop.time())
        self._sweeping = loop.call_later(SWEEP_S, self._sweep) if self._open else None
