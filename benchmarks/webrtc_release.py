"""How long a frame takes from the camera to its result over WebRTC: stock aiortc against release at the
marker bit.

    python -m benchmarks.webrtc_release [SECONDS]

An aiortc sender and the ingest share this process and talk over loopback at 30 frames a second. Each frame
carries its number as a row of black and white blocks; the "inspection" reads it and answers with it. The
clock runs from the moment the picture is drawn to the moment its result is back, so encoding and decoding are
in it, and inference is not. Variants take turns, so that a busy machine is busy for both.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

import aioice.ice
import av
import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack
from numpy.typing import NDArray
from starlette.applications import Starlette

from server.ingest.webrtc import aiortc_receiver
from server.ingest.webrtc.ingest import WebRTCIngest
from server.streams import Waiting

WIDTH, HEIGHT, BITS = 640, 480, 16
BLOCK = WIDTH // BITS
ROUNDS = 2
WARM_UP = 15
"""Frames left out at the start of each connection."""


class Camera(VideoStreamTrack):
    """A part on a belt, with the frame's number above it."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[int, float] = {}
        noise = np.random.default_rng(0).integers(60, 200, (HEIGHT // 8, WIDTH // 4, 3), np.uint8)
        self._belt = np.kron(noise, np.ones((8, 8, 1), np.uint8))

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        number = len(self.drawn)
        self.drawn[number] = time.perf_counter()
        picture = self._belt[:, 2 * number % WIDTH :][:, :WIDTH].copy()
        for bit in range(BITS):
            picture[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = pts, time_base
        return frame


def read_number(picture: NDArray[np.uint8]) -> int:
    row = picture[BLOCK // 2, BLOCK // 2 :: BLOCK, 1] > 127
    return sum(1 << bit for bit in range(BITS) if row[bit])


class EchoStream:
    """Answers every frame with the number in it."""

    name = "benchmark"

    def __init__(self) -> None:
        self.taken_over = asyncio.Event()
        self._waiting: asyncio.Queue[Callable[[], NDArray[np.uint8]] | None] = asyncio.Queue()

    def offer(self, load: Callable[[], NDArray[np.uint8]]) -> None:
        self._waiting.put_nowait(load)

    def results(self) -> EchoStream:
        return self

    async def waiting(self) -> AsyncIterator[Waiting]:
        while (load := await self._waiting.get()) is not None:
            yield Waiting(str(read_number(await asyncio.to_thread(load))), passes=True)

    def fail(self, words: str) -> None:
        pass

    def close(self) -> None:
        self._waiting.put_nowait(None)


class EchoStreams:
    def open(self, name: str | None, transport: str, max_fps: float | None = None) -> EchoStream:
        return EchoStream()


async def latencies(http: httpx.AsyncClient, codec: str, seconds: float) -> list[float]:
    """Milliseconds from picture to result, of one connection."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    camera = Camera()
    measured: dict[int, float] = {}

    def note(text: str) -> None:
        measured[int(text)] = 1000 * (time.perf_counter() - camera.drawn[int(text)])

    connection.createDataChannel("results", ordered=False, maxRetransmits=0).on("message", note)
    connection.addTrack(camera)
    codecs = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.name == codec]
    connection.getTransceivers()[0].setCodecPreferences(codecs)
    await connection.setLocalDescription(await connection.createOffer())
    offer = {"sdp": connection.localDescription.sdp, "type": "offer"}
    answer = (await http.post("/webrtc/offer", json=offer)).raise_for_status().json()
    await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
    await asyncio.sleep(seconds)
    await connection.close()
    return [value for number, value in measured.items() if number >= WARM_UP]


async def main(seconds: float) -> None:
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    ingest = WebRTCIngest(EchoStreams())
    app = Starlette(routes=ingest.routes)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://benchmark") as http:
        for _ in range(ROUNDS):
            for codec in ("VP8", "H264"):
                for variant, misfit in (("stock", "measured as it is"), ("marker bit", None)):
                    aiortc_receiver.MISFIT = misfit
                    found[codec, variant] += await latencies(http, codec, seconds)
    await ingest.close()
    print("| codec | release | frames | median ms | p95 ms |\n|---|---|---|---|---|")
    for (codec, variant), values in found.items():
        p95 = statistics.quantiles(values, n=20)[-1]
        print(f"| {codec} | {variant} | {len(values)} | {statistics.median(values):.1f} | {p95:.1f} |")


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0))
