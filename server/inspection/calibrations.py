"""The calibrations of this data directory and their history, kept in ``calibration.json``."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from detector.files import read_at_most, set_aside, write_atomically
from server.inspection.calibration_file import (
    LARGEST_FILE,
    VERSION,
    Action,
    Change,
    Contents,
    NewerVersion,
    StoredCalibration,
    decode,
    encode,
)
from server.words import Way

log = logging.getLogger("defectvision.calibration")

FILE = "calibration.json"
MOST = 1000
"""Calibrations kept: of more, those of models calibrated longest ago go. A megabyte, far below what is read."""
LONGEST_REASON = 200
"""Characters of what is wrong with a file."""
MOST_STEPS = 100
MOST_IN_STEPS = 2000
"""Calibrations kept in the history, so that a few that forget a thousand each fit into the file."""


class Step(msgspec.Struct, frozen=True):
    """What someone does to the calibrations: where, who, why, and the thresholds in force there before and after."""

    action: Action
    who: str
    why: str
    transport: Way
    stream: str | None
    was: float | None
    became: float | None


class Calibrations:
    """The calibrations of this data directory. Reads once, writes atomically.

    Attributes:
        warning: what was wrong with the file at the start, for the operator; or nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.warning: str | None
        self._unread: bool
        self._contents = self._read()

    def recover(self) -> bool:
        """Read what could not be read at the start: whatever is written now would take its place.

        Returns:
            whether there is more than before.

        Raises:
            OSError: it still cannot be read; nothing may be changed until it can.
        """
        if not self._unread:
            return False
        contents = self._read()
        if self._unread:
            raise OSError(errno.EIO, f"{FILE} is there and cannot be read")
        self._contents = contents
        return True

    def of(self, model_hash: str, runtime: str) -> tuple[StoredCalibration, ...]:
        """Those of one model on one runtime, oldest first."""
        return tuple(stored for stored in self._contents.calibrations if _is_of(stored, model_hash, runtime))

    def history(self, model_hash: str, runtime: str) -> tuple[Change, ...]:
        """What was done to those, the newest first."""
        return tuple(change for change in reversed(self._contents.history) if _is_of(change, model_hash, runtime))

    def to_undo(self, model_hash: str, runtime: str) -> Change | None:
        """The newest step that was not taken back yet."""
        steps = self.history(model_hash, runtime)
        return next((change for change in steps if change.action != "undo" and not change.undone), None)

    def replace(self, model_hash: str, runtime: str, calibrations: Iterable[StoredCalibration], step: Step) -> Change:
        """Store what a model's calibrations are from now on, on disk, then in memory: what is in force is always what
        a restart would find.

        A step of the kind *undo* marks the one it takes back (:meth:`to_undo`).

        Returns:
            what the history says of it.

        Raises:
            OSError: it could not be written; nothing has changed then.
        """
        before = self.of(model_hash, runtime)
        after = tuple(sorted(calibrations, key=lambda stored: stored.created))
        change = Change(
            when=now(),
            who=step.who,
            action=step.action,
            why=step.why,
            model_hash=model_hash,
            runtime=runtime,
            transport=step.transport,
            stream=step.stream,
            was=step.was,
            became=step.became,
            before=tuple(stored for stored in before if stored not in after),
            after=tuple(stored for stored in after if stored not in before),
        )
        history = self._contents.history
        if step.action == "undo":
            undone = self.to_undo(model_hash, runtime)
            history = tuple(
                msgspec.structs.replace(older, undone=True) if older is undone else older for older in history
            )
        others = (stored for stored in self._contents.calibrations if not _is_of(stored, model_hash, runtime))
        contents = Contents((*others, *after)[-MOST:], _bounded((*history, change)))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, encode(contents))
        self._contents = contents
        self.warning = None  # the operator has acted on it
        return change

    def _read(self) -> Contents:
        self._unread, self.warning = False, None
        try:
            data = read_at_most(self._path, LARGEST_FILE + 1)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self._path.is_symlink():
                return Contents()
            self._unread = True
            self.warning = (
                f"{self._path} cannot be read ({error.strerror}): the model's default threshold is in force, and none "
                "can be set until it can"
            )
            log.warning(self.warning)
            return Contents()
        try:
            version, contents = decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            try:
                then = f"it was set aside as {set_aside(self._path).name}"
            except OSError as refusal:
                then = f"it could not be set aside ({refusal.strerror})"
            what = "is of a newer version" if isinstance(error, NewerVersion) else "was damaged"
            self.warning = (
                f"calibration.json {what} ({_short(error)}); {then} and the model's default threshold is in "
                "force: calibrate again"
            )
            log.warning(self.warning)
            return Contents()
        if version != VERSION:
            with contextlib.suppress(OSError):  # a read-only disk: the older file is as good, but for the checksum
                write_atomically(self._path, encode(contents))
        return contents


def now() -> str:
    """The time, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _short(error: Exception) -> str:
    """It may repeat what it found, up to all of the file."""
    text = str(error)
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"


def _is_of(one: StoredCalibration | Change, model_hash: str, runtime: str) -> bool:
    return (one.model_hash, one.runtime) == (model_hash, runtime)


def _bounded(history: tuple[Change, ...]) -> tuple[Change, ...]:
    """The newest steps of a history, oldest first, as many as are kept."""
    kept: list[Change] = []
    calibrations = 0
    for change in reversed(history[-MOST_STEPS:]):
        calibrations += len(change.before) + len(change.after)
        if calibrations > MOST_IN_STEPS and kept:
            break
        kept.append(change)
    return tuple(reversed(kept))
