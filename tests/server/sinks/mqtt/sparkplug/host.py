"""A host that reads what an edge node says, by a library that is not ours, and holds it to the specification."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pysparkplug
from pysparkplug import DBirth, DData, NBirth, NData, NDeath

from tests.server.sinks.mqtt.mosquitto import Heard

_READERS = {"NBIRTH": NBirth, "NDATA": NData, "NDEATH": NDeath, "DBIRTH": DBirth, "DDATA": DData}


@dataclass
class Host:
    """Attributes:
    said: what it understood: kind, device, and values by name; ``historical``: whether that was of then, not of now;
        ``wrong``: what no host would take.
    """

    said: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    historical: list[bool] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _births: dict[str, Any] = field(default_factory=dict)
    _seq: int | None = None
    _bd_seq: int | None = None
    _read: int = 0

    def hear(self, heard: Heard) -> Host:
        for message in heard.messages[self._read :]:
            if message.retain:
                self.wrong.append(f"{message.topic} was kept")
            self.read(str(message.topic), bytes(message.payload))  # type: ignore[arg-type]
        self._read = len(heard.messages)
        return self

    def read(self, topic: str, payload: bytes) -> None:
        _, _, kind, _, *rest = topic.split("/")
        device = rest[0] if rest else ""
        if kind == "DDEATH":  # the library has no reader of a death without metrics
            read = pysparkplug.DDeath.decode(payload)
            self._count(topic, read.seq)
            self._births.pop(device, None)
            self._say(kind, device, [])
            return
        birth = None if kind.endswith("BIRTH") or kind == "NDEATH" else self._births.get(device)
        if kind.endswith("DATA") and birth is None:
            self.wrong.append(f"{topic} before its birth")
            return
        reader: Any = _READERS[kind]
        read = reader.decode(payload, birth=birth) if birth is not None else reader.decode(payload)
        metrics = [read.bd_seq_metric] if kind == "NDEATH" else read.metrics
        values = {metric.name: metric.value for metric in metrics}
        if kind == "NBIRTH":
            self._births, self._seq, self._bd_seq = {"": read}, 0, values["bdSeq"]
            if read.seq != 0:
                self.wrong.append(f"{topic} has the number {read.seq}")
        elif kind == "NDEATH":
            if values["bdSeq"] == self._bd_seq:
                self._births = {}
        else:
            self._count(topic, read.seq)
        if kind.endswith("BIRTH"):
            self._births[device] = read
            aliases = [metric.alias for one in self._births.values() for metric in one.metrics if metric.alias]
            if len(aliases) != len({*aliases}):
                self.wrong.append(f"{topic} has an alias that is another's")
        self._say(kind, device, metrics)

    def _say(self, kind: str, device: str, metrics: list[Any]) -> None:
        self.said.append((kind, device, {metric.name: metric.value for metric in metrics}))
        self.historical.append(any(metric.is_historical for metric in metrics))

    def values(self, kind: str, device: str = "") -> list[dict[str, Any]]:
        """Of each message of a kind."""
        return [values for one, of, values in self.said if (one, of) == (kind, device)]

    @property
    def is_alive(self) -> bool:
        return "" in self._births

    @property
    def devices(self) -> set[str]:
        return {name for name in self._births if name}

    def _count(self, topic: str, seq: int) -> None:
        if self._seq is None or seq != (self._seq + 1) % 256:
            self.wrong.append(f"{topic} has the number {seq} after {self._seq}")
        self._seq = seq
