"""The two kinds of sinks at a broker. Sparkplug has a will of its own, which says other things, so it is one too."""

from __future__ import annotations

from server.sinks.kind import Around, Kind
from server.sinks.mqtt.settings import PEER, MqttSettings, SparkplugSettings, check_mqtt, check_sparkplug
from server.sinks.sink import Sink


def _mqtt(settings: MqttSettings, around: Around) -> Sink:
    from server.sinks.mqtt.sink import MqttSink

    return MqttSink(settings, around)


def _sparkplug(settings: SparkplugSettings, around: Around) -> Sink:
    from server.sinks.mqtt.sparkplug import SparkplugSink

    return SparkplugSink(settings, around)


MQTT = Kind(
    name="mqtt",
    title="MQTT",
    about="Verdicts and state at an MQTT 5 broker, commands from there, and Home Assistant.",
    settings=MqttSettings,
    make=_mqtt,
    check=check_mqtt,
    extra="mqtt",
    modules=("aiomqtt",),
    peer=PEER,
)
SPARKPLUG = Kind(
    name="sparkplug",
    title="Sparkplug B",
    about="An edge node at an MQTT 5 broker, whose devices are the streams.",
    settings=SparkplugSettings,
    make=_sparkplug,
    check=check_sparkplug,
    extra="mqtt",
    modules=("aiomqtt", "google.protobuf"),
    peer=PEER,
)
