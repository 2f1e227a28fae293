"""Connections that say nothing, or half of a hello, lock nobody out."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest

pytest.importorskip("asyncua", reason="the extra opcua is not installed")

from server.sinks.opcua import bounded
from tests.server.fakes import until

ADDRESS = b"opc.tcp://127.0.0.1:4840"
HELLO = (
    b"HELF" + struct.pack("<I5I", 32 + len(ADDRESS), 0, 65536, 65536, 0, 0) + struct.pack("<I", len(ADDRESS)) + ADDRESS
)


@pytest.mark.parametrize("said", [b"", HELLO[:7], HELLO])
async def test_those_without_a_session_make_room(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    server = bounded.BoundedServer(open=True, user_manager=None)
    listening = bounded._BoundedBinary(server.iserver, "127.0.0.1", 0, server.limits)
    listening.cut, listening.may_be_open = server.cut, True
    listening.set_policies([])
    await listening.start()
    writers = []

    async def come(say: bytes) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        writers.append(writer)
        writer.write(say)
        return reader

    try:
        first = [await come(said) for _ in range(bounded.MOST_CONNECTIONS)]
        async with asyncio.timeout(30):
            await until(lambda: len(listening.clients) == bounded.MOST_CONNECTIONS)
            monkeypatch.setattr(bounded, "MAY_BE_PUSHED_OUT_S", 60.0)
            late = await come(b"")
            assert not await late.read(), "they have their time"
            monkeypatch.setattr(bounded, "MAY_BE_PUSHED_OUT_S", 0.0)
            assert (await (await come(HELLO)).readexactly(4)) == b"ACKF"
            with contextlib.suppress(ConnectionError):
                while await first[0].read(100):  # until it is closed
                    pass
        assert len(listening.clients) == bounded.MOST_CONNECTIONS
    finally:
        for writer in writers:
            writer.close()
        await listening.stop()
