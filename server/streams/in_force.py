"""What is in force on a stream, and what changed when it is something else. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from server.inspection import Inspected, Inspection, NoModel, ScoredBy, Threshold, scored_by
from server.recipes import Recipe
from server.words import Changed, Way


@dataclass(frozen=True)
class InForce:
    """A recipe, the hash and runtime of its model, and the threshold on one stream."""

    recipe: Recipe
    model: tuple[str, str]
    threshold: Threshold

    @classmethod
    def of(cls, inspected: Inspected) -> InForce:
        """What a frame was inspected with."""
        return cls(inspected.recipe, inspected.model, inspected.threshold)

    @classmethod
    def on(cls, inspection: Inspection, stream: str, transport: Way) -> InForce | None:
        """What the next frame of a stream would be inspected with; None while there is no model for it."""
        try:
            recipe = inspection.recipe_on(stream)
            model = inspection.model_of(recipe.id)
            if model is None:
                return None
            return cls(recipe, (model.hash, model.runtime), inspection.threshold_on(stream, transport))
        except NoModel:
            return None

    @property
    def scored_by(self) -> ScoredBy:
        """Model, recipe and regions."""
        return scored_by(self.model, self.recipe)

    def changed_to(self, now: InForce) -> Changed | None:
        """What a listener has to be told, the greatest of it; None where nothing changed that results show."""
        if self.recipe.id != now.recipe.id:
            return "recipe"
        if self.model != now.model:
            return "model"
        if self.recipe.version != now.recipe.version:
            return "recipe"
        same = (self.threshold.value, self.threshold.source) == (now.threshold.value, now.threshold.source)
        return None if same else "threshold"
