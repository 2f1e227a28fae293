"""What is asked and answered while a new part is taught, field by field."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class TeachingWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Begin to teach."""

    name: Annotated[str | None, Meta(description="of the new recipe; not with `more_of`")] = None
    stream: Annotated[str | None, Meta(description="whose frames are shown; null: pictures are uploaded")] = None
    more_of: Annotated[str | None, Meta(description="id of a recipe whose model is taught more")] = None
    auto: Annotated[bool, Meta(description="take pictures by themselves: when sharp, still and new")] = True
    preset: Annotated[Literal["fast", "balanced", "fine"], Meta(description="as of the train command")] = "balanced"


class TeachingPatch(Struct, frozen=True, forbid_unknown_fields=True):
    """Change a teaching that is shown parts."""

    auto: bool | UnsetType = UNSET
    name: str | UnsetType = UNSET


class PictureKept(Struct, frozen=True, forbid_unknown_fields=True):
    """What a person decides about a picture that was struck out, or was not."""

    keep: Annotated[bool, Meta(description="true: it is a good part, use it; false: leave it out")]


class ShownPicture(Struct, frozen=True):
    """One picture that was taken."""

    number: Annotated[Count, Meta(description="in …/pictures/NUMBER; never given twice")]
    at: Annotated[str, Meta(description="ISO 8601")]
    new: Annotated[bool, Meta(description="brought something that those before it did not have")]
    copy: Annotated[bool, Meta(description="shows the same part as another, lying still: counts once")]
    outlier: Annotated[bool, Meta(description="looks unlike the others: is it a good part?")]
    used: Annotated[bool, Meta(description="false: left out, by a person or because it is an outlier nobody kept")]
    why: Annotated[str | None, Meta(description="why it is an outlier, one clause")]
    place: Annotated[
        tuple[Share, Share, Share, Share] | None,
        Meta(description="where it is least like the others: left, top, right, bottom, 0 to 1 of it; null: not known"),
    ]
    picture: Annotated[
        str,
        Meta(
            description="address of a JPEG of up to 320 pixels, relative to the server's root; …/large: of up to 1280"
        ),
    ]


class CoverageBody(Struct, frozen=True):
    """How much of what good parts look like was shown."""

    parts: Annotated[Count, Meta(description="different ones; copies count once")]
    of_last: Annotated[Count, Meta(description="pictures looked back on, 20 at the most")]
    new_of_last: Annotated[Count, Meta(description="of them, those that brought something new")]
    enough: bool
    sentence: Annotated[str, Meta(description="the same in words, and what it bounds")]


class TakenBody(Struct, frozen=True):
    """What became of the latest frame that might have been taken."""

    taken: bool
    why: Annotated[str, Meta(description="not taken: one sentence; else empty")]


class UploadBody(Struct, frozen=True):
    """How far the latest upload of pictures is."""

    state: Annotated[
        Literal["going", "over", "broken"],
        Meta(description="broken: it ended before all were looked at; bring them again, what was taken is known"),
    ]
    of: Annotated[Count, Meta(description="pictures in it; 0: it broke off before they came")]
    looked_at: Count
    taken: Count


class TeachingBody(Struct, frozen=True):
    """A teaching."""

    id: Annotated[str, Meta(description="in /api/teaching/ID")]
    name: Annotated[str, Meta(description="of the recipe to be")]
    stream: str | None
    more_of: Annotated[str | None, Meta(description="id of the recipe whose model is taught more")]
    state: Annotated[
        Literal["showing", "learning", "done", "failed"],
        Meta(
            description="showing: parts are shown; learning: after done; failed: `error` says why, show more or cancel"
        ),
    ]
    auto: bool
    region: Annotated[
        tuple[float, float, float, float] | None,
        Meta(description="what will be inspected, as it looks now: left, top, right, bottom, 0 to 1; null: not known"),
    ]
    pictures: list[ShownPicture]
    coverage: CoverageBody
    last: Annotated[TakenBody | None, Meta(description="of the latest frame; null before the first")]
    upload: Annotated[UploadBody | None, Meta(description="the latest one; null before the first")]
    can_finish: Annotated[bool, Meta(description="whether there is enough to learn from")]
    progress: Annotated[float | None, Meta(description="0..1 while learning")]
    learning_s: Annotated[float | None, Meta(description="seconds since Done, while learning")]
    error: str | None
    recipe: Annotated[str | None, Meta(description="id, once done")]
    seconds: Annotated[float | None, Meta(description="from Done to the first verdict it could give, once done")]
    threshold: Annotated[str | None, Meta(description="what its threshold promises, one sentence, once done")]
    notes: Annotated[list[str], Meta(description="what the person should know, sentences")]


class TeachingsBody(Struct, frozen=True):
    """Teachings that are open."""

    teachings: list[TeachingBody]
