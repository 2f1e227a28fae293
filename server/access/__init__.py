"""Who may use this server, and what: logins, tokens, phones that were paired, Origin and Host checks, and the audit
log."""

from server.access.access import CODE_ID, FIRST, Access
from server.access.audit_chain import FOLDER as AUDIT_FOLDER
from server.access.audit_chain import Chain, Entry, Happened, Verified, files_of, verify, verify_file
from server.access.changes import AccessRefused, NoSuch
from server.access.code import FILE as CODE_FILE
from server.access.code import AccessCodeError, load_code
from server.access.documents import SHARED_FILES
from server.access.guard import (
    NO_LONGER_IN,
    NOT_ALLOWED,
    Guard,
    UndeclaredRoute,
    add_detail,
    guard,
    need_of,
    standing_of,
)
from server.access.identity import Identity
from server.access.kept import ACCOUNTS, ACCOUNTS_FILE, CODE_NAME, DOCUMENTS, Account, Session, Token, as_moment
from server.access.middleware import COOKIE, KEEP_PLACE, AccessMiddleware
from server.access.origin import Origins, comes_through_a_proxy, is_local_host, is_of_another_site
from server.access.pairings import GOOD_FOR_S, Pairing
from server.access.passwords import PasswordsBusy
from server.access.standing import Standing

__all__ = [
    "ACCOUNTS",
    "ACCOUNTS_FILE",
    "AUDIT_FOLDER",
    "CODE_FILE",
    "CODE_ID",
    "CODE_NAME",
    "COOKIE",
    "DOCUMENTS",
    "FIRST",
    "GOOD_FOR_S",
    "KEEP_PLACE",
    "NOT_ALLOWED",
    "NO_LONGER_IN",
    "SHARED_FILES",
    "Access",
    "AccessCodeError",
    "AccessMiddleware",
    "AccessRefused",
    "Account",
    "Chain",
    "Entry",
    "Guard",
    "Happened",
    "Identity",
    "NoSuch",
    "Origins",
    "Pairing",
    "PasswordsBusy",
    "Session",
    "Standing",
    "Token",
    "UndeclaredRoute",
    "Verified",
    "add_detail",
    "as_moment",
    "comes_through_a_proxy",
    "files_of",
    "guard",
    "is_local_host",
    "is_of_another_site",
    "load_code",
    "need_of",
    "standing_of",
    "verify",
    "verify_file",
]
