"""Questions to the history: what is made of the database's rows is made beside the event loop."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from server.records import Span, reading
from server.records.wanted import Wanted


class Answered:
    """A database's answer to any question, which knows in which threads its rows were made."""

    def __init__(self) -> None:
        self.made_in: list[threading.Thread] = []
        self.dialect = SimpleNamespace(name="sqlite")

    async def execute(self, *_: object) -> Answered:
        return self

    def one(self) -> tuple[int, int]:
        return 1, 5

    def scalars(self) -> Any:
        return SimpleNamespace(all=lambda: [1])

    def all(self) -> list[object]:
        self.made_in.append(threading.current_thread())
        return []


async def test_rows_of_numbers_minutes_and_pages_are_not_made_on_the_event_loop() -> None:
    answered: Any = Answered()
    whole: Any = {"kind": "part", "stream": None, "recipe": None, "by_stream": True, "by_recipe": True, "limit": 9}
    assert await reading.numbers(answered, [Span(0, 3_600_000)], **whole) == []
    assert await reading.newest_minutes(answered, None, None, None, 9) == []
    assert (await reading.page(answered, Wanted(), None, 9)).entries == []
    assert len(answered.made_in) == 3 and threading.current_thread() not in answered.made_in
