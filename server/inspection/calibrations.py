"""``calibration.json``: the thresholds of places, each belonging to one model on one runtime."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from detector import Calibration
from detector.files import set_aside, write_atomically

log = logging.getLogger("defectvision.calibration")

FILE = "calibration.json"


class StoredCalibration(msgspec.Struct, frozen=True):
    """A calibration as it lies in the file."""

    threshold: float
    mean: float
    std: float
    n_images: int
    k: float
    created: str


class _File(msgspec.Struct):
    version: int = 1
    calibrations: dict[str, StoredCalibration] = {}


class Calibrations:
    """The calibrations of this data directory. Reads once, writes atomically.

    Attributes:
        warning: what was wrong with the file at the start, for the operator; or nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.warning: str | None = None
        self._file = self._read()

    def get(self, model_hash: str, runtime: str) -> StoredCalibration | None:
        return self._file.calibrations.get(_key(model_hash, runtime))

    def put(self, model_hash: str, runtime: str, calibration: Calibration) -> StoredCalibration:
        """Store a calibration on disk, then in memory: what is in force is always what a restart would find.

        Raises:
            OSError: it could not be written; nothing has changed then.
        """
        stored = StoredCalibration(
            threshold=calibration.threshold,
            mean=calibration.mean,
            std=calibration.std,
            n_images=calibration.n_images,
            k=calibration.k,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._replace(self._file.calibrations | {_key(model_hash, runtime): stored})
        return stored

    def delete(self, model_hash: str, runtime: str) -> None:
        """Forget a calibration, if there is one.

        Raises:
            OSError: the file could not be written; nothing has changed then.
        """
        key = _key(model_hash, runtime)
        if key in self._file.calibrations:
            self._replace({k: v for k, v in self._file.calibrations.items() if k != key})

    def _replace(self, calibrations: dict[str, StoredCalibration]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = _File(calibrations=calibrations)
        write_atomically(self._path, msgspec.json.format(msgspec.json.encode(file), indent=2))
        self._file = file
        self.warning = None  # the operator has acted on it

    def _read(self) -> _File:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return _File()
        except OSError as error:
            self.warning = f"{self._path} cannot be read ({error.strerror}): the model's default threshold is in force"
            log.warning(self.warning)
            return _File()
        try:
            file = msgspec.json.decode(data, type=_File)
            if file.version != 1:
                raise ValueError(f"its version is {file.version}, this software reads 1")
            for stored in file.calibrations.values():
                if not 0 < stored.threshold < float("inf"):
                    raise ValueError(f"a threshold of {stored.threshold} makes no sense")
            return file
        except (msgspec.MsgspecError, ValueError) as error:
            try:
                then = f"it was set aside as {set_aside(self._path).name}"
            except OSError as refusal:
                then = f"it could not be set aside ({refusal.strerror})"
            self.warning = (
                f"calibration.json was damaged ({error}); {then} and the model's default threshold is in force: "
                "calibrate again"
            )
            log.warning(self.warning)
            return _File()


def _key(model_hash: str, runtime: str) -> str:
    return f"{model_hash}:{runtime}"
