"""Streams, and who looks at their frames, in this process: a gateway without its sockets, for tests and benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detector import TaughtModel
from server.inspection import Calibrations, Inspection
from server.replicas import RayCluster, Replicas, ReplicasWanted
from server.replicas.cluster import Peer
from server.replicas.replica import Hello
from server.replicas.replicas import SILENT_S
from server.streams import Hub, InferencePool, OpenStream, Streams
from server.words import Load
from server.words.messages import Error, Message, Result
from tests.server.fakes import read, until


class Watched(RayCluster):
    """A Ray cluster that remembers the replicas it started."""

    def __init__(self, address: str, folder: Path, wanted: ReplicasWanted) -> None:
        super().__init__(address, folder, wanted)
        self.peers: list[Peer] = []

    def start(self) -> Peer:
        self.peers.append(super().start())
        return self.peers[-1]


@dataclass
class Gateway:
    """Attributes:
    cluster, replicas: None where frames are looked at by threads here.
    ready: how many replicas take frames.
    """

    streams: Streams
    inspection: Inspection
    pool: InferencePool
    cluster: Watched | None = None
    replicas: Replicas | None = None
    ready: int = 0

    async def put_in_force(self, model: TaughtModel) -> None:
        """As a forgive, or another version of the recipe: on all replicas, and then it counts."""
        recipe = self.inspection.recipe_on(None)
        if self.replicas is not None:
            await self.replicas.spread(model)
        self.inspection.use(model, recipe)

    async def alive(self) -> list[Hello]:
        """The replicas that answer."""
        assert self.cluster is not None
        asked = [asyncio.wrap_future(peer.hello()) for peer in self.cluster.peers]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [one for one in answers if isinstance(one, Hello)]


@contextlib.asynccontextmanager
async def gateway(
    model: TaughtModel,
    data: Path,
    workers: int,
    address: str | None = None,
    *,
    cpus: float = 0.5,
    silent_s: float = SILENT_S,
    max_age_s: float | None = None,
    within_s: float = 120.0,
) -> AsyncIterator[Gateway]:
    """A gateway, once all that look at frames are ready.

    Args:
        workers: threads, or replicas.
        address: of the cluster for those; None: threads.
        cpus: of each replica.
        silent_s: seconds without a sign of life after which a replica gets no frames.
    """
    inspection = Inspection(Calibrations(data))
    inspection.use(model)
    if address is None:
        pool = InferencePool(workers)
        pool.start()
        yield Gateway(Streams(pool, Hub(), inspection, max_age_s=max_age_s), inspection, pool)
        pool.close()
        return
    wanted = ReplicasWanted(workers, workers, cpus)
    cluster = Watched(address, data / "ray", wanted)
    replicas = Replicas(cluster, wanted, lambda: inspection.models, silent_s=silent_s)
    inspection.looker = replicas
    pool = InferencePool(0, supply=replicas)
    made = Gateway(Streams(pool, Hub(), inspection, max_age_s=max_age_s), inspection, pool, cluster, replicas)

    def employ(ready: int) -> None:
        made.ready = ready
        pool.employ(ready)

    replicas.start(employ, lambda: pool.waiting)
    pool.start()
    try:
        await until(lambda: made.ready == workers, within_s)
        yield made
    finally:
        pool.close()
        await replicas.stop()


@dataclass
class Sender:
    """A stream that gets frames, and what its sender was told, each with when (monotonic seconds)."""

    opened: OpenStream
    told: list[tuple[float, Result | Error]] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether received = inspected + dropped + failed."""
        counted = self.opened.stream.counters
        return counted.received == counted.inspected + counted.dropped + counted.failed

    @property
    def results(self) -> list[tuple[float, Result]]:
        return [(when, one) for when, one in self.told if isinstance(one, Result)]

    def longest_gap(self, since: float) -> float:
        """Seconds between two results, the later of which came after a moment."""
        times = [when for when, _ in self.results]
        return max((later - when for when, later in itertools.pairwise(times) if later > since), default=0.0)

    async def hear(self) -> None:
        async for text in self.opened.results():
            said: Message = read(text)
            if isinstance(said, Result | Error):
                self.told.append((time.monotonic(), said))


@contextlib.asynccontextmanager
async def sending(
    streams: Streams, names: Sequence[str], frame: Callable[[str, int], Load], every_s: float
) -> AsyncIterator[list[Sender]]:
    """Frames come on these streams, one each so many seconds, until the block ends; then all are accounted for.

    Args:
        frame: of a stream, by number.
    """
    senders = [Sender(streams.open(name, "websocket")) for name in names]

    async def send(sender: Sender, late_s: float) -> None:
        begun = time.monotonic() + late_s
        for number in range(1 << 30):
            await asyncio.sleep(max(0.0, begun + number * every_s - time.monotonic()))
            sender.opened.offer(frame(sender.opened.name, number))

    hearing = [asyncio.create_task(one.hear()) for one in senders]
    sends = [asyncio.create_task(send(one, at * every_s / len(senders))) for at, one in enumerate(senders)]
    try:
        yield senders
    finally:
        for task in sends:
            task.cancel()
        await asyncio.gather(*sends, return_exceptions=True)
        await until(lambda: all(one.settled for one in senders))
        for one in senders:
            one.opened.end()
        await asyncio.gather(*hearing)
