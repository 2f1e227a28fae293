"""What is answered about calibrations, field by field."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from server.words import CalibrationInfo, RuleInfo


class StoredBody(CalibrationInfo, frozen=True, kw_only=True):
    """A calibration as it is stored."""

    k: Annotated[float | None, Meta(description="threshold = mean + k · std; null by another rule")]
    n_images: Annotated[int, Meta(ge=2, description="how many scores it was made from")]
    mean_score: Annotated[float, Meta(description="of the raw scores")]
    std_score: Annotated[float, Meta(ge=0, description="of the raw scores, with N − 1")]
    created: Annotated[str, Meta(description="as when")]


class PromiseBody(Struct, frozen=True):
    """What a threshold promises of good parts to come: shares of them, 0 to 1."""

    expected: Annotated[float, Meta(description="rejected on average")]
    at_most: Annotated[float, Meta(description="rejected at the most, with this confidence")]
    confidence: Annotated[float, Meta(description="0.95")]
    sentence: Annotated[str, Meta(description="the same in words")]
    stronger: Annotated[str, Meta(description="what the next stronger promise would take, one clause")]


class SuspectBody(Struct, frozen=True):
    """A frame of a capture that looks like a defect."""

    index: Annotated[int, Meta(ge=0, description="its number in the capture, from 0")]
    raw_score: Annotated[float, Meta(description="raw")]
    why: Annotated[str, Meta(description="one clause")]
    picture: Annotated[str | None, Meta(description="base64 of a JPEG of up to 160 pixels, or null")]


class FrameBody(Struct, frozen=True):
    """A frame of a capture."""

    index: Annotated[int, Meta(ge=0, description="its number in the capture, from 0")]
    raw_score: Annotated[float, Meta(description="raw")]
    picture: Annotated[str | None, Meta(description="base64 JPEG, up to 160 pixels; or null")]


class HistogramBody(Struct, frozen=True):
    """How the scores lie: counts between neighbouring edges."""

    edges: Annotated[list[float], Meta(description="raw; one more than counts")]
    captured: Annotated[list[int], Meta(description="of the capture")]
    taught: Annotated[list[int], Meta(description="of good pictures held out at teaching")]


class RecentBody(Struct, frozen=True):
    """What the change does to the stream's latest results, of the last 200."""

    of: Annotated[int, Meta(ge=0, description="how many results these are; 0 for pictures")]
    now_rejected: Annotated[int, Meta(ge=0, description="by the threshold in force")]
    then_rejected: Annotated[int, Meta(ge=0, description="by the new one")]
    then_without_suspects: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="by the new one without suspects; null where there is none")
    ]


class MarginBody(Struct, frozen=True):
    """Between good parts and known defects, raw."""

    highest_good: Annotated[float, Meta(description="highest score of a good part")]
    lowest_defect: Annotated[float, Meta(description="lowest score of a known defect")]


class JudgementBody(Struct, frozen=True):
    """What is to be thought of a capture before its threshold is in force. All scores and thresholds are raw."""

    rule: Annotated[RuleInfo, Meta(description="as asked for")]
    parts: Annotated[int, Meta(ge=0, description="frames or pictures judged")]
    independent: Annotated[
        float, Meta(ge=0, description="different parts these are worth: near-copies and neighbours count less")
    ]
    promise: Annotated[PromiseBody | None, Meta(description="of the threshold, or null")]
    no_promise: Annotated[
        str | None, Meta(description="why there is none, and how many more parts are needed; or null")
    ]
    suspects: Annotated[list[SuspectBody], Meta(description="frames that look like defects")]
    highest: Annotated[
        list[FrameBody],
        Meta(description="the frames with the highest scores that do not look like defects, highest first, a few"),
    ]
    left_out: Annotated[list[int], Meta(description="numbers of the frames that were left out before")]
    known_defects: Annotated[
        int, Meta(ge=0, description="frames of the simulated line left out because it knows that they are defective")
    ]
    histogram: Annotated[HistogramBody, Meta(description="of the scores")]
    threshold: Annotated[float | None, Meta(description="from all frames that are not left out; null if there is none")]
    threshold_without_suspects: Annotated[float | None, Meta(description="null without suspects")]
    promise_without_suspects: Annotated[PromiseBody | None, Meta(description="of that threshold, or null")]
    no_promise_without_suspects: Annotated[str | None, Meta(description="why that one has none, or null")]
    in_force: Annotated[float | None, Meta(description="the threshold in force there; null where there is none")]
    recent: Annotated[RecentBody, Meta(description="what the change would do to them")]
    margin: Annotated[MarginBody | None, Meta(description="where defects are known, else null")]
    refused: Annotated[str | None, Meta(description="why it cannot be set at all, and what to do; or null")]
    warnings: Annotated[list[str], Meta(description="why it should not be set unseen")]


class Calibrated(Struct, frozen=True):
    """A calibration that was just stored, or would be."""

    new_threshold: Annotated[
        float | None, Meta(description="raw, by the rule; null only in a dry run, when none can be made")
    ]
    mean_score: Annotated[float | None, Meta(description="of the raw scores")]
    std_score: Annotated[float | None, Meta(description="of the raw scores, with N − 1")]
    n_images: Annotated[int, Meta(ge=0, description="how many scores it was made from; near-copies count once")]
    k: Annotated[float | None, Meta(description="as asked for; null by another rule")]
    threshold: Annotated[
        float, Meta(description="in force there now, raw: THRESHOLD in the environment stays in force")
    ]
    threshold_source: Annotated[str, Meta(description="environment, calibration, model or uncalibrated")]
    warning: Annotated[str | None, Meta(description="what looks wrong with it, or null")]
    judgement: Annotated[JudgementBody, Meta(description="what is to be thought of it")]
    draft: Annotated[
        str | None, Meta(description="what is judged but not in force, for /api/calibration/drafts; null once it is")
    ]
    when: Annotated[
        str | None, Meta(description="it was put in force, for /calibration/undo; null for what is only judged")
    ]


class NotCalibrated(Struct, frozen=True):
    """Why nothing was changed, and what to do."""

    error: Annotated[str, Meta(description="what was wrong and what to do, one sentence")]
    judgement: Annotated[JudgementBody | UnsetType, Meta(description="of the capture, if it came to one")] = UNSET
    draft: Annotated[
        str | UnsetType | None, Meta(description="for /api/calibration/drafts, where it can be set all the same")
    ] = UNSET


class LeaveOut(Struct, frozen=True, forbid_unknown_fields=True):
    """Which frames of a draft do not count."""

    leave_out: Annotated[
        list[Annotated[int, Meta(ge=0)]], Meta(max_length=200, description="their numbers in the capture; [] for none")
    ]


class Discarded(Struct, frozen=True):
    """A draft that is gone."""

    discarded: Annotated[str, Meta(description="its name")]


class HistoryEntry(Struct, frozen=True, rename={"from_": "from"}):
    """One change of the calibrations."""

    when: Annotated[str, Meta(description="ISO 8601")]
    who: Annotated[str, Meta(description="an address, or a page at an address")]
    from_: Annotated[float | None, Meta(description="threshold in force before, raw; null for none")]
    to: Annotated[float | None, Meta(description="threshold in force after it, raw; null for none")]
    why: Annotated[str, Meta(description="what was done, in words")]
    rule: Annotated[RuleInfo | None, Meta(description="of what it put in force; null for a default threshold")]
    n: Annotated[int | None, Meta(description="how many good parts or frames that was made from, or null")]
    transport: Annotated[str, Meta(description="over which they came")]
    stream: Annotated[str | None, Meta(description="on which; null for pictures")]
    action: Annotated[Literal["set", "forget", "undo"], Meta(description="set, forget or undo")]
    undone: Annotated[bool, Meta(description="whether it was taken back: the next undo takes the newest that is not")]


class ThresholdInForce(Struct, frozen=True):
    """What is in force now."""

    threshold: Annotated[float, Meta(description="raw")]
    threshold_source: Annotated[str, Meta(description="environment, calibration, model or uncalibrated")]


class UndoneBody(Struct, frozen=True):
    """What was taken back, and what is in force where it had been done."""

    undone: Annotated[str, Meta(description="what was taken back, in words")]
    said: Annotated[str, Meta(description="what is in force now, one sentence")]
    threshold: Annotated[float, Meta(description="raw")]
    threshold_source: Annotated[str, Meta(description="environment, calibration, model or uncalibrated")]
