"""Where the pictures of a teaching are until it ends: ``DATA_DIR/teaching/ID``."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from detector import ModelError, TaughtModel
from detector.files import write_atomically
from detector.images import SUFFIXES, BGRImage, encode_jpeg, encode_png, read

THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 320, 80
FOLDER = "teaching"
_TRIES, _TRY_S = 20, 0.05


class TooMuch(Exception):
    """A file is larger than what is left for it."""


@dataclass(frozen=True)
class Stored:
    """A picture's file, its size in bytes, and a small JPEG of it."""

    path: Path
    size: int
    thumbnail: bytes


class Files:
    """The folder of one teaching. Everything here takes milliseconds to seconds: for threads.

    Args:
        root: the folder, which is made.

    Raises:
        OSError: it cannot be made; so does whatever writes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pictures = root / "pictures"
        self._pictures.mkdir(parents=True)

    @property
    def model(self) -> Path:
        """Where a model is written before it is in force."""
        return self._root / "model"

    def store(self, number: int, frame: BGRImage, room: int) -> Stored:
        """Keep a frame (H×W×3 uint8 BGR) as it came, without loss.

        Raises:
            TooMuch: its file would be larger than ``room`` bytes.
            OSError: it cannot be written.
        """
        data = encode_png(frame) if room else b""
        if len(data) > room or not data:
            raise TooMuch
        path = self._pictures / f"{number:04}.png"
        write_atomically(path, data)
        return Stored(path, len(data), _thumbnail(frame))

    def take_over(self, number: int, other: Path, room: int) -> tuple[Stored, BGRImage]:
        """Keep a picture file as well that lies elsewhere.

        Raises:
            TooMuch, OSError: as :meth:`store`.
            ImageError: it cannot be read.
        """
        if (size := other.stat().st_size) > room:
            raise TooMuch
        frame = read(other)
        suffix = other.suffix.lower()
        path = self._pictures / f"{number:04}{suffix if suffix in SUFFIXES else '.png'}"
        _link(other, path)
        return Stored(path, size, _thumbnail(frame)), frame

    def to_hand_over(self, paths: list[Path]) -> Path:
        """A folder with these pictures alone, for the model that was taught on them."""
        folder = self._root / "taught"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in paths:
            _link(path, folder / path.name)
        return folder

    def forget_model(self) -> None:
        """Remove what an attempt before left."""
        for folder in (self.model, self._root / "taught"):
            shutil.rmtree(folder, ignore_errors=True)

    def remove(self) -> None:
        """Remove all of it, also what a thread that cannot be stopped is just writing."""
        for _ in range(_TRIES):
            shutil.rmtree(self._root, ignore_errors=True)
            if not self._root.exists():
                break
            time.sleep(_TRY_S)
        with contextlib.suppress(OSError):  # there are others in it
            self._root.parent.rmdir()


def remove_stale(root: Path) -> None:
    """Remove the folder of all teachings; for the start, while none is open."""
    shutil.rmtree(root, ignore_errors=True)


def write_model(model: TaughtModel, folder: Path) -> None:
    """Write a model folder.

    Raises:
        OSError: the disk takes nothing.
        ModelError: the model cannot be written.
    """
    try:
        model.save(folder)
    except ModelError as error:
        if isinstance(error.__cause__, OSError):  # which names the folder, and is nothing of the model's
            raise error.__cause__ from error
        raise


def discard(path: Path) -> None:
    """Remove one picture's file, as far as it can be."""
    with contextlib.suppress(OSError):
        path.unlink()


def _thumbnail(frame: BGRImage) -> bytes:
    return encode_jpeg(frame, quality=THUMBNAIL_QUALITY, longest_side=THUMBNAIL_SIDE)[0]


def _link(path: Path, target: Path) -> None:
    """A second name of the same file, or a copy where the disk knows none."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
