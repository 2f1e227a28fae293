"""``genicam://ID?…``: which camera, and what it is to be set to. Pure text: nothing is asked of any camera here."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from server.cameras.genicam.pixels import NAMES

SCHEME = "genicam"
MAX_ID = 128
MAX_SIDE = 65_536
"""Pixels, of a region."""
AUTO = "auto"
OFF = "Off"
EDGES = {
    "rising": "RisingEdge",
    "falling": "FallingEdge",
    "any": "AnyEdge",
    "high": "LevelHigh",
    "low": "LevelLow",
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_WHOLE = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class Genicam:
    """A GigE Vision or USB3 Vision camera. What is None stays as the camera has it.

    Attributes:
        device: its serial number, its id as Aravis tells it, or its IP address; empty: the first that answers.
        trigger: a name of its trigger source (``Line1``, ``Software``), or :data:`OFF`: it sends by itself.
        edge: of the trigger, by its name in GenICam (``RisingEdge``).
        exposure: microseconds, or :data:`AUTO`.
        gain: in the camera's unit, mostly dB, or :data:`AUTO`.
        pixels: format, by its name in GenICam (``BayerRG8``).
        region: of the sensor: x, y, width, height in pixels.
    """

    device: str = ""
    trigger: str | None = None
    edge: str | None = None
    exposure: float | str | None = None
    gain: float | str | None = None
    pixels: str | None = None
    region: tuple[int, int, int, int] | None = None

    @classmethod
    def parse(cls, address: str) -> Genicam:
        """Raises ValueError when it is no such address, in one sentence."""
        _, _, rest = address.partition("://")
        name, _, query = rest.partition("?")
        device = unquote(name, errors="replace")
        if "#" in rest or "/" in name or "@" in name or not device.isprintable() or len(device) > MAX_ID:
            raise ValueError(
                "give the camera as genicam://ID, where ID is its serial number, its id or its IP address (with / # @ "
                "in it as %2F %23 %40), or nothing for the only one; it has no login and no path"
            )
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=16)
        except ValueError:
            pairs = [("?", "")]
        given = dict(pairs)
        if len(given) < len(pairs) or not given.keys() <= _READ.keys():
            raise ValueError(
                f"what follows the camera must be {', '.join(_READ)}, each once, as ?trigger=Line1&exposure=5000"
            )
        read: dict[str, Any] = {key: _READ[key](text) for key, text in given.items()}
        camera = cls(device, **read)
        if camera.edge is not None and camera.trigger in (None, OFF):
            raise ValueError("an edge is that of a trigger: give trigger too, as trigger=Line1&edge=falling")
        return camera

    def settings(self) -> dict[str, Any]:
        """As they are handed to the process that opens it."""
        return asdict(self)


def _trigger(text: str) -> str:
    if text.lower() == "off":
        return OFF
    if not _NAME.fullmatch(text):
        raise ValueError("trigger must be off, or the camera's own name of its input: Line1, Software")
    return text


def _edge(text: str) -> str:
    if text.lower() not in EDGES:
        raise ValueError(f"edge must be {', '.join(EDGES)}: which change of the trigger's signal takes a picture")
    return EDGES[text.lower()]


def _exposure(text: str) -> float | str:
    return _number_or_auto(text, "exposure must be auto, or a number of microseconds above 0")


def _gain(text: str) -> float | str:
    return _number_or_auto(text, "gain must be auto, or a number in the camera's unit, mostly dB", zero=True)


def _number_or_auto(text: str, wanted: str, *, zero: bool = False) -> float | str:
    if text.lower() == AUTO:
        return AUTO
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not (value > 0 or (zero and value == 0)):
        raise ValueError(wanted)
    return value


def _pixels(text: str) -> str:
    names = {name.lower(): name for name in NAMES}
    if text.lower() not in names:
        raise ValueError(f"pixels must be one of {', '.join(NAMES)}")
    return names[text.lower()]


def _region(text: str) -> tuple[int, int, int, int]:
    parts = text.split(",")
    numbers = [int(part) for part in parts if _WHOLE.fullmatch(part)]
    if len(parts) != 4 or len(numbers) != 4 or min(numbers[2:]) < 1 or max(numbers) > MAX_SIDE:
        raise ValueError("region must be X,Y,W,H of the sensor in pixels, as region=0,200,1280,400")
    return numbers[0], numbers[1], numbers[2], numbers[3]


_READ = {
    "trigger": _trigger,
    "edge": _edge,
    "exposure": _exposure,
    "gain": _gain,
    "pixels": _pixels,
    "region": _region,
}
