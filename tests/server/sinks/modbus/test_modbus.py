"""A pymodbus client against the whole server: parts by trigger, results with their handshake."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from server.words import PartResult
from tests.running import Running, free_port
from tests.server.fakes import BAD, GOOD, FakeModel, http, listed_when, read, serving
from tests.server.sinks.modbus.fakes import PLC, Seen

RECIPE = "given-aaaaaaaaaaaa"
NOBODY_TRIGGERED = 0


@dataclass
class Station:
    """A server with a camera on ``press`` and a Modbus sink for it."""

    server: Running
    port: int
    sink: str
    camera: ClientConnection

    @contextlib.asynccontextmanager
    async def plc(self, **terms: Any) -> AsyncIterator[PLC]:
        """A controller that has enabled triggers."""
        async with PLC(self.port, **terms) as plc:
            await plc.see_when(online=True)
            await plc.say(enable=True)
            yield plc

    async def show(self, frame: bytes) -> None:
        """Have a frame inspected."""
        await self.camera.send(frame)

    async def part(self, plc: PLC, frame: bytes) -> Seen:
        """Trigger, show a frame, and read the result, without acknowledging it."""
        await plc.see_when(ready=True)
        await plc.say(trigger=True)
        await plc.see_when(trigger_ack=True, busy=True, ready=False)
        await plc.say(trigger=False)
        await self.show(frame)
        return await plc.see_when(valid=True)

    async def change(self, **settings: Any) -> None:
        async with http(self.server) as client:
            answer = await client.patch(f"/api/sinks/{self.sink}", json={"settings": settings})
            assert answer.status_code == 200, answer.text

    async def state(self) -> dict[str, Any]:
        async with http(self.server) as client:
            state: dict[str, Any] = (await client.get("/api/sinks")).json()["sinks"][0]
            return state

    async def state_when(self, words: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while words not in (state := await self.state())["words"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            return state


@pytest.fixture
async def station(model: FakeModel, tmp_path: Path) -> AsyncIterator[Station]:
    async with serving(model, tmp_path) as server, http(server) as client:
        version = (await client.get(f"/api/recipes/{RECIPE}")).json()["version"]
        parts = {"by": "trigger", "within_ms": 20_000}
        answer = await client.patch(f"/api/recipes/{RECIPE}", json={"version": version, "parts": parts})
        assert answer.status_code == 200, answer.text
        port = free_port()
        settings = {"streams": "press", "port": port, "recipes": f"7 = {RECIPE}\n8 = none such", "ack_within_s": 0}
        sink = {"kind": "modbus", "name": "plc", "enabled": True, "settings": settings}
        answer = await client.post("/api/sinks", json=sink)
        assert answer.status_code == 201, answer.text
        async with connect(f"{server.ws}/ws/stream?name=press") as camera:
            await camera.send(GOOD)
            read(await camera.recv())
            drained = asyncio.create_task(_drain(camera))
            made = Station(server, port, answer.json()["id"], camera)
            await made.state_when("listens at 127.0.0.1")
            yield made
            drained.cancel()


async def _drain(camera: ClientConnection) -> None:
    async for _ in camera:
        pass


async def test_ready_trigger_busy_valid_ack(station: Station) -> None:
    async with station.plc() as plc:
        await plc.name_next(trigger_id=70_007, part="A-1")
        seen = await station.part(plc, GOOD)
        assert (seen["recipe"], seen["error code"], seen["acquisition id"], seen["inspection id"]) == (7, 0, 1, 1)
        assert (seen["result code"], seen["trigger id"], seen["part number"], seen["waiting"]) == (1, 70_007, 1, 1)
        assert seen["raw score"] == pytest.approx(50, abs=2) and seen["threshold"] == 100
        assert seen["score, per mille"] == round(10 * seen["raw score"]) and 0 < seen["cycle"] < 20_000
        assert seen.ready and not seen.busy and getattr(seen, "pass")
        before = seen.words[5:18]
        assert (await plc.see()).words[5:18] == before  # it stays
        await plc.acknowledge()
        seen = await plc.see()
        assert not any(seen.words[5:20]) and seen["delivered"] == 1
        seen = await station.part(plc, BAD)
        assert (seen["result code"], seen["inspection id"], seen["part number"]) == (2, 2, 2)
        assert not getattr(seen, "pass") and seen["score, per mille"] == pytest.approx(1500, abs=20)
        stream = await listed_when(station.server, "press", lambda one: one is not None and one["parts"] == 2)
        assert stream is not None and stream["triggers"] == 2


async def test_the_parts_id_is_passed_through(station: Station) -> None:
    async with station.plc() as plc, connect(f"{station.server.ws}/ws/live/press") as hmi:
        await plc.name_next(trigger_id=5, part="DMC 0815/x")
        await station.part(plc, GOOD)
        async with asyncio.timeout(20):
            while not isinstance(part := read(await hmi.recv()), PartResult):
                pass
        assert (part.part, part.trigger_id, part.triggered_by) == ("DMC 0815/x", "5", "modbus")


async def test_a_trigger_while_busy_is_missed_counted_and_told(station: Station) -> None:
    async with station.plc() as plc:
        await plc.see_when(ready=True)
        await plc.say(trigger=True)
        await plc.see_when(busy=True)
        await plc.say(trigger=False)
        await plc.say(trigger=True)
        seen = await plc.see_when(missed=True)
        assert seen["missed"] == 1 and seen["taken"] == 1 and not seen.trigger_ack
        await plc.say(trigger=False)
        await station.show(GOOD)  # of the part that was missed, or whatever comes after it
        seen = await plc.see_when(valid=True)
        assert (seen["inspection id"], seen["result code"]) == (1, 3) and not getattr(seen, "pass")
        await plc.acknowledge()
        seen = await station.part(plc, GOOD)
        assert not seen.missed and seen["inspection id"] == 2
        stream = await listed_when(station.server, "press", lambda one: one is not None and one["parts"] == 2)
        assert stream is not None and stream["triggers_refused"] == 1


async def test_a_result_that_nobody_acknowledges_is_a_fault_until_enable_was_low(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    await station.change(ack_within_s=0.2)
    await station.state_when("listens at 127.0.0.1")
    async with station.plc() as plc:
        await station.part(plc, GOOD)
        seen = await plc.see_when(error=True)
        assert seen["error code"] == 1 and not seen.valid and not seen.ready and not any(seen.words[5:18])
        assert "was not acknowledged within 0.2 s" in (await station.state_when("acknowledged"))["words"]
        await plc.say(results_ack=True)  # too late: it takes no other result's place
        await plc.say(results_ack=False)
        await plc.say(enable=False)
        seen = await plc.see_when(error=False)
        assert seen["not acknowledged"] == 1 and seen["discarded"] == 1 and seen["delivered"] == 0
        await plc.say(enable=True)
        assert (await station.part(plc, GOOD))["inspection id"] == 2
    lines = [one.getMessage() for one in caplog.records if "stream=press" in one.getMessage()]
    assert sum("was not acknowledged" in line for line in lines) == 1


async def test_enable_low_gives_up_what_is_in_work(station: Station) -> None:
    async with station.plc() as plc:
        await plc.see_when(ready=True)
        await plc.say(trigger=True)
        await plc.see_when(busy=True)
        await plc.say(enable=False, trigger=False)
        assert not (await plc.see()).busy
        await plc.say(enable=True)
        await station.show(BAD)  # the part of before: its result is nobody's now
        await plc.see_when(ready=True)
        seen = await station.part(plc, GOOD)
        assert (seen["inspection id"], seen["result code"], seen["discarded"]) == (2, 1, 1)


async def test_the_ninth_result_overruns(station: Station) -> None:
    async with http(station.server) as client:
        version = (await client.get(f"/api/recipes/{RECIPE}")).json()["version"]
        answer = await client.patch(
            f"/api/recipes/{RECIPE}", json={"version": version, "parts": {"by": "line", "frames": 1}}
        )
        assert answer.status_code == 200, answer.text
    async with station.plc() as plc:
        for number in range(9):
            await station.camera.send(f'{{"part": "P{number}"}}')
            await station.camera.send(GOOD)
            async with asyncio.timeout(20):
                while (seen := await plc.see())["waiting"] + seen["overrun"] <= number:
                    pass
        seen = await plc.see_when(overrun=True)
        assert (seen["overrun"], seen["waiting"]) == (1, 8)
        for number in range(1, 9):
            seen = await plc.see_when(valid=True)
            assert (seen["part number"], seen["inspection id"]) == (number, NOBODY_TRIGGERED)
            await plc.acknowledge()
        assert (await plc.see())["delivered"] == 8


async def test_a_restart_of_the_sink_in_mid_run_triggers_and_delivers_nothing_by_itself(station: Station) -> None:
    async with station.plc() as plc:
        await plc.see_when(ready=True)
        await plc.say(trigger=True)
        await plc.see_when(busy=True)
        await station.change(word_order="low word first")
        await station.state_when("listens at 127.0.0.1")
    await station.show(BAD)
    async with PLC(station.port) as plc:
        seen = await plc.see()
        assert not any((seen.ready, seen.busy, seen.valid, seen.missed)) and seen["acquisition id"] == 0
        await plc.say(enable=True, trigger=True)  # as it stood: a trigger that rises with Enable is missed, and told
        assert (await plc.see()).missed
        await plc.say(enable=False, trigger=False)
        await plc.say(enable=True)
        seen = await station.part(plc, GOOD)
        assert (seen["acquisition id"], seen["result code"]) == (2, 1)
        low, high = seen.words[8:10]
        assert struct.unpack(">f", struct.pack(">HH", high, low))[0] == pytest.approx(50, abs=2)
        await plc.acknowledge()


async def test_a_controller_that_goes_away_in_the_middle_holds_nothing(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        async with station.plc() as plc:
            await station.part(plc, GOOD)
        await station.state_when("connected: nobody")
    async with PLC(station.port) as plc:
        seen = await plc.see()
        assert not seen.valid and not seen.ready and seen["discarded"] == 3
        await plc.say(enable=True)
        assert (await plc.see()).ready
    lines = [one.getMessage() for one in caplog.records if "connection was lost" in one.getMessage()]
    assert len(lines) == 1 and "stream=press" in lines[0] and "taken as low" in lines[0]


async def test_signals_are_kept_without_a_connection_where_that_is_chosen(station: Station) -> None:
    await station.change(holds=True)
    await station.state_when("listens at 127.0.0.1")
    async with station.plc() as plc:
        await station.part(plc, GOOD)
    await station.state_when("connected: nobody")
    async with PLC(station.port) as plc:
        assert (await plc.see()).valid


async def test_recipes_by_number(station: Station) -> None:
    async with PLC(station.port) as plc:
        assert (await plc.see())["recipe"] == 7
        await plc.client.write_register(2000, 9)
        await plc.say(execute=True)
        seen = await plc.see_when(execute_failed=True)
        assert seen["error code"] == 10 and seen.error and not seen.executed
        await plc.say(execute=False, clear_error=True)
        seen = await plc.see()
        assert not seen.error and not seen.execute_failed
        await plc.client.write_register(2000, 8)
        await plc.say(execute=True, clear_error=False)
        assert (await plc.see_when(execute_failed=True))["error code"] == 11
        await plc.say(execute=False)
        await plc.client.write_register(2000, 7)
        await plc.say(execute=True)
        seen = await plc.see_when(executed=True)
        assert not seen.error and seen["recipe"] == 7
        await plc.say(execute=False)
        assert not (await plc.see()).executed


async def test_both_banks_and_the_bits_say_the_same(station: Station) -> None:
    async with station.plc() as plc:
        await station.part(plc, BAD)
        client = plc.client
        whole = (await client.read_input_registers(100, count=64)).registers
        assert (await client.read_holding_registers(100, count=64)).registers[2:19] == whole[2:19]
        assert (await client.read_input_registers(2000, count=62)).registers[:17] == whole[2:19]
        assert (await client.read_holding_registers(7000, count=62)).registers[:17] == whole[2:19]
        bits = (await client.read_discrete_inputs(0, count=32)).bits
        low, high = (await client.read_holding_registers(100, count=2)).registers
        assert [place for place in range(23) if bits[place]] == [
            place for place in range(23) if (high << 16 | low) >> place & 1
        ]
        await client.write_coil(3, True)  # Inspection Results Ack
        assert not (await plc.see()).valid
        assert (await client.read_holding_registers(0, count=2)).registers == [0b1001, 0]
        assert (await client.read_coils(0, count=4)).bits[:4] == [True, False, False, True]


async def test_the_heartbeat_beats(station: Station) -> None:
    async with PLC(station.port) as plc:
        first = await plc.see()
        second = await plc.see_when(heartbeat=not first.heartbeat)
        assert second["heartbeat"] - first["heartbeat"] == 1


async def test_a_stream_that_is_away_is_offline(station: Station) -> None:
    await station.camera.close()
    async with PLC(station.port) as plc:
        seen = await plc.see_when(online=False)
        assert seen.words[0] >> 4 & 7 == 1 and not seen.ready
        await plc.say(enable=True, trigger=False)
        await plc.say(trigger=True)
        assert (await plc.see()).missed


async def test_its_test_says_who_is_connected_and_what_is_wrong_with_the_port(station: Station) -> None:
    async with http(station.server) as client, PLC(station.port) as plc:
        await plc.see()
        said = await client.post(f"/api/sinks/{station.sink}/test")
        assert "connected: 127.0.0.1" in said.text
        draft = {"kind": "modbus", "name": "b", "settings": {"streams": "press", "port": station.port}}
        said = await client.post("/api/sinks/test", json=draft)
        assert "is taken by another program" in said.text
        draft["settings"] |= {"port": free_port()}  # type: ignore[operator]
        assert "it can listen" in (await client.post("/api/sinks/test", json=draft)).text
