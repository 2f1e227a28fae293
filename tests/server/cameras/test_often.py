"""When what befalls frames is worth a word."""

from __future__ import annotations

from server.cameras.often import LOOKED_AT, MANY, OftenWatch


def test_one_now_and_then_is_not_worth_a_word() -> None:
    watch = OftenWatch()
    assert {watch.note(number % (LOOKED_AT // 4) == 0) for number in range(1000)} == {None}


def test_many_are_said_once_and_their_end_too() -> None:
    watch = OftenWatch()
    said = [watch.note(True) for _ in range(50)] + [watch.note(False) for _ in range(200)]
    assert [word for word in said if word] == ["many", "over"]
    assert said[MANY - 1] == "many"
