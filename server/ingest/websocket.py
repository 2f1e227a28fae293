"""Frames in and messages out over WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial

from starlette.websockets import WebSocket, WebSocketDisconnect

from detector.images import decode
from server.streams import OpenStream, Streams, Subscription
from server.words import check_max_fps, check_name, encode

UNREAD_S = 30.0
"""Seconds after which a peer that takes no message is gone. uvicorn's pings notice it too, but then wait until all that
was written is sent, which may be never: a frozen page would stay a viewer, and cost a picture of each frame."""

POLICY_VIOLATION, TAKEN_OVER = 1008, 4001


class StreamSocket:
    """``WS /ws/stream``: a client sends frames and gets a message for each that was inspected.

    Frames of more than ``max_pixels`` fail: one stream's cost the others' time and memory.
    """

    def __init__(self, streams: Streams, max_pixels: int) -> None:
        self._streams, self._max_pixels = streams, max_pixels

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            max_fps = check_max_fps(socket.query_params.get("max_fps"))
            opened = self._streams.open(socket.query_params.get("name"), "websocket", max_fps)
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
            if data is None:
                await socket.close(POLICY_VIOLATION, "send each frame as one binary message, not as text")
                return
            opened.offer(partial(decode, data, max_pixels=self._max_pixels))

    async def _answer(self, socket: WebSocket, opened: OpenStream) -> None:
        await _send(socket, opened.results())
        if opened.taken_over.is_set():
            await socket.close(TAKEN_OVER, "another sender took over this stream name")


class LiveSocket:
    """``WS /ws/live/NAME``: a client listens."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            name = check_name(socket.path_params["name"])
        except ValueError as error:
            await socket.close(POLICY_VIOLATION, str(error))
            return
        hub = self._streams.hub
        subscription = hub.subscribe(name, picture=socket.query_params.get("picture") == "1")
        subscription.push(encode(self._streams.status(name)))
        try:
            await _first(_ignore(socket), _send(socket, subscription))
        finally:
            hub.unsubscribe(name, subscription)


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
