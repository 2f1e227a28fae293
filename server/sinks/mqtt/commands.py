"""What a plant asks over a broker: triggers and recipes. Read from strangers, so bounded, and answered in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from server.sinks.sink import Line, SinkError, TriggerRefused
from server.words import check_part

LONGEST = 2_048
"""Bytes of a command."""
A_SECOND = 50
"""Commands of all streams together that are looked at."""
LONGEST_RECIPE = 200


class TriggerAsked(Struct, frozen=True, forbid_unknown_fields=True):
    """…/trigger: the part under the camera is to be inspected now. An empty message asks for it too."""

    part: Annotated[str | None, Meta(description="its id, passed through")] = None
    trigger_id: Annotated[str | None, Meta(description="what the asker calls this trigger, passed through")] = None


class RecipeAsked(Struct, frozen=True, forbid_unknown_fields=True):
    """…/recipe: inspect the stream with another recipe."""

    recipe: Annotated[
        str, Meta(min_length=1, max_length=LONGEST_RECIPE, description="its id, or its name where only one has it")
    ]


class Answer(Struct, frozen=True, omit_defaults=True):
    """What came of a command."""

    accepted: Annotated[bool, Meta(description="whether it is done")]
    stream: str
    why: Annotated[str | UnsetType, Meta(description="where it is not, one sentence")] = UNSET
    trigger: Annotated[int | UnsetType, Meta(description="number of the trigger, as in the part's verdict")] = UNSET
    part: Annotated[str | UnsetType, Meta(description="as it was asked")] = UNSET
    trigger_id: Annotated[str | UnsetType, Meta(description="as it was asked")] = UNSET
    recipe: Annotated[str | UnsetType, Meta(description="id of the recipe in use now")] = UNSET


class Refused(Exception):
    """What was asked is not done; one sentence that says why."""


def trigger(line: Line | None, stream: str, payload: bytes) -> Answer:
    """Hand a trigger to the line; what comes of it."""
    if line is None:
        return Answer(False, stream, why="this server takes no triggers")
    try:
        asked = read_trigger(payload)
    except Refused as refusal:
        line.missed(stream)
        return Answer(False, stream, why=str(refusal))
    try:
        taken = line.trigger(stream, part=asked.part, trigger_id=asked.trigger_id, by="mqtt")
    except (TriggerRefused, SinkError) as refusal:
        return _with_ids(Answer(False, stream, why=str(refusal)), asked)
    return _with_ids(Answer(True, stream, trigger=taken.number), asked)


async def choose_recipe(line: Line | None, stream: str, payload: bytes) -> Answer:
    """Have a stream inspected with another recipe; what comes of it."""
    try:
        if line is None:
            raise Refused("this server's recipes cannot be chosen here")
        recipe = await line.choose_recipe(stream, read_recipe(payload), who="MQTT")
    except (Refused, SinkError) as refusal:
        return Answer(False, stream, why=str(refusal))
    return Answer(True, stream, recipe=recipe)


def read_trigger(payload: bytes) -> TriggerAsked:
    """Raises Refused: it is something else."""
    asked = _read(payload or b"{}", TriggerAsked, '{"part": ID, "trigger_id": ID}, or nothing at all')
    try:
        check_part(asked.part)
        check_part(asked.trigger_id)
    except ValueError as error:
        raise Refused(str(error)) from None
    return asked


def read_recipe(payload: bytes) -> str:
    """Raises Refused: it is something else."""
    asked = _read(payload, RecipeAsked, '{"recipe": ID}')
    if not asked.recipe.isprintable():
        raise Refused("a recipe's id, or name, has characters that can be printed")
    return asked.recipe


S = TypeVar("S", bound=Struct)


def _read(payload: bytes, kind: type[S], wanted: str) -> S:
    if len(payload) > LONGEST:
        raise Refused(f"a command has {LONGEST} bytes at the most")
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(f"it cannot be read: send {wanted}") from None


class Pace:
    """So many commands a second, and no more at once; those beyond are counted.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, a_second: int = A_SECOND, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_second, self._clock = a_second, clock
        self._left, self._at = float(a_second), clock()
        self._beyond = 0

    def takes_one(self) -> bool:
        now = self._clock()
        self._left, self._at = min(self._a_second, self._left + (now - self._at) * self._a_second), now
        if self._left < 1:
            self._beyond += 1
            return False
        self._left -= 1
        return True

    def refusal(self, *, dropped: int = 0) -> str | None:
        """What is to be said of those beyond since it was asked last, ``dropped`` more included; None: there are none.
        To be asked now and then: answering each would be as much work as doing it."""
        count, self._beyond = self._beyond + dropped, 0
        if not count:
            return None
        return f"{count} command{'s were' if count > 1 else ' was'} refused: {self._a_second} a second are taken"


def _with_ids(answer: Answer, asked: TriggerAsked) -> Answer:
    return msgspec.structs.replace(answer, part=asked.part or UNSET, trigger_id=asked.trigger_id or UNSET)
