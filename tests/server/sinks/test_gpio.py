"""Wires: pulses in time or not at all, a heartbeat, triggers, chatter; on a chip of ours with libgpiod's own API, and
on the kernel's simulated one where there is one."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import select
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server.cameras import Backoff
from server.sinks import Accepted, Around, Choice, Draft, SinkError, Sinks, StoredSink, TriggerRefused, hand
from server.sinks import gpio as module
from server.sinks import running_sink as running
from server.sinks.gpio import GPIO
from server.streams import Hub
from tests.server.fakes import until
from tests.server.sinks.fakes import part, result

gpiod = pytest.importorskip("gpiod", reason="the extra gpio is not installed")
from gpiod.line import Clock, Direction, Edge, Value  # noqa: E402

SIMULATED = Path("/sys/kernel/config/gpio-sim")


@dataclass
class FakeLine:
    """``changes``: when, and to what, by logical value."""

    settings: Any
    value: Value
    changes: list[tuple[float, bool]] = field(default_factory=list)

    def set(self, value: Value) -> None:
        self.value = value
        self.changes.append((time.monotonic(), value is Value.ACTIVE))

    @property
    def pulses(self) -> list[float]:
        """Seconds of each."""
        steps = itertools.pairwise(self.changes)
        return [down - up for (up, is_up), (down, is_down) in steps if is_up and not is_down]


@dataclass
class FakeRequest:
    chip: FakeChip
    lines: dict[int, FakeLine]
    names: dict[str, int]

    def __post_init__(self) -> None:
        self._ends = os.pipe2(os.O_NONBLOCK)
        self._edges: deque[int] = deque()

    @property
    def fd(self) -> int:
        return self._ends[0]

    @property
    def offsets(self) -> list[int]:
        return [*self.lines]

    def set_value(self, line: int | str, value: Value) -> None:
        self.set_values({line: value})

    def set_values(self, values: dict[int | str, Value]) -> None:
        if self.chip.broken:
            raise OSError(5, "Input/output error")
        offsets = {self.names[line] if isinstance(line, str) else line: value for line, value in values.items()}
        self.chip.answer(offsets)
        for offset, value in offsets.items():
            self.lines[offset].set(value)

    def get_value(self, line: int | str) -> Value:
        return self.lines[self.names[line] if isinstance(line, str) else line].value

    def edge(self, times: int = 1, age_s: float = 0.0) -> None:
        self._edges.extend([time.monotonic_ns() - int(age_s * 1e9)] * times)
        os.write(self._ends[1], b"e" * times)

    def wait_edge_events(self, timeout: float) -> bool:
        return bool(select.select([self._ends[0]], [], [], timeout)[0])

    def read_edge_events(self, most: int) -> list[Any]:
        rising = gpiod.EdgeEvent.Type.RISING_EDGE.value
        return [gpiod.EdgeEvent(rising, self._edges.popleft(), 0, 0, 0) for _ in os.read(self._ends[0], most)]

    def release(self) -> None:
        for offset in self.lines:
            del self.chip.taken[offset]
        for end in self._ends:
            os.close(end)


@dataclass
class FakeChip:
    """What ``gpiod.request_lines`` is given, kept as a kernel would. ``hanging``: lines that do not answer until
    ``answers`` is set; ``hung``: whether one was asked."""

    names: dict[str, int] = field(default_factory=lambda: {"EJECTOR": 5})
    taken: dict[int, FakeLine] = field(default_factory=dict)
    requests: list[FakeRequest] = field(default_factory=list)
    broken: bool = False
    hanging: set[int] = field(default_factory=set)
    hung: bool = False
    answers: threading.Event = field(default_factory=threading.Event)

    def answer(self, offsets: Iterable[int]) -> None:
        if self.hanging & {*offsets}:
            self.hung = True
            assert self.answers.wait(20)

    def pulses(self, offset: int) -> list[float]:
        """Seconds of each, by whichever request."""
        return [one for made in self.requests if offset in made.lines for one in made.lines[offset].pulses]

    def request_lines(
        self, path: str, config: dict[Any, Any], consumer: str, event_buffer_size: int | None = None
    ) -> FakeRequest:
        assert len(consumer) < 32
        if path != "/dev/gpiochip0":
            raise FileNotFoundError(2, "No such file or directory")
        lines = {}
        for group, settings in config.items():
            assert isinstance(settings, gpiod.LineSettings)
            for line in group if isinstance(group, tuple) else (group,):
                if isinstance(line, str) and line not in self.names:
                    raise ValueError(f"unable to find line: {line!r}")
                offset = self.names[line] if isinstance(line, str) else line
                if offset in self.taken:
                    raise OSError(16, "Device or resource busy")
                lines[offset] = FakeLine(settings, settings.output_value)
        self.answer(lines)
        self.taken |= lines
        self.requests.append(made := FakeRequest(self, lines, self.names))
        return made


@dataclass
class FakeLineOfServer:
    streams: tuple[str, ...] = ("press",)
    triggers: list[tuple[str, str]] = field(default_factory=list)
    busy: bool = False
    missed_on: list[str] = field(default_factory=list)

    def missed(self, stream: str) -> None:
        self.missed_on.append(stream)

    def trigger(self, stream: str, *, part: str | None, trigger_id: str | None, by: str) -> Accepted:
        if self.busy:
            raise TriggerRefused("press is busy with trigger 3")
        self.triggers.append((stream, by))
        return Accepted(stream, len(self.triggers))

    async def choose_recipe(self, stream: str, recipe: str, *, who: str) -> str:
        raise SinkError("there is none")


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeChip]:
    chip = FakeChip()
    monkeypatch.setattr(gpiod, "request_lines", chip.request_lines)
    monkeypatch.setattr(running, "Backoff", lambda longest: Backoff(first=0.02, longest=0.05))
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    monkeypatch.setattr(module, "OLD_EDGE_S", 10.0)  # a busy machine is no matter
    yield chip
    chip.answers.set()


@pytest.fixture
async def hub() -> Hub:
    return Hub()


@pytest.fixture
def line() -> FakeLineOfServer:
    return FakeLineOfServer()


@pytest.fixture
async def sinks(tmp_path: Path, hub: Hub, line: FakeLineOfServer) -> AsyncIterator[Sinks]:
    sinks = Sinks(tmp_path, hub, line=line)
    sinks.start()
    yield sinks
    await sinks.stop()


def draft(**settings: Any) -> Draft:
    return Draft("gpio", "ejector", True, Choice(), settings)


async def test_each_rejected_part_is_one_pulse_and_a_good_one_none(chip: FakeChip, sinks: Sinks, hub: Hub) -> None:
    stored = await sinks.add(draft(reject="EJECTOR", reject_ms=20, active_low=True), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    wire = chip.taken[5]
    assert wire.settings.direction is Direction.OUTPUT and wire.settings.active_low and wire.value is Value.INACTIVE
    told = [part(verdict=verdict) for verdict in ("ANOMALY", "NORMAL", "ANOMALY", "FAILED", "NORMAL")]
    for one in [*told, result(verdict="NORMAL"), result(verdict="ANOMALY"), result(verdict="ANOMALY")]:
        hub.publish(one.message)
    await until(lambda: sinks.state(stored.id).delivered == 7)
    assert len(wire.pulses) == 4 and min(wire.pulses) >= 0.02, "two that follow each other are two"
    assert "4 reject pulses" in sinks.state(stored.id).words
    await sinks.remove(stored.id, "a test")
    await until(lambda: not chip.taken)
    assert wire.value is Value.INACTIVE


async def test_a_pulse_that_comes_too_late_is_none(
    chip: FakeChip, sinks: Sinks, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE_S", 0.1)
    stored = await sinks.add(draft(reject="5", reject_ms=200), "a test")
    for _ in range(3):
        hub.publish(part(verdict="ANOMALY").message)
    await until(lambda: sinks.state(stored.id).refused == 2)
    assert sinks.state(stored.id).delivered == 1 and len(chip.taken[5].pulses) == 1
    assert "too late, for another part" in (sinks.state(stored.id).last_error or "")


async def is_handed_out(sinks: Sinks, stored: StoredSink) -> None:
    """Until an event is in the sink's hands."""
    await until(lambda: sinks._running[stored.id].box._handed is not None)


async def test_a_pulse_that_waited_for_a_test_is_none(
    chip: FakeChip, sinks: Sinks, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await sinks.add(draft(reject="5", reject_ms=500), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    tested = asyncio.create_task(sinks.test(stored.id))
    await until(lambda: chip.taken[5].value is Value.ACTIVE)
    hub.publish(part(verdict="ANOMALY").message)
    await is_handed_out(sinks, stored)
    monkeypatch.setattr(module, "LATE_S", -1.0)
    await until(lambda: sinks.state(stored.id).refused == 1)
    assert "was active for 500 ms" in await tested
    assert len(chip.pulses(5)) == 1 and sinks.state(stored.id).delivered == 0


async def test_a_pulse_that_waited_for_the_chip_is_none(
    chip: FakeChip, sinks: Sinks, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWERS_S", 20.0)
    stored = await sinks.add(draft(reject="5", reject_ms=1, ready="27"), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    chip.hanging = {27}
    await until(lambda: chip.hung)
    hub.publish(part(verdict="ANOMALY").message)
    await is_handed_out(sinks, stored)
    monkeypatch.setattr(module, "LATE_S", -1.0)
    chip.answers.set()
    await until(lambda: sinks.state(stored.id).refused == 1)
    assert not any(active for _, active in chip.taken[5].changes) and sinks.state(stored.id).delivered == 0


async def test_a_pulse_that_the_chip_gives_too_late_ends_at_once_and_counts_as_none(
    chip: FakeChip, sinks: Sinks, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWERS_S", 20.0)
    stored = await sinks.add(draft(reject="5", reject_ms=5000), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    chip.hanging = {5}
    hub.publish(part(verdict="ANOMALY").message)
    await until(lambda: chip.hung)
    monkeypatch.setattr(module, "LATE_S", -1.0)
    chip.answers.set()
    await until(lambda: sinks.state(stored.id).refused == 1)
    assert chip.taken[5].value is Value.INACTIVE and sinks.state(stored.id).delivered == 0


@pytest.mark.parametrize("hangs", [False, True], ids=["while it is given", "while it is begun"])
async def test_a_change_in_mid_pulse_gives_no_second_one(
    chip: FakeChip, sinks: Sinks, hub: Hub, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr(module, "LATE_S", 20.0)
    monkeypatch.setattr(module, "ANSWERS_S", 20.0)
    stored = await sinks.add(draft(reject="5", reject_ms=5000), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    chip.hanging = {5} if hangs else set()
    hub.publish(part(verdict="ANOMALY").message)
    await until(lambda: chip.hung or chip.taken[5].value is Value.ACTIVE)
    await sinks.change(stored.id, "a test", settings={"reject_ms": 1})
    chip.answers.set()
    await until(lambda: sinks.state(stored.id).delivered == 1)
    assert len(chip.pulses(5)) == 1 and sinks.state(stored.id).refused == 0
    hub.publish(part(verdict="ANOMALY").message)
    await until(lambda: sinks.state(stored.id).delivered == 2)
    assert len(chip.pulses(5)) == 2 and stored.id not in module._begun


async def test_a_change_on_a_line_that_stands_at_a_defect_rejects_nothing(
    chip: FakeChip, sinks: Sinks, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE_S", 20.0)
    stored = await sinks.add(draft(reject="5", reject_ms=1), "a test")
    hub.publish(result(verdict="ANOMALY").message)
    await until(lambda: sinks.state(stored.id).delivered == 1)
    await sinks.change(stored.id, "a test", name="other", settings={"reject_ms": 2})
    hub.publish(result(verdict="ANOMALY").message)
    hub.publish(part(verdict="NORMAL").message)
    await until(lambda: sinks.state(stored.id).delivered == 2)
    assert len(chip.pulses(5)) == 1 and sinks.state(stored.id).waiting == 0


async def test_a_bad_part_without_a_pulse_is_shouted_until_the_next_pulse_or_for_a_minute(
    chip: FakeChip, sinks: Sinks, hub: Hub, line: FakeLineOfServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await sinks.add(draft(reject="5", reject_ms=1, trigger="22", trigger_stream="press"), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    monkeypatch.setattr(module, "LATE_S", -1.0)
    for _ in range(3):
        hub.publish(part(verdict="ANOMALY").message)
    await until(lambda: "ejector is not told: 3 bad parts passed without a pulse" in (sinks.warning or ""))
    monkeypatch.setattr(module, "LATE_S", 20.0)
    chip.requests[-1].edge()
    hub.publish(part(verdict="NORMAL").message)
    await until(lambda: sinks.state(stored.id).delivered == 1 and bool(line.triggers))
    assert sinks.warning is not None, "neither a trigger nor a good part ends it"
    hub.publish(part(verdict="ANOMALY").message)
    await until(lambda: sinks.warning is None)
    assert "1 reject pulses, 3 too late" in sinks.state(stored.id).words
    monkeypatch.setattr(module, "LATE_S", -1.0)
    monkeypatch.setattr(module, "TROUBLE_S", 0.05)
    hub.publish(part(verdict="ANOMALY").message)
    await until(lambda: sinks.state(stored.id).refused == 4 and sinks.warning is None)
    assert "1 bad part passed without a pulse" in (sinks.state(stored.id).last_error or "")


async def test_a_heartbeat_that_hangs_is_said_and_however_often_it_is_tried_one_thread_hangs(
    chip: FakeChip, sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWERS_S", 0.05)
    monkeypatch.setattr(hand, "PATIENCE_S", 0.01)
    stored = await sinks.add(draft(ready="27"), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    chip.hanging = {27}
    await until(lambda: "did not answer within" in (sinks.state(stored.id).last_error or ""))
    await until(lambda: sinks.state(stored.id).failures > 4)
    await until(lambda: sum(one.name.startswith(f"sink-{stored.id}") for one in threading.enumerate()) == 1)
    chip.answers.set()
    await until(lambda: sinks.state(stored.id).state == "up")


async def test_a_test_that_hangs_leaves_the_sink_that_runs_alone(
    chip: FakeChip, sinks: Sinks, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await sinks.add(draft(reject="5", reject_ms=1), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    monkeypatch.setattr(module, "ANSWERS_S", 0.05)
    monkeypatch.setattr(hand, "PATIENCE_S", 0.01)
    chip.hanging = {6}
    for words in ("did not answer within", "still hangs"):
        with pytest.raises(SinkError, match=words):
            await sinks.try_out(draft(reject="6"), stored.id)
    monkeypatch.setattr(module, "ANSWERS_S", 20.0)
    monkeypatch.setattr(module, "LATE_S", 20.0)
    hub.publish(part(verdict="ANOMALY").message)
    await until(lambda: sinks.state(stored.id).delivered == 1)
    assert sinks.state(stored.id).failures == 0 and sinks.state(stored.id).last_error is None


async def test_a_test_that_the_sinks_end_breaks_off_says_so(chip: FakeChip, sinks: Sinks) -> None:
    stored = await sinks.add(draft(reject="5", reject_ms=1000), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    tested = asyncio.create_task(sinks.test(stored.id))
    await until(lambda: chip.taken[5].value is Value.ACTIVE)
    await sinks.remove(stored.id, "a test")
    with pytest.raises(SinkError, match="were given back meanwhile"):
        await tested


async def test_ready_beats_or_stands_and_falls_with_the_sink(chip: FakeChip, sinks: Sinks) -> None:
    stored = await sinks.add(draft(ready="27"), "a test")
    await until(lambda: 27 in chip.taken and len(chip.taken[27].changes) > 6)
    beating = chip.taken[27]
    assert [up for _, up in beating.changes[:4]] == [True, False, True, False]
    await sinks.change(stored.id, "a test", settings={"ready_as": "steady"})
    await until(lambda: chip.taken.get(27, beating) is not beating and chip.taken[27].value is Value.ACTIVE)
    steady = chip.taken[27]
    await sinks.change(stored.id, "a test", enabled=False)
    await until(lambda: not chip.taken)
    assert steady.value is Value.INACTIVE and len(steady.changes) == 2


async def test_an_edge_triggers_its_stream_and_a_refusal_is_counted(
    chip: FakeChip, sinks: Sinks, line: FakeLineOfServer
) -> None:
    wanted = draft(trigger="22", trigger_stream="press", debounce_ms=7, trigger_active_low=True, pull="up")
    stored = await sinks.add(wanted, "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    settings = chip.taken[22].settings
    assert settings.edge_detection is Edge.RISING and settings.active_low
    assert settings.debounce_period.total_seconds() == pytest.approx(0.007)
    chip.requests[-1].edge()
    await until(lambda: line.triggers == [("press", "gpio")])
    line.busy = True
    chip.requests[-1].edge()
    await until(lambda: "2 triggers, 1 of them refused (press is busy" in sinks.state(stored.id).words)


async def test_an_edge_that_waited_triggers_nothing_and_ends_the_part_in_work(
    chip: FakeChip, sinks: Sinks, line: FakeLineOfServer
) -> None:
    stored = await sinks.add(draft(trigger="22", trigger_stream="press"), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    assert chip.taken[22].settings.event_clock is Clock.MONOTONIC
    chip.requests[-1].edge(2, age_s=30.0)
    chip.requests[-1].edge()
    await until(lambda: line.triggers == [("press", "gpio")])
    assert line.missed_on == ["press", "press"]
    assert "3 triggers, 2 of them refused (it was heard of 30.0 s late" in sinks.state(stored.id).words


async def test_chatter_is_bounded_and_said(
    chip: FakeChip, sinks: Sinks, line: FakeLineOfServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_EDGES_A_S", 20)
    stored = await sinks.add(draft(trigger="22", trigger_stream="press"), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    chip.requests[-1].edge(5000)
    await until(lambda: "chatters" in (sinks.state(stored.id).last_error or ""))
    assert len(line.triggers) <= 20
    assert {*line.missed_on} == {"press"}, "a part in work ends there"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"chip": "/dev/gpiochip7", "reject": "1"}, "there is no /dev/gpiochip7 on this machine"),
        ({"reject": "PUMP"}, "has no such line"),
    ],
)
async def test_what_is_not_there_is_said(chip: FakeChip, sinks: Sinks, settings: dict[str, str], words: str) -> None:
    with pytest.raises(SinkError, match=words):
        await sinks.try_out(draft(**settings))


async def test_the_test_pulses_by_the_request_that_runs(chip: FakeChip, sinks: Sinks) -> None:
    wanted = draft(reject="5", reject_ms=10, ready="27", trigger="22", trigger_stream="press")
    assert "the reject line 5 was active for 10 ms" in await sinks.try_out(wanted)
    await until(lambda: not chip.taken)
    stored = await sinks.add(wanted, "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    assert "the trigger line 22 is inactive" in await sinks.test(stored.id)
    assert len(chip.taken[5].pulses) == 1
    with pytest.raises(SinkError, match="is used by another program"):
        await sinks.try_out(wanted)


async def test_a_chip_that_fails_is_tried_again(chip: FakeChip, sinks: Sinks, hub: Hub) -> None:
    stored = await sinks.add(draft(reject="5", reject_ms=5), "a test")
    await until(lambda: sinks.state(stored.id).state == "up")
    chip.broken = True
    hub.publish(part(verdict="ANOMALY").message)
    await until(lambda: "do not work (Input/output error)" in (sinks.state(stored.id).last_error or ""))
    chip.broken = False
    await until(lambda: sinks.state(stored.id).delivered == 1)


async def test_without_a_line_that_takes_triggers_it_says_so(chip: FakeChip, tmp_path: Path, hub: Hub) -> None:
    sinks = Sinks(tmp_path, hub)
    sinks.start()
    stored = await sinks.add(draft(trigger="22", trigger_stream="press"), "a test")
    await until(lambda: "takes no triggers" in (sinks.state(stored.id).last_error or ""))
    await sinks.stop()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "no line is named"),
        ({"reject": "5", "ready": "05"}, "two of the lines are the same"),
        ({"trigger": "5"}, "say which stream"),
        ({"trigger": "5", "trigger_stream": "a b"}, "say which stream"),
        ({"chip": "/dev/sda", "reject": "5"}, "Chip: expected"),
        ({"chip": "/dev/gpiochip0/../sda", "reject": "5"}, "Chip: expected"),
        ({"reject": "a b"}, "Reject line: expected"),
        ({"reject": "5", "reject_ms": 0}, "Length of the pulse: expected"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        GPIO.read(settings, Around("a", "ejector", Path()))


@pytest.fixture
def simulated() -> Iterator[tuple[str, Path]]:
    """A chip of the kernel's gpio-sim with 8 lines: its device, and where its lines are seen."""
    if not SIMULATED.is_dir():
        pytest.skip("the kernel's module gpio-sim is not loaded: modprobe gpio-sim, as root, runs this test")
    own = SIMULATED / f"defectvision-{os.getpid()}"
    bank = own / "bank0"
    try:
        bank.mkdir(parents=True)
        (bank / "num_lines").write_text("8")
        (own / "live").write_text("1")
    except OSError as error:
        pytest.skip(f"gpio-sim cannot be set up here: {error}")
    chip = (bank / "chip_name").read_text().strip()
    yield f"/dev/{chip}", Path("/sys/devices/platform") / (own / "dev_name").read_text().strip() / chip
    (own / "live").write_text("0")
    bank.rmdir()
    own.rmdir()


async def test_on_the_kernels_simulated_chip(
    simulated: tuple[str, Path], sinks: Sinks, hub: Hub, line: FakeLineOfServer
) -> None:
    device, seen = simulated
    stored = await sinks.add(
        draft(chip=device, reject="1", ready="2", ready_as="steady", trigger="3", trigger_stream="press"), "a test"
    )
    await until(lambda: (seen / "sim_gpio2" / "value").read_text().strip() == "1")
    hub.publish(part(verdict="ANOMALY").message)
    await until(lambda: (seen / "sim_gpio1" / "value").read_text().strip() == "1")
    await until(lambda: (seen / "sim_gpio1" / "value").read_text().strip() == "0")
    (seen / "sim_gpio3" / "pull").write_text("pull-up")
    await until(lambda: line.triggers == [("press", "gpio")])
    assert sinks.state(stored.id).state == "up"
