"""Who may do what: the roles, and how an endpoint says which one it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, TypeVar

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Role(IntEnum):
    """Each may do all that those before it may."""

    NOBODY = 0
    """Whoever has shown nothing: strangers."""
    VIEWER = 1
    """Watches."""
    OPERATOR = 2
    """Streams, triggers, marks rejects, chooses a stream's recipe."""
    ENGINEER = 3
    """Teaches, calibrates, forgives and remembers, edits recipes."""
    ADMIN = 4
    """Users, tokens, settings, sinks, cameras, the audit log."""

    @property
    def word(self) -> str:
        """As it is said in files, bodies and sentences."""
        return self.name.lower()


RoleWord = Literal["viewer", "operator", "engineer", "admin"]
"""The roles that somebody can be given."""


def role_of(word: str) -> Role:
    """The role of a word that :class:`RoleWord` has.

    Raises:
        ValueError: there is no such role.
    """
    try:
        return Role[word.upper()]
    except KeyError:
        raise ValueError("a role is viewer, operator, engineer or admin") from None


StreamsFrom = Literal["path", "query", "itself"]
"""Where an endpoint names the stream it is about: in its path or query as ``name``; or it sees itself to it that who
may use some streams only gets nothing of others."""


@dataclass(frozen=True)
class Need:
    """What it takes to use an endpoint.

    Attributes:
        role: the least.
        streams: how those who may use some streams only are held to them; where nothing is said they are refused.
        audited: of a change, the summary that the audit log has of it; None where it is none of its business (what
            comes with every part, or changes nothing).
        tells_secrets: whether what is only read is audited, too.
    """

    role: Role
    streams: StreamsFrom | None = None
    audited: str | None = None
    tells_secrets: bool = False


def needs(role: Role, streams: StreamsFrom | None = None) -> Callable[[Endpoint], Endpoint]:
    """Say of an endpoint that is no documented operation (a WebSocket, a folder of files) what it takes to use it."""

    def declare(endpoint: Endpoint) -> Endpoint:
        endpoint.need = Need(role, streams)  # type: ignore[attr-defined]
        return endpoint

    return declare
