"""What the measurements from a trigger to its result share: a server that is triggered, and their rows."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import detector
from detector.images import encode_jpeg
from server.simulated_line import good_frames
from tests.running import command, free_port

GOAL_MS = 20.0
PRESS = "press"


def row(name: str, times: list[tuple[float, float]]) -> str:
    (whole, whole_95), (beyond, beyond_95) = (np.percentile(values, (50, 95)) for values in zip(*times, strict=True))
    return f"| {name} ({len(times)}) | {whole:.1f} | {whole_95:.1f} | {beyond:.1f} | {beyond_95:.1f} |"


def client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60)


async def prepare(port: int, sink: dict[str, Any]) -> None:
    """Parts by trigger, and a way out."""
    async with client(port) as asking:
        (recipe,) = (await asking.get("/api/recipes")).json()["recipes"]
        parts = {"by": "trigger", "within_ms": 60_000}
        answer = await asking.patch(f"/api/recipes/{recipe['id']}", json={"version": recipe["version"], "parts": parts})
        answer.raise_for_status()
        (await asking.post("/api/sinks", json={"enabled": True, **sink})).raise_for_status()


def main(
    words: str | None,
    rounds: int,
    flood: Callable[[int], Awaitable[None]],
    measure: Callable[[int, int, bytes, int], Awaitable[None]],
    **settings: str,
) -> None:
    """The command of one of them.

    Args:
        flood: run instead, in a process of its own, with a port.
        measure: asked with the server's port, a free one for its way out, a JPEG, and how many rounds.
        settings: of the server.
    """
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--flood", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    async def run(work: Awaitable[None]) -> None:
        await work

    if arguments.flood:
        asyncio.run(run(flood(arguments.flood)))
        return
    frame = encode_jpeg(next(iter(good_frames(1))), quality=85)[0]
    with tempfile.TemporaryDirectory() as folder:
        port, out = free_port(), free_port()
        model = arguments.model or Path(folder) / "model"
        if arguments.model is None:
            detector.fit(list(good_frames(24)), category="simulated").save(model)
        environment = {"DATA_DIR": str(Path(folder) / "data"), "MODEL_PATH": str(model), **settings}
        with command(port, environment, Path(folder)):
            asyncio.run(run(measure(port, out, frame, arguments.rounds)))
