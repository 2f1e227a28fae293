"""What streams are inspected with: recipes, their versions and history."""

from server.recipes.by_hand import WayBack, way_back
from server.recipes.correction import Correction, Kind
from server.recipes.model_keep import SUFFIXES, ModelKeep
from server.recipes.recipe import (
    LONGEST_NAME,
    LONGEST_WHY,
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
from server.recipes.recipe_book import NotTheNewest, RecipeBook, require_newest

__all__ = [
    "LONGEST_NAME",
    "LONGEST_WHY",
    "SUFFIXES",
    "Action",
    "Correction",
    "Decision",
    "Kind",
    "ModelKeep",
    "ModelVersion",
    "NotTheNewest",
    "Point",
    "Polygon",
    "Recipe",
    "RecipeBook",
    "RecipeChange",
    "RecipeError",
    "Regions",
    "StreamOptions",
    "ThresholdRule",
    "WayBack",
    "check",
    "check_name",
    "check_polygon",
    "check_regions",
    "require_newest",
    "way_back",
]
