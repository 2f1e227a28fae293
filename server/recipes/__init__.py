"""What streams are inspected with: recipes, their versions and history."""

from server.recipes.recipe import (
    Action,
    Decision,
    ModelVersion,
    Point,
    Polygon,
    Recipe,
    RecipeChange,
    RecipeError,
    Regions,
    StreamOptions,
    ThresholdRule,
    check,
    check_name,
    check_polygon,
    check_regions,
)

__all__ = [
    "Action",
    "Decision",
    "ModelVersion",
    "Point",
    "Polygon",
    "Recipe",
    "RecipeChange",
    "RecipeError",
    "Regions",
    "StreamOptions",
    "ThresholdRule",
    "check",
    "check_name",
    "check_polygon",
    "check_regions",
]
