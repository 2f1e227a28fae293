"""``calibration.json`` as it lies on disk: versions, checksum, and whether what it says can be."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from detector.thresholds import MIN_PARTS, Promise, fault
from server.ground import NewerVersion, checksum
from server.inspection.baseline import Baseline
from server.recipes import Regions
from server.words import Way

VERSION = 5
"""Version 3 knew no baselines, and 4 not in which regions a calibration was made; nothing else is new."""
LARGEST_FILE = 20_000_000
"""Bytes; a calibration takes 600, and its baseline as much again or twice that."""

Action = Literal["set", "forget", "undo"]


class StoredCalibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A calibration, whose it is and where it comes from. Scores are raw.

    Attributes:
        stream: on which it was made; None for pictures, and where an older version did not write it down.
        alone: whether it holds for that stream alone.
        lowest_defect: the lowest score of a known defect, where the threshold was put below it instead of by the rule.
        who: made it: an address, or a page at an address.
        created: ISO 8601.
        baseline: of the frames it was made from; None where an older version made it.
        regions: digest (:func:`digest_of`) of those in which its frames were inspected; None where that is not known:
            an older version made it.
    """

    model_hash: str
    runtime: str
    transport: Way
    stream: str | None
    alone: bool
    threshold: float
    mean: float
    std: float
    n_images: int
    k: float | None
    one_in: int | None
    lowest_defect: float | None
    promise: Promise | None
    no_promise: str | None
    created: str
    who: str
    baseline: Baseline | None = None
    regions: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None

    @property
    def place(self) -> tuple[str, str, str | None, Way]:
        """There is one calibration of each model and runtime, for a stream or for all, and transport."""
        return self.model_hash, self.runtime, self.stream if self.alone else None, self.transport


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a model's history: the calibrations that it took away and those that it brought.

    Attributes:
        was, became: the thresholds in force (raw) before and after it, where it was made; None where there is none.
        undone: whether a later step took it back.
    """

    when: str
    who: str
    action: Action
    why: str
    model_hash: str
    runtime: str
    transport: Way
    stream: str | None
    was: float | None
    became: float | None
    before: tuple[StoredCalibration, ...]
    after: tuple[StoredCalibration, ...]
    undone: bool = False


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says. ``history``: oldest first."""

    calibrations: tuple[StoredCalibration, ...] = ()
    history: tuple[Change, ...] = ()


class _Version(msgspec.Struct):
    version: int


class _Older(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A calibration of versions 1 and 2, which knew mean + k·std alone."""

    threshold: float
    mean: float
    std: float
    n_images: int
    k: float
    created: str


class _Version1(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    calibrations: dict[str, _Older]


class _Version2(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    sha256: str
    calibrations: dict[str, _Older]


class _Version5(msgspec.Struct, forbid_unknown_fields=True):
    """And 3 and 4. ``sha256``: of the contents as JSON, without a space."""

    version: int
    sha256: str
    contents: Contents


def digest_of(regions: Regions) -> str:
    """Of the regions that are inspected: sha256, as hexadecimal."""
    return checksum(regions)


def encode(contents: Contents) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_Version5(VERSION, checksum(contents), contents)), indent=1)


def decode(data: bytes) -> tuple[int, Contents]:
    """The version of a file and what it says; that of versions 1 and 2 as this one would.

    Raises:
        msgspec.MsgspecError, ValueError, RecursionError: it is not such a file, or not what it says of itself.
    """
    version = msgspec.json.decode(data, type=_Version).version
    if version == 1:
        contents = _upgraded(msgspec.json.decode(data, type=_Version1).calibrations)
    elif version == 2:
        older = msgspec.json.decode(data, type=_Version2)
        _check(older.sha256, older.calibrations)
        contents = _upgraded(older.calibrations)
    elif version in (3, 4, VERSION):
        file = msgspec.json.decode(data, type=_Version5)
        contents = file.contents
        _check(file.sha256, contents)
    else:
        kind = NewerVersion if version > VERSION else ValueError
        raise kind(f"its version is {version}, this software reads 1 to {VERSION}")
    in_history = (stored for change in contents.history for stored in (*change.before, *change.after))
    for stored in (*contents.calibrations, *in_history):
        if (found := _fault(stored)) is not None:
            raise ValueError(found)
    if len({stored.place for stored in contents.calibrations}) < len(contents.calibrations):
        raise ValueError("two calibrations in it are of the same place")
    return version, contents


def _fault(one: StoredCalibration) -> str | None:
    if one.baseline is not None and (found := one.baseline.fault) is not None:
        return found
    found = fault(one.threshold, one.mean, one.std, one.n_images, one.k, one.one_in, one.lowest_defect)
    if found is not None or one.promise is None:
        return found
    promise = one.promise
    shares = 0 <= promise.expected <= promise.at_most <= 1 and promise.at_most > 0 and 0 < promise.confidence < 1
    if not (shares and MIN_PARTS <= promise.independent <= promise.parts == one.n_images):
        return "its promise cannot be"
    return None


def _upgraded(calibrations: dict[str, _Older]) -> Contents:
    return Contents(tuple(_stored(key, older) for key, older in calibrations.items()))


def _stored(key: str, older: _Older) -> StoredCalibration:
    model_hash, _, runtime = key.rpartition(":")
    return StoredCalibration(
        model_hash=model_hash,
        runtime=runtime,
        transport="unknown",
        stream=None,
        alone=False,
        threshold=older.threshold,
        mean=older.mean,
        std=older.std,
        n_images=older.n_images,
        k=older.k,
        one_in=None,
        lowest_defect=None,
        promise=None,
        no_promise="it was made by an older version: calibrate again",
        created=older.created,
        who="unknown",
    )


def _check(sha256: str, contents: object) -> None:
    if sha256 != checksum(contents):
        raise ValueError("its checksum is not that of its contents")
