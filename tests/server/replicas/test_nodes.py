"""Replicas on a real Ray cluster of three nodes, which are killed under load."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from detector import TaughtModel, load_taught
from detector.images import decode
from server.inspection import Encoded
from server.words import Load
from tests.gateway import Gateway, Sender, gateway, sending
from tests.nodes import Nodes, nodes
from tests.server.fakes import WAIT_S, picture, until

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
    pytest.mark.skipif(sys.platform != "linux", reason="Ray's clusters are for Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]

PICTURES = [picture(brightness) for brightness in (60, 120, 180)]
EVERY_S = 0.05
STREAMS = ("a", "b", "c")
PATIENCE_S = 300.0
"""For a replica that is started: on a busy machine that takes long."""


def frame(stream: str, number: int) -> Load:
    """JPEG on one stream, and pictures that were decoded here on the others."""
    data = PICTURES[number % len(PICTURES)]
    return Encoded(data, 10_000_000) if stream == "a" else partial(decode, data)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with nodes(tmp_path_factory.mktemp("ray"), 1, 1, 1) as started:
        yield started


@pytest.fixture(scope="module")
def model(model_folder: Path) -> TaughtModel:
    return load_taught(model_folder)


@pytest.fixture(scope="module")
def versions(model: TaughtModel) -> list[TaughtModel]:
    """As it was taught, and after two corrections."""
    one = model.corrected([good_of(model, PICTURES[1])])
    return [model, one, one.corrected([good_of(one, PICTURES[2])])]


def good_of(model: TaughtModel, data: bytes):  # type: ignore[no-untyped-def]
    return model.good_of(model.input_of(decode(data)), [(0.2, 0.2), (0.4, 0.2), (0.4, 0.4)])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(cluster: Nodes, model: TaughtModel, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    data = tmp_path_factory.mktemp("data")
    # More than half of a node's processor: each has room for one. On a busy machine no sign of life comes for long.
    more = {"cpus": 0.6, "silent_s": 15.0, "within_s": PATIENCE_S}
    async with gateway(model, data, 2, cluster.address, **more) as made:
        yield made


async def more(senders: list[Sender], count: int = 5) -> None:
    """Until each has so many results more."""
    wanted = [(one, len(one.results) + count) for one in senders]
    await until(lambda: all(len(one.results) >= least for one, least in wanted), PATIENCE_S)


async def test_frames_are_found_to_be_what_they_are_found_to_be_here(line: Gateway, model: TaughtModel) -> None:
    async with sending(line.streams, STREAMS, frame, EVERY_S) as senders:
        await more(senders)
    expected = [model.detect(decode(data)).score for data in PICTURES]
    for sender in senders:
        assert sender.opened.stream.failed == 0
        for _, result in sender.results:
            assert result.raw_score == pytest.approx(expected[result.seq % len(PICTURES)], rel=1e-5)


async def test_a_change_is_on_all_replicas_before_it_counts_and_no_result_mixes_versions(
    line: Gateway, versions: list[TaughtModel]
) -> None:
    assert line.cluster is not None
    async with sending(line.streams, STREAMS, frame, EVERY_S) as senders:
        for version in (*versions[1:], versions[0], versions[2]):
            await line.put_in_force(version)
            for peer in line.cluster.peers:
                there = peer.beat([one.hash for one in versions])
                assert version.hash in await asyncio.to_thread(there.result, WAIT_S)
            await more(senders, 3)
    scores = {one.hash: [one.detect(decode(data)).score for data in PICTURES] for one in versions}
    assert len({tuple(one) for one in scores.values()}) == 3, "versions can be told apart"
    for sender in senders:
        assert sender.opened.stream.failed == 0, "a change costs no frame"
        assert {result.model for _, result in sender.results} == set(scores)
        for _, result in sender.results:
            expected = scores[result.model][result.seq % len(PICTURES)]
            assert result.raw_score == pytest.approx(expected, rel=1e-5), "of the version that the result names"


async def test_a_replica_that_is_killed_costs_its_frame_and_is_replaced(line: Gateway) -> None:
    assert line.cluster is not None
    victim, _ = await line.alive()
    async with sending(line.streams, STREAMS, frame, EVERY_S) as senders:
        await more(senders)
        killed = time.monotonic()
        os.kill(victim.process, signal.SIGKILL)
        await more(senders)
        await until(lambda: len(line.cluster.peers) == 3 and line.ready == 2, PATIENCE_S)  # type: ignore[union-attr]
        await more(senders)
    assert sum(one.opened.stream.failed for one in senders) <= 1
    assert max(one.longest_gap(killed) for one in senders) < WAIT_S


async def test_a_node_that_is_killed_costs_the_frames_there_and_another_one_takes_its_place(
    line: Gateway, cluster: Nodes
) -> None:
    assert line.cluster is not None and line.replicas is not None
    before = len(line.cluster.peers)
    victim = next(node for one in await line.alive() if (node := cluster.other_with(one.process)) is not None)
    async with sending(line.streams, STREAMS, frame, EVERY_S) as senders:
        await more(senders)
        killed = time.monotonic()
        cluster.kill(victim)
        await until(lambda: len(line.cluster.peers) > before and line.ready == 2, PATIENCE_S)  # type: ignore[union-attr]
        await more(senders)
        await until(lambda: line.replicas.trouble is None and line.replicas.warning is None, PATIENCE_S)  # type: ignore[union-attr]
    assert sum(one.opened.stream.failed for one in senders) <= 2
    assert max(one.longest_gap(killed) for one in senders) < WAIT_S
