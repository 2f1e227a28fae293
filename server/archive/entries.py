"""What the history is told of archived pictures."""

from __future__ import annotations

from collections.abc import Callable

from server.archive.pictured import Facts, Pictured, began, kept_frame
from server.records import Entry, Records


def in_history(records: Records) -> Callable[[Pictured], None]:
    """Tell the history of each picture that is on disk; of a good frame, which it knows nothing of, all of it."""

    def tell(pictured: Pictured) -> None:
        facts = pictured.facts
        if facts.kind != "part":  # an alarm may begin without a change of verdict: a second bad part in a row
            records.sample(_entry(facts, kept_frame(pictured).inspected.score))
        records.link_picture(facts.id, facts.id)

    return tell


def _entry(facts: Facts, score: float) -> Entry:
    at = began(facts)
    return Entry(
        id=facts.id,
        kind="sample" if facts.kind == "normal" else "change",
        stream=facts.stream,
        at=at,
        began_at=at,
        number=0,
        part=facts.part,
        source="frame",
        verdict=facts.verdict,
        score=round(score, 4),
        raw_score=facts.raw_score,
        threshold=facts.threshold,
        threshold_source=facts.threshold_source,
        frames=1,
        anomalous=int(facts.raw_score > facts.threshold),
        recipe=facts.recipe,
        recipe_version=facts.recipe_version,
        model=facts.model[0],
        simulated=facts.simulated,
    )
