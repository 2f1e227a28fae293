"""Every message the server sends over a WebSocket or a WebRTC data channel, defined once.

JSON, JSON schema (:func:`schema`) and the tables in ``docs/protocol.md`` (:func:`reference`) are made from these
definitions. Field order here is field order on the wire.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

HEATMAP_AT_THRESHOLD = 128
"""The 8-bit value a heat map has where the anomaly map equals the threshold. The scale is absolute and linear:
0 is distance 0, 128 the threshold, 255 twice the threshold and above."""

Verdict = Literal["NORMAL", "ANOMALY"]
StreamState = Literal["live", "waiting"]


class Heatmap(Struct, frozen=True):
    """The anomaly map of one frame, 8 bits a value, absolute scale."""

    width: Annotated[int, Meta(description="columns")]
    height: Annotated[int, Meta(description="rows")]
    data: Annotated[
        str,
        Meta(description="base64 of width × height bytes, row by row; 128 is the threshold, 255 twice that or more"),
    ]


class Picture(Struct, frozen=True):
    """A small JPEG of the inspected frame, for viewers that have no camera of their own."""

    width: Annotated[int, Meta(description="pixels")]
    height: Annotated[int, Meta(description="pixels")]
    data: Annotated[str, Meta(description="base64 of a JPEG file")]


class Simulated(Struct, frozen=True):
    """What the simulated line put in front of its simulated camera."""

    part: Annotated[int, Meta(description="number of the part, from 0")]
    defect: Annotated[str | None, Meta(description="scratch, dent, contamination, incomplete, or null for a good part")]


class StreamInfo(Struct, frozen=True):
    """One running stream, as ``GET /api/streams`` lists it."""

    name: Annotated[str, Meta(description="of the stream")]
    transport: Annotated[str, Meta(description="websocket, webrtc, camera or simulated")]
    simulated: Annotated[bool, Meta(description="true when its pictures are rendered by code")]
    since: Annotated[str, Meta(description="when it was opened, ISO 8601")]
    received: Annotated[int, Meta(description="frames that arrived on this connection")]
    inspected: Annotated[int, Meta(description="frames that got a verdict")]
    dropped: Annotated[int, Meta(description="frames replaced by a newer one, too old, or over max_fps")]
    failed: Annotated[int, Meta(description="frames that could not be decoded or inspected")]
    anomalies: Annotated[int, Meta(description="frames with the verdict ANOMALY")]
    received_per_s: Annotated[float, Meta(description="over the last 5 seconds")]
    inspected_per_s: Annotated[float, Meta(description="over the last 5 seconds")]
    latency_ms: Annotated[float | None, Meta(description="median of the last 30 results; null before the first")]
    viewers: Annotated[int, Meta(description="listeners on /ws/live/NAME")]
    last_verdict: Annotated[Verdict | None, Meta(description="NORMAL, ANOMALY, or null before the first")]


class Counters(Struct, frozen=True):
    """received == inspected + dropped + failed whenever no frame is waiting or in work."""

    received: Annotated[int, Meta(description="frames that arrived on this connection")]
    inspected: Annotated[int, Meta(description="frames that got a verdict")]
    dropped: Annotated[int, Meta(description="frames replaced by a newer one, too old, or over max_fps")]
    failed: Annotated[int, Meta(description="frames that could not be decoded or inspected")]


class Result(Struct, frozen=True, tag="result", tag_field="type"):
    """One inspected frame."""

    stream: Annotated[str, Meta(description="name of the stream")]
    seq: Annotated[int, Meta(description="number of the frame on its connection, from 0")]
    score: Annotated[
        float, Meta(description="0..1 for display: raw_score / threshold / 2, cut at 1; 0.5 at the threshold")
    ]
    raw_score: Annotated[
        float, Meta(description="image score: the largest value of the anomaly map, a feature distance")
    ]
    threshold: Annotated[float, Meta(description="the threshold in force, on the scale of raw_score")]
    threshold_source: Annotated[str, Meta(description="environment, calibration or model")]
    is_anomaly: Annotated[bool, Meta(description="raw_score > threshold")]
    verdict: Annotated[Verdict, Meta(description="NORMAL or ANOMALY")]
    received: Annotated[int, Meta(description="frames that arrived on this connection")]
    inspected: Annotated[int, Meta(description="frames that got a verdict, this one included")]
    dropped: Annotated[int, Meta(description="frames replaced by a newer one, too old, or over max_fps")]
    failed: Annotated[int, Meta(description="frames that could not be decoded or inspected")]
    anomalies: Annotated[int, Meta(description="frames with the verdict ANOMALY, this one included")]
    latency_ms: Annotated[float, Meta(description="from the frame's arrival to this result, milliseconds")]
    heatmap: Annotated[Heatmap, Meta(description="where the frame deviates")]
    picture: Annotated[Picture | UnsetType, Meta(description="only with ?picture=1: a small JPEG of the frame")] = UNSET
    simulated: Annotated[Simulated | UnsetType, Meta(description="only on a simulated stream: what was simulated")] = (
        UNSET
    )


class Error(Struct, frozen=True, tag="error", tag_field="type"):
    """One frame that could not be inspected. The connection goes on."""

    stream: Annotated[str, Meta(description="name of the stream")]
    seq: Annotated[int, Meta(description="number of the frame on its connection, from 0")]
    error: Annotated[str, Meta(description="what was wrong with the frame, and what to do")]
    received: Annotated[int, Meta(description="as in a result")]
    inspected: Annotated[int, Meta(description="as in a result")]
    dropped: Annotated[int, Meta(description="as in a result")]
    failed: Annotated[int, Meta(description="as in a result, this frame included")]


class Status(Struct, frozen=True, tag="status", tag_field="type"):
    """Sent to live subscribers when they connect, and when the stream's camera comes or goes."""

    stream: Annotated[str, Meta(description="name of the stream")]
    state: Annotated[StreamState, Meta(description="live: a camera is sending; waiting: none is")]


Message = Result | Error | Status

_encoder = msgspec.json.Encoder()


def encode(message: Message) -> str:
    """The JSON text of a message."""
    return _encoder.encode(message).decode()


def schema() -> dict[str, Any]:
    """JSON schema of everything the server sends, by message name."""
    _, components = msgspec.json.schema_components((Result, Error, Status))
    return dict(components)
