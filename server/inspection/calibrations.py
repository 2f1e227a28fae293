"""The calibrations of this data directory and their history, kept in ``calibration.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from server.ground import OWN_FILES, Form, NotKept, Shelf
from server.inspection.calibration_file import (
    LARGEST_FILE,
    VERSION,
    Action,
    Change,
    Contents,
    StoredCalibration,
    decode,
    encode,
)
from server.words import Way, now

FILE = "calibration.json"
MOST = 1000
"""Calibrations kept: of more, those of models calibrated longest ago go. A megabyte, far below what is read."""
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


FORM: Form[Contents] = Form(
    largest=LARGEST_FILE,
    encode=encode,
    decode=lambda data: _newest(*decode(data)),
    empty=Contents(),
    without="the model's default threshold is in force",
    then="calibrate again",
)


DOCUMENTS: Mapping[str, Form[Any]] = {FILE: FORM}
"""What gateways of a plant share of this, by the path in the data directory."""


class Calibrations:
    """The calibrations of this data directory. Reads once, writes atomically."""

    def __init__(self, folder: Path, shelf: Shelf = OWN_FILES) -> None:
        self._file = shelf.keep(folder / FILE, FORM)

    @property
    def warning(self) -> str | None:
        """What was wrong with the file at the start, for the operator; or nothing."""
        return self._file.warning

    @property
    def _contents(self) -> Contents:
        return self._file.contents

    def recover(self) -> bool:
        """Read what could not be read at the start: whatever is written now would take its place.

        Returns:
            whether there is more than before.

        Raises:
            OSError: it still cannot be read; nothing may be changed until it can.
        """
        return self._file.recover()

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
        undone = self.to_undo(model_hash, runtime) if step.action == "undo" else None

        def changed(contents: Contents) -> Contents:
            others = tuple(stored for stored in contents.calibrations if not _is_of(stored, model_hash, runtime))
            if tuple(stored for stored in contents.calibrations if _is_of(stored, model_hash, runtime)) != before:
                raise NotKept("somebody else calibrated at this very moment: look at it, then try again")
            history = tuple(
                msgspec.structs.replace(older, undone=True) if older == undone else older for older in contents.history
            )
            return Contents((*others, *after)[-MOST:], _bounded((*history, change)))

        self._file.change(changed)
        return change


def _newest(version: int, contents: Contents) -> tuple[Contents, bool]:
    """As :class:`KeptFile` asks: the contents, and whether they are of an older version."""
    return contents, version != VERSION


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
