"""The way back from a threshold that was put there by hand."""

from __future__ import annotations

import msgspec

from server.recipes import ModelVersion, Recipe, RecipeChange, Regions, ThresholdRule, WayBack, way_back

HALF = Regions(ignore=(((0.1, 0.1), (0.9, 0.1), (0.9, 0.9)),))
BY_STD = ThresholdRule(k=3.0)


def hand(raw: float) -> ThresholdRule:
    return ThresholdRule(raw=raw)


class Story:
    """A recipe, and what was done to it."""

    def __init__(self, rule: ThresholdRule = BY_STD) -> None:
        self.recipe = Recipe("1", "bottle", 1, ModelVersion("a" * 64), rule=rule)
        self.history = [RecipeChange("", "", "taught", "", "", None, self.recipe)]

    def change(self, **fields: object) -> Story:
        before = self.recipe
        self.recipe = msgspec.structs.replace(before, version=before.version + 1, **fields)
        self.history.insert(0, RecipeChange("", "", "rule", "", "", before, self.recipe))
        return self

    @property
    def back(self) -> WayBack | None:
        return way_back(self.recipe, self.history)


def test_one_version_back_and_not_where_it_came_from_again() -> None:
    story = Story()
    assert story.back is None
    assert story.change(rule=hand(8.2)).back == WayBack(1, BY_STD)
    assert story.change(rule=hand(8.0)).back == WayBack(2, hand(8.2))
    assert story.change(rule=hand(8.2)).back == WayBack(1, BY_STD)  # gone back to version 2
    assert story.change(rule=BY_STD).back is None


def test_what_else_was_changed_since_is_not_taken_back() -> None:
    story = Story().change(rule=hand(8.2)).change(regions=HALF)
    assert story.back == WayBack(None, BY_STD)
    assert story.change(regions=Regions()).back == WayBack(1, BY_STD)


def test_where_nothing_is_remembered_it_goes_back_to_what_is_calibrated() -> None:
    assert Story(hand(8.2)).back == WayBack(None, ThresholdRule(one_in=30))
    story = Story().change(rule=hand(8.2)).change(name="lid")
    assert way_back(story.recipe, story.history[:1]) == WayBack(None, ThresholdRule(one_in=30))
    assert way_back(story.recipe, []) == WayBack(None, ThresholdRule(one_in=30))
