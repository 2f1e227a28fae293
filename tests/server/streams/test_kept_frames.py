"""Which frames are kept, and what bounds them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.inspection import Inspected, KeptPicture, Threshold
from server.recipes import Decision
from server.streams.decision import Decider
from server.streams.kept_frames import (
    MOST_ALARMS,
    MOST_HELD,
    MOST_RECENT,
    MOST_STREAMS,
    OVERHEAD,
    KeptFrame,
    KeptFrames,
)

THRESHOLD = 10.0


class Line:
    """A stream whose frames have these scores; a worker makes what is kept where it is wanted."""

    def __init__(self, *, rule: Decision | None = None, size: int = 100, **bounds: int) -> None:
        self.now = 0.0
        self.kept = KeptFrames(lambda: self.now, **bounds)
        self.rule, self.size = rule or Decision(), size
        self.deciders: dict[str, Decider] = {}
        self.made = 0

    def see(self, score: float, stream: str = "a", part: int = 1, *, known: bool = False) -> bool:
        """Inspect a frame; says whether what is kept was made of it."""
        is_anomaly = score > THRESHOLD
        wanted = self.kept.wanted(stream, part if known else None)(score, is_anomaly)
        self.made += wanted
        picture = KeptPicture(bytes(self.size), "taught", (b"", 1, 1)) if wanted else None
        threshold = Threshold(THRESHOLD, "model")
        found = Inspected(score, threshold, np.zeros((1, 1), np.uint8), (1, 1), ("m", "openvino"), kept=picture)
        decider = self.deciders.setdefault(stream, Decider(self.rule))
        verdict = decider.decide(is_anomaly, score, THRESHOLD)
        self.kept.see(stream, found, verdict, at="now", part=part, told=None, window=decider.window)
        self.now += 0.001
        return wanted

    def alarms(self, stream: str = "a") -> list[float]:
        """Their scores, oldest first."""
        return [frame.inspected.raw_score for frame in reversed(self.kept.list(stream, "alarm"))]


@given(st.lists(st.integers(0, 20), max_size=200))
def test_of_each_run_the_frame_with_the_highest_score(scores: list[int]) -> None:
    line, runs, last = Line(), list[float](), 0
    for score in scores:
        line.see(score)
        if score > THRESHOLD:
            runs.append(score) if last <= THRESHOLD else runs.__setitem__(-1, max(runs[-1], score))
        last = score
    assert line.alarms() == runs
    assert all(frame.verdict == "ANOMALY" and frame.kind == "alarm" for frame in line.kept.list("a", "alarm"))


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), max_size=100))
def test_and_of_each_part(frames: list[tuple[int, int]]) -> None:
    line, runs, last = Line(), list[float](), (0, 0)
    number = 0
    for part, score in frames:
        number += part != last[0]
        line.see(score, part=number, known=True)
        if score > THRESHOLD:
            goes_on = last[1] > THRESHOLD and last[0] == part
            runs.__setitem__(-1, max(runs[-1], score)) if goes_on else runs.append(score)
        last = part, score
    assert line.alarms() == runs


def test_by_n_of_m_the_worst_frame_may_lie_before_the_verdict() -> None:
    line = Line(rule=Decision("n_of_m", 3, 5))
    for score in (1, 19, 1, 12, 13, 1, 1, 1, 1, 1):
        line.see(score)
    assert line.alarms() == [19]
    for score in (18, 1, 1, 1, 1, 1, 1, 1, 11, 12, 13):  # the 18 is too long ago
        line.see(score)
    assert line.alarms() == [19, 13]


def test_while_a_verdict_is_held_it_is_one_alarm() -> None:
    line = Line(rule=Decision("hysteresis", 1, 3, 0.5))
    for score in (12, 1, 1, 15, 9, 1, 14, 1, 1, 1, 1, 11):
        line.see(score)
    assert line.alarms() == [15, 11]


def test_an_ordinary_frame_costs_nothing() -> None:
    line = Line()
    line.see(1)
    assert line.made == 1, "the first is one of the latest"
    assert not any(line.see(1) for _ in range(400))
    line.now += 1
    assert line.see(1)


def test_a_run_of_equal_frames_is_kept_once() -> None:
    line = Line()
    line.see(1)
    assert [line.see(20) for _ in range(100)] == [True] + [False] * 99


def test_the_latest_are_half_a_second_apart() -> None:
    line = Line()
    for score in range(1, 10):
        line.see(score)
        line.see(score)
        line.now += 0.5
    latest = [frame.inspected.raw_score for frame in line.kept.list("a", "recent")]
    assert latest == list(range(9, 9 - MOST_RECENT, -1))


def test_the_oldest_are_forgotten_and_counted() -> None:
    line = Line()
    for _ in range(MOST_ALARMS + 7):
        line.see(20)
        line.see(1)
    assert len(line.alarms()) == MOST_ALARMS and line.kept.forgotten("a") == 7


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(1, 3), st.integers(0, 40_000)), max_size=150
    )
)
def test_memory_is_bounded_whatever_comes(frames: list[tuple[str, int, int, int]]) -> None:
    line = Line(most_bytes=200_000, most_recent_bytes=60_000)
    for stream, score, part, size in frames:
        line.size = size
        line.see(score, stream, part)
        line.now += 0.3
        kept = line.kept
        assert kept.size == sum(frame.size for frame in kept) <= 200_000
        assert kept.recent_size == sum(frame.size for frame in kept if frame.kind == "recent") <= 60_000
        listed = {frame.id for name in "abc" for kind in ("alarm", "recent") for frame in kept.list(name, kind)}  # type: ignore[arg-type]
        assert listed <= {frame.id for frame in kept}
        assert len(kept) <= len(listed) + 3 * MOST_HELD


def test_one_that_alarms_all_day_takes_nobody_else_s_alarms() -> None:
    line = Line(size=10_000, most_bytes=20 * (10_000 + OVERHEAD), most_recent_bytes=50_000)
    for _ in range(3):
        line.see(20, "calm")
        line.see(1, "calm")
    for _ in range(100):
        line.see(20, "crazy")
        line.see(1, "crazy")
    assert len(line.alarms("calm")) == 3 and line.kept.forgotten("crazy") > 80


def test_names_are_bounded_too() -> None:
    line = Line()
    for number in range(MOST_STREAMS + 50):
        line.see(20, f"camera-{number}")
    assert line.alarms("camera-49") == [] and line.alarms("camera-50") == [20]
    assert len(line.kept) == 2 * MOST_STREAMS


def test_what_an_id_names_never_changes_and_can_be_said_of_for_a_while() -> None:
    line = Line()
    line.see(1)
    line.see(12)
    (shown,) = line.kept.list("a", "alarm")
    line.see(15)
    (newer,) = line.kept.list("a", "alarm")
    assert newer.id != shown.id and newer.inspected.raw_score == 15
    still = line.kept.get(shown.id)
    assert still is not None and still.inspected.raw_score == 12
    for score in range(16, 18 + MOST_HELD):
        line.see(score)
    assert line.kept.get(shown.id) is None
    assert line.alarms() == [17 + MOST_HELD]


def test_one_of_the_latest_can_be_said_of_long_after_it_was_listed() -> None:
    line = Line()

    def pass_by(frames: int) -> None:
        for score in range(frames):
            line.see(score / 1000)
            line.now += 1.0

    pass_by(MOST_RECENT)
    *_, oldest = line.kept.list("a", "recent")
    pass_by(1000)
    assert line.kept.get(oldest.id) == oldest
    for _ in range(2 * MOST_HELD):  # who looks again and again holds a few, and what is asked for stays
        line.kept.list("a", "recent")
        pass_by(MOST_RECENT)
        assert line.kept.get(oldest.id) == oldest
    assert len(line.kept) <= MOST_RECENT + MOST_HELD
    assert len({frame.id for frame in line.kept} - {frame.id for frame in line.kept.list("a", "recent")}) <= MOST_HELD


def test_what_was_said_of_a_frame_stays_and_the_alarm_with_it() -> None:
    line = Line()
    line.see(12)
    (shown,) = line.kept.list("a", "alarm")
    said = line.kept.dispose(shown.id, "good", "correction-1")
    assert said is not None and (said.disposition, said.correction) == ("good", "correction-1")
    line.see(18)
    assert line.kept.list("a", "alarm") == [said]
    back = line.kept.dispose(shown.id, None)
    assert back is not None and (back.disposition, back.correction) == (None, None)
    assert line.kept.dispose("not there", "bad") is None


def test_frames_outlive_the_connection_and_the_next_one_begins_another_alarm() -> None:
    line = Line()
    line.see(15)
    line.kept.end("a")
    line.see(12)
    assert line.alarms() == [15, 12]


def test_the_pictures_for_viewers_are_not_held() -> None:
    line = Line()
    line.see(12)
    for frame in line.kept:
        assert isinstance(frame, KeptFrame)
        assert frame.inspected.kept is None and frame.inspected.picture is None and frame.inspected.sample is None


def test_whoever_listens_hears_of_an_alarm_by_one_id_and_of_each_worse_frame() -> None:
    line, heard = Line(), list[tuple[float, str | None]]()
    line.kept.on_kept = lambda frame, alarm: heard.append((frame.inspected.raw_score, alarm))
    for score in (1, 12, 11, 19, 15, 1, 13):
        line.see(score)
        line.now += 0.1
    latest = [score for score, alarm in heard if alarm is None]
    alarms = [(score, alarm) for score, alarm in heard if alarm is not None]
    assert latest[0] == 1 and [score for score, _ in alarms] == [12, 19, 13]
    first, again, second = (alarm for _, alarm in alarms)
    assert first == again != second
