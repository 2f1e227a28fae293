"""One stream: its slot, its counters, its clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from detector.images import BGRImage
from server.streams.slot import Counters, Frame, Stream
from server.words import check_max_fps, check_name
from server.words.messages import Simulated


def load() -> BGRImage:
    return np.zeros((16, 16, 3), np.uint8)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Accounting(RuleBasedStateMachine):
    """Whatever happens in whatever order: no frame is lost from the count, none is counted twice."""

    @initialize(max_fps=st.none() | st.floats(0.5, 60), max_age_s=st.none() | st.floats(0.01, 1))
    def open(self, max_fps: float | None, max_age_s: float | None) -> None:
        self.clock, self.max_age_s = Clock(), max_age_s
        self.stream = Stream("s", "websocket", max_fps=max_fps, max_age_s=max_age_s, clock=self.clock)
        self.in_work: Frame | None = None
        self.sent = self.last_seq = -1

    @rule(late_s=st.just(0.0) | st.floats(0, 2))
    def put(self, late_s: float) -> None:
        self.sent += 1
        before, arrived = self.stream.arrived, self.stream.arrival(late_s)
        taken = self.stream.put(load, arrived=arrived)
        assert before <= self.stream.arrived == arrived <= self.clock.now == self.stream.heard
        assert taken <= self.stream.has_waiting

    @rule(frames=st.integers(1, 5))
    def come_late(self, frames: int) -> None:
        self.sent += frames
        self.stream.put_late(frames)

    @rule(seconds=st.floats(0, 2))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.in_work is None)
    @rule()
    def take(self) -> None:
        self.in_work = self.stream.take()
        assert not self.stream.has_waiting
        if self.in_work is not None:
            assert self.last_seq < self.in_work.seq <= self.sent
            self.last_seq = self.in_work.seq

    @precondition(lambda self: self.in_work is not None)
    @rule(anomaly=st.booleans())
    def inspect(self, anomaly: bool) -> None:
        assert self.in_work is not None
        inspected, age_s = self.stream.inspected, self.clock.now - self.in_work.arrived
        too_late = self.max_age_s is not None and age_s > self.max_age_s
        assert self.stream.drop_late(self.in_work) == too_late
        if not too_late:
            assert self.stream.count_inspected(self.in_work, "ANOMALY" if anomaly else "NORMAL") >= 0
        assert self.stream.inspected - inspected == (not too_late)
        self.in_work = None

    @precondition(lambda self: self.in_work is not None)
    @rule()
    def fail(self) -> None:
        self.stream.count_failed()
        self.in_work = None

    @precondition(lambda self: self.in_work is not None)
    @rule()
    def show_to_a_teaching(self) -> None:
        self.stream.count_dropped()
        self.in_work = None

    @rule(max_fps=st.none() | st.floats(0.5, 60))
    def limit(self, max_fps: float | None) -> None:
        self.stream.limit(max_fps)

    @rule()
    def drop_rest(self) -> None:
        self.stream.drop_rest()
        self.in_work = None

    @precondition(lambda self: self.in_work is None)
    @rule()
    def hear_of_one_that_was_dropped(self) -> None:
        self.stream.count_failed()
        self.stream.count_dropped()

    @invariant()
    def every_frame_is_counted_once(self) -> None:
        counted = self.stream.counters
        outcome = counted.inspected + counted.dropped + counted.failed
        assert counted.received == self.sent + 1
        assert counted.received == outcome + self.stream.has_waiting + (self.in_work is not None)
        assert 0 <= self.stream.anomalies <= counted.inspected
        assert self.stream.received_per_s >= 0 and self.stream.inspected_per_s >= 0


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_newest_frame_wins() -> None:
    stream = Stream("s", "websocket")
    for part in range(3):
        assert stream.put(load, Simulated(part, None))
    frame = stream.take()
    assert frame is not None and frame.seq == 2 and frame.simulated == Simulated(2, None)
    assert stream.take() is None
    assert (stream.received, stream.dropped) == (3, 2)


def test_a_frame_that_waited_too_long_is_dropped() -> None:
    clock = Clock()
    stream = Stream("s", "webrtc", max_age_s=0.5, clock=clock)
    stream.put(load)
    clock.now += 0.4
    assert stream.take() is not None
    stream.put(load)
    clock.now += 0.6
    assert stream.take() is None
    assert stream.dropped == 1


def test_a_verdict_that_comes_too_late_is_none() -> None:
    clock = Clock()
    stream = Stream("s", "webrtc", max_age_s=2.0, clock=clock)
    for seconds, age_ms in ((1.5, 1500), (30.0, None), (0.5, 500)):
        stream.put(load)
        frame = stream.take()
        assert frame is not None
        clock.now += seconds
        assert stream.drop_late(frame) == (age_ms is None)
        if age_ms is not None:
            assert stream.count_inspected(frame, "NORMAL") == pytest.approx(age_ms)
        assert stream.is_late == (age_ms is None)
    assert stream.counters == Counters(received=3, inspected=2, dropped=1, failed=0)


def test_what_a_frame_had_waited_on_its_way_is_of_its_age() -> None:
    clock = Clock()
    stream = Stream("s", "camera", max_age_s=2.0, clock=clock)
    clock.now += 5
    stream.put(load, arrived=stream.arrival(0.7))
    frame = stream.take()
    assert frame is not None and frame.arrived == pytest.approx(clock.now - 0.7) and stream.silent_s == 0
    clock.now += 0.1
    assert stream.count_inspected(frame, "NORMAL") == pytest.approx(800)
    stream.put(load, arrived=stream.arrival(0.9))
    frame = stream.take()
    assert frame is not None and frame.arrived == pytest.approx(clock.now - 0.8), "not before the one before it"
    clock.now += 1.3
    assert stream.drop_late(frame)


def test_frames_that_the_transport_dropped_arrived_and_were_dropped() -> None:
    clock = Clock()
    stream = Stream("a", "camera", clock=clock)
    stream.put(load)
    clock.now += 2
    stream.put_late(3)
    assert stream.counters == Counters(received=4, inspected=0, dropped=3, failed=0)
    assert stream.silent_s == 0
    assert stream.has_waiting


def test_another_limit_holds_at_once_and_the_sender_s_own_stays() -> None:
    clock = Clock()
    stream = Stream("s", "websocket", max_fps=10, clock=clock)
    stream.limit(0.01)
    assert [stream.put(load) for _ in range(2)] == [True, False]
    clock.now += 1
    stream.limit(None)
    taken = 0
    for _ in range(100):
        taken += stream.put(load)
        clock.now += 0.01
    assert taken in (10, 11)


@pytest.mark.parametrize("jitter_s", [0.0, 0.01, 0.03])
def test_max_fps_is_held_on_average_under_jitter(jitter_s: float) -> None:
    clock = Clock()
    stream = Stream("s", "websocket", max_fps=10, clock=clock)
    random = np.random.default_rng(0)
    for frame in range(300):  # 10 s at 30 frames/s
        clock.now = 100 + frame / 30 + random.uniform(-jitter_s, jitter_s) / 2
        stream.put(load)
        stream.take()
    assert 95 <= stream.received - stream.dropped <= 105


def test_after_a_pause_max_fps_lets_no_burst_through() -> None:
    clock = Clock()
    stream = Stream("s", "websocket", max_fps=10, clock=clock)
    stream.put(load)
    clock.now += 60
    passed = [stream.put(load) for _ in range(50)]
    assert sum(passed) == 1


def test_rates_and_latency_are_those_of_the_last_seconds() -> None:
    clock = Clock()
    stream = Stream("s", "websocket", clock=clock)
    assert stream.latency_ms is None and stream.received_per_s == 0
    for _ in range(100):
        clock.now += 0.1
        stream.put(load)
        frame = stream.take()
        assert frame is not None
        clock.now += 0.025
        stream.count_inspected(frame, "NORMAL")
    assert stream.received_per_s == pytest.approx(8, rel=0.05) == stream.inspected_per_s
    assert stream.latency_ms == pytest.approx(25)
    clock.now += 6
    assert stream.received_per_s == 0


def test_a_fast_stream_is_measured_too() -> None:
    clock = Clock()
    stream = Stream("s", "websocket", clock=clock)
    for _ in range(2000):
        clock.now += 0.005
        stream.put(load)
    assert stream.received_per_s == pytest.approx(200, rel=0.05)


@given(st.text())
def test_a_name_is_taken_as_it_is_or_not_at_all(name: str) -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
    if 1 <= len(name) <= 64 and set(name) <= allowed:
        assert check_name(name) == name
    else:
        with pytest.raises(ValueError, match="1 to 64"):
            check_name(name)


@given(st.text() | st.floats().map(str) | st.integers().map(str))
def test_any_text_is_a_rate_or_a_value_error(text: str) -> None:
    try:
        value = check_max_fps(text)
    except ValueError as error:
        assert "max_fps" in str(error)
    else:
        assert value is None if text == "" else value is not None and 0 < value <= 1000
