"""Copies of a data directory: made while the server runs, checked, put back; and the way back from an upgrade."""

from server.backup.commands import add_parsers
from server.backup.contents import BackupError
from server.backup.making import Made, back_up
from server.backup.restoring import Restored, restore

__all__ = ["BackupError", "Made", "Restored", "add_parsers", "back_up", "restore"]
