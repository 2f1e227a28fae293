"""What an HTTP endpoint takes and answers, said beside it; ``/openapi.json`` is made of this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from server.words.roles import Need, Role, StreamsFrom

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True)
class Content:
    """A body.

    Attributes:
        body: a msgspec Struct, or a tuple of some of which it is one; or a JSON Schema of anything else.
        media_type: what it is sent as.
    """

    body: Any
    media_type: str = "application/json"


BYTES: Mapping[str, Any] = {"type": "string", "format": "binary"}
HTML = Content({"type": "string"}, "text/html")


@dataclass(frozen=True)
class Parameter:
    """A value in the address; those in the path of a route are known from there. ``schema``: JSON Schema of it."""

    name: str
    place: Literal["path", "query"]
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True)
class Reply:
    """What comes with one status code. Without content, nothing comes."""

    description: str
    content: Content | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        answers: by status code: an answer, or, for a refusal (``{"error": …}``), what it means.
        role: the least that who asks must have.
        streams: see :class:`server.words.Need`.
        audited: whether the audit log has it when it changes something.
        tells_secrets: whether it hands out keys and passwords: the audit log has it then, though nothing is changed.
    """

    summary: str
    answers: Mapping[int, Reply | str]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Content | None = None
    role: Role = field(kw_only=True)
    streams: StreamsFrom | None = None
    audited: bool = True
    tells_secrets: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is answered to strangers."""
        return self.role is Role.NOBODY


def documented(operation: Operation) -> Callable[[Endpoint], Endpoint]:
    """Say of an endpoint what it takes and answers."""

    def document(endpoint: Endpoint) -> Endpoint:
        endpoint.operation = operation  # type: ignore[attr-defined]
        audited = operation.summary if operation.audited else None
        endpoint.need = Need(operation.role, operation.streams, audited, operation.tells_secrets)  # type: ignore[attr-defined]
        return endpoint

    return document
