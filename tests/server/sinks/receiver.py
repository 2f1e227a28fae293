"""A receiver of webhooks over real HTTP, whose answers the tests decide."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def plainly(status: int, *headers: str, body: bytes = b"") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(head).encode() + body)
        await writer.drain()

    return answer


async def never(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def without_end(writer: asyncio.StreamWriter) -> None:
    """A body that goes on for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def drips(writer: asyncio.StreamWriter) -> None:
    """A body whose end never comes."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
    await writer.drain()
    await asyncio.Event().wait()


async def breaks_off(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def garbage(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\0\xff" * 4000)
    await writer.drain()


def floods(head: bytes, piece: bytes) -> Answer:
    """For ever the same, as fast as it is taken."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece * (64_000 // len(piece) + 1))
            await writer.drain()

    return answer


@dataclass
class Receiver:
    """``answers``: of the next requests, the last one for ever; ``got``: headers in lower case, and body, of each."""

    answers: list[Answer] = field(default_factory=lambda: [plainly(204)])
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhooks"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers["content-length"]))
                answer = self.answers[min(len(self.got), len(self.answers) - 1)]
                self.got.append(({"request": head[0]} | headers, body))
                await answer(writer)
        writer.close()


@contextlib.asynccontextmanager
async def receiving(*answers: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver([*answers] or [plainly(204)])
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(receiver.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in [*tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
