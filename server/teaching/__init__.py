"""Showing good parts until a detector has learned them; telling it what was good and what was bad.

A part is taught from a running stream or from uploaded pictures: :class:`Showing` says what is taken, pictures are kept
whole, and a process of its own learns from them. What is learned goes into the :class:`Library`.
"""

from server.teaching.album import FEWEST, MOST_BYTES, MOST_PICTURES, Kept
from server.teaching.archive import ArchiveError, Brought, Packed, is_archive, pictures_in
from server.teaching.correcting import Correcting, Cost, Done, FrameGone
from server.teaching.library import Library, NoRecipe
from server.teaching.others import Shelf, Watcher
from server.teaching.recipe_file import pack, unpack
from server.teaching.showing import Taken
from server.teaching.teaching import CannotBe, CannotNow, NotThere, Report, State, Teaching, Wanted, cannot_write
from server.teaching.teachings import Teachings, TooMany
from server.teaching.work_thread import NotStored

__all__ = [
    "FEWEST",
    "MOST_BYTES",
    "MOST_PICTURES",
    "ArchiveError",
    "Brought",
    "CannotBe",
    "CannotNow",
    "Correcting",
    "Cost",
    "Done",
    "FrameGone",
    "Kept",
    "Library",
    "NoRecipe",
    "NotStored",
    "NotThere",
    "Packed",
    "Report",
    "Shelf",
    "State",
    "Taken",
    "Teaching",
    "Teachings",
    "TooMany",
    "Wanted",
    "Watcher",
    "cannot_write",
    "is_archive",
    "pack",
    "pictures_in",
    "unpack",
]
