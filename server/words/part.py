"""How a line says which part its frames show, and that one is to be judged now."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

LONGEST_PART, LONGEST_TEXT = 128, 1024
"""Characters of an id (the longest codes on parts are a hundred), and of a message that holds one."""


class PartSaid(Struct, frozen=True, forbid_unknown_fields=True):
    """Which part the frames show that follow."""

    part: Annotated[
        str | None,
        Meta(description=f"its id, 1 to {LONGEST_PART} printable characters; null: nobody says it any more"),
    ]


class TriggerSaid(Struct, frozen=True, forbid_unknown_fields=True):
    """The part under the camera is to be judged now: of the frames that arrive from now on."""

    trigger: Annotated[
        str | None,
        Meta(description=f"what the sender calls this trigger, 1 to {LONGEST_PART} printable characters, or null"),
    ]
    part: Annotated[str | None, Meta(description="id of the part, or null; as in `part`")] = None


def check_part(part: str | None, what: str = "a part's id") -> str | None:
    """The id itself.

    Raises:
        ValueError: it cannot be one.
    """
    if part is not None and not (0 < len(part) <= LONGEST_PART and part.isprintable()):
        raise ValueError(f"{what} has 1 to {LONGEST_PART} characters that can be printed")
    return part


def check_trigger(said: TriggerSaid) -> TriggerSaid:
    """The trigger itself.

    Raises:
        ValueError: one of its ids cannot be one.
    """
    check_part(said.part)
    check_part(said.trigger, "a trigger's id")
    return said


def read_said(text: str | bytes) -> PartSaid | TriggerSaid:
    """What a sender says between its frames: ``{"part": ID}``, or ``{"trigger": ID, "part": ID}``.

    Raises:
        ValueError: it is something else, or an id cannot be one.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"text between frames has {LONGEST_TEXT} characters at the most")
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
        if "trigger" in fields:
            return check_trigger(msgspec.convert(fields, TriggerSaid))
        said = msgspec.convert(fields, PartSaid)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            'send each frame as one binary message, and nothing as text but {"part": ID} or {"trigger": ID, "part": ID}'
        ) from error
    check_part(said.part)
    return said
