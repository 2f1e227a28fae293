"""What is asked for in the address of a calibration: the rule, and what may become of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from starlette.requests import Request

from detector.thresholds import (
    DEFAULT_K,
    MAX_K,
    MAX_ONE_IN,
    MIN_K,
    MIN_ONE_IN,
    KSigma,
    OneIn,
    Rule,
)
from server.access import standing_of
from server.web.answers import Refused, float_or_nan, whole_number
from server.words import Parameter

K_SCHEMA = {"type": "number", "minimum": MIN_K, "maximum": MAX_K, "default": DEFAULT_K}
ONE_IN_SCHEMA = {"type": "integer", "minimum": MIN_ONE_IN, "maximum": MAX_ONE_IN}
_TRUE_OR_FALSE = {"type": "boolean"}
PARAMETERS = (
    Parameter("k", "query", "threshold = mean + k · std; instead of one_in", K_SCHEMA),
    Parameter("one_in", "query", "reject about one in so many good parts; instead of k", ONE_IN_SCHEMA),
    Parameter("dry_run", "query", "judge only: nothing is changed, and `draft` names what was judged", _TRUE_OR_FALSE),
    Parameter(
        "include_suspects",
        "query",
        "set it in spite of warnings: true with the frames that look like defects, false without them",
        _TRUE_OR_FALSE,
    ),
)


@dataclass(frozen=True)
class Wanted:
    """A rule, and what is to be done with the judgement. ``include_suspects``: None where it was not said."""

    rule: Rule
    dry_run: bool
    include_suspects: bool | None

    @classmethod
    def read(cls, asked: Mapping[str, str], *, beside: Collection[str] = ()) -> Wanted:
        """From a query, or a form's fields.

        Args:
            beside: names that may stand there too.

        Raises:
            Refused: a value that cannot be, or a name that means nothing: a misspelt ``dry_run`` would change the
                threshold.
        """
        names = [parameter.name for parameter in PARAMETERS]
        if unknown := [name for name in asked if name not in names and name not in beside]:
            raise Refused(422, f"{unknown[0][:40]!r} means nothing here: there are {', '.join([*beside, *names])}")
        return cls(_rule(asked), _flag(asked, "dry_run") or False, _flag(asked, "include_suspects"))


def who_asks(request: Request) -> str:
    """An address, or a page at an address, and who was logged in there: never what could be a secret."""
    host = request.client.host if request.client else "this machine"
    from_page = "origin" in request.headers or "sec-fetch-site" in request.headers
    place = f"a page at {host}" if from_page else host
    who = standing_of(request.scope).identity
    return place if who.how == "open" else f"{who.signature}, {place}"


def _rule(asked: Mapping[str, str]) -> Rule:
    k, one_in = asked.get("k"), asked.get("one_in")
    if k is not None and one_in is not None:
        raise Refused(422, "k and one_in are two rules: send one of them")
    if k is not None:
        factor = float_or_nan(k)
        if not MIN_K <= factor <= MAX_K:
            raise Refused(
                422, f"k is {k[:40]!r}: it must be a number from {MIN_K:g} to {MAX_K:g}; {_why_not_k(factor)}"
            )
        return KSigma(factor)
    if one_in is not None:
        return OneIn(whole_number(one_in, "one_in", MIN_ONE_IN, MAX_ONE_IN))
    return KSigma(DEFAULT_K)  # of clients that know no rules, as it always was


def _why_not_k(k: float) -> str:
    return "with more, defects would pass" if k > MAX_K else "with less, every sixth good part would be rejected"


def _flag(asked: Mapping[str, str], name: str) -> bool | None:
    if name not in asked:
        return None
    match asked[name].lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
    raise Refused(422, f"{name} is {asked[name]!r}: it must be true or false")
