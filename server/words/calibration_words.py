"""What is said of a calibration, in messages and over HTTP."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

Count = Annotated[int, Meta(ge=0)]


class RuleInfo(Struct, frozen=True):
    """By which rule a threshold is placed: one of the two."""

    k: Annotated[float | UnsetType, Meta(description="mean + k · std of the good parts' raw scores")] = UNSET
    one_in: Annotated[int | UnsetType, Meta(description="reject about one in so many good parts")] = UNSET


class CalibrationInfo(Struct, frozen=True):
    """A calibration that is in force on a stream."""

    rule: Annotated[RuleInfo, Meta(description="by which its threshold was placed")]
    n: Annotated[Count, Meta(description="how many good parts or frames it was made from")]
    when: Annotated[str, Meta(description="it was made, ISO 8601")]
    who: Annotated[str, Meta(description="made it: an address, or a page at an address")]
    transport: Annotated[
        str,
        Meta(
            description="over which its frames came: websocket, webrtc, camera, simulated, pictures, or unknown "
            "(made by an older version)"
        ),
    ]
    stream: Annotated[str | None, Meta(description="on which it was made; null for pictures")]
    promise: Annotated[str | None, Meta(description="what it promises, one sentence; null where it promises nothing")]
    no_promise: Annotated[str | None, Meta(description="why it promises nothing, and what would help; else null")]


class SinceCalibration(Struct, frozen=True):
    """What came of a stream's frames since this server inspects them with the calibration that is in force."""

    since: Annotated[
        str,
        Meta(
            description="when the counting began, ISO 8601: anew with a restart, another model or recipe, other regions"
        ),
    ]
    accepted: Annotated[Count, Meta(description="frames with the verdict NORMAL")]
    rejected: Annotated[Count, Meta(description="frames with the verdict ANOMALY, of good and of bad parts")]
    promise_at_most: Annotated[
        float | None, Meta(description="share of good parts that may be rejected; null without a promise")
    ]
    kept: Annotated[
        bool | None,
        Meta(
            description="false when clearly more are rejected than was promised of good parts, counting parts, not "
            "frames; null while it cannot be said"
        ),
    ]
    sentence: Annotated[str, Meta(description="the same in words")]
