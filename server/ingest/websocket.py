"""Frames in and messages out over WebSocket."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable

from starlette.websockets import WebSocket, WebSocketDisconnect

from server.inspection import Encoded
from server.parts import TriggerRefused
from server.streams import OpenStream, Streams, Subscription
from server.words import PartSaid, Role, TriggerAnswer, TriggerSaid, check_max_fps, check_name, encode, needs, read_said

UNREAD_S = 30.0
"""Seconds after which a peer that takes no message is gone. uvicorn's pings notice it too, but then wait until all that
was written is sent, which may be never: a frozen page would stay a viewer, and cost a picture of each frame."""

HEARTBEAT_S, SHORTEST_HEARTBEAT_S, LONGEST_HEARTBEAT_S = 5.0, 1.0, 60.0

POLICY_VIOLATION, TAKEN_OVER = 1008, 4001


class StreamSocket:
    """``WS /ws/stream``: a client sends frames and gets a message for each that was inspected. Between them it may say
    which part the next ones show, as text: ``{"part": ID}``, or that one is to be judged now: ``{"trigger": ID}``.

    Frames of more than ``max_pixels`` fail: one stream's cost the others' time and memory.
    """

    def __init__(self, streams: Streams, max_pixels: int) -> None:
        self._streams, self._max_pixels = streams, max_pixels

    @needs(Role.OPERATOR, "query")
    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            max_fps = check_max_fps(socket.query_params.get("max_fps"))
            name, heatmap = socket.query_params.get("name"), _wants_heatmap(socket)
            opened = self._streams.open(name, "websocket", max_fps, heatmap=heatmap)
        except ValueError as error:
            await socket.close(POLICY_VIOLATION, str(error))
            return
        try:
            await _first(self._receive(socket, opened), self._answer(socket, opened))
        finally:
            opened.close()

    async def _receive(self, socket: WebSocket, opened: OpenStream) -> None:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if data is not None:
                opened.offer(Encoded(data, self._max_pixels, opened.name))
                continue
            try:
                self._say(opened, read_said(message.get("text") or ""))
            except ValueError as error:
                await socket.close(POLICY_VIOLATION, str(error))
                return

    def _say(self, opened: OpenStream, said: PartSaid | TriggerSaid) -> None:
        if isinstance(said, PartSaid):
            opened.say_part(said.part)
            return
        number, refused = None, None
        try:
            if self._streams.get(opened.name) is not opened:
                raise TriggerRefused("another sender took over this stream name")
            number = self._streams.trigger(opened.name, said, "websocket")
        except TriggerRefused as error:
            refused = str(error)
        opened.push(encode(TriggerAnswer(opened.name, number, said.trigger, refused)))

    async def _answer(self, socket: WebSocket, opened: OpenStream) -> None:
        await _send(socket, opened.results())
        if opened.taken_over.is_set():
            await socket.close(TAKEN_OVER, "another sender took over this stream name")


class LiveSocket:
    """``WS /ws/live/NAME``: a client listens.

    It hears first how the stream is, then its last result once more, marked as repeated, then what comes, and between
    that a heartbeat every few seconds, whatever the stream does.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    @needs(Role.VIEWER, "path")
    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            name = check_name(socket.path_params["name"])
            every_s = _heartbeat_s(socket.query_params.get("heartbeat"))
        except ValueError as error:
            await socket.close(POLICY_VIOLATION, str(error))
            return
        hub = self._streams.hub
        picture = socket.query_params.get("picture") == "1"
        subscription = hub.subscribe(name, picture=picture, heatmap=_wants_heatmap(socket))
        subscription.push(encode(self._streams.status(name)))
        self._streams.repeat_last(name, subscription)
        beating = [self._beat(name, subscription, every_s)] if every_s else []
        try:
            await _first(_ignore(socket), _send(socket, subscription), *beating)
        finally:
            hub.unsubscribe(name, subscription)

    async def _beat(self, name: str, subscription: Subscription, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            subscription.push(encode(self._streams.heartbeat(name)), passes=True)


def _wants_heatmap(socket: WebSocket) -> bool:
    return socket.query_params.get("heatmap") != "0"


def _heartbeat_s(text: str | None) -> float:
    """Seconds between heartbeats; 0 for none.

    Raises:
        ValueError: it cannot be that.
    """
    if not text:
        return HEARTBEAT_S
    try:
        seconds = float(text) if len(text) < 10 else math.nan
    except ValueError:
        seconds = math.nan
    if seconds != 0 and not SHORTEST_HEARTBEAT_S <= seconds <= LONGEST_HEARTBEAT_S:
        raise ValueError(f"heartbeat is 0 (never), or {SHORTEST_HEARTBEAT_S:g} to {LONGEST_HEARTBEAT_S:g} seconds")
    return seconds


async def _send(socket: WebSocket, messages: Subscription) -> None:
    async for text in messages:
        try:
            async with asyncio.timeout(UNREAD_S):
                await socket.send_text(text)
        except TimeoutError:
            return
        except RuntimeError:
            return  # what uvicorn raises once it has given up a peer that answers no ping: gone, and no error


async def _ignore(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _first(*parts: Awaitable[None]) -> None:
    """Run the parts of a connection until the first ends, then stop the others. A peer that is gone is no error."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect | OSError):
            raise outcome
