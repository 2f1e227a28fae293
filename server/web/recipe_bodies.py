"""What is asked and answered about recipes, corrections and kept frames, field by field."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from server.recipes import Decision, PartRule, Regions, StreamOptions, ThresholdRule

Count = Annotated[int, Meta(ge=0)]
Corner = tuple[float, float]


class ModelBody(Struct, frozen=True):
    """The model of a recipe."""

    category: Annotated[str, Meta(description="what the parts are called")]
    hash: Annotated[
        str | None,
        Meta(description="sha256 that names this very model, corrections included; null before it was ever loaded"),
    ]
    taught: Annotated[str, Meta(description="sha256 of the model as it was taught")]
    pictures: Annotated[Count, Meta(description="good pictures it was taught on")]
    forgiven: Annotated[Count, Meta(description="corrections: parts that it was told are good")]
    remembered: Annotated[Count, Meta(description="corrections: parts that it was told are bad")]
    region: Annotated[
        tuple[float, float, float, float],
        Meta(description="what it looks at: left, top, right, bottom, 0 to 1 of the frame"),
    ]
    registration: Annotated[str | None, Meta(description="how parts are laid onto the reference; null: they are not")]
    can_be_corrected: Annotated[bool, Meta(description="whether it can forgive and remember")]
    can_be_taught_more: Annotated[bool, Meta(description="whether its teaching pictures are kept here")]


class ByHandBody(Struct, frozen=True):
    """The way back from a threshold that was put there by hand."""

    version: Annotated[
        int | None,
        Meta(
            description="to go back to (…/restore): that takes the threshold back and nothing else; null where "
            "something else was changed since: change the rule"
        ),
    ]
    rule: Annotated[ThresholdRule, Meta(description="that of then")]
    threshold: Annotated[
        float | None, Meta(description="raw, in force then; null where there is none, or each stream has its own")
    ]
    threshold_source: Annotated[str | None, Meta(description="of that, as below")]


class RecipeBody(Struct, frozen=True):
    """What streams are inspected with: one version of it."""

    id: Annotated[str, Meta(description="never changes")]
    name: Annotated[str, Meta(description="1 to 60 characters")]
    version: Annotated[int, Meta(ge=1, description="counts its changes; send it with the next one")]
    model: Annotated[ModelBody | None, Meta(description="null while it cannot be used: `problem` says why")]
    regions: Annotated[Regions, Meta(description="where frames are inspected: polygons, 0 to 1 of the frame")]
    rule: Annotated[ThresholdRule, Meta(description="how the threshold is placed")]
    decision: Annotated[Decision, Meta(description="how verdicts on frames become the stream's")]
    options: Annotated[StreamOptions, Meta(description="of streams it is used on")]
    parts: Annotated[PartRule, Meta(description="what a part is, and how its frames make its verdict")]
    threshold: Annotated[float | None, Meta(description="raw, in force for it; null where there is none")]
    threshold_source: Annotated[
        str | None, Meta(description="environment, recipe (put there by hand), calibration, model or uncalibrated")
    ]
    threshold_warning: Annotated[
        str | None,
        Meta(description="what the operator should know of it: it was calibrated in other regions; or null"),
    ]
    by_hand: Annotated[
        ByHandBody | None, Meta(description="the way back, where the threshold was put there by hand; else null")
    ]
    streams: Annotated[list[str], Meta(description="running streams that are inspected with it")]
    is_default: Annotated[bool, Meta(description="whether streams nobody chose a recipe for are")]
    is_given: Annotated[bool, Meta(description="whether its model was given at the start (MODEL_PATH, simulated line)")]
    is_loaded: Annotated[bool, Meta(description="whether a stream is switched to it at once; else it is loaded first")]
    problem: Annotated[str | None, Meta(description="why it cannot be used; or null")]
    changed: Annotated[str, Meta(description="when this version was made, ISO 8601")]
    who: Annotated[str, Meta(description="made it")]
    why: Annotated[str, Meta(description="one clause")]


class RecipesBody(Struct, frozen=True):
    """All recipes."""

    recipes: Annotated[list[RecipeBody], Meta(description="by name")]
    default: Annotated[str, Meta(description="id of the one for streams that none was chosen for")]


class RecipePatch(Struct, frozen=True, forbid_unknown_fields=True):
    """A change of a recipe: what is given is changed."""

    version: Annotated[int, Meta(ge=1, description="that was changed: 409 if it is not the newest any more")]
    name: str | UnsetType = UNSET
    regions: Regions | UnsetType = UNSET
    rule: ThresholdRule | UnsetType = UNSET
    decision: Decision | UnsetType = UNSET
    options: StreamOptions | UnsetType = UNSET
    parts: PartRule | UnsetType = UNSET
    why: Annotated[str, Meta(max_length=200)] = ""


class RecipeCopy(Struct, frozen=True, forbid_unknown_fields=True):
    """A new recipe with the same model, regions and rules."""

    name: str


class RecipeRestore(Struct, frozen=True, forbid_unknown_fields=True):
    """Go back to what a recipe was: a new version that says the same as an old one."""

    version: Annotated[int, Meta(ge=1, description="the newest: 409 if it is not any more")]
    to: Annotated[int, Meta(ge=1, description="version to go back to")]


class Deleted(Struct, frozen=True):
    """It is gone."""

    deleted: Annotated[str, Meta(description="id")]
    streams: Annotated[
        list[str],
        Meta(description="that it was chosen for, away now: not inspected when they come, until another is chosen"),
    ]


class RecipeChoice(Struct, frozen=True, forbid_unknown_fields=True):
    """Which recipe; null: the default one."""

    recipe: str | None


class RecipeInForce(Struct, frozen=True):
    """What a stream is inspected with now."""

    stream: Annotated[str, Meta(description="name of the stream")]
    recipe: Annotated[str, Meta(description="id")]
    version: Annotated[int, Meta(ge=1)]
    name: str
    threshold: Annotated[float | None, Meta(description="raw, in force")]
    switched_ms: Annotated[float, Meta(description="how long the switch took, milliseconds")]


class RecipeChangeBody(Struct, frozen=True):
    """One step of a recipe's history."""

    when: Annotated[str, Meta(description="ISO 8601")]
    who: str
    action: Annotated[str, Meta(description="taught, forgiven, remembered, regions, calibrated, restored and so on")]
    why: str
    on: Annotated[str, Meta(description="on which data, one clause; empty where there is none")]
    from_version: Annotated[int | None, Meta(description="null for a recipe's first, and for calibrations")]
    to_version: Annotated[int | None, Meta(description="null for calibrations, which no version holds")]
    was: Annotated[str, Meta(description="what it was, one clause")]
    became: Annotated[str, Meta(description="what it became")]
    can_restore: Annotated[bool, Meta(description="whether `restore` can go back to `from_version`")]


class KeptFrameBody(Struct, frozen=True):
    """A frame that is kept so that one can say what it was: an alarm, or one of the latest."""

    id: Annotated[str, Meta(description="in /api/frames/ID")]
    kind: Annotated[Literal["alarm", "recent"], Meta(description="alarm: the worst frame of a run of ANOMALY verdicts")]
    stream: str
    at: Annotated[str, Meta(description="when its verdict was given, ISO 8601")]
    part: Annotated[str | None, Meta(description="id of the part, where it is known")]
    score: Annotated[float, Meta(description="0..1 for display")]
    raw_score: float
    threshold: Annotated[float, Meta(description="raw, then in force")]
    verdict: Literal["NORMAL", "ANOMALY"]
    recipe: Annotated[str, Meta(description="id")]
    recipe_version: int
    picture: Annotated[str, Meta(description="address of a JPEG, relative to the server's root")]
    heatmap: Annotated[str, Meta(description="address of a PNG with the heat map over the picture")]
    disposition: Annotated[Literal["good", "bad"] | None, Meta(description="what somebody said of it")]
    correction: Annotated[str | None, Meta(description="id of the correction that was made from it")]
    can_correct: Annotated[
        bool, Meta(description="false when the model it was inspected with was taught anew since, or cannot learn")
    ]


class KeptFramesBody(Struct, frozen=True):
    """Kept frames, newest first."""

    frames: list[KeptFrameBody]
    forgotten: Annotated[Count, Meta(description="alarms since the start that are not kept any more")]


class Disposition(Struct, frozen=True, forbid_unknown_fields=True):
    """What a kept frame shows: sent to …/good or …/bad."""

    place: Annotated[
        tuple[Corner, ...] | None, Meta(description="the marked place, a polygon; null: all of the part")
    ] = None
    dry_run: Annotated[bool, Meta(description="only say what it would cost")] = False
    learn: Annotated[
        bool, Meta(description="bad only: false keeps it as a known defect without changing any score")
    ] = True
    version: Annotated[
        int | None, Meta(description="of the recipe, as the dry run answered it: 409 if it was changed since")
    ] = None
    why: Annotated[str, Meta(max_length=200)] = ""


class TakenBackBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Take back what was said of a kept frame: sent to …/nothing."""

    seen: Annotated[
        str | UnsetType | None,
        Meta(
            description="its `correction`, null for none, as whoever takes it back saw it: where something else was "
            "said since it is refused; left out: whatever it is"
        ),
    ] = UNSET


class CostBody(Struct, frozen=True):
    """What a correction does to what is known: stored good parts and remembered defects."""

    goods: Annotated[Count, Meta(description="stored good parts that were asked")]
    goods_rejected: Annotated[Count, Meta(description="of them rejected now")]
    goods_rejected_then: Annotated[Count, Meta(description="with the correction")]
    goods_changed: Annotated[Count, Meta(description="whose score changes at all")]
    defects: Annotated[Count, Meta(description="remembered defects")]
    defects_passing: Annotated[Count, Meta(description="of them not found now")]
    defects_passing_then: Annotated[Count, Meta(description="with the correction")]
    would_pass: Annotated[list[str], Meta(description="ids of remembered defects that are found now and would not be")]
    raw_score: Annotated[float, Meta(description="of the frame now")]
    raw_score_then: Annotated[float, Meta(description="of the frame with the correction")]
    threshold: float
    sentence: Annotated[str, Meta(description="the same in words")]


class CorrectionBody(Struct, frozen=True):
    """One part that a model was told is good, or bad."""

    id: str
    kind: Annotated[Literal["good", "bad"], Meta(description="forgiven or remembered")]
    learned: Annotated[bool, Meta(description="false: a known defect that changes no score")]
    at: Annotated[str, Meta(description="ISO 8601")]
    who: str
    why: str
    stream: str
    place: Annotated[tuple[Corner, ...] | None, Meta(description="the marked place; null: all of the part")]
    raw_score: Annotated[float, Meta(description="of its frame, when it was made")]
    patches: Annotated[Count, Meta(description="that the model keeps of it")]
    picture: Annotated[str, Meta(description="address of a JPEG, relative to the server's root")]


class CorrectionsBody(Struct, frozen=True):
    """The corrections of a recipe's model."""

    corrections: Annotated[list[CorrectionBody], Meta(description="newest first")]
    entries: Annotated[Count, Meta(description="patches they add to the model")]
    most_entries: Annotated[Count, Meta(description="that corrections may add; then teach again")]


class CorrectedBody(Struct, frozen=True):
    """What was done, or would be."""

    applied: bool
    correction: Annotated[str | None, Meta(description="id; null in a dry run")]
    cost: CostBody
    recipe: Annotated[str, Meta(description="id")]
    version: Annotated[int, Meta(description="of the recipe, now")]
