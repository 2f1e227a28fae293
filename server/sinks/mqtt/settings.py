"""What an operator says of a broker, and of what is told by it."""

from __future__ import annotations

import re
from typing import Annotated, Any

from msgspec import Meta, Struct

from server.words import check_name

_LEVELS = re.compile(r"[A-Za-z0-9._-]{1,64}(/[A-Za-z0-9._-]{1,64}){0,7}", re.ASCII)
_GROUP = re.compile(r"[^+#/]{1,64}")

Host = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        title="Broker",
        description="its name or address, without mqtt:// and port",
        extra={"placeholder": "broker.plant.example"},
    ),
]
Port = Annotated[
    int, Meta(ge=1, le=65535, title="Port", description="most brokers have 1883, and 8883 where they speak TLS")
]
Username = Annotated[str, Meta(max_length=256, title="User", description="empty where the broker asks for none")]
Password = Annotated[str, Meta(max_length=1024, title="Password", extra={"secret": True})]
Tls = Annotated[bool, Meta(title="TLS", description="speak TLS; the broker's certificate is checked, always")]
Authority = Annotated[
    str,
    Meta(
        max_length=16_000,
        title="Authority",
        description="PEM text of the certificates that signed the broker's; empty: those that this machine trusts",
        extra={"lines": True, "more": True, "placeholder": "-----BEGIN CERTIFICATE-----"},
    ),
]
ClientId = Annotated[
    str,
    Meta(
        max_length=128,
        title="Client id",
        description="no two clients of a broker have the same; empty: one is made of the name below",
        extra={"more": True},
    ),
]


class BrokerSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broker, and how to enter there."""

    host: Host
    port: Port = 1883
    username: Username = ""
    password: Password = ""
    tls: Tls = False
    ca: Authority = ""
    client_id: ClientId = ""

    @property
    def broker(self) -> str:
        """Its address in words."""
        return f"{self.host}:{self.port}"


PEER = ("host", "port", "tls", "ca")


class MqttSettings(BrokerSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Topics ``PREFIX/NODE/…`` at a broker."""

    node: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            title="This server's name",
            description="in topics, PREFIX/NAME/STREAM/…; no two servers have the same",
            extra={"placeholder": "line4"},
        ),
    ]
    prefix: Annotated[
        str,
        Meta(
            max_length=200,
            title="Prefix",
            description="what topics begin with, up to 8 levels",
            extra={"more": True},
        ),
    ] = "defectvision"
    commands: Annotated[
        bool,
        Meta(
            title="Commands",
            description="take triggers and changes of recipe; whoever may publish at the broker may ask for them",
        ),
    ] = False
    home_assistant: Annotated[
        bool, Meta(title="Home Assistant", description="each stream appears there by itself, as a device")
    ] = False
    discovery_prefix: Annotated[
        str,
        Meta(
            max_length=200,
            title="Discovery prefix",
            description="where Home Assistant listens",
            extra={"more": True},
        ),
    ] = "homeassistant"


class SparkplugSettings(BrokerSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An edge node of Sparkplug B; its devices are the streams."""

    group: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            title="Group",
            description="group id of the edge node",
            extra={"placeholder": "Plant1"},
        ),
    ]
    node: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            title="Edge node",
            description="its id; no two in a group have the same",
            extra={"placeholder": "line4"},
        ),
    ]


def check_mqtt(settings: MqttSettings, around: Any = None) -> None:
    """Raises ValueError: one sentence, what cannot be."""
    _check_broker(settings)
    try:
        check_name(settings.node)
    except ValueError:
        raise ValueError("This server's name: it has letters, digits, dot, underscore and hyphen only") from None
    for title, levels in (("Prefix", settings.prefix), ("Discovery prefix", settings.discovery_prefix)):
        if not _LEVELS.fullmatch(levels):
            raise ValueError(f"{title}: up to 8 levels of letters, digits, dot, underscore and hyphen, with / between")


def check_sparkplug(settings: SparkplugSettings, around: Any = None) -> None:
    """Raises ValueError: one sentence, what cannot be."""
    _check_broker(settings)
    for title, name in (("Group", settings.group), ("Edge node", settings.node)):
        if not _GROUP.fullmatch(name) or not name.isprintable():
            raise ValueError(f"{title}: 1 to 64 characters, none of + # /")


def _check_broker(settings: BrokerSettings) -> None:
    if re.search(r"[/\s@]", settings.host):
        raise ValueError("Broker: its name or address alone; port, user and password have fields of their own")
    if not settings.client_id.isprintable() or not settings.username.isprintable():
        raise ValueError("User and client id: characters that can be printed only")
    if settings.password and not settings.username:
        raise ValueError("User: a password needs one")
    if settings.ca and not settings.tls:
        raise ValueError("Authority: it is of use with TLS only; switch that on")
    if settings.ca.strip() and "-----BEGIN CERTIFICATE-----" not in settings.ca:
        raise ValueError("Authority: PEM text is wanted, which begins with -----BEGIN CERTIFICATE-----")
