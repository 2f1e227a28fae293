"""A Ray cluster of several nodes on this machine, for tests and benchmarks. Imports Ray only once one is started."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.killed import children_of
from server.replicas.ray_cluster import CONFIG, prepare_own

NOTHING: Mapping[str, int] = {}
STORE_BYTES = 100_000_000
ATTEMPTS = 4
"""At a node: one whose helpers take more than 15 s ends itself, as on a busy machine."""


class Nodes:
    """The first is the head, on which the driver is; each has so many processors, whatever the machine has.

    Attributes:
        address: of the cluster.
        others: nodes beside the head, which may be killed.
    """

    def __init__(self, cpus: Sequence[int], config: Mapping[str, int]) -> None:
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster()
        self._add(cpus[0], _system_config={**CONFIG, **config}, include_dashboard=False)
        self.others: list[Any] = [self._add(count) for count in cpus[1:]]
        self._silent: list[Any] = []
        self.address: str = self._cluster.address

    def add(self, cpus: int) -> None:
        """One node more. From the main thread: Ray takes SIGTERM for itself, which is undone."""
        handler = signal.getsignal(signal.SIGTERM)
        self.others.append(self._add(cpus))
        signal.signal(signal.SIGTERM, handler)

    def other_with(self, process: int) -> Any:
        """The node beside the head that a replica's process is on; None where it is on the head."""
        raylet = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        return next((node for node in self.others if node.all_processes["raylet"][0].process.pid == raylet), None)

    def kill(self, node: Any) -> None:
        """As a machine that crashes: its Ray processes get SIGKILL, and its replicas end with them."""
        self.others.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def silence(self, node: Any) -> None:
        """As a machine without power or network: its processes stand still, and its connections stay open."""
        self.others.remove(node)
        self._silent.append(node)
        raylet = node.all_processes["raylet"][0].process.pid
        for process in (raylet, *children_of(raylet)):
            os.kill(process, signal.SIGSTOP)

    def close(self) -> None:
        for node in self._silent:
            self._cluster.remove_node(node, allow_graceful=False)
        self._cluster.shutdown()

    def _add(self, cpus: int, **more: Any) -> Any:
        more |= {"num_cpus": cpus, "object_store_memory": STORE_BYTES, "node_ip_address": "127.0.0.1"}
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(Exception):
                return self._cluster.add_node(**more)
        return self._cluster.add_node(**more)


@contextlib.contextmanager
def nodes(folder: Path, *cpus: int, config: Mapping[str, int] = NOTHING) -> Iterator[Nodes]:
    """A cluster whose nodes have so many processors each; ended afterwards.

    Args:
        folder: for its secret.
        config: more of Ray's own settings.
    """
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    prepare_own(folder)
    started = Nodes(cpus, config)
    signal.signal(signal.SIGTERM, handler)  # Ray put its own there
    try:
        yield started
    finally:
        started.close()
        os.environ.clear()
        os.environ.update(before)
