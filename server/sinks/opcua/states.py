"""The states of OPC 40100-1 as this server has them, and the ways between them. No I/O, no OPC UA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from server.sinks.opcua.words import Standing


class State(Enum):
    """Where a vision system is: one of the outer states, or Operational in one of the automatic mode's."""

    PREOPERATIONAL = "Preoperational"
    HALTED = "Halted"
    ERROR = "Error"
    INITIALIZED = "Initialized"
    READY = "Ready"
    SINGLE_EXECUTION = "SingleExecution"
    CONTINUOUS_EXECUTION = "ContinuousExecution"

    @property
    def outer(self) -> str:
        """As the vision state machine has it."""
        return self.value if self in _OUTER else "Operational"

    @property
    def inner(self) -> str | None:
        """As the automatic mode's has it; None where it is not in that mode."""
        return None if self in _OUTER else self.value


_OUTER = (State.PREOPERATIONAL, State.HALTED, State.ERROR)

Cause = Literal["", "Stop", "Abort", "StartSingleJob", "StartContinuous", "Halt", "Reset"]
"""The method by which a state was left; nothing where it came of itself."""


@dataclass(frozen=True)
class Transition:
    """One step, by the names that the standard gives it. ``machine``: whose."""

    machine: Literal["vision", "automatic"]
    name: str
    before: str
    after: str


def state_of(standing: Standing, *, halted: bool, stopped: bool) -> tuple[State, str]:
    """Where a stream is, and why, in words.

    Args:
        halted: a client halted it, and nobody reset it.
        stopped: a client stopped the continuous job, and nobody started another.
    """
    if halted:
        return State.HALTED, "a client halted it: Reset takes it back"
    if standing.recipe is None:
        return State.PREOPERATIONAL, "there is no model for it yet: teach one"
    match standing.camera:
        case "waiting":
            return State.ERROR, "no camera sends: start it"
        case "silent" if standing.by != "trigger":  # a camera that is triggered too says nothing in between
            return State.ERROR, "its camera is connected, but sends nothing: check it"
        case "teaching":
            return State.INITIALIZED, "its pictures are shown to a teaching, and not inspected"
    if standing.by == "trigger":
        if standing.in_work:
            return State.SINGLE_EXECUTION, "a part is in work"
        return State.READY, "a trigger would be taken"
    if stopped:
        return State.READY, "a client stopped the continuous job: StartContinuous begins another"
    return State.CONTINUOUS_EXECUTION, "every frame is inspected, without triggers"


def ways(before: State, after: State, cause: Cause = "") -> Iterator[Transition]:
    """The steps from one state to another, in the standard's names."""
    if before is after:
        return
    if before is State.HALTED and after not in (State.HALTED, State.PREOPERATIONAL):
        yield from ways(before, State.PREOPERATIONAL, cause)
        before, cause = State.PREOPERATIONAL, ""
    if before.outer != after.outer:
        by = "" if cause in ("Halt", "Reset") else "Auto"
        yield Transition("vision", f"{before.outer}To{after.outer}{by}", before.outer, after.outer)
        if after.inner is None:
            return
        before = State.INITIALIZED
    yield from _automatic(before, after, cause)


def _automatic(before: State, after: State, cause: Cause) -> Iterator[Transition]:
    """Between states of the automatic mode everything leads through Ready."""
    if before is after:
        return
    if before is not State.READY and after is not State.READY:
        yield from _automatic(before, State.READY, cause)
        yield from _automatic(State.READY, after, "")
        return
    name = f"{before.value}To{after.value}"
    if after is State.READY and before is not State.INITIALIZED:
        name += cause if cause in ("Stop", "Abort") else "Auto"
    elif cause not in ("StartSingleJob", "StartContinuous"):
        name += "Auto"
    yield Transition("automatic", name, before.value, after.value)
