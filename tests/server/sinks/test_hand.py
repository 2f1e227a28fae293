"""A thread of a sink's own: what hangs in it hangs there alone, however often the sink is run anew."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from server.sinks import SinkError, hand
from server.sinks.hand import Hand
from tests.server.fakes import until


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What hangs until it is set."""
    monkeypatch.setattr(hand, "PATIENCE_S", 0.01)
    answers = threading.Event()
    yield answers
    answers.set()


async def hangs(owner: str, answers: threading.Event) -> None:
    """A run that was given up, since what it did hangs."""
    first = Hand(owner)
    with pytest.raises(SinkError, match=r"did not answer within 0\.01 s"):
        await first.do(lambda: answers.wait(20), 0.01)
    first.finish(lambda: None)


async def test_what_hangs_is_waited_for_by_every_later_run_and_by_no_other_owner(answers: threading.Event) -> None:
    await hangs("a", answers)
    for _ in range(4):
        later = Hand("a")
        with pytest.raises(SinkError, match="still hangs"):
            await later.do(lambda: "begun beside it")
        later.finish(lambda: None)
    other = Hand("a test")
    assert await other.do(lambda: "done") == "done"
    other.finish()
    answers.set()
    await until(lambda: "a" not in hand._at_work)
    last = Hand("a")
    assert await last.do(lambda: "done", 20.0) == "done"
    last.finish()


async def test_its_last_thing_is_waited_for_too_after_what_hung(answers: threading.Event) -> None:
    releases, steps = threading.Event(), list[str]()
    first = Hand("b")
    with pytest.raises(SinkError, match="did not answer"):
        await first.do(lambda: answers.wait(20) and steps.append("answered"), 0.01)
    first.finish(lambda: releases.wait(20) and steps.append("released"))
    answers.set()
    await until(lambda: steps == ["answered"])
    with pytest.raises(SinkError, match="still hangs"):
        await Hand("b").do(lambda: steps.append("requested"))
    releases.set()
    await until(lambda: "b" not in hand._at_work)
    last = Hand("b")
    await last.do(lambda: steps.append("requested"))
    last.finish()
    assert steps == ["answered", "released", "requested"]


async def test_one_that_was_finished_does_nothing_more_and_an_error_of_what_it_does_comes_through() -> None:
    def fails() -> None:
        raise TimeoutError(110, "Connection timed out")

    one = Hand("c")
    with pytest.raises(TimeoutError):
        await one.do(fails, 20.0)
    one.finish()
    with pytest.raises(SinkError, match="ended or changed meanwhile"):
        await one.do(lambda: None)
