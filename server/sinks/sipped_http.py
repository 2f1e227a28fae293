"""Asking a foreign HTTP server on the event loop: of its answer little is read, and of that little at once.

h11 parses all that one read brought before the loop gets its next turn: 64 kB hold thousands of ``100 Continue`` or of
chunks of one byte. Imported where a webhook runs alone: httpx is an extra.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

MOST_OF_ANSWER = 16_384
"""Bytes of an answer that are read, its head and body together."""
SIP = 512
"""Bytes between two turns of the loop: some 20 answers of nothing, parsed within 2 ms."""


class TooLong(Exception):
    """An answer has no end within its bound."""


@dataclass
class Allowance:
    """Bytes that may be read yet of the answer that is awaited."""

    left: int = 0


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream, allowance: Allowance) -> None:
        self._stream, self._allowance = stream, allowance

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._allowance.left <= 0:
            raise TooLong
        await asyncio.sleep(0)  # what has come already is handed out without a turn of the loop's
        data = await self._stream.read(min(max_bytes, SIP, self._allowance.left), timeout)
        self._allowance.left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._allowance)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Network(httpcore.AsyncNetworkBackend):
    def __init__(self, allowance: Allowance) -> None:
        self._network, self._allowance = httpcore.AnyIOBackend(), allowance

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._allowance)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


@dataclass(frozen=True)
class Answer:
    """``retry_after``: that header's text, empty where there is none."""

    status: int
    retry_after: str


class Client:
    """One connection to one server, kept from one request to the next. As :func:`client` makes it.

    No cookies, redirects, proxies or decoding.
    """

    def __init__(self, pool: httpcore.AsyncConnectionPool, allowance: Allowance) -> None:
        self._pool, self._allowance = pool, allowance

    async def post(
        self, url: str, headers: dict[str, str], body: bytes, *, within_s: float, body_within_s: float
    ) -> Answer:
        """POST, and what the answer's head says. Its body is read for a while, so that the connection can be used
        again, and means nothing.

        Args:
            within_s: from the connection to the answer's head; ``body_within_s``: from there to its end.

        Raises:
            TimeoutError, httpcore.TimeoutException: no answer within its time.
            TooLong: its head does not end within :data:`MOST_OF_ANSWER` bytes.
            httpcore.NetworkError, httpcore.ProtocolError, OSError: there was no way, or no HTTP.
            httpx.InvalidURL, ValueError: there is no such address.
        """
        async with asyncio.timeout(within_s):
            request = httpx.Request("POST", url, headers=headers, content=body)  # it knows hosts in all languages
            where = request.url
            self._allowance.left = MOST_OF_ANSWER
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    "POST",
                    httpcore.URL(scheme=where.raw_scheme, host=where.raw_host, port=where.port, target=where.raw_path),
                    headers=request.headers.raw,
                    content=body,
                    extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), within_s)},
                )
            )
        try:
            with contextlib.suppress(TimeoutError, TooLong, httpcore.NetworkError, httpcore.ProtocolError, OSError):
                async with asyncio.timeout(body_within_s):
                    async for _ in answer.aiter_stream():
                        pass
        finally:
            await answer.aclose()
        found = [value for name, value in answer.headers if name.lower() == b"retry-after"]
        return Answer(answer.status, found[0].decode("latin-1") if found else "")


@contextlib.asynccontextmanager
async def client(context: ssl.SSLContext | None) -> AsyncIterator[Client]:
    """A client; ``context``: for https."""
    allowance = Allowance()
    async with httpcore.AsyncConnectionPool(
        ssl_context=context,
        max_connections=1,
        max_keepalive_connections=1,
        keepalive_expiry=30,
        network_backend=_Network(allowance),
    ) as pool:
        yield Client(pool, allowance)
