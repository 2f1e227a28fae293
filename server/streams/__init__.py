"""Slot, pool, hub: who waits, who computes, who hears."""

from server.streams.hub import Hub, Subscription
from server.streams.pool import Hung, InferencePool, PoolBusy, Progress
from server.streams.stream_calibration import MAX_FRAMES, MAX_SECONDS, StreamWentAway, normal_scores
from server.streams.streams import OpenStream, Streams

__all__ = [
    "MAX_FRAMES",
    "MAX_SECONDS",
    "Hub",
    "Hung",
    "InferencePool",
    "OpenStream",
    "PoolBusy",
    "Progress",
    "StreamWentAway",
    "Streams",
    "Subscription",
    "normal_scores",
]
