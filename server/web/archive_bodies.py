"""What is asked and answered about archived pictures, field by field."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]
MOST_IDS = 300


class ArchiveBody(Struct, frozen=True):
    """The archive of pictures: rejected parts and alarms, and a thin sample of good parts."""

    on: Annotated[bool, Meta(description="whether pictures are archived: ARCHIVE_GB is not 0")]
    pictures: Annotated[Count, Meta(description="that are there")]
    bytes: Annotated[Count, Meta(description="they take on disk")]
    oldest: Annotated[str | None, Meta(description="day of the oldest one, UTC, YYYY-MM-DD")]
    counted: Annotated[bool, Meta(description="false while those that were there at the start are being counted")]
    free_bytes: Annotated[int | None, Meta(description="on its disk; null where the disk does not say")]
    limit_bytes: Annotated[Count, Meta(description="ARCHIVE_GB")]
    limit_days: Annotated[Count, Meta(description="ARCHIVE_DAYS")]
    limit_free_bytes: Annotated[Count, Meta(description="ARCHIVE_FREE_GB")]
    waiting: Annotated[Count, Meta(description="pictures that wait to be written")]
    written: Annotated[Count, Meta(description="since the start")]
    dropped: Annotated[Count, Meta(description="that were not kept since the start: too fast for the disk, or no room")]
    removed: Annotated[Count, Meta(description="that made room since the start")]
    problem: Annotated[str | None, Meta(description="what the operator should see to, one sentence")]


class TaughtFromBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Archived pictures to teach from: they must show good parts."""

    ids: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=128)]],
        Meta(min_length=1, max_length=MOST_IDS, description="as the history has them"),
    ]
    teaching: Annotated[str | None, Meta(description="id of an open teaching that they are added to")] = None
    name: Annotated[str | None, Meta(description="of a new recipe")] = None
    more_of: Annotated[str | None, Meta(description="id of a recipe whose model is taught more")] = None
    preset: Annotated[Literal["fast", "balanced", "fine"], Meta(description="as of the train command")] = "balanced"
