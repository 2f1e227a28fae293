"""Aravis' fake GigE Vision camera on loopback, one at a time on this machine: the protocol has one port."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.cameras.genicam.aravis import Library
from tests.equipment import GENICAM_PACKAGES
from tests.server.camera_fakes import wait_until

PROGRAM = "arv-fake-gv-camera-0.8"
ADDRESS = "127.0.0.1"
PORT = 3956


def has_aravis() -> bool:
    try:
        Library()
    except OSError:
        return False
    return shutil.which(PROGRAM) is not None


needs_aravis = pytest.mark.skipif(
    not has_aravis(), reason=f"needs Aravis and its fake camera: apt install {' '.join(GENICAM_PACKAGES)}"
)


@contextmanager
def the_only_one() -> Iterator[None]:
    """Wait until no other test on this machine has the port."""
    with Path(tempfile.gettempdir(), "defectvision-fake-gv-camera.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def fake_camera(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The camera Aravis-Fake-GV01: 512×512, Mono8 at 25 a second unless told otherwise."""
    command = [PROGRAM, "-i", ADDRESS, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: process.poll() is not None or _listens())
            assert process.poll() is None, "the fake camera did not start: is its port taken?"
            yield process
        finally:
            process.kill()


def _listens() -> bool:
    """By the system's list: trying the port would take it from the camera in the moment it wants it."""
    return any(f"0100007F:{PORT:04X}" in line for line in Path("/proc/net/udp").read_text().splitlines())


def processes_of(parent: int = os.getpid()) -> set[int]:
    """The far sides that run, by pid."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == parent and stat[0] != "Z" and b"genicam/far_side.py" in command:
                found.add(int(entry.name))
    return found
