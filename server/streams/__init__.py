"""Slot, pool, hub: who waits, who computes, who hears."""

from server.streams.hub import Ear, Hub, Subscription, Told, Waiting
from server.streams.kept_frames import KeptFrame, KeptFrames
from server.streams.open_stream import OpenStream, Watcher
from server.streams.pool import Hung, InferencePool, PoolBusy, Progress, Supply
from server.streams.slot import Counters
from server.streams.stream_calibration import MAX_FRAMES, MAX_SECONDS, StreamWentAway
from server.streams.streams import Streams

__all__ = [
    "MAX_FRAMES",
    "MAX_SECONDS",
    "Counters",
    "Ear",
    "Hub",
    "Hung",
    "InferencePool",
    "KeptFrame",
    "KeptFrames",
    "OpenStream",
    "PoolBusy",
    "Progress",
    "StreamWentAway",
    "Streams",
    "Subscription",
    "Supply",
    "Told",
    "Waiting",
    "Watcher",
]
