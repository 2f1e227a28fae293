"""What is a part, and when it has its verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.parts import Done, FrameFound, Station, TriggerRefused, gate_look, packed
from server.parts.station import CUT_SHORT, INSPECTION_S, MOST_NAMED, NO_FRAME, NOT_SEEN, PATIENCE_S, TOO_SLOW
from server.recipes import PartRule


@dataclass(frozen=True)
class Found:
    raw_score: float
    is_anomaly: bool = False


def frame(arrived: float, score: float = 1.0, part: str | None = None, look: object = None) -> FrameFound[Found]:
    return FrameFound(Found(score, score > 2), arrived, part, look)  # type: ignore[arg-type]


def verdicts(done: list[Done[Found]]) -> list[tuple[int, str, str]]:
    return [(one.passage.number, str(one.passage.part), one.verdict) for one in done]


def at_its_end(station: Station[Found]) -> Done[Found]:
    """The part whose time is over, at that time and not before."""
    due = station.due
    assert due is not None and station.tick(due - 0.01) is None
    done = station.tick(due)
    assert done is not None
    return done


def triggered(**rule: float) -> Station[Found]:
    return Station(PartRule(by="trigger", **rule))  # type: ignore[arg-type]


def test_a_trigger_takes_the_next_frame_that_arrives() -> None:
    station = triggered()
    assert station.see(frame(0.9), 1.0) == []
    assert station.trigger(1.0, part="A", trigger_id="t", by="rest") == 1
    assert station.see(frame(0.99, score=9), 1.01) == []  # it shows the part before
    (done,) = station.see(frame(1.02), 1.03)
    assert (done.verdict, done.passage.part, done.passage.trigger_id, done.passage.triggered_by) == (
        "NORMAL",
        "A",
        "t",
        "rest",
    )
    assert done.passage.worst == Found(1.0) and done.ended - done.passage.began == pytest.approx(0.03)
    assert station.open is None and station.due is None


def test_a_trigger_while_busy_is_refused_counted_and_told() -> None:
    station = triggered()
    station.trigger(1.0)
    with pytest.raises(TriggerRefused, match="busy: the verdict of trigger 1"):
        station.trigger(1.0)
    assert (station.taken, station.refused) == (1, 1)
    first = station.tick(10.0)
    station.trigger(11.0)
    second = station.tick(20.0)
    assert first is not None and second is not None and (first.overruns, second.overruns) == (1, 0)


def test_what_arrives_after_a_refused_trigger_is_never_of_the_part_before() -> None:
    station = triggered()
    station.trigger(1.0, part="A-17")
    station.came(1.1)
    with pytest.raises(TriggerRefused):
        station.trigger(1.5, part="A-18")
    with pytest.raises(TriggerRefused):
        station.trigger(1.6)
    station.came(1.52)
    (done,) = station.see(frame(1.52), 1.6)  # it shows A-18, and took the place of the frame of A-17
    assert (done.passage.part, done.verdict, done.why, station.shows) == ("A-17", "FAILED", TOO_SLOW, 0)

    station.trigger(2.0)
    with pytest.raises(TriggerRefused):
        station.trigger(2.1)
    assert station.due == 2.1
    lost = station.tick(2.1)
    assert lost is not None and (lost.verdict, lost.why, lost.overruns) == ("FAILED", CUT_SHORT, 1)
    station.trigger(3.0)
    assert [one.verdict for one in station.see(frame(3.5), 3.5)] == ["NORMAL"], "the next one has all its time"


def test_a_trigger_that_is_sent_again_ends_nothing() -> None:
    station = triggered()
    station.trigger(1.0, trigger_id="7")
    with pytest.raises(TriggerRefused, match="busy"):
        station.trigger(1.2, trigger_id="7")
    (done,) = station.see(frame(1.5), 1.6)
    assert (done.verdict, done.overruns, station.refused) == ("NORMAL", 1, 1)


def test_what_came_before_a_refused_trigger_judges_the_part() -> None:
    station = triggered(frames=2)
    station.trigger(1.0)
    station.came(1.1)
    station.refusal("there is no model for it yet", 1.5)
    assert station.tick(1.5) is None, "its frame is in work"
    (done,) = station.see(frame(1.1, score=5), 1.7)
    assert (done.verdict, done.passage.frames) == ("ANOMALY", 1)


@pytest.mark.parametrize("by", ["line", "gate"])
def test_a_stream_without_triggers_refuses_them(by: str) -> None:
    rule = PartRule(by=by, empty=(0,) * 256)  # type: ignore[arg-type]
    with pytest.raises(TriggerRefused, match="takes no triggers"):
        Station[Found](rule).trigger(0.0)


def test_without_a_frame_in_time_it_failed() -> None:
    station = triggered(within_ms=200)
    station.trigger(1.0, part="A")
    assert station.due == pytest.approx(1.2) and station.tick(1.1) is None
    done = station.tick(1.2)
    assert done is not None and (done.verdict, done.why, done.passage.worst) == ("FAILED", NO_FRAME, None)
    assert station.trigger(1.3) == 2


def test_a_frame_that_came_in_time_is_waited_for() -> None:
    station = triggered(within_ms=200)
    station.trigger(1.0)
    station.came(1.1)
    assert station.tick(1.2) is None and station.due == pytest.approx(1.2 + INSPECTION_S)
    (done,) = station.see(frame(1.1, score=5), 3.0)
    assert done.verdict == "ANOMALY"
    station.trigger(4.0)
    station.came(4.1)
    (done,) = station.see(frame(4.3, score=5), 5.0)  # the one that came in time was replaced by a newer one
    assert (done.verdict, done.why) == ("FAILED", TOO_SLOW)
    station.trigger(6.0)
    station.came(6.1)
    late = station.tick(6.2 + INSPECTION_S)
    assert late is not None and late.why == TOO_SLOW


def test_where_frames_come_late_one_that_arrived_in_time_is_waited_for() -> None:
    station = triggered(within_ms=200)
    station.came(0.4, 0.5)
    station.trigger(1.0)
    station.came(0.9, 0.6)
    assert station.due == pytest.approx(1.2 + 1.2) and station.tick(2.3) is None
    assert station.see(frame(0.9, score=9), 1.6) == [], "it shows the part before"
    (done,) = station.see(frame(1.1), 1.8)
    assert (done.verdict, done.passage.last_arrived) == ("NORMAL", 1.1)

    station.trigger(3.0)
    station.came(3.3, 0.6)
    (done,) = station.see(frame(3.3), 4.0)
    assert (done.verdict, done.why) == ("FAILED", NO_FRAME), "frames keep their order: none comes any more"

    station = triggered(frames=3, within_ms=200)
    station.came(4.4, 0.5)
    station.trigger(5.0)
    for arrived in (5.05, 5.1):
        station.came(arrived, 0.5)
        assert station.see(frame(arrived, score=5), arrived + 0.55) == []
    assert (lost := at_its_end(station)).verdict == "ANOMALY" and lost.passage.frames == 2
    station.came(6.0, 0.5)
    station.gone(7.0, "away")
    station.trigger(8.0)
    assert station.due == pytest.approx(8.2), "what the next sender sends may come at once"


def test_frames_that_were_dropped_late_may_be_of_any_time_since_the_last_that_came() -> None:
    station = triggered(within_ms=200)
    station.came(0.9, 1.0)
    station.trigger(1.0)
    station.spoil(2.0, "they came late", since=0.9)
    assert at_its_end(station).why == "they came late"
    station.trigger(4.0)
    station.spoil(4.9, "they came late", since=4.5)
    assert at_its_end(station).why == NO_FRAME


def test_frames_in_work_at_the_end_of_their_time_are_waited_for_too() -> None:
    station = triggered(frames=3, within_ms=200)
    station.trigger(1.0)
    for arrived in (1.05, 1.15):
        station.came(arrived)
    assert station.see(frame(1.05), 1.19) == [] and station.tick(1.2) is None
    (done,) = station.see(frame(1.15, score=5), 1.3)
    assert (done.verdict, done.passage.frames) == ("ANOMALY", 2)
    station.trigger(2.0)
    station.came(2.05)
    station.fail(2.05, "broken")
    station.came(2.1)
    assert station.tick(2.2) is None, "the one after the broken one is in work"
    station = triggered(within_ms=200)
    station.trigger(3.0)
    station.came(3.1)
    station.fail(3.1, "broken")
    done_ = station.tick(3.2)
    assert done_ is not None and done_.why == "broken"


def test_another_rule_judges_what_lies_there_no_second_time() -> None:
    station = Station[Found](PartRule(frames=1))
    assert len(station.see(frame(1, part="A"), 1)) == 1
    assert station.use(PartRule(frames=2), 2) == []
    assert station.see(frame(3, part="A"), 3) == [] and station.open is None
    station.name("B", 4)
    assert verdicts(station.use(PartRule(frames=1), 5)) == [(2, "B", "FAILED")]
    assert station.see(frame(4.5, part="B"), 6) == station.see(frame(6.5, part="B"), 7) == [], "it has its verdict"
    assert station.shows == 0
    station = Station[Found](RULE)
    watch(station, None, 0.35, 0.5, 0.5)
    assert len(station.use(PartRule(by="gate", gate=GATE, empty=RULE.empty, n=2), watch_at[0])) == 1
    assert watch(station, 0.5, 0.5, 0.65, None) == []


def test_why_its_frames_failed_is_said() -> None:
    station = triggered(within_ms=200)
    station.trigger(1.0)
    station.fail(0.9, "of the part before")
    station.fail(1.1, "the JPEG is damaged")
    done = station.tick(1.2)
    assert done is not None and done.why == "the JPEG is damaged"


def test_what_a_dropped_frame_says_is_why_only_where_no_other_is_waited_for() -> None:
    station = triggered(within_ms=200)
    for began, comes, why in ((1.0, True, TOO_SLOW), (20.0, False, "over the rate")):
        station.trigger(began)
        if comes:
            station.came(began + 0.1)
        station.spoil(began + 0.15, "over the rate")
        station.spoil(began + 0.25, "of the next part")
        assert station.due is not None
        done = station.tick(station.due)
        assert done is not None and done.why == why


def test_with_some_of_its_frames_it_is_judged_by_those() -> None:
    station = triggered(frames=3, within_ms=200)
    station.trigger(1.0)
    assert station.see(frame(1.05, score=5), 1.06) == []
    done = station.tick(1.2)
    assert done is not None and (done.verdict, done.passage.frames) == ("ANOMALY", 1)


@pytest.mark.parametrize(("scores", "verdict"), [((1, 5, 1), "NORMAL"), ((5, 1, 5), "ANOMALY")])
def test_n_of_its_frames(scores: tuple[float, ...], verdict: str) -> None:
    station = triggered(frames=3, n=2)
    station.trigger(1.0)
    done = [one for at, score in enumerate(scores) for one in station.see(frame(1.1 + at / 10, score), 1.15 + at / 10)]
    assert [one.verdict for one in done] == [verdict] and done[0].passage.worst == Found(5.0, True)


def test_frames_within_the_delay_are_not_of_its_part() -> None:
    station = triggered(delay_ms=100, within_ms=50)
    station.trigger(1.0)
    assert station.see(frame(1.09, score=9), 1.1) == [] and station.due == pytest.approx(1.15)
    assert [one.verdict for one in station.see(frame(1.11), 1.12)] == ["NORMAL"]


def test_the_lines_ids_make_parts() -> None:
    station = Station[Found]()
    done = [
        *station.see(frame(1, part="A"), 1),
        *station.see(frame(2, score=5, part="A"), 2),
        *station.see(frame(3, part="B"), 3),
        *station.see(frame(4), 4),
        *station.see(frame(5), 5),
        *station.see(frame(6, part="B"), 6),
    ]
    assert verdicts(done) == [(1, "A", "ANOMALY"), (2, "B", "NORMAL")]
    assert verdicts(station.gone(7, "away")) == [(3, "B", "NORMAL")]


def test_a_named_part_of_which_nothing_was_inspected_failed_in_its_turn() -> None:
    station = Station[Found]()
    assert station.name("A", 1) == [] and station.due is None
    done = [*station.see(frame(1.1, part="A"), 1.1)]
    for at, part in ((2, "B"), (2, "B"), (3, "C"), (4, None), (5, "D")):
        done += station.name(part, at)
    assert done == [] and station.due == 3 + INSPECTION_S
    done += station.see(frame(5.1, part="D"), 5.1)
    assert verdicts(done) == [(1, "A", "NORMAL"), (2, "B", "FAILED"), (3, "C", "FAILED")]
    assert done[1].why == NOT_SEEN and done[1].passage.began == 2
    assert station.name("E", 6) == station.name("F", 7) == []
    due = station.due
    assert due == 7 + INSPECTION_S
    late = [one for _ in range(3) for one in [station.tick(due)] if one]
    assert verdicts(late) == [(4, "D", "NORMAL"), (5, "E", "FAILED")] and station.due is None
    assert station.see(frame(6.5, part="E"), 20) == [] and station.shows == 0, "it has its verdict"
    assert verdicts(station.gone(30, "the camera went away")) == [(6, "F", "FAILED")]


def named(*steps: str | float | None, rule: PartRule | None = None) -> list[tuple[int, str, str]]:
    """The verdicts where the line names what is a text or None, and a number is the score of a frame of that, a second
    after one another."""
    station, said, done = Station[Found](rule), None, list[Done[Found]]()
    for at, step in enumerate(steps, 1):
        if isinstance(step, str | None):
            said = step
            done += station.name(said, at)
        else:
            done += station.see(frame(at, step, said), at)
    return verdicts(done)


@pytest.mark.parametrize("frames", [0, 1])
def test_an_id_that_comes_again_is_another_part(frames: int) -> None:
    rule = PartRule(frames=frames)
    parts = named("A", 1, None, "A", 5, "B", 1, "C", 1, rule=rule)
    assert parts[:3] == [(1, "A", "NORMAL"), (2, "A", "ANOMALY"), (3, "B", "NORMAL")]
    parts = named("A", "B", "A", 5, None, 1, rule=rule)
    assert parts == [(1, "A", "FAILED"), (2, "B", "FAILED"), (3, "A", "ANOMALY")]
    assert named("A", None, "B", None, 1, rule=rule) == [(1, "A", "FAILED"), (2, "B", "FAILED")]


def test_a_frame_is_of_what_was_named_when_it_arrived() -> None:
    station = Station[Found]()
    station.name("A", 1)
    station.name(None, 2)
    station.name("A", 3)
    assert station.see(frame(1.5, part="A"), 4) == [] and station.shows == 1, "it was in work meanwhile"
    assert verdicts(station.see(frame(3.5, 5, "A"), 5)) == [(1, "A", "NORMAL")] and station.shows == 2
    assert verdicts(station.gone(6, "away")) == [(2, "A", "ANOMALY")]


def test_only_so_many_named_parts_are_waited_for() -> None:
    station = Station[Found]()
    done = [one for number in range(MOST_NAMED + 5) for one in station.name(str(number), number)]
    assert verdicts(done) == [(number + 1, str(number), "FAILED") for number in range(5)]
    assert Station[Found](PartRule(by="trigger")).name("A", 1) == []


STEPS = st.sampled_from(["A", "B", "none", "frame", "inspected", "time", "rule", "gone"])


@given(st.lists(STEPS, max_size=60), st.sampled_from([0, 1, 2]))
def test_every_part_that_is_named_has_one_verdict_in_order_and_of_its_own_frames(steps: list[str], most: int) -> None:
    station, now, done = Station[Found](PartRule(frames=most)), 0.0, list[Done[Found]]()
    parts, said = list[tuple[str, float, float]](), None  # each with when it was named, and when what came next was
    waiting: FrameFound[Found] | None = None
    inspected = list[float]()
    for step in [*steps, "gone"]:
        now += 1.0
        if step in ("A", "B", "none", "gone") and step != said and parts and parts[-1][2] == math.inf:
            parts[-1] = *parts[-1][:2], now
        match step:
            case "A" | "B":
                if step != said:
                    parts.append((step, now, math.inf))
                said = step
                done += station.name(said, now)
            case "none":
                said = None
                done += station.name(None, now)
            case "frame":
                waiting = frame(now, part=said)
            case "inspected" if waiting is not None:
                inspected.append(waiting.arrived)
                done += station.see(waiting, now)
                waiting = None
            case "time":
                now += INSPECTION_S
                done += [one for _ in range(70) for one in [station.tick(now)] if one]
            case "rule":
                done += station.use(PartRule(frames=most, n=1 + station.rule.n % 2), now)
            case "gone":
                said = waiting = None
                done += station.gone(now, "away")
    assert [one.passage.part for one in done] == [part for part, _, _ in parts]
    assert [one.passage.number for one in done] == list(range(1, len(parts) + 1))
    for one, (_, begins, ends) in zip(done, parts, strict=True):
        own = [arrived for arrived in inspected if begins <= arrived < ends]
        assert one.passage.frames <= len(own)
        assert one.passage.last_arrived in (None, *own)
        if not {"time", "rule"} & {*steps}:
            assert one.passage.frames == (min(most, len(own)) if most else len(own))


@pytest.mark.parametrize("cut", ["rule", "gone"])
def test_good_so_far_is_not_good(cut: str) -> None:
    station = triggered(frames=20)
    station.trigger(1.0)
    station.see(frame(1.1), 1.1)
    (done,) = station.use(PartRule(), 1.2) if cut == "rule" else station.gone(1.2, "away")
    assert done.verdict == "FAILED" and done.passage.worst is None
    assert str(done.why).endswith("after 1 of 20 frames")


def test_without_ids_there_are_no_parts() -> None:
    station = Station[Found]()
    assert station.see(frame(1, score=9), 1) == [] and station.due is None and station.gone(2, "away") == []


def test_a_named_part_with_its_frames_is_judged_at_once_and_once() -> None:
    station = Station[Found](PartRule(frames=2))
    done = [one for at in range(5) for one in station.see(frame(at, part="A"), at)]
    assert verdicts(done) == [(1, "A", "NORMAL")] and station.open is None
    assert verdicts([one for at in range(5, 8) for one in station.see(frame(at, part="B"), at)]) == [(2, "B", "NORMAL")]


def test_a_part_whose_stream_fell_silent_has_its_verdict_and_no_second() -> None:
    station = Station[Found]()
    station.see(frame(1, part="A"), 1)
    assert station.due == 1 + PATIENCE_S
    done = station.tick(1 + PATIENCE_S)
    assert done is not None and done.verdict == "NORMAL"
    assert station.see(frame(40, part="A"), 40) == [] and station.open is None


def test_another_rule_ends_what_was_open_by_the_old_one() -> None:
    station = triggered(frames=3)
    station.trigger(1.0)
    station.see(frame(1.1, score=5), 1.1)
    (done,) = station.use(PartRule(), 1.2)
    assert done.verdict == "ANOMALY" and station.rule == PartRule()
    assert station.use(PartRule(), 1.3) == []


# The gate.

RNG = np.random.default_rng(5)
BELT = np.full((240, 320, 3), 70, np.uint8)


def picture(part_at: float | None, light: float = 1.0) -> np.ndarray:
    image = BELT.astype(np.float64)
    if part_at is not None:
        x = int(part_at * 320)
        image[70:170, max(0, x - 40) : max(0, x + 40)] = 170
    image = image * light + RNG.normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


GATE = ((0.3, 0.1), (0.7, 0.1), (0.7, 0.9), (0.3, 0.9))
RULE = PartRule(by="gate", gate=GATE, empty=packed(gate_look(picture(None), GATE)))


def watch(station: Station[Found], *places: float | None, light: float = 1.0) -> list[Done[Found]]:
    done = []
    for place in places:
        watch_at[0] += 0.1
        look = gate_look(picture(place, light), GATE)
        done += station.see(frame(watch_at[0], look=look), watch_at[0])
    return done


watch_at = [0.0]
PASS = (None, None, 0.1, 0.35, 0.5, 0.5, 0.5, 0.65, 0.9, None, None)


def test_a_part_that_rests_in_the_gate_is_one_part() -> None:
    station = Station[Found](RULE)
    done = watch(station, *PASS, *PASS, *PASS)
    assert [one.verdict for one in done] == ["NORMAL"] * 3 and [one.passage.frames for one in done] == [2, 2, 2]


def test_with_enough_frames_at_rest_it_is_judged_while_it_lies_there() -> None:
    station = Station[Found](PartRule(by="gate", gate=GATE, empty=RULE.empty, frames=1))
    done = watch(station, None, 0.35, 0.5, 0.5)
    assert len(done) == 1
    assert watch(station, *(0.5,) * 50, 0.65, None) == []


def test_a_frame_says_which_part_it_shows_and_that_it_shows_none() -> None:
    station = Station[Found](PartRule(by="gate", gate=GATE, empty=RULE.empty, frames=1))
    shows = []
    for place in (None, 0.35, 0.5, 0.5, 0.5, None, 0.5, None):
        watch(station, place)
        shows.append(station.shows)
    assert shows == [0, 1, 1, 1, 1, 0, 2, 0]  # judged at the first rest, and it lies there still

    station = triggered()
    station.see(frame(0.9), 0.9)
    assert station.shows == 0
    station.trigger(1.0)
    for arrived, number in ((0.99, 0), (1.02, 1), (1.1, 0)):  # of before the trigger, its own, after its verdict
        station.see(frame(arrived), 1.1)
        assert station.shows == number

    station = Station(PartRule(by="line", frames=1))
    for at, (part, number) in enumerate((("A", 1), ("A", 1), (None, 0), ("B", 2), ("B", 2))):
        station.name(part, float(at))
        station.see(frame(float(at), part=part), float(at))
        assert station.shows == number


def test_what_passes_without_a_rest() -> None:
    passing = (None, 0.2, 0.4, 0.6, 0.8, None)
    (failed,) = watch(Station[Found](RULE), *passing)
    assert failed.verdict == "FAILED" and failed.why is not None and "rest" in failed.why
    station = Station[Found](PartRule(by="gate", gate=GATE, empty=RULE.empty, rests=False))
    assert [one.verdict for one in watch(station, *passing, *passing)] == ["NORMAL", "NORMAL"]


@pytest.mark.parametrize("light", [0.7, 1.3])
def test_light_alone_is_no_part(light: float) -> None:
    assert watch(Station[Found](RULE), *(None,) * 20, light=light) == []


def test_what_moves_outside_of_the_gate_is_no_part() -> None:
    assert watch(Station[Found](RULE), *(0.1, None) * 10) == []


@given(st.lists(st.sampled_from(["trigger", "frame", "bad", "time", "rule", "gone"]), max_size=60))
def test_every_trigger_taken_has_one_verdict_in_order(steps: list[str]) -> None:
    station, now, done = triggered(frames=2, within_ms=300), 0.0, list[Done[Found]]()
    tried = [-1.0]
    for step in steps:
        now += 0.07
        match step:
            case "trigger":
                tried.append(now)
                try:
                    station.trigger(now)
                except TriggerRefused:
                    assert station.open is not None
            case "frame":
                done += station.see(frame(now - 0.05), now)
            case "bad":
                station.fail(now, "broken")
            case "time":
                done += [one for one in [station.tick(now)] if one]
            case "rule":
                done += station.use(PartRule(by="trigger", frames=1 + len(done) % 3), now)
            case "gone":
                done += station.gone(now, "away")
    done += station.gone(now + 1, "away")
    assert [one.passage.trigger for one in done] == list(range(1, station.taken + 1))
    assert all((one.verdict == "FAILED") == (one.passage.worst is None) for one in done)
    for one in done:
        if one.passage.last_arrived is not None:  # no trigger, taken or not, came between a part's and its frames
            assert max(at for at in tried if at <= one.passage.last_arrived) == one.passage.began
