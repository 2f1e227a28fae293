"""Sparkplug B: an edge node whose devices are the streams."""

from server.sinks.mqtt.sparkplug.sink import SparkplugSink

__all__ = ["SparkplugSink"]
