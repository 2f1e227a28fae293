"""The history: every part and event in a database, written without anybody waiting, and found again."""

from server.records.database import RecordsAway
from server.records.entry import (
    LONGEST_NOTE,
    Disposed,
    Disposition,
    Entry,
    EntryKind,
    Minute,
    frame_id,
    iso,
    milliseconds,
    moment_of,
)
from server.records.looking import history_fault
from server.records.numbers import Numbers
from server.records.reading import Counted
from server.records.records import MOST_MINUTES, MOST_NUMBERS, MOST_ON_A_PAGE, MOST_SPANS, Records, RecordsState
from server.records.taking_back import HistoryStays, WayBack
from server.records.wanted import Page, Said, Span, Wanted
from server.records.writing import DispositionRefused

__all__ = [
    "LONGEST_NOTE",
    "MOST_MINUTES",
    "MOST_NUMBERS",
    "MOST_ON_A_PAGE",
    "MOST_SPANS",
    "Counted",
    "Disposed",
    "Disposition",
    "DispositionRefused",
    "Entry",
    "EntryKind",
    "HistoryStays",
    "Minute",
    "Numbers",
    "Page",
    "Records",
    "RecordsAway",
    "RecordsState",
    "Said",
    "Span",
    "Wanted",
    "WayBack",
    "frame_id",
    "history_fault",
    "iso",
    "milliseconds",
    "moment_of",
]
