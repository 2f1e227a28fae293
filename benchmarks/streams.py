"""How latency and service hold up when many cameras share the machine.

    python -m benchmarks.streams [--seconds 6]

Starts the real command in its own process on the simulated line's model (taught on the first run), then sends 640×480
JPEG frames at 30 frames/s from 1, 4, 8 and 16 WebSocket clients in this one. Senders and server share the cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import websockets

from detector.images import encode_jpeg
from server.simulated_line import good_frames
from tests.running import command, free_port

FRAMES_PER_SECOND = 30


async def camera(
    url: str, frames: list[bytes], seconds: float, latencies: list[float], per_second: float = FRAMES_PER_SECOND
) -> tuple[int, int]:
    """Send for so long; returns frames received and inspected."""
    last = {"received": 0, "inspected": 0}
    async with websockets.connect(url, compression=None) as socket:

        async def listen() -> None:
            async for text in socket:
                message = json.loads(text)
                latencies.append(message["latency_ms"])
                last.update(received=message["received"], inspected=message["inspected"])

        listening = asyncio.create_task(listen())
        start = time.perf_counter()
        for number in range(int(seconds * per_second)):
            await asyncio.sleep(max(0.0, start + number / per_second - time.perf_counter()))
            await socket.send(frames[number % len(frames)])
        listening.cancel()
    return last["received"], last["inspected"]


async def measure(port: int, clients: int, frames: list[bytes], seconds: float) -> str:
    """One row of the table."""
    latencies: list[float] = []
    urls = [f"ws://127.0.0.1:{port}/ws/stream?name=bench-{number}" for number in range(clients)]
    counts = await asyncio.gather(*(camera(url, frames, seconds, latencies) for url in urls))
    inspected = [count[1] for count in counts]
    latencies.sort()
    p95 = latencies[int(len(latencies) * 0.95)]
    return (
        f"| {clients} | {sum(inspected) / seconds:.0f} | {min(inspected) / seconds:.1f}–{max(inspected) / seconds:.1f} "
        f"| {statistics.median(latencies):.1f} | {p95:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    frames = [encode_jpeg(frame, quality=85)[0] for frame in good_frames(24)]
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        model = {"DATA_DIR": str(Path(folder) / "data")}
        with command(port, model, Path(folder)):
            pass  # the first start teaches the model
        with command(port, model | {"MODEL_PATH": str(Path(folder) / "data" / "simulated_line")}, Path(folder)):
            print("| clients at 30 fps | inspected/s, all | per stream, least–most | latency median ms | p95 ms |")
            print("|---|---|---|---|---|")
            for clients in (1, 4, 8, 16):
                print(asyncio.run(measure(port, clients, frames, arguments.seconds)), flush=True)


if __name__ == "__main__":
    main()
