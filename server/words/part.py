"""How a line says which part its frames show."""

from __future__ import annotations

from typing import Annotated

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


def check_part(part: str | None) -> str | None:
    """The id itself.

    Raises:
        ValueError: it cannot be one.
    """
    if part is not None and not (0 < len(part) <= LONGEST_PART and part.isprintable()):
        raise ValueError(f"a part's id has 1 to {LONGEST_PART} characters that can be printed")
    return part


def read_part(text: str | bytes) -> str | None:
    """The id in ``{"part": ID}``; nothing for null.

    Raises:
        ValueError: it is something else, or the id cannot be one.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f'{{"part": ID}} has {LONGEST_TEXT} characters at the most')
    try:
        said = msgspec.json.decode(text, type=PartSaid)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError('send each frame as one binary message, and nothing as text but {"part": ID}') from error
    return check_part(said.part)
