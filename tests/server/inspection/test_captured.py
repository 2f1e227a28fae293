"""Drafts: bounded in number, age and memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from detector.near_copies import Look
from detector.thresholds import KSigma, judge
from server.inspection import captured
from server.inspection.captured import Captured, Draft, Drafts
from server.inspection.threshold import Threshold


def draft(bytes_each: int = 10) -> Draft:
    scores = (1.0, 2.0, 3.0)
    looks = tuple(Look(np.zeros((64, 64), np.float16), 4 / 3) for _ in scores)
    frames = Captured(("a", "openvino"), "press", "websocket", scores, looks, (bytes(bytes_each),) * 3)
    judgement = judge(scores, KSigma(3), in_force=None)
    return Draft(frames, KSigma(3), frozenset(), judgement, Threshold(1.0, "model"))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_draft_is_kept_under_a_name_nobody_guesses_and_taken_once() -> None:
    drafts, one = Drafts(), draft()
    name = drafts.keep(one)
    assert len(name) >= 16 and drafts.keep(one) != name
    assert drafts.get(name) is one and drafts.take(name) is one
    assert drafts.take(name) is None and drafts.get(name) is None


def test_of_too_many_the_one_untouched_for_longest_goes() -> None:
    drafts = Drafts()
    names = [drafts.keep(draft()) for _ in range(captured.MOST_DRAFTS)]
    drafts.put(names[0], draft())
    drafts.keep(draft())
    assert [drafts.get(name) is not None for name in names[:3]] == [True, False, True]


def test_it_is_forgotten_after_ten_minutes() -> None:
    clock = Clock()
    drafts = Drafts(clock)
    name = drafts.keep(draft())
    clock.now = captured.KEPT_S - 1
    assert drafts.get(name) is not None
    drafts.put(name, draft())
    clock.now = captured.KEPT_S + 1
    assert drafts.get(name) is not None, "it was touched"
    clock.now = 2 * captured.KEPT_S
    assert drafts.get(name) is None


def test_together_they_take_no_more_memory_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    large = draft(100_000)
    monkeypatch.setattr(captured, "MOST_BYTES", 2 * large.captured.size)
    drafts = Drafts()
    names = [drafts.keep(large) for _ in range(4)]
    assert [drafts.get(name) is not None for name in names] == [False, False, True, True]
    last = drafts.keep(dataclasses.replace(large, captured=draft(10_000_000).captured))
    assert drafts.get(last) is not None, "the newest is kept however large"


def test_the_largest_capture_fits_into_the_bound_several_times() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    from server.inspection.inspected import sample_of
    from tests.server.fakes import FakeModel

    sample = sample_of(noise, FakeModel())  # type: ignore[arg-type]
    assert 200 * (len(sample.picture) + sample.look.grey.nbytes) < captured.MOST_BYTES / 4
