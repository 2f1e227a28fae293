"""Showing good parts until a detector has learned them; telling it what was good and what was bad."""

from server.teaching.correcting import Correcting, Cost, Done, FrameGone
from server.teaching.library import InUseStill, Library, NoRecipe, NotStored
from server.teaching.recipe_file import pack, unpack

__all__ = [
    "Correcting",
    "Cost",
    "Done",
    "FrameGone",
    "InUseStill",
    "Library",
    "NoRecipe",
    "NotStored",
    "pack",
    "unpack",
]
