"""Pictures of every alarm and of some good parts, on disk by day, within limits that hold."""

from server.archive.archive import Archive, ArchiveState
from server.archive.entries import in_history
from server.archive.folder import Folder, Held, Limits
from server.archive.pictured import Damaged, Facts, Pictured, kept_frame

__all__ = [
    "Archive",
    "ArchiveState",
    "Damaged",
    "Facts",
    "Folder",
    "Held",
    "Limits",
    "Pictured",
    "in_history",
    "kept_frame",
]
