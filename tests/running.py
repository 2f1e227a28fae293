"""Real servers for tests: in this process on a free loopback port, or as the command a user runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from server.https import Certificates
from server.serve import Server, configuration, listen
from server.settings import Settings

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("DEFECTVISION_TEST_DATA", ROOT.parent / "shared" / "data"))
"""Real pictures, never part of the project; tests that need them skip, saying so, where the folder is absent."""


@dataclass
class Running:
    """A server in this process: ``http`` and ``ws`` are its base addresses."""

    port: int
    server: uvicorn.Server
    task: asyncio.Task[None]

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def stop(self) -> float:
        """Shut down as a SIGTERM would; returns the seconds it took."""
        start = time.perf_counter()
        self.server.should_exit = True
        await self.task
        return time.perf_counter() - start


@contextlib.asynccontextmanager
async def running(
    app: ASGIApp, settings: Settings, certificates: Certificates | None = None, port: int = 0
) -> AsyncIterator[Running]:
    """Serve an application with the product's own uvicorn configuration; by default on a free port."""
    listening = listen("127.0.0.1", port)
    server = Server(configuration(app, settings, certificates))
    task = asyncio.create_task(server._serve([listening]))  # serve() would take over this process's signals
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.005)
    serving = Running(listening.getsockname()[1], server, task)
    try:
        yield serving
    finally:
        if not task.done():
            await serving.stop()
        listening.close()


@contextlib.contextmanager
def command(
    port: int,
    environment: dict[str, str],
    folder: Path,
    *arguments: str,
    module: str = "server.cli",
    healthy: bool = True,
) -> Iterator[subprocess.Popen[str]]:
    """``defectvision serve`` as a user starts it; stopped with SIGTERM afterwards.

    Args:
        port: to listen on, on 127.0.0.1.
        environment: settings; those of the caller's environment are left out.
        folder: where it is started.
        arguments: after ``serve``.
        module: what ``python -m`` runs.
        healthy: yield when it is ready to inspect; otherwise as soon as it answers.
    """
    clean = {name: value for name, value in os.environ.items() if name.lower() not in Settings.__dataclass_fields__}
    process = subprocess.Popen(
        [sys.executable, "-m", module, "serve", *arguments],
        env=clean | {"PORT": str(port), "PYTHONPATH": str(ROOT)} | environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_healthy(f"http://127.0.0.1:{port}", process, or_not=not healthy)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        finally:
            process.kill()


def wait_healthy(url: str, process: subprocess.Popen[str], within_s: float = 90, *, or_not: bool = False) -> None:
    """Wait until ``/health`` says ok (with ``or_not``: anything); fails when the process ends or the time is over."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            output = process.stdout.read() if process.stdout else ""
            raise AssertionError(f"the server ended with {process.returncode}:\n{output}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except urllib.error.HTTPError:
            if or_not:
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url}/health was not ok within {within_s} s")


def free_port() -> int:
    with listen("127.0.0.1", 0) as listening:
        return int(listening.getsockname()[1])
