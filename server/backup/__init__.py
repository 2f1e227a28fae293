"""Copies of a data directory: made while the server runs, checked, put back; and the way back from an upgrade."""

from server.backup.commands import add_parsers
from server.backup.contents import BackupError, is_database, is_of_a_disk
from server.backup.going_back import History
from server.backup.making import GivenUp, Made, back_up, to_be_fetched
from server.backup.restoring import Restored, restore

__all__ = [
    "BackupError",
    "GivenUp",
    "History",
    "Made",
    "Restored",
    "add_parsers",
    "back_up",
    "is_database",
    "is_of_a_disk",
    "restore",
    "to_be_fetched",
]
