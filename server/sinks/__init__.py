"""Ways out to the plant: each listens to the hub, and none is waited for."""

from server.sinks.sink import Accepted, Line, Outbox, Sink, SinkError, TriggerRefused

__all__ = ["Accepted", "Line", "Outbox", "Sink", "SinkError", "TriggerRefused"]
