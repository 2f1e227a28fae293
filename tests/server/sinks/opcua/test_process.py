"""The process that serves OPC UA, told by itself: parts of the simulated line, and parts that failed; it ends with who
started it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("asyncua", reason="the extra opcua is not installed")

from asyncua import Client, ua

from server.sinks.opcua import sink
from server.sinks.opcua.model import OWN
from server.sinks.opcua.sink import Peer, started
from server.sinks.opcua.words import Alive, Begin, Done, Ping, Recipe, Shown, Standing, Told
from tests.server.sinks.fakes import PART

RECIPE = Recipe("r-1", "a part", 1)
WITHIN_S = 200.0


async def test_what_it_is_told_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "STARTED_WITHIN_S", WITHIN_S)
    begin = Begin("127.0.0.1", 0, "", "", False, False, "plant", "run", str(tmp_path / "opcua"), "urn:test")
    standing = Standing("line", "live", "line", False, True, RECIPE)
    simulated = msgspec.structs.replace(PART, stream="line", id="s-1", simulated=True, trigger=None)
    nothing = {"score": None, "raw_score": None, "threshold": None, "threshold_source": None, "inspection_ms": None}
    failed = msgspec.structs.replace(
        simulated, id="s-2", verdict="FAILED", why="no frame", model=None, recipe=None, recipe_version=None, **nothing
    )
    async with asyncio.timeout(WITHIN_S), started() as process:
        peer = Peer(process)
        peer.send(begin)
        up = await peer.begun()
        peer.send(Shown((standing,), (RECIPE,)))
        assert isinstance(await peer.next(), Alive)
        async with Client(f"opc.tcp://127.0.0.1:{up.port}/", timeout=60, watchdog_intervall=60) as client:
            await client.load_data_type_definitions()
            own = await client.get_namespace_index(OWN)
            latest = client.get_node(ua.NodeId("line:.ResultManagement.Results.Latest", own))
            for number, part in enumerate((simulated, failed), 1):
                peer.send(Told(number, part, standing))
                assert await peer.next() == Done(number)
                result = await latest.read_value()
                assert (result.ResultId.Id, result.IsSimulated) == (part.id, True)
                assert result.JobId.Id == "line-run-c1" and not result.IsPartial
            assert (result.ResultState, result.InternalRecipeId.Id) == (4, "none")
            assert {pair.Value.Key.Name for pair in result.ResultContent} >= {"Verdict", "Why"}
        peer.send(Ping())
        assert await peer.next() == Alive(0, 0, 0, 0, 0)
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 0
