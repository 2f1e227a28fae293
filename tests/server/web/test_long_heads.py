"""60 kB of anything in a request's head is answered at once, over a real socket and whatever parses it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.server.fakes import WAIT_S, FakeModel, http, serving

LONG = 60_000
HANDSHAKE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
HEADS = {
    "percent signs": (b"/static/" + b"%" * LONG, b"", b"414"),
    "folders": (b"/static/" + b"a/" * (LONG // 2), b"", b"414"),
    "parameters": (b"/api/streams?" + b"a&" * (LONG // 2), b"", b"414"),
    "cookie": (b"/health", b'Cookie: a="' + b"\\" * LONG + b'"\r\n', b"431"),
    "accept": (b"/", b"Accept: " + b"," * LONG + b"\r\n", b"431"),
    "range": (b"/static/favicon.svg", b"Range: bytes=" + b"0-1," * (LONG // 4) + b"\r\n", b"431"),
    "etags": (b"/static/favicon.svg", b"If-None-Match: " + b"," * LONG + b"\r\n", b"431"),
    "boundary": (b"/predict", b"Content-Type: multipart/form-data" + b";a=" * (LONG // 3) + b"\r\n", b"431"),
    "extensions": (b"/ws/stream", HANDSHAKE + b"Sec-WebSocket-Extensions: " + b"a;b," * (LONG // 4) + b"\r\n", b"431"),
    "protocols": (b"/ws/stream", HANDSHAKE + b"Sec-WebSocket-Protocol: " + b"a," * (LONG // 2) + b"\r\n", b"431"),
}


@pytest.mark.parametrize("name", HEADS)
async def test_it_is_refused_before_anybody_reads_it(name: str, model: FakeModel, tmp_path: Path) -> None:
    address, headers, status = HEADS[name]
    async with serving(model, tmp_path) as server, http(server) as client, asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET " + address + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + b"\r\n")
        line = await reader.readline()
        writer.close()
        assert line.split()[1:2] in ([status], [b"400"]), "400: another wall stood before"
        assert (await client.get("/health")).status_code == 200
