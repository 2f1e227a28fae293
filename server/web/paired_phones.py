"""Phones that somebody paired, ended with the login or token that paired them, where that is asked for."""

from __future__ import annotations

from msgspec import UnsetType
from starlette.requests import Request

from detector.counted import counted
from server.web.answers import Refused
from server.words import Parameter

PHONES = Parameter(
    "phones",
    "query",
    "1: the phones that it paired are revoked, too; 0: they stay",
    {"type": "integer", "enum": [0, 1], "default": 0},
)
PHONES_STAY = "Phones that it paired stay paired, unless `phones=1` says otherwise."
BAD_PHONES = "phones is neither 0 nor 1"


def wants_phones(request: Request) -> bool:
    """Whether the phones are to be revoked, too.

    Raises:
        Refused: what is asked for cannot be read.
    """
    said = request.query_params.get("phones", "0")
    if said not in ("0", "1"):
        raise Refused(422, "phones is 1 to revoke the phones that it paired, too, or 0")
    return said == "1"


def and_phones(count: int | UnsetType) -> str:
    """How many were, for the audit log; UNSET: it was not asked for."""
    return f", and {counted(count, 'phone')} that it paired" if count else ""
