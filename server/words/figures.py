"""How a part of the server says numbers about itself: what ``/metrics`` asks of whoever has some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True)
class Figure:
    """One number of now.

    Attributes:
        name: after Prometheus' conventions, without the prefix ``defectvision_`` and, of a counter, ``_total``.
        help: what it is, one clause; the same wherever the name is.
        value: of a counter, since the server was started, never less than before.
        labels: few, of few values: names that strangers choose are bounded in number where they are kept.
    """

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["gauge", "counter"] = "gauge"


class HasFigures(Protocol):
    """Somebody with numbers. Asked on the event loop at every scrape: returns at once, reads nothing from a disk."""

    def figures(self) -> Iterable[Figure]:
        """All of now; the same names and label names each time."""
        ...
