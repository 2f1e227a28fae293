"""Replicas in threads of this process, which tests can kill, silence and slow down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from detector import Detection
from server.replicas.cluster import Gone, NoCluster
from server.replicas.packed_model import Packed
from server.replicas.replica import Answer, Hello, Make, Replica, Request
from tests.server.fakes import FakeModel

T = TypeVar("T")


def pack(model: Any) -> Packed:
    """The name of a fake model."""
    return Packed(model.hash, model.hash, model.runtime)


class StandInPeer:
    """Attributes:
    at_work, most_at_work: calls of ``look`` that were handed over and not answered, now and at the most.
    looked: hashes of the models that frames were looked at with.
    load_gate: while it is not set, models are not loaded.
    fails_to_load: what any load raises; ``cannot_load``: what that of a model raises, by hash.
    dies_of_a_look: the next frame kills it.
    """

    def __init__(self, cluster: StandIn) -> None:
        self._cluster = cluster
        self._replica = Replica(make=cluster.make)
        self._threads = {name: ThreadPoolExecutor(1, f"stand-in-{name}") for name in ("look", "load", "beat")}
        self._pending: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self.is_dead = self.is_deaf = False
        self._is_broken = cluster.is_broken
        self.at_work = self.most_at_work = 0
        self.looked: list[str] = []
        self.load_gate = threading.Event()
        self.load_gate.set()
        self.fails_to_load: Exception | None = None
        self.cannot_load: dict[str, Exception] = {}
        self.dies_of_a_look = False

    def hello(self) -> Future[Hello]:
        if self._cluster.is_full:
            return Future()
        found = self._replica.hello()
        return self._call("beat", lambda: Hello(self._cluster.version or found.version, "here", found.process))

    def load(self, packed: Packed, base: Any) -> Future[str]:
        def load() -> str:
            assert self.load_gate.wait(20)
            if (error := self.fails_to_load or self.cannot_load.get(packed.hash)) is not None:
                raise error
            return self._replica.load(packed, lambda: base)

        return self._call("load", load) if not self._cluster.hang_loading else Future()

    def look(self, request: Request) -> Future[Answer]:
        with self._lock:
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)

        def look() -> Answer:
            try:
                if self.dies_of_a_look:
                    self.die()
                self.looked.append(request.model)
                return self._replica.look(request)
            finally:
                with self._lock:
                    self.at_work -= 1

        return self._call("look", look)

    def beat(self, wanted: Collection[str]) -> Future[tuple[str, ...]]:
        return self._call("beat", lambda: self._replica.beat(wanted)) if not self.is_deaf else Future()

    def end(self) -> None:
        self.die()

    def die(self) -> None:
        """As a process that is killed."""
        with self._lock:
            self.is_dead, pending, self._pending = True, self._pending, set()
        for future in pending:
            with suppress(Exception):
                future.set_exception(Gone("killed"))
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)

    def _call(self, thread: str, work: Callable[[], T]) -> Future[T]:
        answer: Future[T] = Future()
        with self._lock:
            if self.is_dead or self._is_broken:
                answer.set_exception(Gone("dead"))
                return answer
            self._pending.add(answer)

        def run() -> None:
            try:
                found = work()
            except Exception as error:
                with suppress(Exception):
                    answer.set_exception(error)
            else:
                with suppress(Exception):
                    answer.set_result(found)
            with self._lock:
                self._pending.discard(answer)

        self._threads[thread].submit(run)
        return answer


class StandIn:
    """A cluster. ``is_full``: it has no room; ``is_broken``: what is started on it dies; ``why_not``: it cannot be
    reached; ``raises``: what connecting raises; ``hang_loading``: models are never loaded; ``share_gate``: while it is
    not set, what models learned is not shared, which was begun ``sharing`` times; ``version``: of the program there;
    ``make``: makes a model of what came."""

    def __init__(self, make: Make = lambda packed, base, threads: base) -> None:
        self.make = make
        self.peers: list[StandInPeer] = []
        self.is_full = self.is_broken = self.hang_loading = False
        self.raises: Exception | None = None
        self.why_not: str | None = None
        self.share_gate = threading.Event()
        self.share_gate.set()
        self.sharing = 0
        self.version = ""

    def connect(self) -> None:
        if self.raises is not None:
            raise self.raises
        if self.why_not is not None:
            raise NoCluster(self.why_not)

    def start(self) -> StandInPeer:
        self.peers.append(StandInPeer(self))
        return self.peers[-1]

    def share(self, base: Any) -> Any:
        self.sharing += 1
        assert self.share_gate.wait(20)
        return base

    def check(self) -> None:
        self.connect()

    def close(self) -> None:
        for peer in self.peers:
            peer.die()

    @property
    def alive(self) -> list[StandInPeer]:
        return [peer for peer in self.peers if not peer.is_dead]


class Version(FakeModel):
    """A fake model whose scores say which version they are of: brightness and so much more."""

    def __init__(self, number: int) -> None:
        super().__init__(hash=f"{number:064x}")
        self.number = number

    def detect(self, frame: Any) -> Any:
        found = super().detect(frame)
        return Detection(found.score + 1000 * self.number, found.anomaly_map + 1000 * self.number)
