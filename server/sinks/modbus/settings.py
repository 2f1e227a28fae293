"""What an operator chooses of a Modbus server, and what of it can be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Annotated

from msgspec import Meta, Struct

from server.ground import is_loopback
from server.sinks.kind import Around
from server.sinks.modbus.connections import Network
from server.sinks.modbus.register_map import WordOrder
from server.words import check_name

MOST_UNITS = 32
MOST_RECIPES = 500
MOST_NETWORKS = 64

_NUMBERED = re.compile(r"([0-9]{1,5})\s*=\s*(.+)", re.ASCII)


class ModbusSettings(Struct, frozen=True, forbid_unknown_fields=True):
    streams: Annotated[
        str,
        Meta(
            title="Streams",
            description="One a line. A single one answers to every unit id. Of several, the first is unit 1 and so on, "
            "or as you say: 5 = press.",
            min_length=1,
            max_length=4000,
            extra={"lines": True, "placeholder": "press"},
        ),
    ]
    address: Annotated[
        str,
        Meta(
            title="Listen at",
            description="127.0.0.1 is this machine alone; 0.0.0.0 all of its addresses. Modbus has no access control: "
            "whoever reaches this address may trigger and change recipes, so say below who may.",
            max_length=60,
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, Meta(title="Port", description="502 is Modbus’s own; below 1024 needs rights.", ge=1, le=65_535)
    ] = 502
    allowed: Annotated[
        str,
        Meta(
            title="Controllers that may connect",
            description="Addresses or networks, one a line. Needed unless it listens on this machine alone.",
            max_length=4000,
            extra={"lines": True, "placeholder": "10.0.0.7"},
        ),
    ] = ""
    recipes: Annotated[
        str,
        Meta(
            title="Numbers of recipes",
            description="NUMBER = name or id of a recipe, one a line: what the controller writes and reads.",
            max_length=60_000,
            extra={"lines": True, "placeholder": "1 = bottle"},
        ),
    ] = ""
    word_order: Annotated[
        WordOrder,
        Meta(
            title="Numbers of 32 bits",
            description="Which half is in the first register: 12.5 is 4148 0000 with the high word first.",
        ),
    ] = "high word first"
    ack_within_s: Annotated[
        float,
        Meta(
            title="Acknowledge within",
            description="A result that is not acknowledged by then is a fault, until Trigger Enable is low. 0: never.",
            ge=0,
            le=3600,
            extra={"unit": "s", "more": True},
        ),
    ] = 5.0
    holds: Annotated[
        bool,
        Meta(
            title="Keep signals without a connection",
            description="For controllers that connect anew for every request. Otherwise a lost connection takes what "
            "its controller wrote low, Trigger Enable first of all.",
            extra={"more": True},
        ),
    ] = False
    silent_s: Annotated[
        float,
        Meta(
            title="Close silent connections after",
            description="So long without a request, and the controller is taken to be gone.",
            ge=1,
            le=3600,
            extra={"unit": "s", "more": True},
        ),
    ] = 30.0
    connections: Annotated[int, Meta(title="Connections at the most", ge=1, le=32, extra={"more": True})] = 8


def check(settings: ModbusSettings, around: Around) -> None:
    """Raise ValueError where there can be no such server."""
    units_of(settings)
    recipes_of(settings)
    try:
        ip_address(settings.address)
    except ValueError:
        raise ValueError("listen at an address of this machine, such as 127.0.0.1 or 0.0.0.0: no name") from None
    if not allowed_of(settings) and not is_loopback(settings.address):
        raise ValueError(
            "Modbus has no access control: name the addresses of the controllers that may connect (0.0.0.0/0: anybody)"
        )


def units_of(settings: ModbusSettings) -> Mapping[int, str]:
    """The streams, by unit id.

    Raises:
        ValueError: they are written wrongly.
    """
    units: dict[int, str] = {}
    for number, line in enumerate(_lines(settings.streams), 1):
        numbered = _NUMBERED.fullmatch(line)
        unit, name = (int(numbered[1]), numbered[2].strip()) if numbered else (number, line)
        check_name(name)
        if not 0 <= unit <= 255:
            raise ValueError("a unit id is 0 to 255")
        if unit in units or name in units.values():
            raise ValueError("each stream and each unit id can stand in the streams once")
        units[unit] = name
    if not 1 <= len(units) <= MOST_UNITS:
        raise ValueError(f"name 1 to {MOST_UNITS} streams, one a line")
    return units


def recipes_of(settings: ModbusSettings) -> Mapping[int, str]:
    """The recipes, by number.

    Raises:
        ValueError: they are written wrongly.
    """
    recipes: dict[int, str] = {}
    for line in _lines(settings.recipes):
        numbered = _NUMBERED.fullmatch(line)
        if numbered is None or not 1 <= int(numbered[1]) <= 65_535:
            raise ValueError("numbers of recipes are written NUMBER = RECIPE, one a line, 1 to 65535")
        if int(numbered[1]) in recipes:
            raise ValueError(f"the number {int(numbered[1])} stands twice among the recipes")
        recipes[int(numbered[1])] = numbered[2].strip()
    if len(recipes) > MOST_RECIPES:
        raise ValueError(f"there can be {MOST_RECIPES} numbers of recipes")
    return recipes


def allowed_of(settings: ModbusSettings) -> tuple[Network, ...]:
    """Where controllers may connect from.

    Raises:
        ValueError: they are written wrongly.
    """
    try:
        networks = tuple(ip_network(line, strict=False) for line in _lines(settings.allowed))
    except ValueError:
        raise ValueError("controllers are addresses or networks, one a line, such as 10.0.0.7 or 10.0.0.0/24") from None
    if len(networks) > MOST_NETWORKS:
        raise ValueError(f"there can be {MOST_NETWORKS} lines of controllers")
    return networks


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
