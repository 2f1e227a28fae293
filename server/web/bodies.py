"""What the HTTP side answers, field by field: the JSON and its description in ``/openapi.json`` are made of these."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from server.web.calibration_bodies import StoredBody
from server.words import StreamInfo


class Refusal(Struct, frozen=True):
    """Why what was asked for was not done."""

    error: Annotated[str, Meta(description="what was wrong and what to do, one sentence")]


class IceServer(Struct, frozen=True, omit_defaults=True):
    """A STUN or TURN server, as a browser's RTCPeerConnection takes it."""

    urls: Annotated[str, Meta(description="stun:HOST:PORT or turn:HOST:PORT")]
    username: Annotated[str | None, Meta(description="for TURN")] = None
    credential: Annotated[str | None, Meta(description="for TURN")] = None


HealthWord = Annotated[
    Literal["ok", "teaching", "hung", "error"],
    Meta(
        description="ok (200); else 503: teaching (the model is being learned or loaded), hung (a worker makes no "
        "progress), error (there will be no model before the operator does something)"
    ),
]


class HealthBody(Struct, frozen=True):
    """Whether parts are being inspected, and with what."""

    status: HealthWord
    reason: Annotated[str | None, Meta(description="why not ok, one sentence; null when ok")]
    progress: Annotated[float | None, Meta(description="0..1 while teaching, else null")]
    model_category: Annotated[str | None, Meta(description="what the parts are called; null without a model")]
    runtime: Annotated[str | None, Meta(description="what the model runs on; null without a model")]
    image_size: Annotated[
        int | None,
        Meta(description="side, pixels, of a square of as many as the model's input has; null without a model"),
    ]
    input_size: Annotated[
        tuple[int, int] | None, Meta(description="height and width of the model's input, pixels; null without a model")
    ]
    backbone: Annotated[
        str | None, Meta(description="of a model that was taught here, as its manifest names it; else null")
    ]
    model_hash: Annotated[str | None, Meta(description="sha256 that names this very model; null without one")]
    threshold: Annotated[
        float | None,
        Meta(
            description="raw; what was calibrated last, /api/streams says what is in force on each stream; null "
            "without a model"
        ),
    ]
    threshold_source: Annotated[
        str | None,
        Meta(
            description="environment, calibration, model, or uncalibrated (the model brings no threshold: every frame "
            "is an ANOMALY until it is calibrated)"
        ),
    ]
    calibration: Annotated[
        StoredBody | None, Meta(description="the newest stored for this model, in force or not; else null")
    ]
    simulated: Annotated[bool, Meta(description="true when the model was taught on the simulated line")]
    simulated_stream: Annotated[str | None, Meta(description="name of the simulated line's stream, or null")]
    warnings: Annotated[list[str], Meta(description="sentences for the operator")]
    ice_servers: Annotated[list[IceServer], Meta(description="STUN and TURN servers for WebRTC; usually none")]
    version: Annotated[str, Meta(description="of the software")]


class HealthToStrangers(Struct, frozen=True, forbid_unknown_fields=True):
    """The same for who has not shown the access code."""

    status: HealthWord


class Prediction(Struct, frozen=True):
    """What was found in one picture."""

    anomaly_score: Annotated[float, Meta(ge=0, le=1, description="for display; 0.5 at the threshold")]
    raw_score: Annotated[float, Meta(description="image score: the largest value of the anomaly map")]
    is_anomaly: Annotated[bool, Meta(description="raw_score > threshold")]
    threshold: Annotated[float, Meta(description="the threshold in force, raw")]
    heatmap_b64: Annotated[
        str, Meta(description="base64 of a grey PNG, 128 at the threshold; at most 1280 pixels long")
    ]
    overlay_b64: Annotated[
        str, Meta(description="base64 of a colour PNG of the same size: the heat map over the picture")
    ]
    model_category: Annotated[str, Meta(description="what the parts are called")]
    runtime: Annotated[str, Meta(description="what the model runs on")]


class StreamListBody(Struct, frozen=True):
    """What is streaming now."""

    streams: Annotated[list[StreamInfo], Meta(description="by name")]


class PartBody(Struct, frozen=True):
    """Which part the frames of a stream show from now on."""

    stream: Annotated[str, Meta(description="name of the stream")]
    part: Annotated[str | None, Meta(description="its id; null: nobody says it")]


class ConnectionBody(Struct, frozen=True):
    """What arrived of a page's request, and what keeps its WebSockets from coming through."""

    host: Annotated[str, Meta(description="the Host header, as it arrived")]
    access: Annotated[bool, Meta(description="whether the access code was shown")]
    problem: Annotated[str | None, Meta(description="what is wrong and what to do, or null")]
    refusal: Annotated[
        str | None,
        Meta(description="why whoever asks may not `watch` or `send` that stream, or null: trying is no use"),
    ]


class TriggerBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A trigger."""

    part: Annotated[str | None, Meta(description="id of the part, 1 to 128 printable characters, passed through")] = (
        None
    )
    trigger: Annotated[
        str | None, Meta(description="what you call this trigger, 1 to 128 printable characters, passed through")
    ] = None
    wait: Annotated[bool, Meta(description="whether the answer is to be the verdict")] = False


class TriggerTaken(Struct, frozen=True):
    """A trigger that was taken."""

    stream: Annotated[str, Meta(description="name of the stream")]
    trigger: Annotated[int, Meta(ge=1, description="its number, which the part's verdict names")]
    trigger_id: Annotated[str | None, Meta(description="what you call it")]


class GateAsked(Struct, frozen=True, forbid_unknown_fields=True):
    """Which region of the picture the gate is."""

    gate: Annotated[
        tuple[tuple[float, float], ...], Meta(description="corners, 0 to 1 of the frame; none: all of it")
    ] = ()
    frame: Annotated[str | None, Meta(description="id of a kept frame of the stream; null: the newest")] = None


class GateBody(Struct, frozen=True):
    """How a gate looks now."""

    gate: Annotated[tuple[tuple[float, float], ...], Meta(description="as it was asked for")]
    empty: Annotated[tuple[int, ...], Meta(description="16×16 cells, as a recipe keeps them")]
    at: Annotated[str, Meta(description="when the frame was inspected, ISO 8601")]
    picture: Annotated[str, Meta(description="address of its picture, relative to the server's root")]
