"""Which models stay loaded: those that running streams need, and a few used last. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

MOST_IDLE = 8
"""Models that stay loaded beside those which running streams need, the ones used last: 40 MB each at the default
preset, 80 MB once corrected."""


def staying(
    taught: Mapping[str, str], needed: Collection[str], used_last_first: Iterable[str], most: int
) -> frozenset[str]:
    """The models that stay loaded, by their hashes.

    Args:
        taught: hash of the model by the recipe's id, of all that may stay. Recipes may have the same one.
        needed: ids of recipes that have to stay.
        used_last_first: ids of recipes, in the order in which the others stay.
        most: of these, models that nobody needs.
    """
    kept, idle = {taught[id] for id in needed if id in taught}, 0
    for id in used_last_first:
        if id in taught and taught[id] not in kept and idle < most:
            kept.add(taught[id])
            idle += 1
    return frozenset(kept)
