"""The way back from a threshold that was put there by hand. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from server.recipes.recipe import DEFAULT_RULE, Recipe, RecipeChange, ThresholdRule


class WayBack(Struct, frozen=True):
    """``version``: going back to it takes the threshold back and nothing else; None where no version does, so that the
    rule is to be changed. ``rule``: that of then."""

    version: int | None
    rule: ThresholdRule


def way_back(recipe: Recipe, history: Sequence[RecipeChange]) -> WayBack | None:
    """How a recipe's threshold comes to be what it was before it was put where it is by hand.

    One version back: to before the first version that said what this one says. So two that were put one after the other
    are taken back one after the other, and what was taken back already is not taken for a change.

    Args:
        recipe: the newest version.
        history: what was done to it, newest first.

    Returns:
        nothing, where it is not put by hand.
    """
    if recipe.rule.raw is None:
        return None
    first = next((step for step in reversed(history) if _says(step.after) == _says(recipe)), None)
    before = first.before if first else None
    if before is not None and _says(msgspec.structs.replace(before, rule=recipe.rule)) == _says(recipe):
        return WayBack(before.version, before.rule)
    return WayBack(None, rule_before(history))


def rule_before(history: Sequence[RecipeChange]) -> ThresholdRule:
    """The newest rule of a recipe that puts no threshold by hand.

    Args:
        history: what was done to it, newest first.
    """
    earlier = (one.rule for step in history for one in (step.after, step.before) if one is not None)
    return next((rule for rule in earlier if rule.raw is None), DEFAULT_RULE)


def _says(recipe: Recipe) -> tuple[object, ...]:
    """All that streams are inspected with, and what it is called."""
    return recipe.name, recipe.model, recipe.regions, recipe.rule, recipe.decision, recipe.options, recipe.parts
