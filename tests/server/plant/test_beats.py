"""What a gateway makes of those that are in the plant beside it; the database stands in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.plant.gateways import Beats
from server.plant.link import PlantAway, Unanswered

START = datetime(2026, 1, 1, tzinfo=UTC)


def row(at_s: float, streams: tuple[str, ...] = (), name: str = "two") -> dict[str, Any]:
    """What another gateway said so many seconds after the start."""
    return {"name": name, "host": "b", "streams": streams, "seen": START + timedelta(seconds=at_s)}


def answers(*others: dict[str, Any], by: str | None = None, at_s: float = 0.0) -> Callable[[Any], Any]:
    """A database with these others; ``by``: the process that wrote this gateway's row last."""

    def ask(work: Any) -> Any:
        before = None if by is None else {"process": by, "host": "b", "seen": START + timedelta(seconds=at_s)}
        return before, [*others]

    return ask


@pytest.fixture
def beats() -> Beats:
    made = Beats("one")
    made.streams = lambda: ["press"]
    return made


def test_what_a_gateway_that_ended_said_last_is_no_trouble(beats: Beats) -> None:
    """Its streams, or its name, come to this one at once, while its row stands for ten seconds more."""
    for _ in range(4):
        beats.beat(answers(row(0, ("press",), name="one")))
        assert beats.warning is None
    beats.beat(answers())
    for at_s in (3, 6):
        beats.beat(answers(row(at_s, ("press",))))
    assert "press: a stream of this name" in str(beats.warning)


def test_a_copy_is_said_without_a_break_though_one_of_the_two_comes_twice(beats: Beats) -> None:
    mine = beats._process
    beats.beat(answers())
    for at_s in (1, 4):
        beats.beat(answers(by="theirs", at_s=at_s))
    assert "a copy of the other" in str(beats.warning)
    for at_s, by in ((5, mine), (8, "theirs"), (11, mine)):
        beats.beat(answers(by=by, at_s=at_s))
        assert beats.warning is not None
    beats.beat(answers(by=mine, at_s=14))
    assert beats.warning is None


def test_a_database_that_reads_and_does_not_write_is_not_away(beats: Beats) -> None:
    """As one that waits for a standby that is gone before it answers."""

    def raises(error: PlantAway) -> Callable[[Any], Any]:
        def ask(work: Any) -> Any:
            raise error

        return ask

    beats.beat(raises(Unanswered("it does not answer in time")))
    assert "nothing can be changed" in str(beats.warning)
    beats.beat(answers())
    assert beats.warning is None
    with pytest.raises(PlantAway):
        beats.beat(raises(PlantAway("connection refused")))
