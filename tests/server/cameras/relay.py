"""Relays between a camera and its reader, which do to the traffic what networks do: lose, hold back, answer wrongly.

They stand where a switch would: the camera behind them is a real server, the reader before them the product's.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import BinaryIO

Loses = Callable[[bytes], bool]


class RtspRelay:
    """Relays RTSP, with its video inside of the connection (TCP) or beside it (UDP).

    Args:
        port: of the camera, on 127.0.0.1.
        loses: whether this RTP packet is lost; called with every one, in order.
        answers: by RTSP method, the status line to answer instead of the camera ("453 Not Enough Bandwidth"); None:
            never answer it.

    Attributes:
        port: where to connect instead.
        flows: while cleared, RTP packets are held back and come all at once afterwards.
        lost: how many RTP packets were lost so far.
    """

    def __init__(
        self, port: int, loses: Loses = lambda _: False, answers: Mapping[str, str | None] | None = None
    ) -> None:
        self.loses = loses
        self.lost = 0
        self.flows = threading.Event()
        self.flows.set()
        self._camera = port
        self._answers = dict(answers or {})
        self._sockets: list[socket.socket] = []
        self._listener = self._keep(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> RtspRelay:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.flows.set()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _keep(self, one: socket.socket) -> socket.socket:
        self._sockets.append(one)
        return one

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        def quietly() -> None:
            with suppress(OSError, ValueError, EOFError):  # an end closed: so does this one
                run(*arguments)

        threading.Thread(target=quietly, daemon=True).start()

    def _accept(self) -> None:
        while True:
            reader = self._keep(self._listener.accept()[0])
            try:
                camera = self._keep(socket.create_connection(("127.0.0.1", self._camera)))
            except OSError:
                reader.close()
                continue
            ports: list[tuple[int, int]] = []
            self._start(self._to_camera, reader, camera, ports)
            self._start(self._to_reader, camera, reader, ports)

    def _to_camera(self, reader: socket.socket, camera: socket.socket, ports: list[tuple[int, int]]) -> None:
        with reader.makefile("rb") as incoming:
            try:
                while True:
                    message = _message(incoming)
                    method = message.split(b" ", 1)[0].decode(errors="replace")
                    if method in self._answers:
                        self._answer(reader, message, self._answers[method])
                        continue
                    camera.sendall(self._with_own_ports(message, ports))
            finally:
                camera.close()

    def _answer(self, reader: socket.socket, request: bytes, status: str | None) -> None:
        if status is not None:
            number = re.search(rb"CSeq: *(\d+)", request)
            assert number is not None
            reader.sendall(f"RTSP/1.0 {status}\r\nCSeq: {number[1].decode()}\r\n\r\n".encode())

    def _to_reader(self, camera: socket.socket, reader: socket.socket, ports: list[tuple[int, int]]) -> None:
        with camera.makefile("rb") as incoming:
            try:
                while True:
                    message = _message(incoming)
                    if message[:2] == b"$\x00":
                        if self._passes(message[4:]):
                            reader.sendall(message)
                        continue
                    for own, readers in ports:
                        message = message.replace(b"client_port=%d-" % own, b"client_port=%d-" % readers)
                    reader.sendall(message)
            finally:
                reader.close()

    def _passes(self, packet: bytes) -> bool:
        self.flows.wait()
        if self.loses(packet):
            self.lost += 1
            return False
        return True

    def _with_own_ports(self, message: bytes, ports: list[tuple[int, int]]) -> bytes:
        """The camera shall send its UDP here instead of to the reader."""
        asked = re.search(rb"client_port=(\d+)-(\d+)", message) if message.startswith(b"SETUP") else None
        if asked is None:
            return message
        own = self._keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
        ports.append((port, int(asked[1])))
        self._start(self._datagrams, own, int(asked[1]))
        return message.replace(asked[0], b"client_port=%d-%d" % (port, port + 1))

    def _datagrams(self, own: socket.socket, readers_port: int) -> None:
        while True:
            packet = own.recv(65536)
            if self._passes(packet):
                own.sendto(packet, ("127.0.0.1", readers_port))


def _message(incoming: BinaryIO) -> bytes:
    """One RTSP request or answer with its body, or one interleaved packet. Raises EOFError."""
    start = _exactly(incoming, 1)
    if start == b"$":
        head = start + _exactly(incoming, 3)
        return head + _exactly(incoming, int.from_bytes(head[2:], "big"))
    head = start
    while not head.endswith(b"\r\n\r\n"):
        head += _exactly(incoming, 1)
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return head + (_exactly(incoming, int(length[1])) if length else b"")


def _exactly(incoming: BinaryIO, size: int) -> bytes:
    data = incoming.read(size)
    if len(data) < size:
        raise EOFError
    return data
