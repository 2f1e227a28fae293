"""All kinds of sinks there are. A new one is a module or folder beside this one, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.sinks.folder import FOLDER
from server.sinks.gpio import GPIO
from server.sinks.kind import Kind
from server.sinks.modbus import MODBUS
from server.sinks.mqtt import MQTT, SPARKPLUG
from server.sinks.opcua import OPCUA
from server.sinks.webhook import WEBHOOK

_ALL: tuple[Kind[Any], ...] = (MQTT, SPARKPLUG, OPCUA, MODBUS, WEBHOOK, FOLDER, GPIO)

KINDS: Mapping[str, Kind[Any]] = {kind.name: kind for kind in _ALL}
