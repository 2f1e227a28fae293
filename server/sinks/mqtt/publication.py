"""One message to a broker."""

from __future__ import annotations

from dataclasses import dataclass

JSON = "application/json"


@dataclass(frozen=True)
class Publication:
    """Attributes:
    retain: whether the broker keeps it for those who come later; an empty payload makes it forget the last one.
    qos: 1 where the broker has to confirm it, else 0.
    expires_s: after which the broker hands it to nobody any more; None: never.
    correlation: what an asker sent along, to tell which answer is his.
    """

    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 1
    expires_s: int | None = None
    content_type: str | None = JSON
    correlation: bytes | None = None


def cleared(topic: str) -> Publication:
    """What makes a broker forget what it kept."""
    return Publication(topic, b"", retain=True, content_type=None)
