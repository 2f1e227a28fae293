"""``calibration.json``: the thresholds of places, each belonging to one model on one runtime."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from detector import Calibration
from detector.files import read_at_most, set_aside, write_atomically
from detector.thresholds import fault

log = logging.getLogger("defectvision.calibration")

FILE = "calibration.json"
VERSION = 2
LARGEST_FILE = 10_000_000
"""Bytes; a calibration takes 300."""


class StoredCalibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A calibration as it lies in the file."""

    threshold: float
    mean: float
    std: float
    n_images: int
    k: float
    created: str


Calibrated = dict[str, StoredCalibration]


class _Version(msgspec.Struct):
    version: int


class _Version1(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    calibrations: Calibrated


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """``sha256``: of the calibrations as JSON, without a space."""

    version: int
    sha256: str
    calibrations: Calibrated


class Calibrations:
    """The calibrations of this data directory. Reads once, writes atomically.

    Attributes:
        warning: what was wrong with the file at the start, for the operator; or nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.warning: str | None = None
        self._calibrations = self._read()

    def get(self, model_hash: str, runtime: str) -> StoredCalibration | None:
        return self._calibrations.get(_key(model_hash, runtime))

    def put(self, model_hash: str, runtime: str, calibration: Calibration) -> StoredCalibration:
        """Store a calibration on disk, then in memory: what is in force is always what a restart would find.

        Raises:
            OSError: it could not be written; nothing has changed then.
        """
        assert calibration.k is not None, "nothing asks for a target yet"
        stored = StoredCalibration(
            threshold=float(calibration.threshold),  # a whole number would be read as another text than it was written
            mean=float(calibration.mean),
            std=float(calibration.std),
            n_images=calibration.n_images,
            k=float(calibration.k),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._replace(self._calibrations | {_key(model_hash, runtime): stored})
        return stored

    def delete(self, model_hash: str, runtime: str) -> None:
        """Forget a calibration, if there is one.

        Raises:
            OSError: the file could not be written; nothing has changed then.
        """
        key = _key(model_hash, runtime)
        if key in self._calibrations:
            self._replace({k: v for k, v in self._calibrations.items() if k != key})

    def _replace(self, calibrations: Calibrated) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, _encode(calibrations))
        self._calibrations = calibrations
        self.warning = None  # the operator has acted on it

    def _read(self) -> Calibrated:
        try:
            data = read_at_most(self._path, LARGEST_FILE + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.warning = f"{self._path} cannot be read ({error.strerror}): the model's default threshold is in force"
            log.warning(self.warning)
            return {}
        try:
            version, calibrations = _decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            try:
                then = f"it was set aside as {set_aside(self._path).name}"
            except OSError as refusal:
                then = f"it could not be set aside ({refusal.strerror})"
            self.warning = (
                f"calibration.json was damaged ({error}); {then} and the model's default threshold is in force: "
                "calibrate again"
            )
            log.warning(self.warning)
            return {}
        if version != VERSION:
            with contextlib.suppress(OSError):  # a read-only disk: the older file is as good, but for the checksum
                write_atomically(self._path, _encode(calibrations))
        return calibrations


def _encode(calibrations: Calibrated) -> bytes:
    file = _File(VERSION, _checksum(calibrations), calibrations)
    return msgspec.json.format(msgspec.json.encode(file), indent=2)


def _decode(data: bytes) -> tuple[int, Calibrated]:
    """The version of a file and its calibrations.

    Raises:
        msgspec.MsgspecError, ValueError, RecursionError: it is not such a file, or not what it says of itself.
    """
    if len(data) > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE // 1_000_000} MB")
    version = msgspec.json.decode(data, type=_Version).version
    if version == 1:
        calibrations = msgspec.json.decode(data, type=_Version1).calibrations
    elif version == VERSION:
        file = msgspec.json.decode(data, type=_File)
        calibrations = file.calibrations
        if file.sha256 != _checksum(calibrations):
            raise ValueError("its checksum is not that of its contents")
    else:
        raise ValueError(f"its version is {version}, this software reads 1 and {VERSION}")
    for stored in calibrations.values():
        if (found := fault(stored.threshold, stored.mean, stored.std, stored.n_images, stored.k)) is not None:
            raise ValueError(found)
    return version, calibrations


def _checksum(calibrations: Calibrated) -> str:
    return hashlib.sha256(msgspec.json.encode(calibrations)).hexdigest()


def _key(model_hash: str, runtime: str) -> str:
    return f"{model_hash}:{runtime}"
