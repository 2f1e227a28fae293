"""What a broker is told of what happens on a stream: without I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct

from server.sinks.mqtt.publication import Publication, cleared
from server.sinks.mqtt.topics import Topics
from server.words import Change, Message, PartResult, Result, Status, encode

DAY_S = 86_400
"""A verdict that nobody fetched for so long stops nothing any more: subscribers that were away get no older ones."""

RecipeTold = tuple[str | None, int | None]
"""Its id and version."""

_encoder = msgspec.json.Encoder()


class VerdictSaid(Struct, frozen=True):
    """The last verdict of a stream, as …/verdict has it."""

    stream: str
    verdict: Annotated[str, Meta(description="NORMAL, ANOMALY or FAILED")]
    of: Annotated[Literal["part", "frame"], Meta(description="what it was given of")]
    at: Annotated[str, Meta(description="when, ISO 8601")]
    id: Annotated[str | None, Meta(description="of the verdict of a part; null of a frame's")]
    part: Annotated[str | None, Meta(description="id of the part as the line says it, or null")]
    score: float | None
    raw_score: float | None
    threshold: float | None
    recipe: str | None
    recipe_version: int | None
    picture: Annotated[str | None, Meta(description="address of its picture, or null")]
    simulated: Annotated[bool, Meta(description="true on the simulated line")]
    parts: Annotated[int, Meta(description="parts that were told since this server was started")]
    rejected: Annotated[int, Meta(description="of them those with the verdict ANOMALY")]
    failed: Annotated[int, Meta(description="of them those with the verdict FAILED")]


@dataclass(frozen=True)
class Counts:
    """Of what was told of a stream."""

    parts: int = 0
    rejected: int = 0
    failed: int = 0

    def and_one(self, verdict: str) -> Counts:
        return Counts(self.parts + 1, self.rejected + (verdict == "ANOMALY"), self.failed + (verdict == "FAILED"))


NONE_YET = Counts()


@dataclass(frozen=True)
class StreamTold:
    """What was told of a stream.

    Attributes:
        status: how it is; None before anything was heard of it.
        by_parts: with which recipe its last part was told: the verdict of a frame of that is not its last one.
    """

    status: Status | None = None
    verdict: VerdictSaid | None = None
    counts: Counts = NONE_YET
    by_parts: RecipeTold | None = None

    @property
    def anew(self) -> StreamTold:
        """What holds of it once nobody listened to it for a while: how many were told."""
        return StreamTold(counts=self.counts)

    @property
    def without_verdict(self) -> StreamTold:
        """Another sender is none of whom the verdict was."""
        return replace(self, verdict=None, by_parts=None)

    @property
    def is_gone(self) -> bool:
        return self.status is not None and self.status.state == "waiting"


def tell(
    message: Message, what: str, was: StreamTold, topics: Topics, address: str | None
) -> tuple[StreamTold, list[Publication]]:
    """What is published of an event, and what was told then.

    Args:
        what: the event is, as an outbox says.
        address: where others find this server, ends with a slash; None leaves addresses of pictures relative.
    """
    name = message.stream
    match message:
        case PartResult():
            part = msgspec.structs.replace(message, heatmap=UNSET, picture=_picture(message, address))
            counts = was.counts.and_one(message.verdict)
            now = replace(was, verdict=_of_part(part, counts), counts=counts, by_parts=recipe_of(message))
            published = Publication(topics.of(name, "part"), encode(part).encode(), expires_s=DAY_S)
            return now, [published, *kept_verdict(now, topics)]
        case Result() if what == "verdict":
            if was.by_parts == recipe_of(message):
                return was, []
            now = replace(was, verdict=_of_frame(message, was.counts))
            return now, kept_verdict(now, topics)
        case Result():
            bare = msgspec.structs.replace(message, heatmap=UNSET, picture=UNSET)
            return was, [Publication(topics.of(name, "result"), encode(bare).encode(), expires_s=DAY_S)]
        case Status():
            now = replace(was, status=msgspec.structs.replace(message, calibration=UNSET, since_calibration=UNSET))
            if not now.is_gone:
                return now, kept_state(now, name, topics)
            # Whoever listens hears that it went; whoever comes later finds nothing of it.
            said = replace(kept_state(now, name, topics)[0], retain=False)
            return now.without_verdict, [*forgotten(name, topics), said]
        case Change():
            # The same recipe may have another rule by now, or another model.
            now = replace(was, by_parts=was.by_parts if message.what == "threshold" else None)
            return now, [Publication(topics.of(name, "change"), encode(message).encode(), expires_s=DAY_S)]
        case _:
            return was, []


def recipe_of(message: PartResult | Result) -> RecipeTold:
    """Which recipe it was inspected with. Another one may say otherwise what a part is, or nothing of parts; and that
    another is in force need not have been told."""
    return message.recipe, message.recipe_version


def kept_state(told: StreamTold, name: str, topics: Topics) -> list[Publication]:
    """How a stream is, for those who come later."""
    if told.status is None:
        return []
    return [Publication(topics.of(name, "state"), encode(told.status).encode(), retain=True)]


def kept_verdict(told: StreamTold, topics: Topics) -> list[Publication]:
    """The last verdict of a stream, for those who come later."""
    if told.verdict is None:
        return []
    return [Publication(topics.of(told.verdict.stream, "verdict"), _encoder.encode(told.verdict), retain=True)]


def forgotten(name: str, topics: Topics) -> list[Publication]:
    """What makes the broker forget a stream that is gone."""
    return [cleared(topics.of(name, "verdict")), cleared(topics.of(name, "state"))]


def _picture(part: PartResult, address: str | None) -> str | None:
    if part.picture is None or address is None:
        return part.picture
    return address + part.picture.removeprefix("/")


def _of_part(part: PartResult, counts: Counts) -> VerdictSaid:
    return VerdictSaid(
        stream=part.stream,
        verdict=part.verdict,
        of="part",
        at=part.at,
        id=part.id,
        part=part.part,
        score=part.score,
        raw_score=part.raw_score,
        threshold=part.threshold,
        recipe=part.recipe,
        recipe_version=part.recipe_version,
        picture=part.picture,
        simulated=part.simulated,
        parts=counts.parts,
        rejected=counts.rejected,
        failed=counts.failed,
    )


def _of_frame(result: Result, counts: Counts) -> VerdictSaid:
    return VerdictSaid(
        stream=result.stream,
        verdict=result.verdict,
        of="frame",
        at=result.at,
        id=None,
        part=None if result.part is UNSET else result.part,
        score=result.score,
        raw_score=result.raw_score,
        threshold=result.threshold,
        recipe=result.recipe,
        recipe_version=result.recipe_version,
        picture=None,
        simulated=result.simulated is not UNSET,
        parts=counts.parts,
        rejected=counts.rejected,
        failed=counts.failed,
    )
