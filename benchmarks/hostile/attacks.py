"""The attackers: each runs in a process of its own, until it is ended.

    python -m benchmarks.hostile.attacks NAME PORT

Those of :data:`WITHOUT_CODE` have not shown the access code. Whoever is thrown out comes back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.hostile import pictures

HOST = "127.0.0.1"
FIN = 0x80
TEXT, BINARY, CONTINUATION, PING, PONG = 1, 2, 0, 9, 10
CASES = Path(os.environ.get("CASES", Path(__file__).parents[3] / "shared" / "cases"))

Attack = Callable[[int], Awaitable[None]]


class Peer:
    """One connection, of which nothing is read unless that is said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.transport.abort()


async def connect(port: int) -> Peer:
    return Peer(*await asyncio.open_connection(HOST, port, limit=1 << 22))


async def websocket(port: int, path: str) -> Peer:
    peer = await connect(port)
    await peer.send(
        f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = await peer.reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in head:
        raise ConnectionError(head)
    return peer


def frame(head: int, data: bytes) -> bytes:
    """A masked frame; its mask is zero, so that the data stands as it is."""
    size = len(data)
    if size < 126:
        length = bytes([0x80 | size])
    else:
        length = b"\xfe" + size.to_bytes(2, "big") if size < 65536 else b"\xff" + size.to_bytes(8, "big")
    if size >= 1 << 16:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes([head]) + length + bytes(4) + data


def request(path: str, body: str = "", *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def again_and_again(attack: Callable[[], Awaitable[None]]) -> None:
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await attack()
        await asyncio.sleep(0.001)


async def many(count: int, attack: Callable[[], Awaitable[None]]) -> None:
    await asyncio.gather(*(again_and_again(attack) for _ in range(count)))


# --- over WebSocket ---


def _flood(piece: bytes, first: bytes = b"", *, connections: int = 1, read: bool = False) -> Attack:
    async def attack(port: int) -> None:
        async def once() -> None:
            peer = await websocket(port, f"/ws/stream?name=flood-{secrets.token_hex(3)}")
            reading = asyncio.create_task(_swallow(peer)) if read else None
            try:
                await peer.send(first)
                many_pieces = piece * (65536 // len(piece) + 1)
                while not peer.writer.transport.is_closing():
                    await peer.send(many_pieces)
            finally:
                if reading is not None:
                    reading.cancel()
                peer.close()

        await many(connections, once)

    return attack


async def _swallow(peer: Peer) -> None:
    while await peer.reader.read(1 << 20):
        pass


def _frames(make: Callable[[], bytes], a_second: float = 20) -> Attack:
    async def attack(port: int) -> None:
        data = frame(FIN | BINARY, make())

        async def once() -> None:
            peer = await websocket(port, "/ws/stream?name=expensive")
            reading = asyncio.create_task(_swallow(peer))
            try:
                while not reading.done():
                    await peer.send(data)
                    await asyncio.sleep(1 / a_second)
            finally:
                reading.cancel()
                peer.close()

        await again_and_again(once)

    return attack


def _case(name: str) -> Attack:
    return _frames(lambda: (CASES / pictures.CASES[name]).read_bytes())


async def _unfinished(port: int) -> None:
    async def once() -> None:
        peer = await websocket(port, "/ws/stream")
        await peer.send(frame(BINARY, bytes(9_900_000)))
        await _swallow(peer)
        peer.close()

    await many(60, once)


async def _never_reading(port: int) -> None:
    async def once() -> None:
        peer = await websocket(port, "/ws/live/good?picture=1")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while not peer.writer.transport.is_closing():
            await asyncio.sleep(1)
            await peer.send(frame(FIN | PONG, b""))

    await many(100, once)


# --- over HTTP ---


async def _pipeline(port: int) -> None:
    async def once() -> None:
        peer = await connect(port)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while True:
            await peer.send(request("/") * 500)

    await many(4, once)


async def _requests(port: int) -> None:
    async def once() -> None:
        peer = await connect(port)
        reading = asyncio.create_task(_swallow(peer))
        try:
            while not reading.done():
                await peer.send(request("/static/page.css"))
                await asyncio.sleep(0.01)
        finally:
            reading.cancel()
            peer.close()

    await many(32, once)


def _drips(count: int, first: bytes, every_s: float, drip: bytes = b"a") -> Attack:
    async def attack(port: int) -> None:
        async def once() -> None:
            peer = await connect(port)
            reading = asyncio.create_task(_swallow(peer))
            try:
                await peer.send(first)
                while not reading.done():
                    await asyncio.sleep(every_s)
                    if drip:
                        await peer.send(drip)
            finally:
                reading.cancel()
                peer.close()

        await many(count, once)

    return attack


def _endless(first: bytes, piece: bytes, connections: int = 4) -> Attack:
    async def attack(port: int) -> None:
        async def once() -> None:
            peer = await connect(port)
            try:
                await peer.send(first)
                pieces = piece * (65536 // len(piece) + 1)
                while True:
                    await peer.send(pieces)
            finally:
                peer.close()

        await many(connections, once)

    return attack


MULTIPART = "Content-Type: multipart/form-data; boundary=b"
CHUNKED = "Transfer-Encoding: chunked"


async def _upload_drips(port: int) -> None:
    predict = request("/predict", "--b\r\n", MULTIPART, "Content-Length: 9000000", method="POST")
    calibrate = request("/calibrate", "--b\r\n", MULTIPART, "Content-Length: 9000000", method="POST")
    await asyncio.gather(_drips(40, predict, 5)(port), _drips(4, calibrate, 5)(port))


async def _cookies(port: int) -> None:
    async def once() -> None:
        peer = await connect(port)
        cookie = 'Cookie: defectvision_access="' + "\\" * 60_000
        while True:
            await peer.send(request("/", "", cookie))
            if not await peer.reader.read(1 << 20):
                return

    await many(2, once)


async def _wrong_codes(port: int) -> None:
    async def once() -> None:
        peer = await connect(port)
        while True:
            await peer.send(request("/api/streams", "", f"Authorization: Bearer {secrets.token_hex(8)}"))
            if not await peer.reader.read(1 << 20):
                return

    await many(16, once)


async def _offers(port: int) -> None:
    import json

    from aiortc import RTCPeerConnection

    connection = RTCPeerConnection()
    connection.addTransceiver("video")
    connection.createDataChannel("results")
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription

    async def once() -> None:
        peer = await connect(port)
        while True:
            body = json.dumps({"sdp": offer.sdp, "type": "offer", "name": secrets.token_hex(4)})
            kind = "Content-Type: application/json"
            await peer.send(request("/webrtc/offer", body, kind, f"Content-Length: {len(body)}", method="POST"))
            if not await peer.reader.read(1 << 20):
                return

    await many(8, once)


ATTACKS: dict[str, Attack] = {
    "cookie of backslashes": _cookies,
    "wrong codes": _wrong_codes,
    "animated PNG": _case("animated PNG"),
    "JPEG of two sizes": _case("JPEG of two sizes"),
    "JPEG of many scans": _case("JPEG of many scans"),
    "JPEG of 64 megapixels": _frames(pictures.megapixels_64),
    "PNG of 64 megapixels, 16 bit RGBA": _frames(pictures.deep_png),
    "empty pings": _flood(frame(FIN | PING, b""), read=True),
    "empty pings, pongs never read": _flood(frame(FIN | PING, b"x" * 125), connections=4),
    "pongs": _flood(frame(FIN | PONG, b""), read=True),
    "fragments of a byte": _flood(frame(CONTINUATION, b"x"), frame(BINARY, b"x"), read=True),
    "empty messages": _flood(frame(FIN | BINARY, b""), read=True),
    "messages of 200 bytes": _flood(frame(FIN | BINARY, bytes(200)), read=True),
    "pings on 64 connections": _flood(frame(FIN | PING, b""), connections=64, read=True),
    "60 unfinished messages": _unfinished,
    "100 viewers that never read": _never_reading,
    "requests sent ahead, never read": _pipeline,
    "1,200 idle connections": _drips(1200, b"", 1, b""),
    "1,200 dripping heads": _drips(1200, b"GET / HTTP/1.1\r\nHost: ", 1),
    "endless heads": _endless(b"GET / HTTP/1.1\r\n", b"a: b\r\n"),
    "dripping uploads": _upload_drips,
    "endless body to a 404": _endless(
        request("/nothing", "", CHUNKED, method="POST"), b"10000\r\n" + bytes(65536) + b"\r\n"
    ),
    "body in chunks of a byte": _endless(request("/predict", "", CHUNKED, MULTIPART, method="POST"), b"1\r\na\r\n"),
    "WebRTC offers": _offers,
    "requests from 32 connections": _requests,
}
WITHOUT_CODE = ("cookie of backslashes", "wrong codes")


def missing(name: str) -> Path | None:
    """The file that an attack needs and that is not there."""
    path = CASES / pictures.CASES[name] if name in pictures.CASES else None
    return path if path is not None and not path.is_file() else None


async def main() -> None:
    name, port = sys.argv[1], int(sys.argv[2])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    await ATTACKS[name](port)
    raise SystemExit(f"{name} ended at {time.strftime('%X')}")


if __name__ == "__main__":
    asyncio.run(main())
