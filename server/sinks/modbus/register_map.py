"""Which register holds what: the map, as the server packs it and ``docs/modbus.md`` prints it.

Control and status bits, words 0 to 4 of the outputs, and the mirror of input registers at +5000 are those of Cognex's
public In-Sight map, so that a program written for such a camera finds them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

WordOrder = Literal["high word first", "low word first"]
WordKind = Literal["uint16", "uint32", "float32", "text"]

CONTROL_AT, CONTROL_WORDS = 0, 2
STATUS_AT, STATUS_WORDS = 100, 2
INPUTS_AT = 2000
OUTPUTS_AT, OUTPUT_WORDS = 2000, 62
MIRROR = 5000
"""Added to an input register's address, it is a holding register's that holds the same."""
BITS = 32
"""Coils, and discrete inputs."""
MAP_VERSION = 1


class Control(IntEnum):
    """Bits that the controller writes."""

    ENABLE = 0
    TRIGGER = 1
    RESULTS_ACK = 3
    EXECUTE = 4
    OFFLINE = 7
    CLEAR_ERROR = 18


class Status(IntEnum):
    """Bits that the controller reads."""

    READY = 0
    TRIGGER_ACK = 1
    MISSED = 3
    OFFLINE_REASON = 4  # and 5, 6
    ONLINE = 7
    BUSY = 8
    COMPLETED = 9
    OVERRUN = 10
    VALID = 11
    EXECUTING = 12
    EXECUTED = 13
    EXECUTE_FAILED = 14
    ERROR = 15
    PASS = 20
    HEARTBEAT = 23


class OfflineReason(IntEnum):
    NONE = 0
    NO_CAMERA = 1
    NO_RECIPE = 2


class ErrorCode(IntEnum):
    NONE = 0
    NOT_ACKNOWLEDGED = 1
    NO_SUCH_RECIPE = 10
    RECIPE_REFUSED = 11


class ResultCode(IntEnum):
    """0 is no verdict, and so no good part: what a register holds that nobody wrote must not pass one."""

    NONE = 0
    NORMAL = 1
    ANOMALY = 2
    FAILED = 3


CONTROL_BITS: Mapping[Control, tuple[str, str]] = {
    Control.ENABLE: (
        "Trigger Enable",
        "low: nothing is triggered or delivered, results that wait are given up, faults end",
    ),
    Control.TRIGGER: ("Trigger", "rising while Trigger Ready: the part under the camera is inspected"),
    Control.RESULTS_ACK: ("Inspection Results Ack", "rising while Results Valid: the result was read"),
    Control.EXECUTE: ("Execute Command", "rising: inspect with the recipe whose number is in *command*"),
    Control.OFFLINE: ("Set Offline", "high: as if Trigger Enable were low"),
    Control.CLEAR_ERROR: ("Clear Error", "rising: *error code* of a failed command becomes 0"),
}
"""What it is called, and what it does. All other bits may be written, and do nothing: results are always buffered."""

STATUS_BITS: Mapping[Status, tuple[str, str]] = {
    Status.READY: ("Trigger Ready", "a trigger would be taken now"),
    Status.TRIGGER_ACK: ("Trigger Ack", "the trigger was taken; low again once Trigger is"),
    Status.MISSED: ("Missed Acquisition", "a trigger was not taken; until the next that is, or Trigger Enable is low"),
    Status.OFFLINE_REASON: ("Offline Reason", "3 bits: 1 no camera sends, 2 there is no recipe"),
    Status.ONLINE: ("Online", "a camera sends, and there is a recipe"),
    Status.BUSY: ("System Busy", "a part that was triggered here is in work"),
    Status.COMPLETED: ("Inspection Completed", "changes with every result of this stream"),
    Status.OVERRUN: ("Results Buffer Overrun", "results were lost because 8 waited; until Trigger Enable is low"),
    Status.VALID: ("Results Valid", "the result registers hold a result, and keep it until it is acknowledged"),
    Status.EXECUTING: ("Command Executing", "the recipe is being changed; Trigger Ready is low meanwhile"),
    Status.EXECUTED: ("Command Completed", "it was changed; until Execute Command is low"),
    Status.EXECUTE_FAILED: ("Command Failed", "it was not, *error code* says why; until Execute Command is low"),
    Status.ERROR: ("Error", "*error code* is not 0"),
    Status.PASS: ("Job Pass", "Results Valid, and the part is NORMAL"),
    Status.HEARTBEAT: ("Heartbeat", "changes every second"),
}


@dataclass(frozen=True)
class Field:
    """Some words of a block. ``of_result``: constant while Results Valid is high, and 0 while it is low."""

    at: int
    name: str
    kind: WordKind
    meaning: str
    length: int
    of_result: bool = False


def _fields(first: int, *fields: tuple[str, WordKind, str], of_result: bool = False) -> tuple[Field, ...]:
    made, at = [], first
    for name, kind, meaning in fields:
        length = {"uint16": 1, "uint32": 2, "float32": 2, "text": 16}[kind]
        made.append(Field(at, name, kind, meaning, length, of_result))
        at += length
    return tuple(made)


INPUTS = _fields(
    0,
    ("command", "uint16", "number of a recipe, for Execute Command"),
    ("trigger id", "uint32", "what the controller calls its next trigger, passed through; 0: nothing"),
    ("part", "text", "id of the next part, up to 32 ASCII characters, first one in the high byte; ends with a 0"),
)
INPUT_WORDS = sum(one.length for one in INPUTS)

OUTPUTS = (
    *_fields(
        0,
        ("recipe", "uint16", "number of the recipe in force; 0: none, or one without a number"),
        ("error code", "uint16", "0 none, 1 a result was not acknowledged in time, 10 no such recipe number, "
         "11 the recipe cannot be used"),
        ("acquisition id", "uint16", "of the last trigger that was taken: 1 to 65535, then 1 again; 0: none yet"),
    ),
    *_fields(
        3,
        ("inspection id", "uint16", "acquisition id of the trigger that the result belongs to; 0: nobody triggered"),
        ("result code", "uint16", "0 no result, 1 NORMAL, 2 ANOMALY, 3 FAILED (not inspected: not a good part)"),
        ("score, per mille", "uint16", "raw score in thousandths of the threshold, 65535 at the most; 0 where FAILED"),
        ("raw score", "float32", "of the part's worst frame; 0 where FAILED"),
        ("threshold", "float32", "in force on that frame; 0 where FAILED"),
        ("cycle", "uint32", "milliseconds from the trigger to the verdict"),
        ("trigger id", "uint32", "that the controller had given the trigger; 0: none"),
        ("part number", "uint32", "counts the stream's parts since the server was started"),
        of_result=True,
    ),
    *_fields(
        18,
        ("waiting", "uint16", "results that wait, the one that is shown included; 8 at the most"),
        ("heartbeat", "uint16", "seconds since the start, up to 65535, then 0 again"),
        ("taken", "uint32", "triggers that were taken"),
        ("missed", "uint32", "triggers that were not"),
        ("delivered", "uint32", "results that were acknowledged"),
        ("overrun", "uint32", "results that were lost because 8 waited"),
        ("discarded", "uint32", "results that were given up: Trigger Enable was low, or after a fault"),
        ("not acknowledged", "uint32", "faults of that kind"),
        ("map version", "uint16", f"{MAP_VERSION}; another one: look here again"),
    ),
)  # fmt: skip
"""What is not named is 0."""

COMMAND, TRIGGER_ID, PART = INPUTS


def pack(values: Mapping[str, float], order: WordOrder) -> list[int]:
    """The words of the outputs, by the names of :data:`OUTPUTS`; what is not given is 0."""
    words = [0] * OUTPUT_WORDS
    for field in OUTPUTS:
        value = values.get(field.name, 0)
        if not value:
            continue
        if field.kind == "uint16":
            words[field.at] = int(value) & 0xFFFF
        else:
            words[field.at : field.at + 2] = two_words(value, field.kind, order)
    return words


def two_words(value: float, kind: WordKind, order: WordOrder) -> tuple[int, int]:
    """A number of 32 bits as two registers, in the order of their addresses."""
    packed = struct.pack(">f", value) if kind == "float32" else struct.pack(">I", int(value) & 0xFFFFFFFF)
    high, low = struct.unpack(">HH", packed)
    return (high, low) if order == "high word first" else (low, high)


def uint32(words: Sequence[int], order: WordOrder) -> int:
    """Two registers as the number they hold."""
    first, second = words
    high, low = (first, second) if order == "high word first" else (second, first)
    return high << 16 | low


def text(words: Sequence[int]) -> str:
    """ASCII in registers, up to the first 0, without spaces around it.

    Raises:
        ValueError: there is something else in it.
    """
    packed = struct.pack(f">{len(words)}H", *words).partition(b"\0")[0].strip(b" ")
    if not all(0x20 <= byte < 0x7F for byte in packed):
        raise ValueError("the part's id is no ASCII that can be printed: look at the order of its bytes")
    return packed.decode("ascii")


def sixteen_bits(number: int) -> int:
    """A count from 1 in 16 bits: after 65535 comes 1 again, and 0 is nothing."""
    return (number - 1) % 0xFFFF + 1 if number else 0
