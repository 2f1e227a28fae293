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
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from detector.errors import ModelError
from detector.files import read_at_most, remove_leftovers, sync_folder, temporary_beside, write_atomically
from server.recipes.correction import Correction

FOLDER = "models"
MODEL, PICTURES, CORRECTIONS = "model", "pictures", "corrections"
SUFFIXES = (".json", ".safetensors", ".jpg", ".png")
"""Of a correction's files: what was said, what the model keeps of it, its picture, and what the model looked at."""
LARGEST_CORRECTION = 8_000_000
"""Bytes of one of its files."""

_HASH = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{12}")
_PICTURE = re.compile(r"[0-9]{1,6}\.(png|jpg|webp)")


class ModelKeep:
    """The models of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    @property
    def folder(self) -> Path:
        """Where all of them lie."""
        return self._folder

    def model_folder(self, taught: str) -> Path:
        """Where the model itself lies, if it was taught or imported here."""
        return self._of(taught) / MODEL

    def pictures(self, taught: str) -> list[Path]:
        """The pictures it was taught on, in order; none where they are not kept here."""
        with contextlib.suppress(OSError):
            files = [path for path in (self._of(taught) / PICTURES).iterdir() if _PICTURE.fullmatch(path.name)]
            return sorted(files, key=lambda path: (int(path.stem), path.suffix))
        return []

    def has_pictures(self, taught: str) -> bool:
        """Whether pictures that it was taught on are kept here."""
        with contextlib.suppress(OSError), os.scandir(self._of(taught) / PICTURES) as entries:
            return any(_PICTURE.fullmatch(entry.name) for entry in entries)
        return False

    def put(self, taught: str, model: Path, pictures: Path | None) -> None:
        """Take in a model folder, and the folder of its pictures, which are moved here. In one step: what was begun and
        not finished is no model.

        Raises:
            OSError: it cannot be stored.
        """
        place = self._of(taught)
        if (place / MODEL).is_dir():
            shutil.rmtree(model, ignore_errors=True)  # the same pictures and seed make the same model
            if pictures is not None and not (place / PICTURES).exists():
                pictures.rename(place / PICTURES)
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        if place.is_dir():  # corrections of a model that was given at the start: it is ours now as well
            if pictures is not None:
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
            OSError: they cannot be stored.
        """
        folder = self._of(taught) / CORRECTIONS
        folder.mkdir(parents=True, exist_ok=True)
        there = {suffix for suffix in SUFFIXES if (folder / f"{name}{suffix}").exists()}
        if any(self.correction_file(taught, name, suffix) != files[suffix] for suffix in there):
            raise ModelError(f"there is another correction {name} of this model here: one of the two was changed")
        for suffix in reversed(SUFFIXES):  # what was said of it last
            if suffix not in there:
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

    def tidy(self, named: Iterable[tuple[str, Collection[str]]] | None) -> None:
        """Remove models and corrections that nothing names (hash of the model, ids of its corrections), and what a
        crash left; where it is not known what is named (None), only that."""
        remove_leftovers(self._folder, older_than_s=0)
        if named is None:
            return
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

    def _of(self, taught: str) -> Path:
        if not _HASH.fullmatch(taught):
            raise ModelError(f"{taught[:20]!r} is no model's hash")
        return self._folder / taught
