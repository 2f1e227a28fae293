"""Pictures of every alarm and of some good parts, on disk by day, within limits that hold."""

from server.archive.archive import Archive, ArchiveState
from server.archive.entries import in_history
from server.archive.folder import Folder, Held, Limits
from server.archive.pictured import Damaged, Facts, Pictured, kept_frame
from server.archive.shared import SharedPictures

__all__ = [
    "Archive",
    "ArchiveState",
    "Damaged",
    "Facts",
    "Folder",
    "Held",
    "Limits",
    "Pictured",
    "SharedPictures",
    "in_history",
    "kept_frame",
]
