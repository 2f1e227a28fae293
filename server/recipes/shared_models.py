"""Models of a plant: the same as in the data directories of its gateways, packed, in its store of objects.

``models/HASH/model.zip``, ``pictures.zip``, and ``corrections/ID.zip`` for each correction. Everything is named by what
it is and never changed, so that a gateway fetches a thing once and may keep it. What no recipe names goes a day after
it came: until then somebody may be about to name it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from detector.errors import ModelError
from detector.files import sync_folder, temporary_beside
from server.plant import ObjectStore

log = logging.getLogger("defectvision.plant")

FOLDER = "models"
LARGEST_MODEL, LARGEST_PICTURES, LARGEST_CORRECTION = 1_000_000_000, 4_000_000_000, 40_000_000
"""Bytes that are fetched, packed and unpacked."""
MOST_FILES = 20_000
KEPT_S = 86_400.0
"""Seconds that something stays which no recipe names."""

_UNREADABLE = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, FileExistsError, NotADirectoryError,
    IsADirectoryError, zlib.error, struct.error,
)  # fmt: skip
"""What a ZIP that is damaged, or names files twice, raises."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}(/[A-Za-z0-9][A-Za-z0-9._-]{0,120}){0,3}")
_OBJECT = re.compile(r"models/(?P<taught>[0-9a-f]{64})/(model|pictures|corrections/(?P<correction>[0-9a-f]{12}))\.zip")


class SharedModels:
    """For threads. Every call raises PlantAway where the store does not answer."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._there: set[str] = set()
        """Objects that were seen in the store; what is there stays while a recipe names it."""

    def put(self, name: str, folder: Path, work: Path) -> None:
        """Store a folder's files, if they are not there; ``work``: where to pack them.

        The store is asked each time: another gateway may have removed what was seen here. What is about to be old
        enough for that is stored anew: whoever removes it may not know yet that a recipe is going to name it.
        """
        there = self._store.modified(f"{FOLDER}/{name}.zip")
        if there is not None and (now := self._store.now()) is not None and now - there < KEPT_S / 2:
            self._there.add(name)
            return
        packed = temporary_beside(work / "packed")
        try:
            _pack(folder, packed)
            self._store.put(f"{FOLDER}/{name}.zip", packed)
        finally:
            packed.unlink(missing_ok=True)
        self._there.add(name)

    def fetch(
        self, name: str, folder: Path, most: int, work: Path, check: Callable[[Path], None] = lambda unpacked: None
    ) -> bool:
        """Make a folder of the files of that name; whether there are any.

        Args:
            most: bytes, packed and unpacked.
            work: where to unpack them.
            check: raises ModelError where the files are not what their name says; then they do not come here.

        Raises:
            ModelError: what is in the store is damaged.
            OSError: it cannot be written.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        packed, unpacked = temporary_beside(work / "packed"), temporary_beside(work / "unpacked")
        try:
            try:
                if not self._store.get(f"{FOLDER}/{name}.zip", packed, most=most):
                    return False
                _unpack(packed, unpacked, most)
                check(unpacked)
            except _UNREADABLE as error:
                raise ModelError(f"{name}.zip in {self._store.address} is damaged ({error})") from error
            try:
                unpacked.rename(folder)
            except OSError:
                if not folder.is_dir():  # else somebody else fetched it meanwhile
                    raise
            sync_folder(folder.parent)
        finally:
            packed.unlink(missing_ok=True)
            shutil.rmtree(unpacked, ignore_errors=True)
        self._there.add(name)
        return True

    def has_model(self, taught: str) -> bool:
        """Whether a model is there, as far as it is known; asks nobody."""
        return f"{taught}/model" in self._there

    def has_correction(self, taught: str, name: str) -> bool:
        """Whether a correction of a model is there, as far as it is known; asks nobody."""
        return f"{taught}/corrections/{name}" in self._there

    def has_pictures(self, taught: str) -> bool:
        """Whether there are pictures of a model, as far as it is known; asks nobody."""
        return f"{taught}/pictures" in self._there

    def look(self) -> None:
        """See what is there."""
        found = (_OBJECT.fullmatch(one.name) for one in self._store.below(FOLDER))
        self._there = {match[0].removeprefix(f"{FOLDER}/").removesuffix(".zip") for match in found if match}

    def tidy(self, wanted: Mapping[str, Collection[str]]) -> None:
        """Remove what no recipe names and is older than a day.

        Args:
            wanted: ids of corrections by the hash of their model.
        """
        now = self._store.now()
        if now is None:
            return
        for one in self._store.below(FOLDER):
            match = _OBJECT.fullmatch(one.name)
            if match is None or now - one.modified < KEPT_S:
                continue
            corrections, correction = wanted.get(match["taught"]), match["correction"]
            if corrections is None or (correction is not None and correction not in corrections):
                modified = self._store.modified(one.name)
                if modified is None or now - modified < KEPT_S:
                    continue  # somebody stored it anew since it was listed: a recipe is about to name it
                self._store.remove(one.name)
                self._there.discard(one.name.removeprefix(f"{FOLDER}/").removesuffix(".zip"))
                log.info("removed from the plant's store object=%s: no recipe names it", one.name)
        for name in self._store.remove_unfinished(FOLDER, now):
            log.info("removed from the plant's store object=%s: it was never finished", name)


def _pack(folder: Path, packed: Path) -> None:
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_file() and _PLAIN.fullmatch(name):
                archive.write(file, name)


def _unpack(packed: Path, folder: Path, most: int) -> None:
    """Unpack files into a new folder.

    Raises:
        zipfile.BadZipFile, ValueError: it is damaged, or too large.
    """
    with zipfile.ZipFile(packed) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_FILES or sum(one.file_size for one in entries) > most:
            raise ValueError("it is larger than any")
        if not all(_PLAIN.fullmatch(one.filename) for one in entries):
            raise ValueError("it names files that cannot be")
        folder.mkdir()
        for one in entries:
            file = folder / one.filename
            file.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(one) as source, file.open("xb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
        sync_folder(folder)
