"""MQTT 5: verdicts and state at a broker, commands from there, Home Assistant, and Sparkplug B as a kind of its own."""

from server.sinks.mqtt.kinds import MQTT, SPARKPLUG

__all__ = ["MQTT", "SPARKPLUG"]
