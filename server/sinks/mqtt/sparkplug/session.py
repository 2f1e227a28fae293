"""One session of an edge node: births, deaths, numbers and aliases. Without I/O."""

from __future__ import annotations

from collections.abc import Mapping

from server.sinks.mqtt.publication import Publication
from server.sinks.mqtt.sparkplug.devices import METRICS, Values
from server.sinks.mqtt.sparkplug.payload import DataType, Metric, encode

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
_FIRST_ALIAS = 100
"""Aliases below are the node's own."""
_STREAMS_ALIAS = 1


class Session:
    """From one connection to its end. What it returns is sent, all of it, in the calls' order: numbers count.

    Args:
        bd_seq: number of the session, 0 to 255: its death says whose it is.
    """

    def __init__(self, group: str, node: str, bd_seq: int) -> None:
        self._group, self._node, self._bd_seq = group, node, bd_seq
        self._seq = 0
        self._aliases: dict[tuple[str, str], int] = {}
        self._born: dict[str, None] = {}
        self.born_at = 0

    @property
    def commands(self) -> str:
        """The topic on which the node is commanded."""
        return self._topic("NCMD")

    @property
    def born(self) -> tuple[str, ...]:
        """Devices that live."""
        return tuple(self._born)

    def death(self, now: int) -> Publication:
        """The will: to be given when connecting."""
        payload = encode([self._bd_seq_metric(now)], now, None)
        return Publication(self._topic("NDEATH"), payload, qos=1, content_type=None)

    def birth(self, devices: Mapping[str, Values], now: int) -> list[Publication]:
        """The node's birth, and that of its devices: all that hosts have to know. Also when it is asked for again."""
        self._seq, self.born_at = 0, now
        self._born = {}
        metrics = [
            self._bd_seq_metric(now),
            Metric(REBIRTH, DataType.BOOLEAN, False, now),
            Metric("Streams", DataType.UINT64, len(devices), now, _STREAMS_ALIAS),
        ]
        born = [self._publication("NBIRTH", None, metrics, now)]
        return born + [self._device_birth(device, values, now) for device, values in devices.items()]

    def device_birth(self, device: str, values: Values, now: int) -> list[Publication]:
        """A device that came."""
        return [self._device_birth(device, values, now), self._streams(now)]

    def device_death(self, device: str, now: int) -> list[Publication]:
        """A device that went."""
        del self._born[device]
        return [self._publication("DDEATH", device, [], now), self._streams(now)]

    def data(self, device: str, values: Values, at: int, now: int) -> list[Publication]:
        """Values of a device that lives, as they were at ``at``."""
        metrics = [
            Metric(None, METRICS[name], value, at, self._alias(device, name), is_historical=at < self.born_at)
            for name, value in values.items()
        ]
        return [self._publication("DDATA", device, metrics, now)] if metrics else []

    def _device_birth(self, device: str, values: Values, now: int) -> Publication:
        self._born[device] = None
        metrics = [
            Metric(name, datatype, values.get(name), now, self._alias(device, name))
            for name, datatype in METRICS.items()
        ]
        return self._publication("DBIRTH", device, metrics, now)

    def _streams(self, now: int) -> Publication:
        metric = Metric(None, DataType.UINT64, len(self._born), now, _STREAMS_ALIAS)
        return self._publication("NDATA", None, [metric], now)

    def _bd_seq_metric(self, now: int) -> Metric:
        return Metric("bdSeq", DataType.INT64, self._bd_seq, now)

    def _alias(self, device: str, name: str) -> int:
        """No two metrics of the node and its devices have the same."""
        return self._aliases.setdefault((device, name), _FIRST_ALIAS + len(self._aliases))

    def _topic(self, kind: str, device: str | None = None) -> str:
        topic = f"{NAMESPACE}/{self._group}/{kind}/{self._node}"
        return topic if device is None else f"{topic}/{device}"

    def _publication(self, kind: str, device: str | None, metrics: list[Metric], now: int) -> Publication:
        payload = encode(metrics, now, self._seq)
        self._seq = (self._seq + 1) % 256
        # The specification has all but the death at QoS 0; the sink asks the broker whether they arrived.
        return Publication(self._topic(kind, device), payload, qos=0, content_type=None)
