"""What stands on the machine itself: its addresses, the data directory, private files, where the page's files are, what
of strangers' doings is logged or not even heard, and how tasks live and end."""

from server.ground import own_peer, private_file
from server.ground.before_upgrade import before_upgrade, keep_before_upgrade
from server.ground.calendar import Calendar
from server.ground.closing import CLOSE_WITHIN, close_connection
from server.ground.data_directory import RESTORING, DataDirectoryError, data_directory
from server.ground.database_address import DatabaseAddress
from server.ground.document import OWN_FILES, Document, SharedDocument, SharedShelf, Shelf
from server.ground.ending import ended
from server.ground.file_descriptors import raise_limit
from server.ground.freed_memory import give_back
from server.ground.in_words import in_words
from server.ground.kept_file import Form, KeptFile, ListFile, NewerVersion, checksum, fault, only_looked_at
from server.ground.network_address import (
    is_any_address,
    is_loopback,
    names,
    page_url,
    qr_svg,
    qr_terminal,
    reachable,
    source_of,
    takes_both_families,
)
from server.ground.not_kept import NotKept, why_not_kept
from server.ground.one_line import one_line
from server.ground.page_files import page_folder
from server.ground.public_url import PublicURL, canonical_origin, host_and_port
from server.ground.refusals import Refusals
from server.ground.service_manager import ServiceManager
from server.ground.supervised import Noted, Supervised

__all__ = [
    "CLOSE_WITHIN",
    "OWN_FILES",
    "RESTORING",
    "Calendar",
    "DataDirectoryError",
    "DatabaseAddress",
    "Document",
    "Form",
    "KeptFile",
    "ListFile",
    "NewerVersion",
    "NotKept",
    "Noted",
    "PublicURL",
    "Refusals",
    "ServiceManager",
    "SharedDocument",
    "SharedShelf",
    "Shelf",
    "Supervised",
    "before_upgrade",
    "canonical_origin",
    "checksum",
    "close_connection",
    "data_directory",
    "ended",
    "fault",
    "give_back",
    "host_and_port",
    "in_words",
    "is_any_address",
    "is_loopback",
    "keep_before_upgrade",
    "names",
    "one_line",
    "only_looked_at",
    "own_peer",
    "page_folder",
    "page_url",
    "private_file",
    "qr_svg",
    "qr_terminal",
    "raise_limit",
    "reachable",
    "source_of",
    "takes_both_families",
    "why_not_kept",
]
