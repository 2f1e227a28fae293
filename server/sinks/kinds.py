"""All kinds of sinks there are. A new one is a module or folder beside this one, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.sinks.folder import FOLDER
from server.sinks.kind import Kind
from server.sinks.opcua import OPCUA
from server.sinks.webhook import WEBHOOK

_ALL: tuple[Kind[Any], ...] = (WEBHOOK, FOLDER, OPCUA)

KINDS: Mapping[str, Kind[Any]] = {kind.name: kind for kind in _ALL}
