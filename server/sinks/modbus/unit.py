"""One stream as a controller sees it: registers around the handshake. No I/O but what the line is asked.

Nothing is stored for reading: every read makes its registers from the handshake as it is at that moment, on the event
loop, so that one read never shows half of a change, and a result's registers are there before Results Valid is.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from server.ground import Refusals
from server.parts import Handshake, Outcome, Signals, Told, TriggerRefused, Trouble
from server.sinks.modbus.pdu import BitTable, Refusal, Refused, WordTable
from server.sinks.modbus.register_map import (
    BITS,
    CONTROL_AT,
    CONTROL_WORDS,
    INPUT_WORDS,
    INPUTS_AT,
    MAP_VERSION,
    MIRROR,
    OUTPUT_WORDS,
    OUTPUTS_AT,
    PART,
    STATUS_AT,
    STATUS_WORDS,
    TRIGGER_ID,
    Control,
    ErrorCode,
    OfflineReason,
    ResultCode,
    Status,
    WordOrder,
    pack,
    sixteen_bits,
    text,
    uint32,
)
from server.sinks.sink import Line, SinkError
from server.words import PartResult

log = logging.getLogger("defectvision.sinks")

LARGEST = 3e38
"""Of a float32, about."""

_ERRORS = {Trouble.NONE: ErrorCode.NONE, Trouble.NOT_ACKNOWLEDGED: ErrorCode.NOT_ACKNOWLEDGED}


@dataclass(frozen=True)
class Terms:
    """What holds for all units of a sink.

    Attributes:
        name: of the sink.
        recipes: their numbers, and their ids or names.
        ack_within_s: as the handshake's.
        word_order: of numbers that take two registers.
        holds: whether a controller's signals stay as they are when its connection is lost.
    """

    name: str
    recipes: Mapping[int, str]
    ack_within_s: float
    word_order: WordOrder
    holds: bool


class Unit:
    """On the event loop.

    Args:
        clock: seconds, monotonic.

    Attributes:
        handshake: with whoever writes the control bits: one controller at a time.
    """

    def __init__(
        self,
        stream: str,
        line: Line,
        terms: Terms,
        refusals: Refusals | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = stream
        self.handshake = Handshake(terms.ack_within_s)
        self._line, self._terms, self._clock = line, terms, clock
        self._refusals = refusals or Refusals()
        self._control = 0
        self._inputs = [0] * INPUT_WORDS
        self._controller: object | None = None
        self._commander: object | None = None
        self._began = clock()
        self._completed = False
        self._command = Command(self)
        self._was_clearing = False
        self._has_complained = False
        self.look()  # all is low: what is high at the first write has risen

    def hear(self, part: PartResult) -> None:
        """A part of the stream has its verdict."""
        said = part.trigger_id or ""
        trigger_id = int(said) if said.isascii() and said.isdecimal() and len(said) <= 10 else 0
        self._completed = not self._completed
        self.handshake.finished(
            Outcome(
                part.number,
                part.trigger or 0,
                trigger_id,
                part.verdict,
                part.raw_score,
                part.threshold,
                part.cycle_ms,
            ),
            self._clock(),
        )

    def look(self) -> None:
        """Have the handshake see what the controller says, now."""
        signals = Signals(
            enable=self._says(Control.ENABLE) and not self._says(Control.OFFLINE),
            trigger=self._says(Control.TRIGGER),
            ack=self._says(Control.RESULTS_ACK),
            trigger_id=uint32(self._inputs[TRIGGER_ID.at : TRIGGER_ID.at + TRIGGER_ID.length], self._terms.word_order),
        )
        can_trigger = not self._command.is_executing and self._line.can_trigger(self.stream)
        missed = self.handshake.counts.missed
        asked = self.handshake.read(signals, self._clock(), can_trigger=can_trigger)
        if self.handshake.counts.missed > missed:
            self._line.missed(self.stream)
        if asked is not None:
            self._trigger(asked.trigger_id)
        self._complain()

    def lost(self, peer: object) -> None:
        """A connection is gone: whoever went away in the middle holds nothing. Their signals fall, as by a write: what
        they write next has to rise, or a command would be taken for the one of before, which is done."""
        is_controller, is_commander = self._controller is peer, self._commander is peer
        if is_controller:
            self._controller = None
        if is_commander:
            self._commander = None
        if self._terms.holds or not (is_controller or is_commander):
            return
        if is_commander:
            self._command.forget()
        was_enabled = self._says(Control.ENABLE)
        execute = 1 << Control.EXECUTE
        kept = (0 if is_controller else ~execute) | (execute if self._commander is not None else 0)
        self._say(self._control & kept)  # what another one commanded is not over with this one
        if is_controller and was_enabled:
            self._refusals.note(
                f"sink={self._terms.name} stream={self.stream} the controller's connection was lost while Trigger "
                "Enable was high, which is taken as low: results that waited were given up",
                str(peer),
            )

    def close(self) -> None:
        """Its sink ends."""
        self._command.cancel()

    @property
    def trouble(self) -> str | None:
        """What keeps results from going out, one sentence."""
        if self.handshake.told.trouble is Trouble.NONE:
            return None
        return (
            f"a result was not acknowledged within {self._terms.ack_within_s:g} s; the controller has "
            "to take Trigger Enable low, and read Results Valid sooner"
        )

    # registers

    def bits(self, table: BitTable, address: int, count: int) -> Sequence[bool]:
        if address + count > BITS:
            raise Refused(Refusal.ADDRESS)
        self.look()
        bits = self._control if table == "coils" else self._status(self.handshake.told)
        return [bool(bits >> place & 1) for place in range(address, address + count)]

    def words(self, table: WordTable, address: int, count: int) -> Sequence[int]:
        for first, length, read in self._blocks[table]:
            if _lies_in(first, length, address, count):
                self.look()
                return read(self)[address - first : address - first + count]
        raise Refused(Refusal.ADDRESS)

    def set_bits(self, address: int, bits: Sequence[bool], peer: object) -> None:
        if address + len(bits) > BITS:
            raise Refused(Refusal.ADDRESS)
        control = self._control
        for place, bit in enumerate(bits, address):
            control = control | 1 << place if bit else control & ~(1 << place)
        written = range(address, address + len(bits))
        if not _HANDSHAKE.isdisjoint(written):
            self._controller = peer
        if Control.EXECUTE in written:
            self._commander = peer
        self._say(control)

    def set_words(self, address: int, words: Sequence[int], peer: object) -> None:
        if _lies_in(CONTROL_AT, CONTROL_WORDS, address, len(words)):
            halves = _halves(self._control)
            halves[address - CONTROL_AT : address - CONTROL_AT + len(words)] = words
            if address == CONTROL_AT:
                self._controller = self._commander = peer
            self._say(halves[1] << 16 | halves[0])
        elif _lies_in(INPUTS_AT, INPUT_WORDS, address, len(words)):
            self._inputs[address - INPUTS_AT : address - INPUTS_AT + len(words)] = words
        else:
            raise Refused(Refusal.ADDRESS)

    def _snapshot(self) -> list[int]:
        told = self.handshake.told
        return _halves(self._status(told)) + self._outputs(told)

    def _outputs(self, told: Told) -> list[int]:
        counts = self.handshake.counts
        values: dict[str, float] = {
            "recipe": self._recipe_number(),
            "error code": self._error(told),
            "acquisition id": sixteen_bits(told.acquisition),
            "waiting": told.waiting,
            "heartbeat": int(self._clock() - self._began),
            "taken": counts.taken,
            "missed": counts.missed,
            "delivered": counts.delivered,
            "overrun": counts.overrun,
            "discarded": counts.discarded,
            "not acknowledged": counts.not_acknowledged,
            "map version": MAP_VERSION,
        }
        return pack(values | _of_result(told.result), self._terms.word_order)

    _blocks: ClassVar[Mapping[WordTable, tuple[tuple[int, int, Callable[[Unit], list[int]]], ...]]] = {
        "holding registers": (
            (CONTROL_AT, CONTROL_WORDS, lambda unit: _halves(unit._control)),
            (STATUS_AT, STATUS_WORDS + OUTPUT_WORDS, _snapshot),
            (INPUTS_AT, INPUT_WORDS, lambda unit: unit._inputs),
            (OUTPUTS_AT + MIRROR, OUTPUT_WORDS, lambda unit: unit._outputs(unit.handshake.told)),
        ),
        "input registers": (
            (STATUS_AT, STATUS_WORDS + OUTPUT_WORDS, _snapshot),
            (OUTPUTS_AT, OUTPUT_WORDS, lambda unit: unit._outputs(unit.handshake.told)),
        ),
    }
    """First address, number of words, and what they hold."""

    def _status(self, told: Told) -> int:
        reason = OfflineReason.NONE
        if self._line.recipe_on(self.stream) is None:
            reason = OfflineReason.NO_RECIPE if self.stream in self._line.streams else OfflineReason.NO_CAMERA
        command, is_good = self._command, told.result is not None and told.result.verdict == "NORMAL"
        return (
            told.ready << Status.READY
            | told.trigger_ack << Status.TRIGGER_ACK
            | told.missed << Status.MISSED
            | reason << Status.OFFLINE_REASON
            | (reason == OfflineReason.NONE) << Status.ONLINE
            | told.busy << Status.BUSY
            | self._completed << Status.COMPLETED
            | told.overrun << Status.OVERRUN
            | told.valid << Status.VALID
            | command.is_executing << Status.EXECUTING
            | command.has_executed << Status.EXECUTED
            | command.has_failed << Status.EXECUTE_FAILED
            | (self._error(told) != ErrorCode.NONE) << Status.ERROR
            | is_good << Status.PASS
            | (int(self._clock() - self._began) & 1) << Status.HEARTBEAT
        )

    def _error(self, told: Told) -> ErrorCode:
        return _ERRORS[told.trouble] or self._command.error

    def _recipe_number(self) -> int:
        recipe = self._line.recipe_on(self.stream)
        if recipe is None:
            return 0
        return next((number for number, one in self._terms.recipes.items() if one in (recipe.id, recipe.name)), 0)

    # what the controller says

    def _says(self, bit: Control) -> bool:
        return bool(self._control >> bit & 1)

    def _say(self, control: int) -> None:
        self._control = control
        self._command.see(self._says(Control.EXECUTE), self._inputs[0])
        clears = self._says(Control.CLEAR_ERROR)
        if clears and not self._was_clearing:
            self._command.error = ErrorCode.NONE
        self._was_clearing = clears
        self.look()

    def _trigger(self, trigger_id: int) -> None:
        try:
            part = text(self._inputs[PART.at : PART.at + PART.length])
            accepted = self._line.trigger(
                self.stream, part=part or None, trigger_id=str(trigger_id) if trigger_id else None, by="modbus"
            )
        except (TriggerRefused, SinkError, ValueError) as error:
            self.handshake.refused()
            self._refusals.note(
                f"sink={self._terms.name} stream={self.stream} a trigger over Modbus was refused, and told as missed",
                str(error),
            )
        else:
            self.handshake.taken(accepted.number, trigger_id)

    def _complain(self) -> None:
        """One line when it begins, one when results are acknowledged again."""
        trouble = self.trouble
        if trouble is not None and not self._has_complained:
            self._has_complained = True
            log.warning("sink=%s stream=%s %s", self._terms.name, self.stream, trouble)
        elif trouble is None and self._has_complained and self.handshake.told.ready:
            self._has_complained = False
            log.info("sink=%s stream=%s the controller took Trigger Enable low and high", self._terms.name, self.stream)

    async def choose(self, number: int) -> ErrorCode:
        """Inspect with the recipe of a number from now on."""
        recipe = self._terms.recipes.get(number)
        if recipe is None:
            self._refusals.note(
                f"sink={self._terms.name} stream={self.stream} a recipe number was asked for that is not in the table",
                str(number),
            )
            return ErrorCode.NO_SUCH_RECIPE
        try:
            await self._line.choose_recipe(self.stream, recipe, who=f"modbus {self._terms.name}")
        except SinkError as error:
            self._refusals.note(
                f"sink={self._terms.name} stream={self.stream} a recipe that was asked for is not used", str(error)
            )
            return ErrorCode.RECIPE_REFUSED
        return ErrorCode.NONE


class Command:
    """Execute Command: one change of recipe at a time, on its rising edge. On the event loop.

    Attributes:
        error: of the last one, until it is cleared or another succeeds.
    """

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._was = False
        self._number = 0
        self._asked: int | None = None
        self._task: asyncio.Task[ErrorCode] | None = None
        self.has_executed = self.has_failed = False
        self.error = ErrorCode.NONE

    @property
    def is_executing(self) -> bool:
        return self._task is not None

    def see(self, execute: bool, number: int) -> None:
        """The controller's signal. What rises while one is executing is not done: where that is another number, it has
        failed once the other is done."""
        rises, falls, self._was = execute and not self._was, self._was and not execute, execute
        if (rises or falls) and not self.is_executing:
            self.has_executed = self.has_failed = False
        if rises:
            self._asked = number
        if rises and not self.is_executing:
            self._number = number
            self._task = asyncio.create_task(self._unit.choose(number), name=f"recipe {number} by modbus")
            self._task.add_done_callback(self._done)

    def forget(self) -> None:
        """Nobody waits any more for what is executing: how it ended is for nobody to be read as of his own."""
        self._asked = None

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[ErrorCode]) -> None:
        self._task = None
        if task.cancelled():
            return
        if task.exception() is not None:
            log.error("a change of recipe by modbus failed by a fault of this software's", exc_info=task.exception())
        is_other = self._asked not in (self._number, None)
        self.error = ErrorCode.RECIPE_REFUSED if is_other or task.exception() is not None else task.result()
        if self._asked is not None:
            self.has_failed = self.error is not ErrorCode.NONE
            self.has_executed = not self.has_failed


@dataclass(frozen=True)
class Desk:
    """A unit, as one connection reaches it."""

    unit: Unit
    peer: object

    def bits(self, table: BitTable, address: int, count: int) -> Sequence[bool]:
        return self.unit.bits(table, address, count)

    def words(self, table: WordTable, address: int, count: int) -> Sequence[int]:
        return self.unit.words(table, address, count)

    def set_bits(self, address: int, bits: Sequence[bool]) -> None:
        self.unit.set_bits(address, bits, self.peer)

    def set_words(self, address: int, words: Sequence[int]) -> None:
        self.unit.set_words(address, words, self.peer)


_HANDSHAKE = frozenset({Control.ENABLE, Control.TRIGGER, Control.RESULTS_ACK})
"""Bits by which who writes them is the controller: an HMI that clears an error is none."""


def _lies_in(first: int, length: int, address: int, count: int) -> bool:
    return first <= address and address + count <= first + length


def _of_result(result: Outcome | None) -> dict[str, float]:
    """The words of a result, by name; nothing where there is none."""
    if result is None:
        return {}
    score, threshold = _finite(result.raw_score), _finite(result.threshold)
    return {
        "inspection id": sixteen_bits(result.trigger),
        "result code": ResultCode[result.verdict],
        "score, per mille": round(min(max(1000 * score / threshold, 0.0), 65_535.0)) if threshold else 0,
        "raw score": score,
        "threshold": threshold,
        "cycle": min(round(_finite(result.cycle_ms)), 0xFFFFFFFF),
        "trigger id": result.trigger_id,
        "part number": result.number,
    }


def _finite(value: float | None) -> float:
    return min(max(value, -LARGEST), LARGEST) if value is not None and math.isfinite(value) else 0.0


def _halves(bits: int) -> list[int]:
    """32 bits as two words: bits 0 to 15 first, whatever the order of words in numbers."""
    return [bits & 0xFFFF, bits >> 16]
