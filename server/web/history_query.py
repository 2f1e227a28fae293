"""What is asked for in the address of the history."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from server.records import MOST_ON_A_PAGE, Wanted
from server.web.answers import Refused, number, whole_number
from server.words import Parameter, check_name, check_part

T = TypeVar("T")

VERDICTS, KINDS = ("NORMAL", "ANOMALY", "FAILED"), ("part", "change", "sample")
SAID = ("confirmed", "false_reject", "escape", "none", "any")
LONGEST_SEQ = 10**15
_TIME = {"type": "string", "format": "date-time"}
_SCORE = {"type": "number", "minimum": 0, "maximum": 1}
SINCE = Parameter("since", "query", "from this moment, ISO 8601; without a zone UTC", _TIME)
UNTIL = Parameter("until", "query", "before this moment, ISO 8601", _TIME)
STREAM = Parameter("stream", "query", "name of the stream")
FILTERS = (
    SINCE,
    UNTIL,
    STREAM,
    Parameter("recipe", "query", "id of the recipe"),
    Parameter("verdict", "query", "of the entry", {"type": "string", "enum": list(VERDICTS)}),
    Parameter(
        "kind",
        "query",
        "parts; of streams that run freely changes of the verdict, or samples of good frames",
        {"type": "string", "enum": list(KINDS)},
    ),
    Parameter("score_from", "query", "score, 0..1, the threshold at 0.5", _SCORE),
    Parameter("score_to", "query", "score, included", _SCORE),
    Parameter("disposition", "query", "what was said of it; none, or any", {"type": "string", "enum": list(SAID)}),
    Parameter("part", "query", "id of the part, as the line said it"),
    Parameter("pictured", "query", "true: only those whose picture is there", {"type": "boolean"}),
)
PAGING = (
    Parameter("before", "query", "`next` of the page before", {"type": "integer", "minimum": 1}),
    Parameter(
        "limit",
        "query",
        "entries of a page",
        {"type": "integer", "minimum": 1, "maximum": MOST_ON_A_PAGE, "default": 50},
    ),
)


def wanted(asked: Mapping[str, str], *, beside: Collection[str] = ()) -> Wanted:
    """Which entries.

    Args:
        beside: names that may stand there too.

    Raises:
        Refused: a value that cannot be, or a name that means nothing: a misspelt filter would filter nothing.
    """
    check_names(asked, [*beside, *(parameter.name for parameter in FILTERS)])
    return Wanted(
        since=moment(asked, "since"),
        until=moment(asked, "until"),
        stream=stream(asked),
        recipe=_text(asked, "recipe", 64),
        verdict=_one_of(asked, "verdict", VERDICTS),
        kind=_one_of(asked, "kind", KINDS),
        least_score=number(asked["score_from"], "score_from", 0, 1) if "score_from" in asked else None,
        most_score=number(asked["score_to"], "score_to", 0, 1) if "score_to" in asked else None,
        disposition=_one_of(asked, "disposition", SAID),
        part=_part(asked),
        with_picture=_one_of(asked, "pictured", ("true", "1", "false", "0")) in ("true", "1"),
    )


def before(asked: Mapping[str, str]) -> int | None:
    """The number that a page lies before."""
    text = asked.get("before")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise Refused(422, f"before is {text[:40]!r}: it must be the `next` of the page before")
    return int(text)


def limit(asked: Mapping[str, str], most: int, default: int) -> int:
    return whole_number(asked["limit"], "limit", 1, most) if "limit" in asked else default


def moment(asked: Mapping[str, str], name: str) -> int | None:
    """A time in the address as milliseconds since 1970."""
    if name not in asked:
        return None
    text = asked[name]
    try:
        # A plus in an address is a space where it was not written %2B.
        when = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return round(when.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise Refused(422, f"{name} is {text[:40]!r}: it must be a time such as 2026-11-26T06:00:00Z") from error


def stream(asked: Mapping[str, str]) -> str | None:
    try:
        return check_name(asked["stream"]) if "stream" in asked else None
    except ValueError as error:
        raise Refused(422, str(error)) from error


def check_names(asked: Mapping[str, str], names: Collection[str]) -> None:
    """Refuse names that mean nothing."""
    if unknown := [name for name in asked if name not in names]:
        raise Refused(422, f"{unknown[0][:40]!r} means nothing here: there are {', '.join(names)}")


def _one_of(asked: Mapping[str, str], name: str, values: Collection[str]) -> Any:
    if name not in asked:
        return None
    if asked[name] not in values:
        raise Refused(422, f"{name} is {asked[name][:40]!r}: it must be one of {', '.join(values)}")
    return cast(Any, asked[name])


def _part(asked: Mapping[str, str]) -> str | None:
    try:
        return check_part(asked.get("part"))
    except ValueError as error:
        raise Refused(422, str(error)) from error


def _text(asked: Mapping[str, str], name: str, longest: int) -> str | None:
    text = asked.get(name)
    if text is not None and not (0 < len(text) <= longest and text.isprintable()):
        raise Refused(422, f"{name} has 1 to {longest} characters that can be printed")
    return text
