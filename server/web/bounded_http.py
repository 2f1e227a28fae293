"""HTTP as uvicorn speaks it, with bounds: a stranger, who has not shown the access code yet, costs little."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from server.access import KEEP_PLACE
from server.ground import Refusals
from server.web.connections import HEAD_S, LINGER_BYTES, LINGER_S, Connection
from server.web.pace import MAX_LAG_S, MIN_RATE, Lag, Rate, Turns

MAX_HEAD = 64 * 1024
"""Bytes of a request line with its headers, or of trailers behind a body."""

MAX_ADDRESS = 8192
"""Bytes of an address. Each of its percent signs costs microseconds before anybody looks at it."""

MAX_HEADERS = 128
"""Of one request. Looking for one in thousands, again and again, costs more than their bytes."""

MAX_PIPELINE = 16
"""Requests sent ahead on one connection while an earlier one is not answered."""

REQUESTS_A_SECOND, REQUESTS_AT_ONCE = 20.0, 40.0
"""Of one connection; above that each waits for the turn of others."""

MAX_PIECES, SMALL_PIECE = 4096, 64
"""So many chunks of a body, and one more for each so many bytes of it: chunks of a byte cost more than they bring."""


class BoundedHTTP(HttpToolsProtocol):
    """Hangs up on heads that are too large, too many headers, requests sent far ahead, bodies that drip, are cut into
    crumbs, or do not end though their answer has gone.

    uvicorn keeps headers without a limit, and its parser copies an unfinished one with every piece that comes; it
    queues any number of requests sent ahead, and swallows what comes behind an answer for ever.
    """

    def __init__(self, *, connection: Connection, turns: Turns, refusals: Refusals, **more: Any) -> None:
        super().__init__(**more)
        self._connection, self._turns, self._refusals = connection, turns, refusals
        self._requests = Rate(REQUESTS_A_SECOND, REQUESTS_AT_ONCE, self.loop.time())
        self._head_bytes = 0
        self._got_on = False
        self._head_since: float | None = None
        self._in_message = self._in_body = False
        self._lag = Lag()
        self._pieces = self._body_bytes = self._unheard = 0
        self._answered_at = 0.0
        self._why: tuple[int, str] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.made(transport)
        self._connection.protocol = self
        self._head_since = self.loop.time()
        super().connection_made(cast(asyncio.Transport, self._connection))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.lost()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.writing_paused()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._connection.writing_resumed()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._connection.is_closing():
            return
        self._got_on = False
        if self._head_since is None and not self._in_body:
            self._head_since = self.loop.time()
        self._lag.came(len(data))
        self._unset_keepalive_if_required()
        # As uvicorn does it, without its line in the log for each of those who send garbage.
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._stopped()
            return
        except httptools.HttpParserUpgrade:
            if not self._should_upgrade():
                return
            if self.cycle is None or self.cycle.response_complete:
                self.handle_websocket_upgrade()
            else:  # whose answer would be written between the frames
                self._why = 400, "a WebSocket was asked for before an earlier request was answered"
                self._stopped()
            return
        self._head_bytes = 0 if self._got_on else self._head_bytes + len(data)
        if self._head_bytes > MAX_HEAD:
            self._refuse(431, "the request's head is too large")

    def sweep(self, now: float) -> None:
        if self._head_since is not None and now - self._head_since > HEAD_S:
            if self._head_bytes or self._in_message:
                self._note("request head not complete in time")
                self._refuse(408, f"the request's head was not complete within {HEAD_S:g} s")
            else:
                self.transport.close()
        elif not self._in_body:
            return
        elif self._lag.too_slow(now, held_up=self.flow.read_paused):
            self._note("request body came too slowly")
            self._refuse(
                408,
                f"the body comes slower than {MIN_RATE // 1024} kB a second for {MAX_LAG_S:g} s: send it again, "
                "over a better connection",
            )
        elif self.cycle.response_complete and now - self._answered_at > LINGER_S:
            self.transport.close()

    # --- what the parser finds ---

    def on_message_begin(self) -> None:
        self._in_message = self._connection.expects_input = True
        self._head_since = self.loop.time()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_ADDRESS:
            self._give_up(414, f"the address is longer than {MAX_ADDRESS} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MAX_HEADERS:
            self._give_up(431, f"the request has more than {MAX_HEADERS} headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._got_on, self._head_since, self._in_body = True, None, True
        self._lag, self._pieces, self._body_bytes, self._unheard = Lag(), 0, 0, 0
        if len(self.pipeline) >= MAX_PIPELINE:
            self._give_up(429, f"more than {MAX_PIPELINE} requests were sent ahead")
        if self.cycle is None or self.cycle.response_complete:
            self._connection.idle()  # until it is known whose request it is
        self.scope["state"][KEEP_PLACE] = self._connection.working
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._got_on = True
        self._pieces += 1
        self._body_bytes += len(body)
        if self._pieces > MAX_PIECES + self._body_bytes // SMALL_PIECE:
            self._give_up(400, "the body comes in crumbs: send larger chunks")
        if self.cycle is not None and self.cycle.response_complete:
            self._unheard += len(body)
            if self._unheard > LINGER_BYTES:
                self._give_up(413, "the body goes on though it was answered")
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._got_on = True
        self._in_message = self._in_body = self._connection.expects_input = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._answered_at = self.loop.time()
        if not self.pipeline:
            self._connection.idle()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        start = partial(super()._start_asgi_task, cycle, app)
        if self._requests.take(self.loop.time()):
            self._turns.wait(start)
        else:
            start()

    # --- refusals ---

    def _give_up(self, status: int, words: str) -> None:
        """Stop the parser in the middle of what it was given."""
        self._why = status, words
        raise _GivenUp

    def _stopped(self) -> None:
        """The parser found something wrong, or gave up."""
        status, words = self._why or (400, "this is not HTTP")
        self._note(words)
        self._refuse(status, words)

    def _refuse(self, status: int, words: str) -> None:
        if self.transport.is_closing():
            return
        cycle = self.cycle
        in_work = cycle is not None and not cycle.response_complete
        if self.pipeline or (in_work and (cycle.response_started or not self._in_body)):
            self.pipeline.clear()
            self.transport.abort()  # in the middle of an answer there is no place for another
            return
        if cycle is not None and cycle.response_complete and self._in_body:
            self.transport.abort()  # it was answered already
            return
        body = json.dumps({"error": words}).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = [STATUS_LINE[status], *(b"%s: %s\r\n" % header for header in headers), b"\r\n", body]
        self.transport.write(b"".join(lines))
        if in_work:
            cycle.disconnected = True
            cycle.message_event.set()
        self._connection.expects_input = True
        self.transport.close()

    def _note(self, kind: str) -> None:
        self._refusals.note(kind, self._connection.source)


class _GivenUp(Exception):
    pass
