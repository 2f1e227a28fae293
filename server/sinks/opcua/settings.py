"""How this server is offered over OPC UA, and what of it may not be."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from server.ground import is_loopback
from server.sinks.kind import Around

SHORTEST_PASSWORD = 8
_HOST = re.compile(r"[A-Za-z0-9.:_\-\[\]]{1,255}", re.ASCII)


class OpcUaSettings(Struct, frozen=True, forbid_unknown_fields=True):
    host: Annotated[
        str,
        Meta(
            title="Listen on",
            description="127.0.0.1: this machine alone. 0.0.0.0, or one of its addresses: others too, who then need a "
            "user and a password.",
            min_length=1,
            max_length=255,
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(title="Port", description="4840 is OPC UA’s.", ge=1, le=65535)] = 4840
    user: Annotated[
        str,
        Meta(title="User", description="Empty: anybody on this machine.", max_length=64),
    ] = ""
    password: Annotated[
        str,
        Meta(
            title="Password",
            description="Of that user; 8 characters at the least.",
            max_length=200,
            extra={"secret": True},
        ),
    ] = ""
    security: Annotated[
        Literal["encrypted", "open"],
        Meta(
            title="Security",
            description="encrypted: clients sign and encrypt. open: on this machine alone, they need not.",
        ),
    ] = "encrypted"
    clients: Annotated[
        Literal["any", "trusted"],
        Meta(
            title="Clients",
            description="trusted: only those whose certificate lies in opcua/NAME/trusted in the data directory; "
            "others are kept in rejected beside it, from where they can be moved.",
            extra={"more": True},
        ),
    ] = "any"
    streams: Annotated[
        str,
        Meta(
            title="Streams",
            description="Their names, with commas: these are there, whether they run or not, and no others. Empty: "
            "each that runs.",
            max_length=2000,
            extra={"more": True, "placeholder": "press, belt"},
        ),
    ] = ""

    @property
    def named(self) -> tuple[str, ...]:
        """The streams that are named."""
        return tuple(dict.fromkeys(name for one in self.streams.split(",") if (name := one.strip())))


def check(settings: OpcUaSettings, around: Around) -> None:
    """Raise ValueError where nothing may be offered like that."""
    from server.words import check_name

    if not _HOST.fullmatch(settings.host):
        raise ValueError("listen on an address or a name of this machine: 127.0.0.1 or 0.0.0.0, for example")
    if bool(settings.user) != bool(settings.password):
        raise ValueError("a user needs a password, and a password a user")
    if settings.password and len(settings.password) < SHORTEST_PASSWORD:
        raise ValueError(f"the password needs {SHORTEST_PASSWORD} characters at the least")
    if not is_loopback(settings.host):
        if not settings.user:
            raise ValueError("beyond this machine a user and a password are needed: others could trigger otherwise")
        if settings.security == "open":
            raise ValueError("beyond this machine clients have to encrypt: passwords could be read otherwise")
    if settings.clients == "trusted" and settings.security == "open":
        raise ValueError("clients have certificates only where they encrypt: choose encrypted, or any clients")
    if len(settings.named) > 32:
        raise ValueError("32 streams at the most can be offered")
    for name in settings.named:
        check_name(name)
