"""Wrong bytes on a connection: requests, handshakes, control frames and fragments, by the thousand."""

from __future__ import annotations

from tests.fuzz.fuzzing import fuzz
from tests.server.web.peers import BINARY, CHUNKED, CLOSE, CONTINUATION, FIN, GET, PING, PONG, TEXT, frame, post

UPGRADE = (
    b"GET /ws/stream HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_wrong_bytes_raise_nothing_and_leave_nothing_behind() -> None:
    frames = [
        frame(FIN | BINARY, bytes(300)),
        frame(BINARY, b"a") + frame(FIN | PING, b"b") + frame(CONTINUATION, b"c") * 20 + frame(FIN | CONTINUATION),
        frame(FIN | PONG, bytes(125)) + frame(FIN | TEXT, b"hello") + frame(FIN | TEXT, b"\xff\xfe"),
        frame(FIN | PING) * 400,
        frame(BINARY, bytes(3900)),
        frame(FIN | CLOSE, b"\x03\xe8bye") + frame(FIN | BINARY, b"behind"),
    ]
    seeds = [
        GET * 3,
        GET * 40,
        post("/predict", "Content-Length: 10") + b"0123456789" + GET,
        post("/predict", CHUNKED, "Expect: 100-continue")
        + b"5\r\nhello\r\n1;a=b\r\nx\r\n0\r\nTrailer: a\r\n\r\n"
        + GET,
        UPGRADE,
        *(UPGRADE + some for some in frames),
        UPGRADE + b"".join(frames[:3]),
    ]
    tokens = [
        *(b"\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: websocket\r\n", b"HTTP/1.1", UPGRADE),
        *(b"ffffffffffffffff\r\n", b"\x89\x80\x00\x00\x00\x00", b"\x00\x80\x00\x00\x00\x00", b"\xff" * 8),
    ]
    fuzz(
        "tests.fuzz.targets:http_and_websocket",
        seeds,
        tokens=tokens,
        rounds=3000,
        seconds=8.0,
    )
