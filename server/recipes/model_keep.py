"""Taught models on disk, with the pictures they were taught on and what they were told since: ``models/HASH/``.

Everything here is named by what it is and never changed: a model by its hash, a correction by its id. What of it is in
use is said by the recipes; so a crash leaves at the most something that no recipe names, which :meth:`ModelKeep.tidy`
removes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from detector.errors import ModelError
from detector.files import (
    read_at_most,
    remove_leftovers,
    sync_folder,
    temporary_beside,
    temporary_folder,
    write_atomically,
)
from detector.model_folder import read_manifest
from server.ground import NotKept
from server.recipes.correction import Correction
from server.recipes.shared_models import LARGEST_MODEL as LARGEST_FETCHED
from server.recipes.shared_models import LARGEST_PICTURES, SharedModels

FOLDER = "models"
MODEL, PICTURES, CORRECTIONS = "model", "pictures", "corrections"
SUFFIXES = (".json", ".safetensors", ".jpg", ".png")
"""Of a correction's files: what was said, what the model keeps of it, its picture, and what the model looked at."""
LARGEST_CORRECTION = 8_000_000
"""Bytes of one of its files."""

_HASH = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{12}")
_PICTURE = re.compile(r"[0-9]{1,6}\.(png|jpg|webp)")


MOST_BYTES = 20_000_000_000
"""Of all models with their pictures and corrections, where nothing else is set."""
KEPT_FREE = 200_000_000
"""Bytes of the disk that models leave free: for the small files that everything else needs to be written."""
LARGEST_MODEL = 20_000_000
"""Bytes of a model itself, about, before it is known: 2 MB with the usual backbone."""


class NoRoom(NotKept):
    """There is no room for another model; one sentence that says what to do. Nothing was written."""


class ModelKeep:
    """The models of a data directory.

    Args:
        most_bytes: of all of them together, pictures and corrections included.
        shared: where a plant has its models; what comes here goes there too before a recipe may name it.
    """

    def __init__(self, data_dir: Path, most_bytes: int = MOST_BYTES, shared: SharedModels | None = None) -> None:
        self._shared = shared
        self._data_dir, self._folder = data_dir, data_dir / FOLDER
        self._most_bytes = most_bytes
        self._size: int | None = None
        self._began = time.time()

    @property
    def folder(self) -> Path:
        """Where all of them lie."""
        return self._folder

    def model_folder(self, taught: str) -> Path:
        """Where the model itself lies, if it was taught or imported here."""
        return self._of(taught) / MODEL

    def is_kept(self, taught: str) -> bool:
        """Whether the model lies here, or, as far as it is known, where the plant has its models."""
        return self.model_folder(taught).is_dir() or (self._shared is not None and self._shared.has_model(taught))

    def pictures(self, taught: str) -> list[Path]:
        """The pictures it was taught on, in order; none where they are not kept here."""
        with contextlib.suppress(OSError):
            files = [path for path in (self._of(taught) / PICTURES).iterdir() if _PICTURE.fullmatch(path.name)]
            return sorted(files, key=lambda path: (int(path.stem), path.suffix))
        return []

    def has_pictures(self, taught: str) -> bool:
        """Whether pictures that it was taught on are kept."""
        with contextlib.suppress(OSError), os.scandir(self._of(taught) / PICTURES) as entries:
            return any(_PICTURE.fullmatch(entry.name) for entry in entries)
        return self._shared is not None and self._shared.has_pictures(taught)

    # ---- with the gateways of a plant -------------------------------------------------------------------------------

    def is_here(self, taught: str, corrections: Collection[str], *, is_given: bool) -> bool:
        """Whether a model lies here with these corrections; ``is_given``: the model itself need not."""
        place = self._of(taught)
        is_there = is_given or (place / MODEL).is_dir()
        return is_there and all((place / CORRECTIONS / f"{name}.json").exists() for name in corrections)

    def bring(self, models: Iterable[tuple[str, Collection[str]]]) -> frozenset[str]:
        """Fetch what others taught or told, if it is not here: models by their hash, with ids of corrections. What is
        here and was lost in the plant's store is put back there.

        Returns:
            hashes of the models that are in neither, or whose corrections are.

        Raises:
            ModelError: one of them is damaged; the others are here then.
            OSError: the plant's store does not answer, or it cannot be written here.
        """
        damaged: ModelError | None = None
        nowhere = set[str]()
        if self._shared is None:
            return frozenset()
        for taught, corrections in models:
            try:
                if not self._shared.has_model(taught):
                    self._share(taught)
                lost = [name for name in corrections if not self._shared.has_correction(taught, name)]
                self._share_corrections(taught, [name for name in lost if self._is_whole(taught, name)])
                if not self._bring(self._shared, taught, corrections):
                    nowhere.add(taught)
            except ModelError as error:
                damaged = error
        if damaged is not None:
            raise damaged
        return frozenset(nowhere)

    def bring_pictures(self, taught: str) -> None:
        """Fetch the pictures that a model was taught on, if they are not here.

        Raises:
            ModelError: they are damaged.
            OSError: the plant's store does not answer, or they cannot be written here.
        """
        if self._shared is not None and self._of(taught).is_dir() and not (self._of(taught) / PICTURES).exists():
            self._shared.fetch(f"{taught}/{PICTURES}", self._of(taught) / PICTURES, LARGEST_PICTURES, self._folder)
            self._size = None

    def share(self, models: Iterable[tuple[str, Collection[str]]]) -> None:
        """Store models that lie here for the whole plant, with their pictures and these corrections.

        Raises:
            OSError: the plant's store does not answer.
        """
        for taught, corrections in models:
            self._share(taught)
            self._share_corrections(taught, corrections)

    def look_for_shared(self) -> None:
        """See what the plant has.

        Raises:
            OSError: its store does not answer.
        """
        if self._shared is not None:
            self._shared.look()

    def _bring(self, shared: SharedModels, taught: str, corrections: Collection[str]) -> bool:
        """Returns whether all of it is here now."""
        place, has_all = self._of(taught), True
        if not (place / MODEL).is_dir():
            self.require_room(LARGEST_MODEL)
            check = partial(check_is, taught)
            if not shared.fetch(f"{taught}/{MODEL}", place / MODEL, LARGEST_FETCHED, self._folder, check):
                return False  # that another gateway was given at its start; or it was lost
        for name in corrections:
            if (place / CORRECTIONS / f"{name}.json").exists():
                continue
            with temporary_folder(self._folder / CORRECTIONS) as folder:
                fetched, most = folder / name, LARGEST_CORRECTION * len(SUFFIXES)
                if shared.fetch(f"{taught}/{CORRECTIONS}/{name}", fetched, most, self._folder):
                    files = {end: read_at_most(fetched / f"{name}{end}", LARGEST_CORRECTION) for end in SUFFIXES}
                    self._write_correction(taught, name, files)
                else:
                    has_all = False
        self._size = None
        return has_all

    def _share(self, taught: str) -> None:
        if self._shared is not None:
            for what in (PICTURES, MODEL):  # whoever sees the model finds its pictures
                if (self._of(taught) / what).is_dir():
                    self._shared.put(f"{taught}/{what}", self._of(taught) / what, self._folder)

    def _share_corrections(self, taught: str, corrections: Iterable[str]) -> None:
        if self._shared is not None:
            for name in corrections:
                files = {suffix: self.correction_file(taught, name, suffix) for suffix in SUFFIXES}
                self._share_correction(self._shared, taught, name, files)

    def _is_whole(self, taught: str, name: str) -> bool:
        """Whether all files of a correction lie here."""
        return all((self._of(taught) / CORRECTIONS / f"{name}{suffix}").exists() for suffix in SUFFIXES)

    def _share_correction(self, shared: SharedModels, taught: str, name: str, files: Mapping[str, bytes]) -> None:
        with temporary_folder(self._folder / CORRECTIONS) as folder:
            for suffix, data in files.items():
                (folder / f"{name}{suffix}").write_bytes(data)
            shared.put(f"{taught}/{CORRECTIONS}/{name}", folder, self._folder)

    @property
    def size(self) -> int:
        """Bytes of all that lies here. Looked up once, then counted."""
        if self._size is None:
            self._size = self._looked_up()
        return self._size

    def _looked_up(self) -> int:
        return sum(_size_of(self._folder / taught) for taught in self.there())

    def require_room(self, more: int, *, writes: int | None = None) -> None:
        """Check that there is room, before anything is written.

        Args:
            more: bytes that are to come here, about.
            writes: how many of them are not on this disk yet; without it, all.

        Raises:
            NoRoom: there is none; says what to do.
        """
        if self.size + more > self._most_bytes:
            raise NoRoom(
                f"models with their pictures take {_gigabytes(self.size)} of {_gigabytes(self._most_bytes)} GB here, "
                f"and {_gigabytes(more)} GB more are needed: delete recipes that are not used any more, or set "
                "MAX_MODELS_GB higher; nothing was changed"
            )
        place = next(place for place in (self._folder, self._data_dir, Path()) if place.exists())
        free, needed = shutil.disk_usage(place).free, (more if writes is None else writes) + KEPT_FREE
        if free < needed:
            raise NoRoom(
                f"the disk with the data directory has {free // 1_000_000} MB left, and {-(-needed // 1_000_000)} MB "
                "are needed: make room on it, then try again; nothing was changed"
            )

    def put(self, taught: str, model: Path, pictures: Path | None) -> None:
        """Take in a model folder, and the folder of its pictures, which are moved here. In one step: what was begun and
        not finished is no model.

        Raises:
            NoRoom: there would be too much of them.
            OSError: it cannot be stored.
        """
        place = self._of(taught)
        new = [] if (place / MODEL).is_dir() else [model]
        new += [pictures] if pictures is not None and not (place / PICTURES).exists() else []
        size = sum(map(_size_of, new))
        if new:
            self.require_room(size, writes=0)  # they lie on this disk
        self._size = self.size + size
        if model not in new:
            shutil.rmtree(model, ignore_errors=True)  # the same pictures and seed make the same model
            if pictures is not None and pictures in new:
                pictures.rename(place / PICTURES)
            self._share(taught)
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        if place.is_dir():  # corrections of a model that was given at the start: it is ours now as well
            if pictures is not None and pictures in new:
                pictures.rename(place / PICTURES)
            model.rename(place / MODEL)
        else:
            temporary = temporary_beside(place)
            temporary.mkdir()
            model.rename(temporary / MODEL)
            if pictures is not None:
                pictures.rename(temporary / PICTURES)
            temporary.rename(place)
        sync_folder(place)
        sync_folder(self._folder)
        self._share(taught)

    def keep_correction(
        self, taught: str, correction: Correction, patches: Mapping[str, NDArray[np.generic]], jpeg: bytes, png: bytes
    ) -> None:
        """Write down a correction; it counts once a recipe names it.

        Args:
            patches: what the model keeps of it, by name; jpeg: its picture; png: what the model looked at.

        Raises:
            OSError: it cannot be stored.
        """
        tensors = safetensors.save({name: np.ascontiguousarray(array) for name, array in patches.items()})
        files = {".json": msgspec.json.encode(correction), ".safetensors": tensors, ".jpg": jpeg, ".png": png}
        self.put_correction(taught, correction.id, files)

    def put_correction(self, taught: str, name: str, files: Mapping[str, bytes]) -> None:
        """Store a correction's files, by their suffixes. Those that are there stay: recipes name them.

        Raises:
            ModelError: another correction has this name here; nothing is stored.
            NoRoom: there would be too much of all models.
            OSError: they cannot be stored.
        """
        size = sum(map(len, files.values()))
        if self.size + size > self._most_bytes:
            self.require_room(size)
        folder = self._of(taught) / CORRECTIONS
        folder.mkdir(parents=True, exist_ok=True)
        there = {suffix for suffix in SUFFIXES if (folder / f"{name}{suffix}").exists()}
        if any(self.correction_file(taught, name, suffix) != files[suffix] for suffix in there):
            raise ModelError(f"there is another correction {name} of this model here: one of the two was changed")
        if self._shared is not None:
            self._share_correction(self._shared, taught, name, files)
        self._write_correction(taught, name, files)
        self._size = self.size + size

    def _write_correction(self, taught: str, name: str, files: Mapping[str, bytes]) -> None:
        folder = self._of(taught) / CORRECTIONS
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in reversed(SUFFIXES):  # what was said of it last
            if not (folder / f"{name}{suffix}").exists():
                write_atomically(folder / f"{name}{suffix}", files[suffix])

    def correction(self, taught: str, name: str) -> Correction:
        """What was said.

        Raises:
            ModelError: it is not there, or damaged.
        """
        try:
            return msgspec.json.decode(self.correction_file(taught, name, ".json"), type=Correction)
        except msgspec.MsgspecError as error:
            raise ModelError(f"the correction {name} is damaged: undo it, and make it again") from error

    def patches(self, taught: str, name: str) -> dict[str, NDArray[np.generic]]:
        """What the model keeps of a correction.

        Raises:
            ModelError: it is not there, or damaged.
        """
        try:
            return dict(safetensors.load(self.correction_file(taught, name, ".safetensors")))
        except (SafetensorError, ValueError, KeyError) as error:
            raise ModelError(f"the correction {name} is damaged: undo it, and make it again") from error

    def correction_file(self, taught: str, name: str, suffix: str) -> bytes:
        """One of a correction's files.

        Raises:
            ModelError: it is not there.
        """
        if not _ID.fullmatch(name) or suffix not in SUFFIXES:
            raise ModelError(f"there is no correction {name[:20]!r}")
        try:
            data = read_at_most(self._of(taught) / CORRECTIONS / f"{name}{suffix}", LARGEST_CORRECTION + 1)
        except OSError as error:
            raise ModelError(f"the correction {name} cannot be read ({error.strerror}): undo it") from error
        if len(data) > LARGEST_CORRECTION:
            raise ModelError(f"the correction {name} is damaged: undo it, and make it again")
        return data

    def remove_unfinished(self) -> None:
        """Remove what a crash left before this start. A model may be brought already: a library is opened once the
        simulated part is taught."""
        since_s = max(0.0, time.time() - self._began)
        remove_leftovers(self._folder, older_than_s=since_s)
        for taught in self.there():
            remove_leftovers(self._of(taught) / CORRECTIONS, older_than_s=since_s)

    def there(self) -> frozenset[str]:
        """Hashes of the models that lie here."""
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            return frozenset(entry.name for entry in entries if _HASH.fullmatch(entry.name))
        return frozenset()

    def remove(self, models: Collection[str]) -> None:
        """Remove models that nothing names, by their hashes."""
        for taught in models:
            shutil.rmtree(self._of(taught), ignore_errors=True)
        if models:
            self._size = self._looked_up()

    def tidy(self, named: Iterable[tuple[str, Collection[str]]]) -> None:
        """Remove models and corrections that nothing names (hash of the model, ids of its corrections)."""
        wanted: dict[str, set[str]] = {}
        for taught, corrections in named:
            wanted.setdefault(taught, set()).update(corrections)
        with contextlib.suppress(OSError):
            for place in [*self._folder.iterdir()]:
                if not _HASH.fullmatch(place.name):
                    continue
                if place.name not in wanted:
                    shutil.rmtree(place, ignore_errors=True)
                    continue
                for file in (place / CORRECTIONS).glob("*.*"):
                    if _ID.fullmatch(file.stem) and file.stem not in wanted[place.name]:
                        file.unlink(missing_ok=True)
        self._size = self._looked_up()  # now, where nobody waits for it
        if self._shared is not None:
            with contextlib.suppress(NotKept):  # the next one does it
                self._shared.tidy(wanted)

    def _of(self, taught: str) -> Path:
        if not _HASH.fullmatch(taught):
            raise ModelError(f"{taught[:20]!r} is no model's hash")
        return self._folder / taught


def check_is(taught: str, folder: Path) -> None:
    """Raises ModelError: a folder's model is not the one of this hash."""
    if read_manifest(folder).hash != taught:
        raise ModelError(f"the model that the plant's store has as {taught[:12]}… is another one")


def _size_of(folder: Path) -> int:
    """Bytes of all files below a folder; of what goes meanwhile nothing."""
    size, left = 0, [str(folder)]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
    return size


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g}" if size >= 10_000_000 else f"{size / 1e9:.2g}"
