"""Which pictures a folder holds: for training, and for evaluation.

The layout is that of MVTec AD::

    FOLDER/train/good/*                          good parts, to learn from
    FOLDER/test/good/*                           good parts, to measure on
    FOLDER/test/TYPE/*                           defective parts, one folder for each type of defect
    FOLDER/ground_truth/TYPE/NAME_mask.png       where the defect is, optional for each picture

For training, a flat folder of good pictures does as well. Folders are never searched recursively: a folder of
defects that lies beside the good pictures must not be learned as good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from detector import ImageError, images

MIN_TRAINING_PICTURES = 5
GOOD = "good"

Layout = Literal["train/good", "flat"]


class DataSetError(ValueError):
    """A data set that cannot be used. The message is one for the operator: what is wrong and what to do."""


@dataclass(frozen=True)
class TrainingSet:
    """Pictures of good parts, at least :data:`MIN_TRAINING_PICTURES`."""

    folder: Path
    """The folder in which the pictures lie."""
    layout: Layout
    """``train/good`` in the MVTec layout, ``flat`` where the given folder itself holds the pictures."""
    paths: tuple[Path, ...]
    """Sorted by name."""


@dataclass(frozen=True)
class TestPicture:
    """One labelled picture."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    path: Path
    defect: str
    """The type of defect (name of its folder), or ``good``."""
    mask: Path | None = None
    """Where the defect is; ``None`` for good pictures and for defects without a mask."""

    @property
    def defective(self) -> bool:
        return self.defect != GOOD


def find_training_set(folder: Path) -> TrainingSet:
    """The pictures to learn from: those in ``folder/train/good``, or else those directly in ``folder``.

    Raises:
        DataSetError: no such folder, no pictures, or fewer than :data:`MIN_TRAINING_PICTURES`.
    """
    _require_folder(folder)
    good = folder / "train" / GOOD
    layout: Layout = "train/good" if good.is_dir() else "flat"
    found = good if layout == "train/good" else folder
    paths = _pictures_in(found)
    if not paths:
        raise DataSetError(_no_training_pictures(folder, found))
    if len(paths) < MIN_TRAINING_PICTURES:
        raise DataSetError(
            f"{found} holds {len(paths)} picture{'s' if len(paths) > 1 else ''}, but training needs at least "
            f"{MIN_TRAINING_PICTURES}. Add pictures of good parts."
        )
    return TrainingSet(found, layout, paths)


def find_test_pictures(folder: Path) -> tuple[TestPicture, ...]:
    """The labelled pictures in ``folder/test``: good ones first, then by type of defect and name.

    Raises:
        DataSetError: no such folder, no ``test`` folder, or no pictures in it.
    """
    _require_folder(folder)
    test = folder / "test"
    if not test.is_dir():
        raise DataSetError(
            f"{folder} has no folder test. Put good pictures in {test / GOOD} and defective ones in "
            f"{test / 'TYPE'}, one folder for each type of defect."
        )
    types = sorted(
        (entry for entry in test.iterdir() if entry.is_dir() and not entry.name.startswith(".")),
        key=lambda entry: (entry.name != GOOD, entry.name),
    )
    pictures = tuple(
        TestPicture(path, kind.name, _mask_of(path, folder / "ground_truth" / kind.name))
        for kind in types
        for path in _pictures_in(kind)
    )
    if not pictures:
        raise DataSetError(
            f"There are no pictures in the folders of {test}. Put good ones in {test / GOOD}, defective ones "
            f"in {test / 'TYPE'}, one folder for each type of defect."
        )
    return pictures


def read_all(paths: Iterable[Path]) -> Iterator[NDArray[np.uint8]]:
    """Read pictures one after the other, so that only one is in memory: BGR uint8 (H, W, 3).

    Raises:
        DataSetError: at the first picture that cannot be read, naming it. Skipping it in silence would hide a
            broken camera or a half-copied folder.
    """
    for path in paths:
        yield read_picture(path)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """One picture as BGR uint8 (H, W, 3).

    Raises:
        DataSetError: it cannot be read; names the file.
    """
    try:
        return images.read(path)
    except ImageError as error:
        raise DataSetError(f"{error}. Replace or remove this file, then start again.") from error


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A ground-truth mask, (H, W): true where the part is defective (every value above 0).

    Raises:
        DataSetError: it cannot be read; names the file.
    """
    try:
        # Not imread: it cannot open names outside the system's code page on Windows.
        mask = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    except (OSError, cv2.error) as error:
        raise DataSetError(f"The mask {path} cannot be read: {error}.") from error
    if mask is None:
        raise DataSetError(f"The mask {path} is not a picture. Replace it, or remove it to go without.")
    return np.asarray(mask > 0, dtype=np.bool_)


def fingerprint(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over the sorted names and contents of the files: the same wherever they lie."""
    entries = sorted((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths)
    return hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in entries).encode()).hexdigest()


def _require_folder(folder: Path) -> None:
    if not folder.exists():
        raise DataSetError(f"There is no folder {folder}. Check the path.")
    if not folder.is_dir():
        raise DataSetError(f"{folder} is a file. Give the folder that holds the pictures.")


def _pictures_in(folder: Path) -> tuple[Path, ...]:
    # Names with a leading dot are leftovers of file managers (macOS writes ._NAME.jpg beside NAME.jpg).
    return tuple(
        sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in images.SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    )


def _mask_of(picture: Path, masks: Path) -> Path | None:
    mask = masks / f"{picture.stem}_mask.png"
    return mask if mask.is_file() else None


def _no_training_pictures(folder: Path, found: Path) -> str:
    if found == folder and (folder / GOOD).is_dir():
        return f"There are no pictures directly in {folder}. Did you mean {folder / GOOD}?"
    good = folder / "train" / GOOD
    kinds = ", ".join(suffix[1:] for suffix in images.SUFFIXES)
    return (
        f"There are no pictures in {found} (looked for {kinds}; subfolders are not searched). "
        f"Put pictures of good parts {'there' if found != folder else f'there or in {good}'}."
    )
