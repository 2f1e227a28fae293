"""What is said, and left behind, where Ray fails; with a stand-in for Ray, which is slow to start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detector.extras import to_install
from server.replicas.choice import ReplicasWanted
from server.replicas.cluster import Gone, NoCluster
from server.replicas.ray_cluster import SETTINGS, RayCluster, RayPeer, _words, prepare_own
from server.serve import listen
from tests.running import free_port
from tests.server.fakes import FakeModel
from tests.server.replicas.stand_in import pack


class FakeNode:
    """What starts a cluster's processes, and fails at it."""

    def __init__(self, ended: list[str]) -> None:
        self._ended = ended

    def start(self, error: Exception) -> None:
        raise error

    def kill_all_processes(self, *, check_alive: bool, allow_graceful: bool) -> None:
        assert not check_alive and not allow_graceful
        self._ended.append("processes")


class FakeRay(types.ModuleType):
    """Attributes:
    fails: what ``init`` raises.
    ended: what was ended.
    asked: how ``init`` was called.
    """

    def __init__(self) -> None:
        super().__init__("ray")
        self.fails: Exception | None = None
        self.ended: list[str] = []
        self.asked: list[dict[str, Any]] = []
        worker = types.SimpleNamespace(_worker_logs_enabled=True)
        self._private = types.SimpleNamespace(worker=worker, services=types.SimpleNamespace())
        self.exceptions = types.SimpleNamespace(RayError=KeyError, RayTaskError=IndexError)

    def init(self, **options: Any) -> None:
        self.asked.append(options)
        if self.fails is not None:
            FakeNode(self.ended).start(self.fails)

    def shutdown(self) -> None:
        self.ended.append("driver")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    fake, before = FakeRay(), dict(os.environ)
    monkeypatch.setitem(sys.modules, "ray", fake)
    yield fake
    os.environ.clear()
    os.environ.update(before)


def cluster(folder: Path, address: str = "") -> RayCluster:
    return RayCluster(address, folder / "ray", ReplicasWanted())


def test_a_cluster_that_does_not_come_up_leaves_no_processes(ray: FakeRay, tmp_path: Path) -> None:
    ray.fails = RuntimeError("The current node timed out during startup.\nmore")
    with pytest.raises(NoCluster, match="no Ray cluster at this machine: The current node timed out"):
        cluster(tmp_path).connect()
    assert ray.ended == ["driver", "processes"], "what an attempt before left, and this one"


def test_without_ray_it_is_said_how_to_get_it(ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NoCluster, match=re.escape(to_install("ray"))):
        cluster(tmp_path).connect()


def test_where_its_secret_cannot_be_kept_that_is_said(ray: FakeRay, tmp_path: Path) -> None:
    (tmp_path / "ray").write_bytes(b"")  # a file where a folder must be
    with pytest.raises(NoCluster, match="secret of the cluster cannot be kept"):
        cluster(tmp_path).connect()
    assert ray.asked == []


@pytest.mark.parametrize("left", [b"", b"\n"])
def test_an_empty_secret_is_made_anew(ray: FakeRay, tmp_path: Path, left: bytes) -> None:
    os.environ.pop("RAY_AUTH_MODE", None)
    (tmp_path / "auth_token").write_bytes(left)
    prepare_own(tmp_path)
    assert len((tmp_path / "auth_token").read_bytes()) == 64


def test_another_version_of_ray_or_python_is_named(ray: FakeRay, tmp_path: Path) -> None:
    ray.fails = RuntimeError(
        "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.1\n"
        "This process on node 10.0.0.8 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    with pytest.raises(NoCluster, match=r"Ray: 2\.9\.0 Python: 3\.10\.1 .*: install the same versions"):
        cluster(tmp_path, "auto").connect()


def test_where_nobody_listens_that_is_said_at_once(ray: FakeRay, tmp_path: Path) -> None:
    with pytest.raises(NoCluster, match="nobody answers there"):
        cluster(tmp_path, f"127.0.0.1:{free_port()}").connect()
    assert ray.asked == []


def test_what_answers_and_lets_nobody_in_is_said_to(ray: FakeRay, tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        ray.fails = ConnectionError(f"Failed to connect to Ray cluster at {address}")  # all that Ray says of a token
        with pytest.raises(NoCluster, match="RAY_AUTH_TOKEN_PATH"):
            cluster(tmp_path, address).connect()


def test_what_killed_a_replica_is_said_and_not_only_that_it_died() -> None:
    died = (
        "The actor died unexpectedly before finishing this task.\n\tclass_name: OnRay\n\tactor_id: 3f\n\tpid: 7\n"
        "\tnamespace: 1\n\tip: 10.0.0.9\nThe node has run out of memory.\n"
    )
    words = _words(RuntimeError(died))
    assert words == "The actor died unexpectedly before finishing this task. The node has run out of memory."
    absent = "The actor died because of an error raised in its creation task, ray::OnRay()\n  File\nE: no module"
    assert _words(RuntimeError(absent)) == "a replica cannot start there: E: no module"
    assert _words(RuntimeError("")) == "RuntimeError"
    assert len(_words(RuntimeError("x" * 10_000))) == 300


def test_a_call_that_cannot_even_be_made_says_that_the_replica_is_gone(ray: FakeRay, model: FakeModel) -> None:
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("shared memory is full")

    call = types.SimpleNamespace(remote=refuse)
    peer = RayPeer(ray, types.SimpleNamespace(hello=call, load=call, look=call, beat=call))
    for asked in (peer.hello(), peer.load(pack(model), b""), peer.beat([])):
        with pytest.raises(Gone, match="shared memory is full"):
            asked.result(1.0)


def test_what_is_asked_of_ray_while_it_is_away_starts_no_cluster() -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    asked = "import ray\ntry: ray.put(1)\nexcept Exception: pass\nprint(ray.is_initialized())"
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | SETTINGS
    told = subprocess.run([sys.executable, "-c", asked], env=env, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
