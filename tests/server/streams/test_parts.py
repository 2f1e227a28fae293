"""Parts and yield, by what the line says; scenes, by the picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.images import BGRImage, decode
from server.inspection import Glimpse, glimpse
from server.inspection.glimpse import SIDE
from server.streams.parts import MOST_SAID, Parts, Said
from server.words import Verdict

DATA = Path(__file__).parents[4] / "shared" / "data"
RANDOM = np.random.default_rng(3)

told = st.lists(
    st.tuples(st.sampled_from([("A", 1), ("B", 2), ("A", 3)]), st.sampled_from(["NORMAL", "ANOMALY"])), max_size=60
)
"""Ids, each with the number that the station gave the part, and the verdict of a frame of it."""


@given(told)
def test_a_part_is_a_run_of_frames_of_one_number_and_as_bad_as_the_worst(
    frames: list[tuple[tuple[str, int], Verdict]],
) -> None:
    parts, runs = Parts(), list[tuple[tuple[str, int], set[Verdict]]]()
    for part, verdict in frames:
        begins = parts.see(*part, None)
        assert begins == (not runs or runs[-1][0] != part)
        if begins:
            runs.append((part, set()))
        runs[-1][1].add(verdict)
        parts.count(verdict)
    rejected = sum("ANOMALY" in verdicts for _, verdicts in runs)
    assert (parts.parts, parts.rejected) == (len(runs), rejected)
    assert parts.good_share == (1 - rejected / len(runs) if runs else None)


def test_a_part_that_was_given_up_is_counted_by_whoever_did() -> None:
    parts = Parts()
    for part, shows, begins in (("A", 1, True), ("B", 0, True), ("B", 0, False), ("C", 3, True)):
        number = parts.number
        assert parts.see(part, shows, None) == begins and parts.number == number + begins
        parts.count("ANOMALY")
    assert (parts.parts, parts.rejected) == (2, 2)


@given(told, told)
def test_a_reset_counts_from_the_beginning(
    before: list[tuple[tuple[str, int], Verdict]], after: list[tuple[tuple[str, int], Verdict]]
) -> None:
    parts, fresh = Parts(), Parts()
    for part, verdict in before:
        parts.see(*part, None)
        parts.count(verdict)
    number = parts.number
    parts.reset()
    assert (parts.parts, parts.rejected, parts.good_share) == (0, 0, None)
    for one in (parts, fresh):
        for part, verdict in after:
            one.see(*part, None)
            one.count(verdict)
    assert (parts.parts, parts.rejected) == (fresh.parts, fresh.rejected)
    assert parts.number >= number, "a number is never given twice"


@given(st.lists(st.none() | st.sampled_from(["A", "B"]), max_size=40))
def test_whether_somebody_says_it_may_change_at_any_time(said: list[str | None]) -> None:
    look = glimpse(picture(1))
    parts, last = Parts(), object()
    for one in said:
        expected = parts.expected(one, one != last)
        begins = parts.see(one, 0 if one is None else 1, look if one is None else None)
        assert begins == (one != last)
        assert expected in (None, parts.number)
        parts.count("NORMAL")
        last = one
    named = [one for one, before in zip(said, [object(), *said], strict=False) if one is not None and one != before]
    assert parts.parts == len(named), "what nobody names is no part, and in no yield"


def picture(seed: int, light: float = 1.0, noise: float = 2.0) -> BGRImage:
    """Blocks of grey, lit and noisy; 120×160."""
    blocks = np.kron(np.random.default_rng(seed).integers(40, 160, (6, 8)), np.ones((20, 20)))
    noisy = blocks[..., None] * light + RANDOM.normal(0, noise, (120, 160, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def scenes(frames: list[BGRImage]) -> int:
    parts = Parts()
    for frame in frames:
        parts.see(None, 0, glimpse(frame))
        parts.count("ANOMALY")
    assert (parts.parts, parts.rejected, parts.good_share) == (0, 0, None)
    return parts.number


def test_a_part_that_lies_still_is_one_scene_whatever_the_light_does() -> None:
    assert scenes([picture(1, 1 + 0.2 * np.sin(number)) for number in range(100)]) == 1


def test_each_scene_that_comes_to_rest_is_one() -> None:
    assert scenes([picture(seed) for seed in range(10) for _ in range(4)]) == 10


def test_what_never_lies_still_is_no_new_scene() -> None:
    assert scenes([picture(seed) for seed in range(30)]) == 1


def test_something_that_passes_through_is_none() -> None:
    still = [picture(1) for _ in range(10)]
    assert scenes([*still, picture(2), *still, picture(3), *still]) == 1


def test_a_scene_that_drifts_slowly_is_the_same() -> None:
    one, other = picture(1, noise=0), picture(2, noise=0)
    steps = [(one * (1 - share) + other * share).astype(np.uint8) for share in np.linspace(0, 1, 2000)]
    assert scenes(steps) == 1


@pytest.mark.parametrize("shape", [(16, 16), (17, 900), (1080, 1920), (3000, 40)])
def test_a_look_is_small_whatever_the_frame(shape: tuple[int, int]) -> None:
    look: Glimpse = glimpse(np.zeros((*shape, 3), np.uint8))
    assert look.shape == (SIDE, SIDE) and look.dtype == np.float32 and np.isfinite(look).all()


@pytest.mark.parametrize("name", ["bottle", "cookie"])
def test_real_parts_are_told_apart(name: str) -> None:
    files = sorted((DATA / name / "train" / "good").glob("*"))[:8]
    if not files:
        pytest.skip(f"no pictures of {name} in ../shared/data")
    frames = []
    for file in files:
        image = decode(file.read_bytes())[::2, ::2].astype(np.float32)
        for _ in range(3):
            frames.append((image + RANDOM.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8))
    assert scenes(frames) == len(files)


@given(st.lists(st.tuples(st.floats(0, 10), st.sampled_from(["A", "B", None])), max_size=30), st.floats(0, 2))
def test_a_frame_is_of_what_was_said_before_it_arrived(steps: list[tuple[float, str | None]], late: float) -> None:
    said, now, all_said = Said(), 0.0, list[tuple[float, str | None]]([(-math.inf, None)])
    for seconds, part in steps:
        now += seconds
        said.say(part, now)
        all_said.append((now, part))
        assert said.newest == part
        assert said.when(now - late) == [one for at, one in all_said if at <= now - late][-1]


def test_what_was_said_is_bounded_and_what_is_not_known_is_of_no_part() -> None:
    said = Said()
    for number in range(MOST_SAID + 5):
        said.say(str(number), float(number))
    assert said.when(3.0) is None
    assert said.when(10.0) == "10" and said.when(1000.0) == said.newest == str(MOST_SAID + 4)
