"""Peers that speak in bytes, to do what no library does."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from tests.running import Running
from tests.server.fakes import WAIT_S

FIN = 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(head: int, data: bytes = b"") -> bytes:
    """A WebSocket frame as a client sends it; its mask is zero, so that the data stands as it is."""
    size = len(data)
    length = bytes([0x80 | min(size, 125)])
    if size >= 126:
        length = b"\xfe" + size.to_bytes(2, "big") if size < 1 << 16 else b"\xff" + size.to_bytes(8, "big")
    return bytes([head]) + length + bytes(4) + data


def post(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


GET = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
MULTIPART = "Content-Type: multipart/form-data; boundary=b"
CHUNKED = "Transfer-Encoding: chunked"


class Peer:
    """One connection to a server."""

    def __init__(self, server: Running) -> None:
        self._server = server

    async def __aenter__(self) -> Peer:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> bool:
        """Write it; False when the server has hung up."""
        with contextlib.suppress(OSError):
            async with asyncio.timeout(WAIT_S):
                self.writer.write(data)
                await self.writer.drain()
                return True
        return False

    async def upgrade(self, path: str) -> None:
        """Become a WebSocket."""
        await self.send(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        async with asyncio.timeout(WAIT_S):
            assert b" 101 " in await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """All that comes until the server closes the connection, which it must."""
        data = b""
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(ConnectionResetError):
                while piece := await self.reader.read(1 << 16):
                    data += piece
        return data

    async def closing(self) -> tuple[int, str]:
        """Code and reason of the close frame with which the server ends."""
        data = await self.rest()
        while data:
            size, at = data[1], 2
            if size >= 126:
                at = 4 if size == 126 else 10
                size = int.from_bytes(data[2:at], "big")
            if data[0] & 15 == CLOSE:
                return int.from_bytes(data[at : at + 2], "big"), data[at + 2 : at + size].decode()
            data = data[at + size :]
        raise AssertionError("it ended without a close frame")
