"""Figures of streams, cameras and the pool, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.inspection import Inspection
from server.metrics.totals import Connection
from server.streams import InferencePool, Streams
from server.words import CameraInfo, Figure

CAMERA_STATES = ("connecting", "live", "waiting", "stalled", "retrying", "stopped")


@dataclass(frozen=True)
class OfStreams:
    """Of everything that runs now."""

    streams: Streams
    pool: InferencePool
    inspection: Inspection

    def stream_of(self, name: str) -> Connection | None:
        """The connection that sends a stream now."""
        opened = self.streams.get(name)
        return opened.stream if opened else None

    def figures(self) -> Iterator[Figure]:
        ready = float(self.inspection.ready)
        yield Figure("ready", "1 while there is a model to inspect with", ready)
        waiting = 0
        for name in self.streams.names:
            opened = self.streams.get(name)
            if opened is None:
                continue
            stream, labels = opened.stream, {"stream": name}
            waiting += stream.has_waiting
            up = {**labels, "transport": stream.transport}
            yield Figure(
                "stream_up", "1 while frames come, 0 while the stream is silent", float(not opened.is_silent), up
            )
            yield Figure(
                "stream_taught", "1 while it is shown to a teaching", float(opened.watcher is not None), labels
            )
            age = stream.verdict_age_s
            if age is not None:
                yield Figure("verdict_age_seconds", "since the last verdict of the connection", age, labels)
            viewers = self.streams.hub.listeners(name)
            yield Figure("viewers", "listeners of the stream", viewers, labels)
            station = opened.station.station
            yield Figure("triggers", "triggers that were taken", station.taken, labels, "counter")
            yield Figure("triggers_refused", "triggers that were not taken", station.refused, labels, "counter")
            if opened.describe_camera is not None:
                yield from _of_camera(name, opened.describe_camera())
        yield Figure("slots_waiting", "streams whose newest frame waits for a worker", waiting)
        yield from self.pool.figures()


def _of_camera(name: str, camera: CameraInfo) -> Iterator[Figure]:
    for state in CAMERA_STATES:
        is_it = float(camera.state == state)
        yield Figure("camera_state", "1 for the state a camera is in", is_it, {"stream": name, "state": state})
    words = "tries that failed and connections that were lost"
    yield Figure("camera_failures", words, camera.failures, {"stream": name}, "counter")
    words = "frames that waited too long to be decoded, and were dropped"
    yield Figure("camera_dropped", words, camera.dropped, {"stream": name}, "counter")
