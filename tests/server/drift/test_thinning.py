"""One part counts once, however long it lies there."""

from __future__ import annotations

import numpy as np

from benchmarks import drift as measured
from server.drift.thinning import EVERY_S, Counted, Thinning
from server.inspection import Condition


def condition(seed: int, light: float = -2.0, noise: float = 0.0) -> Condition:
    cells = np.random.default_rng(seed).normal(0, 10, (16, 16)).astype(np.float32)
    cells += np.float32(noise) * np.random.default_rng(int(1000 * noise)).standard_normal((16, 16), np.float32)
    return Condition(light, 0.0, 0.0, np.zeros((32, 32), np.int8), cells)


def counted(thinning: Thinning, frames: list[tuple[float, str | None, Condition, float | None]]) -> list[Counted]:
    return [one for frame in frames if (one := thinning.see(*frame)) is not None]


def test_a_part_that_lies_still_for_an_hour_counts_once() -> None:
    noisy = [condition(1, noise=0.5 + 0.01 * number) for number in range(20)]
    for told in (None, "A17"):
        (one,) = counted(Thinning(), [(0.7 * number, told, noisy[number % 20], 3.0) for number in range(5200)])
        assert one.score == 3.0


def test_parts_are_told_apart_by_the_line_or_by_the_picture() -> None:
    told: list[tuple[float, str | None, Condition, float | None]]
    told = [(number * 0.25, f"part {number // 4}", condition(1), 1.0) for number in range(400)]
    assert len(counted(Thinning(), told)) == 99, "the last is still there"
    seen: list[tuple[float, str | None, Condition, float | None]]
    seen = [(number * 0.25, None, condition(number // 4), 1.0) for number in range(400)]
    assert len(counted(Thinning(), seen)) == 99


def test_any_frame_of_a_part_may_be_the_one_that_counts() -> None:
    thinning = Thinning()
    drawn = [
        one.score
        for number in range(2000)
        if (one := thinning.see(number * 0.1, str(number // 5), condition(1), float(number % 5))) is not None
    ]
    assert {score: drawn.count(score) > 40 for score in range(5)} == dict.fromkeys(range(5), True)


def test_a_part_with_one_frame_that_was_not_accepted_has_no_score() -> None:
    frames = [(0.1 * number, str(number // 5), condition(1), None if number == 7 else 1.0) for number in range(16)]
    assert [one.score for one in counted(Thinning(), frames)] == [1.0, None, 1.0]


def test_what_changes_while_a_part_lies_there_counts_again_but_is_no_part() -> None:
    before = [(0.1 * number, None, condition(1), 1.0) for number in range(100)]
    after = [(10 + 0.1 * number, None, condition(1, light=-2.5), 1.0) for number in range(600)]
    thinning = Thinning()
    assert len(counted(thinning, before)) == 1
    found = counted(thinning, after)
    assert len(found) >= 60 / EVERY_S - 2 and {one.score for one in found} == {None}


def test_frames_of_one_part_make_no_warning() -> None:
    assert measured.still(runs=2, parts=150) == 0
