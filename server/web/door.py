"""Where connections come in: each is counted before anything is said to it, TLS handshakes included.

asyncio's own server shows a TLS connection only when its handshake is done: strangers who never finish one would hold
sockets that nobody counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial

from server.web.connections import HEAD_S, Connection, Connections

AT_ONCE = 16
"""Connections accepted before others get their turn on the event loop."""

PAUSE_S = 1.0
"""After the system had no file descriptor for a connection."""

BUSY = b'{"error": "too many connections: try again in a moment"}'
TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: %d\r\nretry-after: 1\r\n"
    b"connection: close\r\n\r\n%s" % (len(BUSY), BUSY)
)


class Door:
    """Accepts connections of one listening socket from now until it is closed. Made on the event loop.

    Args:
        listening: the socket, whose owner closes it.
        connections: where they get their places.
        make_protocol: for a connection that has one.
        context: of TLS; None speaks in the open.
    """

    def __init__(
        self,
        listening: socket.socket,
        connections: Connections,
        make_protocol: Callable[[Connection], asyncio.Protocol],
        context: ssl.SSLContext | None,
    ) -> None:
        self._listening, self._connections = listening, connections
        self._make_protocol, self._context = make_protocol, context
        self._loop = asyncio.get_running_loop()
        self._silent: dict[socket.socket, Connection] = {}
        self._entering: dict[socket.socket, asyncio.Task[None]] = {}
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._open()

    def close(self) -> None:
        """Accept no more, and let go of those that have said nothing."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        for peer, connection in list(self._silent.items()):
            self._give_up(peer)
            connection.lost()

    async def wait_closed(self) -> None:
        """Wait until nobody is in the door."""
        entering = list(self._entering.values())
        for task in entering:
            task.cancel()
        await asyncio.gather(*entering, return_exceptions=True)

    def _open(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                peer, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._connections.refusals.note("no file descriptor is left for a new connection", "this machine")
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(PAUSE_S, self._open)
                return
            peer.setblocking(False)
            # asyncio does it only where the protocol is named, which an accepted socket's is not: an answer's body
            # would wait 40 ms for the peer to confirm its head.
            with contextlib.suppress(OSError):
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            source = str(address[0]) if address else "this machine"
            connection = self._connections.admit(source, partial(self._give_up, peer))
            if connection is None:
                self._turn_away(peer)
            else:
                # Nothing is made for a peer that says nothing: waiting is all it may cost.
                self._silent[peer] = connection
                self._loop.add_reader(peer, self._begin, peer, connection)

    def _give_up(self, peer: socket.socket) -> None:
        """Close a connection that nothing is spoken through yet."""
        if self._silent.pop(peer, None) is not None:
            self._loop.remove_reader(peer)
            peer.close()
        elif peer in self._entering:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)  # which whoever shakes hands with it sees as its end

    def _begin(self, peer: socket.socket, connection: Connection) -> None:
        self._loop.remove_reader(peer)
        del self._silent[peer]
        connection.silent = False
        task = self._entering[peer] = self._loop.create_task(self._enter(peer, connection))
        task.add_done_callback(lambda _: self._entering.pop(peer, None))

    def _turn_away(self, peer: socket.socket) -> None:
        with peer:
            if self._context is None:
                peer.send(TURNED_AWAY)  # into an empty buffer

    async def _enter(self, peer: socket.socket, connection: Connection) -> None:
        try:
            await self._loop.connect_accepted_socket(
                partial(self._make_protocol, connection),
                peer,
                ssl=self._context,
                ssl_handshake_timeout=None if self._context is None else HEAD_S,
            )
        except OSError:  # not TLS, another version, too slow, or gone: ssl.SSLError and TimeoutError are OSErrors
            connection.lost()
            peer.close()
