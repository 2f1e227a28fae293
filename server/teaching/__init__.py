"""Showing good parts until a detector has learned them; telling it what was good and what was bad."""

from server.teaching.library import InUseStill, Library, NoRecipe, NotStored
from server.teaching.recipe_file import pack, unpack

__all__ = [
    "InUseStill",
    "Library",
    "NoRecipe",
    "NotStored",
    "pack",
    "unpack",
]
