"""What replicas run on: the few calls that Ray answers, and a test's stand-in."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from typing import Any, Protocol

from server.replicas.packed_model import Packed
from server.replicas.replica import Answer, Hello, Request


class Gone(Exception):
    """A replica, its machine or the way to it is gone."""


class Peer(Protocol):
    """One replica, from here. Calls return at once; their futures raise :class:`Gone` where it is."""

    def hello(self) -> Future[Hello]:
        """Who it is; the first answer is that it runs."""
        ...

    def load(self, packed: Packed, base: Any) -> Future[str]:
        """Have a model ready there. ``base``: from :meth:`Cluster.share`."""
        ...

    def look(self, request: Request) -> Future[Answer]:
        """Look at a frame."""
        ...

    def beat(self, wanted: Collection[str]) -> Future[tuple[str, ...]]:
        """Say which models are in use, and hear which are loaded there."""
        ...

    def end(self) -> None:
        """End it, whatever it does."""
        ...


class Cluster(Protocol):
    """Where replicas are started. Its calls are for a thread: the first takes seconds."""

    def connect(self) -> None:
        """Reach it, or start one.

        Raises:
            NoCluster: says why not.
        """
        ...

    def start(self) -> Peer:
        """Start a replica somewhere, once there is room for it."""
        ...

    def share(self, base: bytes) -> Any:
        """Put what a model learned where all machines can fetch it."""
        ...

    def check(self) -> None:
        """See whether it is there still.

        Raises:
            NoCluster: it is not.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class NoCluster(Exception):
    """There is no cluster to run replicas on; one sentence says why and what to do."""
