"""``--pool ray`` as a user starts it: a cluster of its own on this machine, which nobody else reaches or sees."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, run

import pytest

from benchmarks.killed import children_of, is_alive
from tests.running import command, free_port, wait_healthy
from tests.server.fakes import WAIT_S, until
from tests.sockets import sockets_of

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

PATIENCE_S = 300.0
"""On a busy machine Ray gives up several times, and is asked again."""


@dataclass
class Served:
    """The server, and the processes of its cluster."""

    process: Popen[str]
    url: str
    data: Path

    @property
    def processes(self) -> list[int]:
        return [self.process.pid, *children_of(self.process.pid)]


@pytest.fixture(scope="module")
def served(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    settings = {"DATA_DIR": str(folder / "data"), "MODEL_PATH": str(model_folder)}
    settings |= {"POOL": "ray", "RAY_REPLICAS": "1", "RAY_CPUS": "0.5"}
    with command(port, settings, folder, healthy=False) as process:
        served = Served(process, f"http://127.0.0.1:{port}", folder / "data")
        wait_healthy(served.url, process, PATIENCE_S)
        yield served


def test_it_inspects_on_a_replica(served: Served) -> None:
    with urllib.request.urlopen(f"{served.url}/metrics", timeout=WAIT_S) as answer:
        assert "defectvision_replicas_ready 1.0" in answer.read().decode().splitlines()
    commands = {Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")[0] for one in served.processes}
    assert b"ray::OnRay" in {name[:10] for name in commands}


def test_nobody_else_reaches_its_ports_and_it_connects_nowhere_else(served: Served) -> None:
    sockets = [*sockets_of(served.processes)]
    assert len({one.process for one in sockets if one.listens}) >= 5, "gateway, GCS, raylet, agents, replica"
    assert [one for one in sockets if not one.address.is_loopback] == []
    assert [one for one in sockets if not one.listens and not one.peer.is_loopback] == []


def test_who_is_on_this_machine_needs_the_secret_of_this_user(served: Served) -> None:
    secret = served.data / "ray" / "auth_token"
    assert secret.stat().st_mode & 0o077 == 0
    (gcs,) = [one for one in served.processes if b"/gcs_server\0" in Path(f"/proc/{one}/cmdline").read_bytes()]
    (port,) = {one.port for one in sockets_of([gcs]) if one.listens}
    ask = f"from ray._raylet import GcsClient; print(GcsClient('127.0.0.1:{port}').check_alive([], 5))"
    without = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"HOME": "/"}
    asked = run([sys.executable, "-c", ask], env=without, capture_output=True, text=True, timeout=60)
    assert asked.returncode == 1 and "nauthenticated" in asked.stderr, asked.stderr
    assert b"RAY_USAGE_STATS_ENABLED=0" in Path(f"/proc/{gcs}/environ").read_bytes()


def test_nothing_of_it_asks_in_which_cloud_it_is(served: Served) -> None:
    """Ray's process for the dashboard would, also where there is none."""
    commands = [Path(f"/proc/{one}/cmdline").read_bytes() for one in served.processes]
    assert any(b"gcs_server" in one for one in commands)
    assert not [one for one in commands if b"dashboard.py" in one]


async def test_a_signal_ends_it_cleanly_and_all_that_it_started(served: Served) -> None:
    started = served.processes[1:]
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(WAIT_S) == 0
    await until(lambda: not any(is_alive(one) for one in started))
    assert served.process.stdout is not None
    said = served.process.stdout.read()
    assert "SIGTERM" not in said and "(raylet)" not in said, "Ray prints nothing between the lines of our log"


async def test_a_signal_while_ray_starts_ends_it_too(model_folder: Path, tmp_path: Path) -> None:
    port = free_port()
    settings = {"DATA_DIR": str(tmp_path / "data"), "MODEL_PATH": str(model_folder), "POOL": "ray"}
    with command(port, settings, tmp_path, healthy=False) as process:
        await until(lambda: len(children_of(process.pid)) >= 2, PATIENCE_S)
        started = children_of(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
        await until(lambda: not any(is_alive(one) for one in started))
