"""How verdicts on frames become the stream's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.recipes import Decision
from server.streams.decision import Decider

THRESHOLD = 10.0
scores = st.lists(st.floats(0, 30), max_size=120)


@st.composite
def windows(draw: st.DrawFn) -> tuple[int, int]:
    m = draw(st.integers(1, 50))
    return draw(st.integers(1, m)), m


def decided(rule: Decision, raw_scores: list[float], threshold: float = THRESHOLD) -> list[bool]:
    decider = Decider(rule)
    return [decider.decide(score > threshold, score, threshold) == "ANOMALY" for score in raw_scores]


@given(scores)
def test_by_frame_each_has_its_own(raw_scores: list[float]) -> None:
    assert decided(Decision(), raw_scores) == [score > THRESHOLD for score in raw_scores]


@given(scores, windows())
def test_n_of_m_looks_back_on_the_last_m(raw_scores: list[float], window: tuple[int, int]) -> None:
    n, m = window
    frames = [score > THRESHOLD for score in raw_scores]
    expected = [sum(frames[max(0, last + 1 - m) : last + 1]) >= n for last in range(len(frames))]
    assert decided(Decision("n_of_m", n, m), raw_scores) == expected


@given(scores, st.integers(1, 50), st.floats(0.1, 1))
def test_hysteresis_never_lets_an_anomaly_pass_and_lets_go_only_after_m_calm_frames(
    raw_scores: list[float], m: int, release: float
) -> None:
    verdicts = decided(Decision("hysteresis", 1, m, release), raw_scores)
    for last, (score, anomaly) in enumerate(zip(raw_scores, verdicts, strict=True)):
        if score > THRESHOLD:
            assert anomaly
        if not anomaly and any(verdicts[:last]):
            began = max(number for number in range(last) if raw_scores[number] > THRESHOLD)
            after = raw_scores[began + 1 : last + 1]
            calm = [score < release * THRESHOLD for score in after]
            assert any(all(calm[start : start + m]) for start in range(len(calm) - m + 1))
        if not any(score > THRESHOLD for score in raw_scores[: last + 1]):
            assert not anomaly


@given(scores, st.integers(1, 20), st.integers(0, 5))
def test_hysteresis_lets_go_with_the_m_th_calm_frame(raw_scores: list[float], m: int, more: int) -> None:
    verdicts = decided(Decision("hysteresis", 1, m, 0.5), [*raw_scores, 20.0, *[4.0] * (m + more)])
    assert verdicts[len(raw_scores) :] == [True] * m + [False] * (1 + more)


@given(scores, st.sampled_from(["n_of_m", "hysteresis"]))
def test_of_one_frame_all_rules_say_the_same_or_are_stricter(raw_scores: list[float], kind: str) -> None:
    by_frame = decided(Decision(), raw_scores)
    by_rule = decided(Decision(kind, 1, 1, 1.0), raw_scores)  # type: ignore[arg-type]
    assert all(rule or not frame for frame, rule in zip(by_frame, by_rule, strict=True))


def test_without_a_threshold_every_frame_is_an_anomaly_and_is_never_let_go() -> None:
    decider = Decider(Decision("hysteresis", 1, 2, 0.9))
    assert {decider.decide(True, score, 0.0) for score in (0.0, 1.0, 0.0)} == {"ANOMALY"}


def test_another_recipe_or_rule_begins_anew_and_another_version_goes_on() -> None:
    held = Decision("hysteresis", 1, 5, 0.9)
    decider = Decider()
    decider.is_of("a", held)
    decider.decide(True, 20.0, THRESHOLD)
    decider.is_of("a", held)
    assert decider.decide(False, 1.0, THRESHOLD) == "ANOMALY"
    decider.is_of("a", Decision("hysteresis", 1, 4, 0.9))
    assert decider.decide(False, 1.0, THRESHOLD) == "NORMAL"
    decider.decide(True, 20.0, THRESHOLD)
    decider.is_of("b", Decision("hysteresis", 1, 4, 0.9))
    assert decider.decide(False, 1.0, THRESHOLD) == "NORMAL"
    decider.decide(True, 20.0, THRESHOLD)
    decider.begin()
    assert decider.decide(False, 1.0, THRESHOLD) == "NORMAL"
