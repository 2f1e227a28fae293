"""WebSocket as uvicorn speaks it, with bounds on what one connection may make the event loop do."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from server.ground import Refusals
from server.web.connections import Connection
from server.web.held import Held, Share
from server.web.pace import MAX_LAG_S, MIN_RATE, Lag, Rate, Turns

POLICY_VIOLATION, COME_BACK, TRY_AGAIN_LATER = 1008, 1012, 1013

CRUMB = 64
"""Bytes below which a message or fragment cannot be a picture, nor a sensible part of one."""

CRUMBS_A_SECOND, CRUMBS_AT_ONCE = 100.0, 300.0
"""Control frames and tiny fragments. Clients that mean well send one now and then; above that the connection is
closed."""

TINY_A_SECOND, TINY_AT_ONCE = 100.0, 1000.0
"""Messages too small for a picture; above that the connection is closed."""

MESSAGES_A_SECOND, MESSAGES_AT_ONCE = 500.0, 500.0
"""Messages; above that they are read later, and the sender has to wait."""

MAX_FRAGMENTS = 4096
"""Of one message."""

FRAMES_A_TURN = 16
"""Frames read before others get their turn on the event loop."""


_WORDS = b'{"error": "this is no WebSocket handshake: it is a GET request without a body"}'
NO_HANDSHAKE = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
    % (len(_WORDS), _WORDS)
)


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Reads frame by frame, only as fast as the application takes messages, and a few frames a turn of the event loop.

    uvicorn parses whatever came at once: a quarter of a megabyte of empty pings holds the event loop for half a second,
    and their pongs are written though nobody reads them. Here frames wait in ``_unread`` until their turn; while any
    do, nothing more is read from the socket.
    """

    def __init__(self, *args: Any, messages_held: Held, turns: Turns, refusals: Refusals, **more: Any) -> None:
        super().__init__(*args, **more)
        self._held, self._turns, self._refusals = messages_held, turns, refusals
        self._share: Share | None = None
        self._unread = bytearray()
        self._frame_left = 0
        self._message_bytes = self._fragments = 0
        self._writing_paused = False
        self._later: asyncio.TimerHandle | None = None
        self._awaits_turn = False
        now = self.loop.time()
        self._crumbs = Rate(CRUMBS_A_SECOND, CRUMBS_AT_ONCE, now)
        self._tiny = Rate(TINY_A_SECOND, TINY_AT_ONCE, now)
        self._messages = Rate(MESSAGES_A_SECOND, MESSAGES_AT_ONCE, now)
        self._lag = Lag()

    @property
    def _connection(self) -> Connection:
        return cast(Connection, self.transport)

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection = self._connection
        connection.protocol = self
        self._share = self._held.share(connection.source)
        self._share.let_go = self._let_go

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading()
        self._connection.lost()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._connection.writing_paused()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._connection.writing_resumed()
        super().resume_writing()
        self._advance()

    def sweep(self, now: float) -> None:
        if not self._message_bytes and not self._frame_left:
            self._lag = Lag()
        elif self._lag.too_slow(now, held_up=self._held_up or self._waits):
            self._fail(
                POLICY_VIOLATION,
                "message comes too slowly",
                f"a message came slower than {MIN_RATE // 1024} kB a second for {MAX_LAG_S:g} s",
            )

    # --- reading ---

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
            if self.conn.handshake_exc is not None and not self.handshake_initiated:
                # What websockets refuses before it looks for a handshake (a header over 8 kB, a body, a POST), with an
                # answer or without one, and uvicorn forgets to say.
                self.transport.write(b"".join(self.conn.data_to_send()) or NO_HANDSHAKE)
                self._connection.expects_input = True
                self.transport.close()
            return
        self._lag.came(len(data))
        self._unread += data
        if self._waits:
            self.transport.pause_reading()
        else:
            self._advance()

    @property
    def _waits(self) -> bool:
        """Whether it goes on by itself, later."""
        return self._later is not None or self._awaits_turn

    @property
    def _held_up(self) -> bool:
        """Whether nothing is read because of us: nobody takes what came, or the peer does not take what we answer."""
        return self.read_paused or self._writing_paused or not self.handshake_complete

    def _go_on(self) -> None:
        self._later, self._awaits_turn = None, False
        self._advance()

    def _advance(self) -> None:
        """Read what came, as far as may be now."""
        if self._waits:
            return
        frames = 0
        while self._unread and not self._held_up and not self.transport.is_closing():
            if not self._frame_left and (wait := self._wait_for_frame()) is not None:
                if wait:
                    self._later = self.loop.call_later(wait, self._go_on)
                break
            if frames >= FRAMES_A_TURN:
                self._awaits_turn = True
                self._turns.wait(self._go_on)
                break
            frames += 1
            self._read_frame()
        if self.conn.writes and not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()))  # the pongs
        if self._share is not None:
            self._share.resize(self._message_bytes if not self.transport.is_closing() else 0)
        if self.transport.is_closing():
            return
        if self._held_up or self._waits:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _wait_for_frame(self) -> float | None:
        """Look at the head of the next frame: None when it may be read, else seconds to wait; 0 until more comes."""
        head = _head(self._unread)
        if head is None:
            return 0.0
        opcode, fin, self._head_length, length = head
        now = self.loop.time()
        control, whole = opcode >= Opcode.CLOSE, fin and opcode != Opcode.CONT
        if (control or (length < CRUMB and not whole)) and self._crumbs.take(now):
            self._fail(
                POLICY_VIOLATION,
                "too many control frames or tiny fragments",
                f"more than {CRUMBS_A_SECOND:g} control frames or tiny fragments a second",
            )
            return 0.0
        if not control and whole and length < CRUMB and self._tiny.take(now):
            self._fail(
                POLICY_VIOLATION,
                "too many tiny messages",
                f"more than {TINY_A_SECOND:g} messages under {CRUMB} bytes a second",
            )
            return 0.0
        if not control:
            if self._fragments >= MAX_FRAGMENTS:
                self._fail(
                    POLICY_VIOLATION, "message in too many fragments", f"a message in over {MAX_FRAGMENTS} fragments"
                )
                return 0.0
            if fin and length >= CRUMB and (wait := self._messages.take(now)):
                return wait
            self._fragments = 0 if fin else self._fragments + 1
        self._control, self._fin = control, fin
        self._frame_left = self._head_length + length
        return None

    _control = False
    _fin = False
    _head_length = 0

    def _read_frame(self) -> None:
        """Hand what is there of the frame to the protocol."""
        if len(self._unread) <= self._frame_left:
            piece, self._unread = self._unread, bytearray()
        else:
            piece = self._unread[: self._frame_left]
            del self._unread[: self._frame_left]
        self._frame_left -= len(piece)
        if not self._control:
            self._message_bytes = 0 if self._fin and not self._frame_left else self._message_bytes + len(piece)
        super().data_received(cast(bytes, piece))

    def _stop_reading(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._unread.clear()
        if self._share is not None:
            self._share.release()

    # --- the application ---

    async def receive(self) -> ASGIReceiveEvent:
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self._advance()
        return message

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._connection.expects_input = True
            self._connection.working()
        if message["type"] in ("websocket.accept", "websocket.close"):
            self._advance()

    def handle_ping(self) -> None:
        pass  # answered in one piece with those that came together

    def handle_close(self, event: Frame) -> None:
        self._connection.expects_input = False
        super().handle_close(event)

    def shutdown(self) -> None:
        if self.handshake_complete and not self.close_sent and self.conn.state is not State.OPEN:
            # Its peer closes at this moment: uvicorn would close it once more, fail, and the server's end with it.
            self.stop_keepalive()
            self.queue.put_nowait({"type": "websocket.disconnect", "code": COME_BACK})
            self.transport.close()
            return
        super().shutdown()

    # --- refusals ---

    def _let_go(self) -> None:
        self._fail(TRY_AGAIN_LATER, "unfinished messages", "too many unfinished messages at once: try again")

    def _fail(self, code: int, kind: str, reason: str) -> None:
        self._stop_reading()
        if self.transport.is_closing():
            return
        self._refusals.note(f"WebSocket closed: {kind}", self._connection.source)
        if self.close_sent:
            self.transport.abort()
            return
        self.stop_keepalive()
        self.conn.fail(code, reason)
        self.handle_parser_exception()


def _head(data: bytearray) -> tuple[int, bool, int, int] | None:
    """Opcode, FIN, and the bytes of head and payload of the frame that begins here; None while its head is not whole.

    What is wrong with it is found by the protocol itself when it is read.
    """
    if len(data) < 2:
        return None
    length, at = data[1] & 0x7F, 2
    if length >= 126:
        more = 2 if length == 126 else 8
        if len(data) < at + more:
            return None
        length, at = int.from_bytes(data[at : at + more], "big"), at + more
    return data[0] & 0x0F, bool(data[0] & 0x80), at + (4 if data[1] & 0x80 else 0), length
