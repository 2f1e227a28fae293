"""``sinks.json`` as it lies on disk: version, checksum, and which sinks there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from server.ground import ListFile, only_looked_at
from server.sinks.choice import Choice

VERSION = 1
LARGEST_FILE = 4_000_000
"""Bytes; a sink with three certificates takes 60 kB."""
MOST = 16
"""Sinks."""
LARGEST_SETTINGS = 100_000
"""Bytes of one sink's settings, as JSON."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class StoredSink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sink as it is kept. ``settings``: of its kind, checked where it is made: a kind that is not there any more
    keeps its sinks. ``why_off``: why it switched itself off."""

    id: str
    kind: str
    name: str
    enabled: bool
    told: Choice
    settings: dict[str, Any]
    why_off: str | None = None


def check_sink_name(name: str) -> str:
    """The name itself; it stands in logs, metrics and paths.

    Raises:
        ValueError: not 1 to 64 of the letters, digits, dot, underscore and hyphen, or dots alone.
    """
    if not _NAME.fullmatch(name) or not name.strip("."):
        raise ValueError("the name has 1 to 64 characters, of A-Z a-z 0-9 . _ and -")
    return name


def _check(sinks: tuple[StoredSink, ...]) -> None:
    ids, names = {sink.id for sink in sinks}, {sink.name for sink in sinks}
    if len(sinks) > MOST or min(len(ids), len(names)) < len(sinks):
        raise ValueError(f"there are more than {MOST} sinks in it, or two of the same name")
    try:
        for name in names:
            check_sink_name(name)
    except ValueError as error:
        raise ValueError("one of its sinks cannot be") from error


_LIST = ListFile(StoredSink, "sinks", VERSION, _check)
encode, decode = _LIST.encode, _LIST.decode

FORM = _LIST.form(largest=LARGEST_FILE, without="nothing goes out to the machines around", then="add them again")


def stored_in(folder: Path) -> tuple[StoredSink, ...]:
    """Those that a data directory has, only looked at; none where its file cannot be used."""
    return only_looked_at(folder / "sinks.json", FORM)
