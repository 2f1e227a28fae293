"""Every message the server sends over a WebSocket or a WebRTC data channel, defined once.

JSON, JSON schema (:func:`schema`) and the tables in ``docs/protocol.md`` (:func:`reference`) are made from these
definitions. Field order here is field order on the wire.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, inspect

from server.words.calibration_words import CalibrationInfo, RuleInfo, SinceCalibration

HEATMAP_AT_THRESHOLD = 128
"""The 8-bit value a heat map has where the anomaly map equals the threshold. The scale is absolute and linear:
0 is distance 0, 128 the threshold, 255 twice the threshold and above."""

Verdict = Literal["NORMAL", "ANOMALY"]
PartsBy = Literal["line", "trigger", "gate"]
PartVerdict = Literal["NORMAL", "ANOMALY", "FAILED"]
PartSource = Literal["trigger", "gate", "id"]
StreamState = Literal["live", "silent", "waiting", "teaching"]
Changed = Literal["threshold", "recipe", "model"]
DriftWhat = Literal["score", "light", "contrast", "focus", "position", "size"]
Count = Annotated[int, Meta(ge=0)]


class Heatmap(Struct, frozen=True):
    """The anomaly map of one frame, 8 bits a value, absolute scale."""

    width: Annotated[Count, Meta(description="columns")]
    height: Annotated[Count, Meta(description="rows")]
    data: Annotated[
        str,
        Meta(description="base64 of width × height bytes, row by row; 128 is the threshold, 255 twice that or more"),
    ]


class Picture(Struct, frozen=True):
    """A small JPEG of the inspected frame, for viewers that have no camera of their own."""

    width: Annotated[Count, Meta(description="pixels")]
    height: Annotated[Count, Meta(description="pixels")]
    data: Annotated[str, Meta(description="base64 of a JPEG file")]


class Simulated(Struct, frozen=True):
    """What the simulated line put in front of its simulated camera."""

    part: Annotated[Count, Meta(description="number of the part, from 1")]
    defect: Annotated[str | None, Meta(description="scratch, dent, contamination, incomplete, or null for a good part")]


class CameraInfo(Struct, frozen=True):
    """How a camera that the server pulls itself is doing."""

    state: Annotated[
        str,
        Meta(
            description="connecting, live, waiting (for its trigger), stalled (no picture for a while), retrying or "
            "stopped"
        ),
    ]
    since: Annotated[str, Meta(description="when this state began, ISO 8601")]
    retry_in_s: Annotated[float | None, Meta(description="seconds until the next try, only while retrying")]
    source: Annotated[str, Meta(description="its address, without credentials")]
    connects: Annotated[Count, Meta(description="how often it came alive")]
    failures: Annotated[Count, Meta(description="tries that failed and connections that were lost")]
    dropped: Annotated[Count, Meta(description="frames that waited too long to be decoded, since the start")]
    last_error: Annotated[str | None, Meta(description="why the last of them, or why there is no picture")]


class StreamInfo(Struct, frozen=True, kw_only=True):
    """One running stream, as ``GET /api/streams`` lists it."""

    name: Annotated[str, Meta(description="of the stream")]
    transport: Annotated[str, Meta(description="websocket, webrtc, camera or simulated")]
    simulated: Annotated[bool, Meta(description="true when its pictures are rendered by code")]
    since: Annotated[str, Meta(description="when it was opened, ISO 8601")]
    received: Annotated[Count, Meta(description="frames that arrived on this connection")]
    inspected: Annotated[Count, Meta(description="frames that got a verdict")]
    dropped: Annotated[
        Count, Meta(description="frames replaced by a newer one, too old, over max_fps, or shown to a teaching")
    ]
    failed: Annotated[Count, Meta(description="frames that could not be decoded or inspected")]
    anomalies: Annotated[
        Count, Meta(description="frames with which the verdict was ANOMALY, by the recipe's decision rule")
    ]
    received_per_s: Annotated[float, Meta(description="over the last 5 seconds")]
    inspected_per_s: Annotated[float, Meta(description="over the last 5 seconds")]
    latency_ms: Annotated[float | None, Meta(description="median of the last 30 results; null before the first")]
    viewers: Annotated[Count, Meta(description="listeners on /ws/live/NAME")]
    state: Annotated[
        Literal["live", "silent"], Meta(description="silent: no frame for SILENT_AFTER_S seconds; live otherwise")
    ]
    last_verdict: Annotated[
        Verdict | None,
        Meta(description="NORMAL, ANOMALY, or null before the first on this connection; by the recipe's decision rule"),
    ]
    last_verdict_at: Annotated[str | None, Meta(description="when that was, ISO 8601; null before the first")]
    warnings: Annotated[
        list[str],
        Meta(
            description="what the operator should see to: pictures of another shape than was taught, late results, a "
            "calibration made over another transport or in other regions, what drifted since the calibration"
        ),
    ]
    threshold: Annotated[float | None, Meta(description="in force on this stream, raw; null without a model")]
    threshold_source: Annotated[
        str | None,
        Meta(
            description="environment, recipe (put there by hand), calibration, model or uncalibrated; null without a "
            "model"
        ),
    ]
    calibration: Annotated[CalibrationInfo | None, Meta(description="the one in force on this stream, or null")]
    since_calibration: Annotated[
        SinceCalibration | None, Meta(description="what came true since; null where no calibration is in force")
    ]
    recipe: Annotated[str | None, Meta(description="id of the recipe it is inspected with; null without a model")]
    recipe_name: Annotated[str | None, Meta(description="what that is called")]
    recipe_version: Annotated[int | None, Meta(description="of that")]
    is_taught: Annotated[
        bool, Meta(description="true while it is shown to a teaching: nothing is inspected, frames count as dropped")
    ]
    parts: Annotated[
        Count,
        Meta(
            description="that came since parts_since, over reconnects, by the ids that the line says, or by the "
            "recipe's rule (parts_by); none where nothing says what a part is"
        ),
    ]
    parts_rejected: Annotated[Count, Meta(description="of them with an ANOMALY among their verdicts")]
    yield_: Annotated[
        float | None, Meta(description="share of the parts that were not rejected, 0..1; null before the first")
    ] = msgspec.field(name="yield")
    parts_failed: Annotated[Count, Meta(description="of the parts, those whose verdict is FAILED: not good either")]
    parts_by: Annotated[
        PartsBy,
        Meta(description="what says what a part is, by its recipe: line: ids; else each part gets a message `part`"),
    ]
    triggers: Annotated[Count, Meta(description="that were taken since the server was started")]
    triggers_refused: Annotated[
        Count, Meta(description="that were not, because a part was in work or for another reason")
    ]
    parts_since: Annotated[str, Meta(description="when that counting began, ISO 8601: a start, or a reset")]
    camera: Annotated[CameraInfo | UnsetType, Meta(description="only for a camera the server pulls: its state")] = UNSET


class Result(Struct, frozen=True, tag="result", tag_field="type"):
    """One inspected frame."""

    stream: Annotated[str, Meta(description="name of the stream")]
    seq: Annotated[Count, Meta(description="number of the frame on its connection, from 0")]
    score: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="0..1 for display: 0.1 where good parts were in the calibration, 0.5 at the threshold, 0.9 as "
            "far beyond",
        ),
    ]
    raw_score: Annotated[
        float, Meta(description="image score: the largest value of the anomaly map, a feature distance")
    ]
    threshold: Annotated[float, Meta(description="the threshold in force, on the scale of raw_score")]
    threshold_source: Annotated[
        str,
        Meta(
            description="environment, recipe (put there by hand), calibration, model, or uncalibrated (none yet: every "
            "frame is an ANOMALY)"
        ),
    ]
    is_anomaly: Annotated[bool, Meta(description="of this frame alone: raw_score > threshold")]
    verdict: Annotated[
        Verdict, Meta(description="of the stream with this frame, by the recipe's decision rule: NORMAL or ANOMALY")
    ]
    received: Annotated[Count, Meta(description="frames that arrived on this connection")]
    inspected: Annotated[Count, Meta(description="frames that got a verdict, this one included")]
    dropped: Annotated[
        Count, Meta(description="frames replaced by a newer one, too old, over max_fps, or shown to a teaching")
    ]
    failed: Annotated[Count, Meta(description="frames that could not be decoded or inspected")]
    anomalies: Annotated[Count, Meta(description="frames with which the verdict was ANOMALY, this one included")]
    latency_ms: Annotated[float, Meta(description="from the frame's arrival to this result, milliseconds")]
    at: Annotated[
        str, Meta(description="when the verdict was given, ISO 8601 with milliseconds, by the server's clock")
    ]
    recipe: Annotated[str, Meta(description="id of the recipe it was inspected with")]
    recipe_version: Annotated[int, Meta(description="of that")]
    model: Annotated[str, Meta(description="sha256 that names the very model, corrections included")]
    heatmap: Annotated[
        Heatmap | UnsetType, Meta(description="where the frame deviates; absent where ?heatmap=0 was asked for")
    ] = UNSET
    picture: Annotated[Picture | UnsetType, Meta(description="only with ?picture=1: a small JPEG of the frame")] = UNSET
    simulated: Annotated[Simulated | UnsetType, Meta(description="only on a simulated stream: what was simulated")] = (
        UNSET
    )
    part: Annotated[
        str | UnsetType, Meta(description="which part the frame shows; absent where the line did not say it")
    ] = UNSET
    part_number: Annotated[
        Count | UnsetType,
        Meta(
            description="where the recipe or the line says what a part is: `number` of the part, as in its message "
            "`part`, that the frame is of, also while it lies there with its verdict given; 0: of none, as between "
            "two parts, or where no trigger asked for it"
        ),
    ] = UNSET
    repeated: Annotated[
        bool | UnsetType,
        Meta(
            description="true on the stream's last result, sent again to a listener that has just connected: no new "
            "verdict, `at` says how old it is; absent on all others"
        ),
    ] = UNSET


class PartResult(Struct, frozen=True, tag="part", tag_field="type"):
    """One part: its one verdict, made of the frames of its passage. Where the stream's recipe says what a part is."""

    stream: Annotated[str, Meta(description="name of the stream")]
    id: Annotated[str, Meta(description="of this verdict, never given twice, restarts of the server included")]
    number: Annotated[Count, Meta(description="counts the stream's parts since the server was started, from 1")]
    part: Annotated[str | None, Meta(description="id of the part as the line says it, passed through; or null")]
    source: Annotated[
        PartSource,
        Meta(
            description="what said that there is a part: trigger, gate (it came into the picture's gate) or id (the "
            "line named another one)"
        ),
    ]
    trigger: Annotated[
        Count | None, Meta(description="number of the trigger that was accepted on the stream, from 1; null without")
    ]
    trigger_id: Annotated[str | None, Meta(description="what whoever triggered calls it, passed through; or null")]
    triggered_by: Annotated[
        str | None,
        Meta(description="over which way it was triggered: rest, websocket, mqtt, opcua, modbus, gpio; or null"),
    ]
    verdict: Annotated[
        PartVerdict,
        Meta(
            description="NORMAL, ANOMALY, or FAILED: nothing or too little of it was inspected, `why` says why; not a "
            "good part"
        ),
    ]
    why: Annotated[str | None, Meta(description="of FAILED, one sentence; else null")]
    score: Annotated[float | None, Meta(description="0..1 for display, of its worst frame; null where it FAILED")]
    raw_score: Annotated[float | None, Meta(description="of its worst frame; null where it FAILED")]
    threshold: Annotated[float | None, Meta(description="of its worst frame, raw; null where it FAILED")]
    threshold_source: Annotated[str | None, Meta(description="as in a result, of its worst frame")]
    frames: Annotated[Count, Meta(description="of its passage that were inspected")]
    anomalous: Annotated[Count, Meta(description="of them with a raw_score above their threshold")]
    began_at: Annotated[str, Meta(description="trigger, or arrival of its first frame, ISO 8601 with milliseconds")]
    at: Annotated[
        str, Meta(description="when the verdict was given, ISO 8601 with milliseconds, by the server's clock")
    ]
    cycle_ms: Annotated[float, Meta(description="from its beginning to the verdict, by a clock that nobody sets")]
    inspection_ms: Annotated[
        float | None,
        Meta(description="from the arrival of the last of its frames to the verdict, milliseconds; null without one"),
    ]
    overruns: Annotated[
        Count, Meta(description="triggers that were refused on the stream since the part before had its verdict")
    ]
    recipe: Annotated[str | None, Meta(description="id of the recipe it was inspected with; null without one")]
    recipe_version: Annotated[int | None, Meta(description="of that")]
    model: Annotated[str | None, Meta(description="sha256 that names the very model; null where it FAILED")]
    simulated: Annotated[bool, Meta(description="true on the simulated line: there is no such part")]
    picture: Annotated[
        str | None,
        Meta(
            description="address of its worst frame's picture, relative to the server's root, where one is kept "
            "(alarms and some of the others); …/heatmap and …/overlay beside it; else null"
        ),
    ]
    heatmap: Annotated[
        Heatmap | UnsetType,
        Meta(description="of its worst frame; absent where ?heatmap=0 was asked for, and where it FAILED"),
    ] = UNSET


class Error(Struct, frozen=True, tag="error", tag_field="type"):
    """One frame that could not be inspected. The connection goes on."""

    stream: Annotated[str, Meta(description="name of the stream")]
    seq: Annotated[Count, Meta(description="number of the frame on its connection, from 0")]
    error: Annotated[str, Meta(description="what was wrong with the frame, and what to do")]
    received: Annotated[Count, Meta(description="as in a result")]
    inspected: Annotated[Count, Meta(description="as in a result")]
    dropped: Annotated[Count, Meta(description="as in a result")]
    failed: Annotated[Count, Meta(description="as in a result, this frame included")]


class Status(Struct, frozen=True, tag="status", tag_field="type"):
    """Sent to live subscribers on connecting, when the camera comes, falls silent or goes, when teaching begins and
    ends, and after a change of calibration, recipe or model."""

    stream: Annotated[str, Meta(description="name of the stream")]
    state: Annotated[
        StreamState,
        Meta(
            description="live: a camera is sending; silent: it is connected, but sends nothing; waiting: none is; "
            "teaching: what it sends is shown to a teaching, and not inspected"
        ),
    ]
    calibration: Annotated[
        CalibrationInfo | UnsetType, Meta(description="only while a camera sends: the one in force")
    ] = UNSET
    since_calibration: Annotated[
        SinceCalibration | UnsetType, Meta(description="what came true since; only once frames were inspected with it")
    ] = UNSET
    recipe: Annotated[
        str | UnsetType, Meta(description="id of the recipe it is inspected with; absent without a model")
    ] = UNSET
    recipe_name: Annotated[str | UnsetType, Meta(description="what that is called")] = UNSET
    recipe_version: Annotated[int | UnsetType, Meta(description="of that")] = UNSET
    parts_by: Annotated[
        PartsBy | UnsetType,
        Meta(
            description="only while a camera sends: what says that there is a part. With trigger and gate go by `part` "
            "alone: a `result` is of a frame, which may show no part at all"
        ),
    ] = UNSET


class Heartbeat(Struct, frozen=True, tag="heartbeat", tag_field="type"):
    """Sent to live subscribers every few seconds, whatever the stream does: who hears none has lost the server."""

    stream: Annotated[str, Meta(description="name of the stream")]
    at: Annotated[str, Meta(description="now, ISO 8601 with milliseconds, by the server's clock")]
    state: Annotated[StreamState, Meta(description="as in a status")]
    last_verdict: Annotated[
        Verdict | None, Meta(description="the last one on the sender's connection; null before it, or without a sender")
    ]
    last_verdict_at: Annotated[str | None, Meta(description="when it was given, ISO 8601 with milliseconds")]
    age_s: Annotated[
        float | None, Meta(description="seconds since, by a clock that nobody sets; null where there is no verdict")
    ]


class Change(Struct, frozen=True, tag="change", tag_field="type"):
    """Sent to live subscribers when something else comes into force on the stream, before the first result by it."""

    stream: Annotated[str, Meta(description="name of the stream")]
    what: Annotated[
        Changed,
        Meta(
            description="recipe: another one, or another version of it with the same model; model: another model in "
            "the same recipe; threshold: nothing but that"
        ),
    ]
    at: Annotated[str, Meta(description="now, ISO 8601 with milliseconds, by the server's clock")]
    recipe: Annotated[str, Meta(description="id of the recipe that is in force now")]
    recipe_name: Annotated[str, Meta(description="what that is called")]
    recipe_version: Annotated[int, Meta(description="of that")]
    model: Annotated[str, Meta(description="sha256 of the model that is in use now")]
    threshold: Annotated[float, Meta(description="in force now, raw; 0 where there is none")]
    threshold_source: Annotated[str, Meta(description="as in a result")]
    who: Annotated[str | None, Meta(description="made the change; null where it is not known")]


class Drift(Struct, frozen=True, tag="drift", tag_field="type"):
    """Sent to live subscribers when parts or pictures are no longer as they were when calibrated, and when they are
    again: once each, of each thing that may change."""

    stream: Annotated[str, Meta(description="name of the stream")]
    what: Annotated[
        DriftWhat,
        Meta(description="score: what accepted parts score; the others: how pictures are taken"),
    ]
    is_out: Annotated[
        bool, Meta(description="true: it left; false: it came back, or is compared with something else from now on")
    ]
    change: Annotated[
        float,
        Meta(
            description="by how much: light, contrast, focus and size as a share of what they were (-0.3: 30 % less), "
            "position as a share of the picture's sides, score as the mean rank beyond a half; 0 where it came back"
        ),
    ]
    words: Annotated[str, Meta(description="what changed, and what to do, one sentence")]
    reference: Annotated[
        Literal["calibration", "first parts"],
        Meta(description="what it is compared with; first parts: accepted ones after this threshold came into force"),
    ]
    since: Annotated[str, Meta(description="when that was, ISO 8601")]
    at: Annotated[str, Meta(description="now, ISO 8601 with milliseconds, by the server's clock")]


class Goodbye(Struct, frozen=True, tag="goodbye", tag_field="type"):
    """The last message on a WebRTC data channel, which has no close codes of its own."""

    stream: Annotated[str, Meta(description="name of the stream")]
    code: Annotated[
        int,
        Meta(
            description="as the WebSocket's close codes: 4001 taken over, 4403 may not send any more, 1008 a flood, "
            "1012 come back"
        ),
    ]
    reason: Annotated[str, Meta(description="the same in words")]


class TriggerAnswer(Struct, frozen=True, tag="trigger", tag_field="type"):
    """Sent to the sender of a stream that triggered over its own connection: whether the trigger was taken."""

    stream: Annotated[str, Meta(description="name of the stream")]
    trigger: Annotated[
        Count | None, Meta(description="its number, which the part's verdict names; null: it was not taken")
    ]
    trigger_id: Annotated[str | None, Meta(description="what the sender called it; or null")]
    refused: Annotated[str | None, Meta(description="why it was not taken, one sentence; else null")]


Message = Result | PartResult | TriggerAnswer | Error | Status | Heartbeat | Change | Drift | Goodbye

_encoder = msgspec.json.Encoder()


def encode(message: Message) -> str:
    """The JSON text of a message."""
    return _encoder.encode(message).decode()


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a message: one of those the server sends, told apart by ``type``, and nothing else.

    Later versions may add fields and kinds of messages, and take none away: so fields that are not named here are
    allowed, and who checks messages with an older schema goes on working if it skips a ``type`` it does not know.
    """
    described = msgspec.json.schema(Message)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A message of DefectVision",
        "oneOf": described["anyOf"],  # no two have the same type
        "discriminator": described["discriminator"],
        "$defs": described["$defs"],
    }


def reference() -> str:
    """The Markdown tables in ``docs/protocol.md``: what the server sends, field by field."""
    return "\n\n".join(
        _table(struct)
        for struct in (
            Result,
            PartResult,
            TriggerAnswer,
            Error,
            Status,
            Heartbeat,
            Change,
            Drift,
            Goodbye,
            Heatmap,
            Picture,
            Simulated,
            StreamInfo,
            CalibrationInfo,
            RuleInfo,
            SinceCalibration,
            CameraInfo,
        )
    )


def _table(struct: type[Struct]) -> str:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    rows = [f"| `{info.tag_field}` | text | always `{info.tag}` |"] if info.tag else []
    rows += [_row(field) for field in info.fields]
    head = ["| field | type | meaning |", "|---|---|---|"]
    title = f"`{info.tag}`" if info.tag else struct.__name__
    return "\n".join([f"### {title}", "", " ".join((struct.__doc__ or "").split()), "", *head, *rows])


def _row(field: inspect.Field) -> str:
    may_be_absent = "" if field.required else ", may be absent"
    return f"| `{field.encode_name}` | {_kind(field.type)}{may_be_absent} | {_description(field.type)} |"


def _kind(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return _kind(kind.type)
        case inspect.UnionType():
            return " or ".join(_kind(member) for member in kind.types)
        case inspect.StructType():
            return f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})"
        case inspect.ListType():
            return f"list of {_kind(kind.item_type)}"
        case inspect.LiteralType():
            return " or ".join(f"`{value}`" for value in kind.values)
        case _:
            return _WORDS[type(kind)]


def _description(kind: inspect.Type) -> str:
    assert isinstance(kind, inspect.Metadata)
    return str((kind.extra_json_schema or {})["description"])


_WORDS: dict[type[inspect.Type], str] = {
    inspect.StrType: "text",
    inspect.IntType: "whole number",
    inspect.FloatType: "number",
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
}
