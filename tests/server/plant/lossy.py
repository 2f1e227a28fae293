"""What stands between a gateway and its database, and loses answers or is slow."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

MARKS = (b"UPDATE plant_documents", b"INSERT INTO plant_documents")


class Lossy:
    """Passes TCP connections on to a port of this machine.

    Attributes:
        port: where it listens.
        swallow: answers to changes of documents that are still to be lost: the database's answer is awaited, and thrown
            away with the connection. ``swallowed``: those that were.
        delay_s: by which each answer is late.
        is_cut: whether nothing is passed on: see :meth:`cut`.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.swallow = self.swallowed = 0
        self.delay_s, self.is_cut = 0.0, False
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """All connections end, and new ones, too, meanwhile."""
        self.is_cut = True
        self._end(self._sockets[1:])
        yield
        self.is_cut = False

    def close(self) -> None:
        self._end(self._sockets)

    def _end(self, sockets: list[socket.socket]) -> None:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.is_cut:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [client, server]
                both = _Both(self, client, server)
                for work in (both.ask, both.answer):
                    threading.Thread(target=work, daemon=True).start()


class _Both:
    def __init__(self, lossy: Lossy, client: socket.socket, server: socket.socket) -> None:
        self._lossy, self._client, self._server = lossy, client, server
        self._is_change = self._is_lost = False

    def ask(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(1 << 20):
                if self._lossy.swallow:
                    self._look_at(data)
                self._server.sendall(data)
        self._end()

    def _look_at(self, data: bytes) -> None:
        """Messages of PostgreSQL's: one byte that says what it is, and a length of four; a few come at once."""
        while len(data) >= 5 and not self._is_lost:
            message = data[: 1 + int.from_bytes(data[1:5])]
            data = data[len(message) :]
            if message[:1] == b"P":
                self._is_change = any(mark in message for mark in MARKS)
            elif message[:1] == b"B" and self._is_change:  # what was prepared is done now
                self._is_lost = True
                self._lossy.swallow -= 1

    def answer(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(1 << 20):
                if self._is_lost:
                    self._lossy.swallowed += 1
                    break
                time.sleep(self._lossy.delay_s)
                self._client.sendall(data)
        self._end()

    def _end(self) -> None:
        for one in (self._client, self._server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def lossy(port: int) -> Iterator[Lossy]:
    """One before a port."""
    running = Lossy(port)
    try:
        yield running
    finally:
        running.close()
