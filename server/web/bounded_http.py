"""HTTP as uvicorn speaks it, but for requests whose head never ends."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 64 * 1024
"""Bytes of a request line with its headers, or of trailers behind a body."""


class BoundedHTTP(HttpToolsProtocol):
    """Hangs up on a head that is too large.

    uvicorn keeps headers without a limit, and its parser copies an unfinished one with every piece that comes: a
    stranger, who has not shown the access code yet, could fill the memory and stop the event loop for seconds.
    """

    _head_bytes = 0
    _got_on = False

    def data_received(self, data: bytes) -> None:
        self._got_on = False
        super().data_received(data)
        self._head_bytes = 0 if self._got_on else self._head_bytes + len(data)
        if self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_headers_complete(self) -> None:
        self._got_on = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._got_on = True
        super().on_message_complete()
