"""Which models stay loaded."""

from __future__ import annotations

from server.teaching.loading import staying

TAUGHT = {"a": "1", "b": "2", "c": "3", "d": "4", "copy of a": "1"}


def test_what_is_needed_stays_however_much_it_is() -> None:
    assert staying(TAUGHT, {"a", "b", "c"}, [], 0) == {"1", "2", "3"}
    assert staying(TAUGHT, {"a", "gone"}, ["gone", "d"], 0) == {"1"}


def test_of_the_others_those_used_last_stay() -> None:
    assert staying(TAUGHT, {"a"}, ["d", "c", "b"], 2) == {"1", "4", "3"}


def test_a_model_counts_once_whatever_recipes_have_it() -> None:
    assert staying(TAUGHT, {"a"}, ["copy of a", "a", "b", "c"], 1) == {"1", "2"}
    assert staying(TAUGHT, set(), ["copy of a", "a", "b", "c"], 2) == {"1", "2"}
