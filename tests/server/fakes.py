"""A detector whose speed and findings the tests decide, and a server that inspects with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from detector import Detection
from detector.input_size import square
from server.access import Access
from server.app import create_app
from server.settings import Settings
from server.words.messages import Heatmap, Message, PartResult, PartsBy, Result, Status, StreamState, encode
from tests.running import Running, running

THRESHOLD = 100.0
TEXT = 1
"""Opcode of a WebSocket frame."""
WAIT_S = 20.0
"""No test waits longer than this for what must come; a busy machine needs a moment."""


@dataclass(frozen=True)
class FakeManifest:
    """The little of it that the simulated line's teacher reads."""

    dataset_fingerprint: str = ""
    tensors_file: str = "fingerprint"
    backbone_files: tuple[str, ...] = ()


class FakeModel:
    """The anomaly map of a frame is its brightness on some cells: a picture above 100 is an anomaly.

    Attributes:
        gate: while it is not set, every ``detect`` waits.
        seconds: how long each ``detect`` takes.
        cells: rows and columns of the anomaly map.
        detected: how many frames it was given.
        fails: raised instead of an answer.
    """

    def __init__(self, *, hash: str = "a" * 64, runtime: str = "openvino", threshold: float = THRESHOLD) -> None:
        self.category, self.image_size, self.manifest = "fake part", 64, FakeManifest()
        self.input_size = square(64)
        self.hash, self.runtime, self.threshold = hash, runtime, threshold
        self.gate = threading.Event()
        self.gate.set()
        self.seconds = 0.0
        self.cells = 8
        self.detected = 0
        self.fails: Exception | None = None

    def detect(self, frame: NDArray[np.uint8]) -> Detection:
        self.detected += 1
        assert self.gate.wait(WAIT_S)
        time.sleep(self.seconds)
        if self.fails is not None:
            raise self.fails
        anomaly_map = cv2.resize(frame.max(axis=2), (self.cells, self.cells), interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
        return Detection(float(anomaly_map.max()), anomaly_map)


def picture(brightness: int = 50, *, suffix: str = ".jpg", width: int = 64, height: int = 48) -> bytes:
    """A grey picture file; its image score is its brightness."""
    grey = np.full((height, width, 3), brightness, np.uint8)
    return bytes(cv2.imencode(suffix, grey)[1].tobytes())


def part(brightness: int, number: int | None = None) -> bytes:
    """A picture of one of many parts, each unlike the others; its image score is its brightness."""
    cells = np.random.default_rng(brightness if number is None else number).integers(0, max(1, brightness), (8, 8))
    cells[3, 3] = brightness
    grey = np.kron(cells, np.ones((8, 8))).astype(np.uint8)
    return bytes(cv2.imencode(".png", np.dstack([grey] * 3))[1].tobytes())


def write_parts(folder: Path, brightnesses: Sequence[int]) -> Path:
    """A folder of pictures of different parts, for a pulled camera."""
    folder.mkdir(exist_ok=True)
    for number, brightness in enumerate(brightnesses):
        (folder / f"{number:03}.png").write_bytes(part(brightness, number))
    return folder


RESULT = Result(
    stream="a",
    seq=0,
    score=0.5,
    raw_score=1.0,
    threshold=1.0,
    threshold_source="model",
    is_anomaly=False,
    verdict="NORMAL",
    received=1,
    inspected=1,
    dropped=0,
    failed=0,
    anomalies=0,
    latency_ms=1.0,
    at="2026-11-26T10:00:00.000+00:00",
    recipe="given-1",
    recipe_version=1,
    model="a" * 64,
    heatmap=Heatmap(1, 1, "gA=="),
)
"""A result as a stream gives it."""


def status(name: str, state: StreamState) -> Status:
    """What listeners of a stream hear while the quick detector is in use, and nothing was calibrated."""
    by: PartsBy | msgspec.UnsetType = msgspec.UNSET if state == "waiting" else "line"
    return Status(name, state, recipe="given-aaaaaaaaaaaa", recipe_name="fake part", recipe_version=1, parts_by=by)


GOOD, BAD = picture(50), picture(150)
BROKEN = b"this is not a picture"


@contextlib.asynccontextmanager
async def serving(model: FakeModel | Callable[[], Any], data_dir: Path, **settings: Any) -> AsyncIterator[Running]:
    """A server on a free loopback port that inspects with this model, or with what a function makes, once it is ready.

    With a function it is handed over at once: its model may never come.
    """
    # A busy machine may take seconds over what should take milliseconds; no frame gets too old meanwhile.
    chosen = replace(Settings(data_dir=data_dir, max_frame_age_ms=1e6), **settings)
    app = create_app(chosen, make_model=(lambda: model) if isinstance(model, FakeModel) else model)  # type: ignore[arg-type, return-value]
    async with running(app, chosen) as server:
        if isinstance(model, FakeModel):
            await healthy(server)
        yield server


def asked_by_anybody(app: ASGIApp) -> ASGIApp:
    """Routes alone, without the access check, as an open server has them."""
    standing = Access(Path("nowhere"), closed=False).open_to_all

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {"standing": standing}}, receive, send)

    return asked


def http(server: Running) -> httpx.AsyncClient:
    """A client of a server; it costs 30 ms to look for certificates it does not need, so it does not."""
    return httpx.AsyncClient(base_url=server.http, verify=False, trust_env=False, timeout=WAIT_S)


async def healthy(server: Running, status: int = 200) -> dict[str, Any]:
    """Wait until ``/health`` answers with this status code; returns its body."""
    async with http(server) as client, asyncio.timeout(WAIT_S):
        while (answer := await client.get("/health")).status_code != status:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        body: dict[str, Any] = answer.json()
        return body


async def until(condition: Callable[[], bool], within_s: float = WAIT_S) -> None:
    """Wait for a condition; fails when it does not come true in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def listed(server: Running, name: str) -> dict[str, Any] | None:
    """What ``/api/streams`` says of one stream now."""
    async with http(server) as client:
        streams = (await client.get("/api/streams")).json()["streams"]
        return next((stream for stream in streams if stream["name"] == name), None)


async def listed_when(
    server: Running, name: str, condition: Callable[[dict[str, Any] | None], bool]
) -> dict[str, Any] | None:
    """Wait until ``/api/streams`` says of a stream what the condition wants."""
    async with asyncio.timeout(WAIT_S):
        while not condition(stream := await listed(server, name)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return stream


_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def read(text: str | bytes) -> Message:
    """A message from the server, which must be exactly what ``server.words`` defines: no field more, none less."""
    assert isinstance(text, str)
    message = _decoder.decode(text)
    assert encode(message) == text
    return message


async def receive(connection: ClientConnection) -> Message:
    """The next message."""
    async with asyncio.timeout(WAIT_S):
        return read(await connection.recv())


async def receive_result(connection: ClientConnection) -> Result:
    """The next result; what is said of whole parts between them is passed over."""
    message = await receive(connection)
    while isinstance(message, PartResult):
        message = await receive(connection)
    assert isinstance(message, Result), message
    return message


async def close_code(connection: ClientConnection) -> int:
    """The code the server closes a connection with, once it does."""
    async with asyncio.timeout(WAIT_S):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
        await connection.wait_closed()
    assert connection.close_code is not None
    return connection.close_code


async def send_all(connection: ClientConnection, frames: list[bytes]) -> None:
    for frame in frames:
        await connection.send(frame)


async def stuck_listener(server: Running, name: str) -> socket.socket:
    """A listener with a small receive buffer that has read the handshake and reads nothing more."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(listener, ("127.0.0.1", server.port))
    request = (
        f"GET /ws/live/{name} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(listener, request.encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await asyncio.wait_for(loop.sock_recv(listener, 1), WAIT_S)
    assert answer.startswith(b"HTTP/1.1 101")
    return listener


async def read_all(listener: socket.socket, last_seq: int) -> list[dict[str, Any]]:
    """The JSON messages a raw listener gets, up to the result of the last frame."""
    loop, data, messages = asyncio.get_running_loop(), b"", list[dict[str, Any]]()
    with listener:
        while not messages or messages[-1].get("seq") != last_seq:
            data += (received := await asyncio.wait_for(loop.sock_recv(listener, 1 << 20), WAIT_S))
            assert received, "the server closed the connection"
            while (frame := _first_frame(data)) is not None:
                opcode, payload, data = frame
                if opcode == TEXT:
                    messages.append(json.loads(payload))
    return messages


def _first_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Opcode and payload of the first WebSocket frame from a server, and what follows it; None while incomplete."""
    if len(data) < 10:
        return None
    length, start = data[1], 2
    if length == 126:
        length, start = int.from_bytes(data[2:4], "big"), 4
    elif length == 127:
        length, start = int.from_bytes(data[2:10], "big"), 10
    if len(data) < start + length:
        return None
    return data[0] & 15, data[start : start + length], data[start + length :]
