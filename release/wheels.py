"""``python -m release.wheels [WHEEL]``: whether the wheel installs and runs from a clean environment on each Python.

For each: a new environment, the wheel and what it asks for, nothing else; ``defectvision serve`` from an empty folder
until ``/health`` is ok; page, script and picture are served; a frame sent over WebSocket gets its verdict; it stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import websockets

from release.build import NotReleased, build_twice

PYTHONS = ("3.11", "3.12", "3.13")
HEALTHY_S = 900
"""Teaching the simulated line takes 5 s of an idle machine, and minutes of a busy one."""
VERDICT_S = 60
STOPPED_S = 30


@dataclass(frozen=True)
class Trial:
    """How it went with one Python, in seconds."""

    python: str
    install_s: float
    healthy_s: float
    verdict_s: float
    verdict: str
    packages: int
    megabytes: int

    def __str__(self) -> str:
        return (
            f"Python {self.python}: installed in {self.install_s:.0f} s ({self.packages} packages, "
            f"{self.megabytes} MB), healthy after {self.healthy_s:.1f} s, a frame's verdict ({self.verdict}) after "
            f"{self.verdict_s:.2f} s, stopped"
        )


def interpreter(version: str) -> Path | None:
    """A Python of that version: on the PATH, or pyenv's."""
    on_path = shutil.which(f"python{version}")
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python3"))
    for path in [*([Path(on_path)] if on_path else []), *kept]:
        say = [str(path), "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"]
        asked = subprocess.run(say, capture_output=True, text=True, check=False)
        if asked.stdout.strip() == version:
            return path
    return None


def install(python: Path, wheel: Path, environment: Path) -> float:
    """A new environment with the wheel alone. Returns: the seconds it took."""
    began = time.monotonic()
    _run([str(python), "-m", "venv", str(environment)])
    _run([str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel)])
    return time.monotonic() - began


def try_out(python: Path, wheel: Path, folder: Path) -> Trial:
    """Install into ``folder/environment`` and run there.

    Raises: NotReleased where anything is not as it should be.
    """
    environment, empty = folder / "environment", folder / "empty"
    empty.mkdir(parents=True)
    install_s = install(python, wheel, environment)
    version = wheel.name.split("-")[1]
    command = str(environment / "bin" / "defectvision")
    if (said := _run([command, "--version"], empty)) != f"defectvision {version}":
        raise NotReleased(f"{command} --version says {said!r}, the wheel is {version}")
    packages = len(list(environment.glob("lib/*/site-packages/*.dist-info")))
    size = sum(path.stat().st_size for path in environment.rglob("*") if path.is_file() and not path.is_symlink())
    port = _free_port()
    address = f"127.0.0.1:{port}"
    with _serving(command, empty, port) as process:
        began = time.monotonic()
        _wait_healthy(address, process)
        healthy_s = time.monotonic() - began
        if _get(address, "/health")["version"] != version:
            raise NotReleased(f"/health says another version than {version}")
        _look_at(address)
        began = time.monotonic()
        verdict = asyncio.run(_verdict(address))
        verdict_s = time.monotonic() - began
    return Trial(
        _run([str(python), "-V"]).split()[-1], install_s, healthy_s, verdict_s, verdict, packages, round(size / 1e6)
    )


@contextlib.contextmanager
def _serving(command: str, empty: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(empty), "PORT": str(port), "DATA_DIR": str(empty / "data")}
    log = empty.parent / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command, "serve"], cwd=empty, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPED_S)
        except subprocess.TimeoutExpired as error:
            raise NotReleased(f"it did not stop within {STOPPED_S} s of SIGTERM") from error
    except NotReleased as error:
        raise NotReleased(f"{error}\n{log.read_text()[-3000:]}") from error
    finally:
        process.kill()
        process.wait()


def _wait_healthy(address: str, process: subprocess.Popen[bytes]) -> None:
    until, said = time.monotonic() + HEALTHY_S, "nothing"
    while time.monotonic() < until:
        if process.poll() is not None:
            raise NotReleased(f"the server ended with {process.returncode}")
        try:
            _get(address, "/health")
            return
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
        except OSError:  # it does not listen yet
            pass
        time.sleep(0.2)
    raise NotReleased(f"/health was not ok within {HEALTHY_S} s, but: {said}")


def _look_at(address: str) -> None:
    """The page, and every script, style and picture that it names."""
    page = _read(address, "/").decode()
    named = re.findall(r'(?:src|href)="(?:\./)?(/?static/[^"?]+)', page)
    if not named:
        raise NotReleased("the page names no script and no style")
    for path in [*{f"/{name.lstrip('/')}" for name in named}, "/openapi.json"]:
        if not _read(address, path):
            raise NotReleased(f"{path} is empty")


async def _verdict(address: str) -> str:
    """Send frames of noise until one is judged."""
    picture = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    _, frame = cv2.imencode(".jpg", picture)
    async with asyncio.timeout(VERDICT_S), websockets.connect(f"ws://{address}/ws/stream?name=trial") as stream:
        await stream.send(frame.tobytes())
        async for message in stream:
            said = json.loads(message)
            if said.get("type") == "result":
                return str(said["verdict"])
    raise NotReleased("the stream was closed before a verdict came")


def _get(address: str, path: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(_read(address, path))
    return found


def _read(address: str, path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        if path == "/health":
            raise  # not yet
        raise NotReleased(f"{path} was answered {error.code}") from error


def _run(command: list[str], folder: Path | None = None) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotReleased(f"{' '.join(command)} failed: {done.stderr.strip()[-800:]}")
    return done.stdout.strip()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def try_all(wheel: Path, folder: Path) -> tuple[list[Trial], list[str]]:
    """Returns: those that went well, and a line for each Python that there is none of here.

    Raises: NotReleased.
    """
    went, absent = [], []
    for version in PYTHONS:
        python = interpreter(version)
        if python is None:
            absent.append(f"Python {version}: none here, so not tried. Put python{version} on the PATH.")
            continue
        went.append(try_out(python, wheel, folder / version))
        print(went[-1], flush=True)
    return went, absent


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        try:
            wheel = Path(sys.argv[1]) if len(sys.argv) > 1 else build_twice(Path(folder) / "build")[-1]
            _, absent = try_all(wheel, Path(folder) / "trials")
        except NotReleased as error:
            print(f"Not released: {error}", file=sys.stderr)
            return 1
    print("\n".join(absent), file=sys.stderr)
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
