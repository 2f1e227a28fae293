"""The pictures of a data set: found, checked, read one after the other.

:func:`find_data_set` says what a folder holds, :func:`check` reads all of it once and leaves out what cannot be used,
and :func:`read_all` gives the pictures to whoever learns from them.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import cv2
import numpy as np
from numpy.typing import NDArray

from detector import ImageError, images, near_copies
from detector.region import Spread
from training.data import masks
from training.data.layouts import (
    GOOD,
    LAYOUTS,
    NAMED,
    DataSet,
    DataSetError,
    Layout,
    TestPicture,
    Unusable,
    defects_left_out,
    named,
    recognise,
    several,
)

__all__ = [
    "GOOD",
    "MIN_TRAINING_PICTURES",
    "DataSet",
    "DataSetError",
    "Layout",
    "TestPicture",
    "Unusable",
    "check",
    "find_data_set",
    "find_test_pictures",
    "find_training_pictures",
    "fingerprint",
    "listed",
    "mask_of",
    "read_all",
    "read_mask",
    "read_picture",
    "require_test",
    "require_training",
]

MIN_TRAINING_PICTURES = 5
ENOUGH_TRAINING_PICTURES = 30
"""Fewer draw a remark."""

_AT_ONCE = min(4, os.cpu_count() or 1)
"""Pictures decoded at a time: one of 64 megapixels takes 200 MB."""
_THUMBNAIL = 32
_NOTHING, _SOMETHING = 1.0, 3.0
"""Grey levels of contrast (standard deviation of a thumbnail) of a picture that shows nothing, and of those that do."""
_COMPARED = 48
_MOSTLY_DIFFERENT = 0.7
"""Pictures to learn from that are compared with each other, and the share of them below which copies are remarked."""
_NEARLY_EVERYTHING = 0.9
"""Share of a picture."""
_NEARLY_BLACK = 17
"""Grey levels: 12 of 16 bits, which is how a camera's values look when they do not fill the 16."""


def find_data_set(folder: Path) -> DataSet:
    """What a folder holds: MVTec AD, MVTec AD 2, VisA, plain folders, or pictures of good parts alone.

    Nothing is read yet. Folders that a layout does not name are never searched: a folder of defects that lies beside
    the good pictures must not be learned as good.

    Raises:
        DataSetError: no such folder, none of the layouts, or one that lacks something.
    """
    if not folder.exists():
        raise DataSetError(f"There is no folder {folder}. Check the path.")
    if not folder.is_dir():
        raise DataSetError(f"{folder} is a file. Give the folder that holds the pictures.")
    if (found := recognise(folder)) is not None:
        return found
    if (sentence := several(folder)) is not None:
        raise DataSetError(sentence)
    kinds = ", ".join(suffix[1:] for suffix in images.SUFFIXES)
    raise DataSetError(f"There are no pictures in {folder} (looked for {kinds}) in any of these layouts:\n{LAYOUTS}")


def find_training_pictures(folder: Path) -> tuple[Path, ...]:
    """The pictures of good parts to learn from, sorted by name, unchecked.

    Raises:
        DataSetError: as of :func:`find_data_set` and :func:`require_training`.
    """
    data_set = find_data_set(folder)
    require_training(data_set)
    return data_set.training


def find_test_pictures(folder: Path) -> tuple[TestPicture, ...]:
    """The labelled pictures, good ones first, then by type of defect and name, unchecked.

    Raises:
        DataSetError: as of :func:`find_data_set` and :func:`require_test`.
    """
    data_set = find_data_set(folder)
    require_test(data_set)
    return data_set.test


def require_training(data_set: DataSet) -> None:
    """Check that there is enough to learn from.

    Raises:
        DataSetError: fewer than :data:`MIN_TRAINING_PICTURES` pictures of good parts.
    """
    count = len(data_set.training)
    if count >= MIN_TRAINING_PICTURES:
        return
    if not count and not data_set.unusable:
        raise DataSetError(
            f"{data_set.folder} has no pictures of good parts to learn from. They are looked for here:\n{LAYOUTS}"
        )
    usable = "usable " if data_set.unusable else ""
    raise DataSetError(
        f"{data_set.folder} holds {count} {usable}picture{'' if count == 1 else 's'} to learn from, but training needs "
        f"at least {MIN_TRAINING_PICTURES}. Add pictures of good parts." + _lines(data_set.unusable)
    )


def require_test(data_set: DataSet) -> None:
    """Check that there is something to measure on.

    Raises:
        DataSetError: no labelled picture.
    """
    if data_set.test:
        return
    if data_set.unusable:
        raise DataSetError(
            f"No labelled picture of {data_set.folder} can be used to measure on." + _lines(data_set.unusable)
        )
    raise DataSetError(
        f"{data_set.folder} has no labelled pictures to measure on. They are looked for here, in one folder for each "
        f"type of defect:\n{LAYOUTS}"
    )


def check(
    data_set: DataSet,
    *,
    training: bool = False,
    test: bool = False,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> DataSet:
    """Read every picture once and leave out what cannot be used, saying why; several are read at a time.

    A picture that cannot be read is left out. A mask that cannot be read, or has another shape than its picture, is
    left out too: the picture then counts as one without a mask. A mask of the same shape in another size is used.

    Args:
        training, test: which parts of the data set are needed; each must have enough left. What is not needed is
            neither read nor left out.
        strict: refuse the data set if anything had to be left out.
        progress: called with how many files are done, and of how many.

    Returns:
        the data set without them; they are listed in ``unusable``.

    Raises:
        DataSetError: too little is left; or, if ``strict``, a list of what cannot be used.
    """
    left_out = (*(data_set.training_left_out if training else ()), *(data_set.test_left_out if test else ()))
    data_set = replace(data_set, unusable=tuple(dict.fromkeys(left_out)))
    if training:
        require_training(data_set)
    if test:
        require_test(data_set)
    learned = [TestPicture(path, GOOD) for path in data_set.training] if training else []
    pictures = (*learned, *(data_set.test if test else ()))
    checked = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for outcome in pool.map(_check_one, pictures, (number < len(learned) for number in range(len(pictures)))):
                checked.append(outcome)
                if progress:
                    progress(len(checked), len(pictures))
        except BaseException:  # Ctrl-C above all: it must not wait for the rest of the folder
            pool.shutdown(cancel_futures=True)
            raise
    checked = _without_blank(checked, len(learned))
    unusable = (*data_set.unusable, *itertools.chain.from_iterable(outcome.unusable for outcome in checked))
    usable = [outcome.picture for outcome in checked]
    left = replace(
        data_set,
        training=tuple(picture.path for picture in usable[: len(learned)] if picture)
        if training
        else data_set.training,
        test=tuple(picture for picture in usable[len(learned) :] if picture) if test else data_set.test,
        unusable=unusable,
    )
    left = replace(left, notes=left.notes + _remarks(checked, left if training else None))
    if strict and unusable:
        raise DataSetError("Some files cannot be used, and --strict refuses to go on without them." + _lines(unusable))
    if training:
        require_training(left)
    if test:
        require_test(left)
        _require_both_kinds(data_set, left)
    return left


def _require_both_kinds(found: DataSet, left: DataSet) -> None:
    """Figures without any of the defective, or of the good, pictures would look like those of a set that has none."""
    for defective, kind in ((True, "defective"), (False, "good")):
        there = any(picture.defective is defective for picture in found.test)
        there = there or (defective and defects_left_out(found))
        if there and not any(picture.defective is defective for picture in left.test):
            raise DataSetError(
                f"None of the {kind} pictures of {found.folder} can be used, so there is nothing to measure with."
                + _lines(left.unusable)
            )


def _remarks(checked: Sequence[_Checked], learned: DataSet | None) -> tuple[str, ...]:
    remarks = []
    if resized := sum(outcome.mask_resized for outcome in checked):
        remarks.append(f"Masks of another size than their picture: {resized}.")
    shares = [(seen.picture.mask, seen.marked) for seen in checked if seen.picture and seen.picture.mask]
    nothing = [mask for mask, share in shares if share == 0]
    everything = [mask for mask, share in shares if share > _NEARLY_EVERYTHING]
    for marked, of_masks in (("nothing", nothing), ("nearly everything", everything)):
        if of_masks:
            remarks.append(f"Masks that mark {marked} ({len(of_masks)}): {named(of_masks)}.")
    if dark := [seen.picture.path for seen in checked if seen.picture and seen.brightest < _NEARLY_BLACK]:
        remarks.append(
            f"Nearly black pictures ({len(dark)}): {named(dark)}. Was there light, the lens uncovered? A camera of 10 "
            "or 12 bits must fill the 16 when it saves 16."
        )
    if learned is not None and len(learned.training) < ENOUGH_TRAINING_PICTURES:
        count = len(learned.training)
        remarks.append(
            f"Only {count} pictures to learn from: with {ENOUGH_TRAINING_PICTURES} or more, showing all that is "
            "normal, model and threshold are better."
        )
    compared, different = _compared([seen.look for seen in checked if seen.picture and seen.look is not None])
    if different == 1 < compared:
        remarks.append(
            f"The {compared} pictures to learn from that were compared show one part lying still: take pictures of "
            "different good parts."
        )
    elif different < min(ENOUGH_TRAINING_PICTURES, _MOSTLY_DIFFERENT * compared):
        remarks.append(
            f"Of {compared} pictures to learn from that were compared only {different} differ, the others are "
            "near-copies of them: take more parts rather than more pictures of each."
        )
    return tuple(remarks)


def _compared(looks: Sequence[near_copies.Look]) -> tuple[int, int]:
    """How many pictures were compared with each other, and how many they are if near-copies count as one: one where
    all show one part lying still."""
    if not looks:
        return 0, 0
    chosen = list(Spread(range(len(looks)), _COMPARED))
    if near_copies.show_one_part([looks[number] for number in chosen]):
        return len(chosen), 1
    return len(chosen), len(near_copies.groups(looks, chosen))


def _without_blank(checked: Sequence[_Checked], learned: int) -> list[_Checked]:
    """The same, without those of the first ``learned`` pictures that show nothing while the others do: with one of a
    covered lens in it, a memory bank takes the next for normal."""
    contrasts = [outcome.contrast for outcome in checked[:learned] if outcome.picture]
    if not contrasts or float(np.median(contrasts)) < _SOMETHING:
        return list(checked)
    reason = "shows nothing, unlike the others: one colour everywhere. Was the lens covered?"
    blank = [outcome.contrast < _NOTHING for outcome in checked[:learned]] + [False] * (len(checked) - learned)
    return [
        _Checked(None, (Unusable(outcome.picture.path, reason),)) if nothing and outcome.picture else outcome
        for outcome, nothing in zip(checked, blank, strict=True)
    ]


@dataclass(frozen=True)
class Pictures(Sequence[NDArray[np.uint8]]):
    """Pictures in files, read when they are asked for: BGR uint8 (H, W, 3). Raises :class:`DataSetError` then."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice, /) -> Pictures: ...
    def __getitem__(self, index: int | slice, /) -> NDArray[np.uint8] | Pictures:
        return Pictures(self.paths[index]) if isinstance(index, slice) else read_picture(self.paths[index])

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return read_all(self.paths)


def read_all(paths: Iterable[Path]) -> Iterator[NDArray[np.uint8]]:
    """Read pictures in order, BGR uint8 (H, W, 3); the next few are decoded meanwhile, so few are in memory.

    Raises:
        DataSetError: at the first picture that cannot be read, naming it. Skipping it in silence would hide a
            broken camera or a half-copied folder; :func:`check` finds all of them.
    """
    ahead: deque[Future[NDArray[np.uint8]]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for path in paths:
                ahead.append(pool.submit(read_picture, path))
                if len(ahead) > _AT_ONCE:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


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
    """A ground-truth mask, (H, W): true where the part is defective.

    Raises:
        DataSetError: as of :func:`training.data.masks.read`; names the file.
    """
    try:
        return masks.read(path)
    except ImageError as error:
        raise _unusable_mask(error) from error


def mask_of(picture: TestPicture, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of a picture that has one, in any size of the picture's shape.

    Args:
        size: height and width of the picture, in pixels.

    Raises:
        DataSetError: as of :func:`training.data.masks.of`; names the file.
    """
    try:
        return masks.of(picture, size)
    except ImageError as error:
        raise _unusable_mask(error) from error


def _unusable_mask(error: ImageError) -> DataSetError:
    return DataSetError(f"The mask {error}. Replace it, or remove it to go without.")


def fingerprint(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over the sorted names and contents of the files: the same wherever they lie."""
    entries = sorted((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths)
    text = "".join(f"{name}\0{digest}\n" for name, digest in entries)
    return hashlib.sha256(os.fsencode(text)).hexdigest()  # a name need not be valid Unicode


@dataclass(frozen=True)
class _Checked:
    picture: TestPicture | None
    unusable: tuple[Unusable, ...] = ()
    mask_resized: bool = False
    look: near_copies.Look | None = None
    contrast: float = 0.0
    """Standard deviation of a thumbnail, in grey levels."""
    brightest: float = 0.0
    """Of a thumbnail, in grey levels."""
    marked: float = 0.0
    """The share of the picture that its mask marks, 0..1."""


def _check_one(picture: TestPicture, learned: bool) -> _Checked:
    try:
        frame = images.read(picture.path)
    except ImageError as error:
        return _Checked(None, (Unusable(picture.path, _reason(picture.path, error)),))
    thumbnail = cv2.resize(frame, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).mean(2)
    look = near_copies.look_of(frame) if learned else None
    seen = _Checked(picture, look=look, contrast=float(thumbnail.std()), brightest=float(thumbnail.max()))
    if picture.mask is None:
        return seen
    height, width = frame.shape[:2]
    try:
        mask = masks.of(picture, (height, width))
    except ImageError as error:
        return _unmasked(seen, _reason(picture.mask, error))
    return replace(seen, mask_resized=sorted((height, width)) != sorted(mask.shape), marked=float(mask.mean()))


def _unmasked(seen: _Checked, reason: str) -> _Checked:
    assert seen.picture is not None and seen.picture.mask is not None
    return replace(seen, picture=replace(seen.picture, mask=None), unusable=(Unusable(seen.picture.mask, reason),))


def _reason(path: Path, error: ImageError) -> str:
    return str(error).removeprefix(f"{path}: ")


def listed(unusable: Iterable[Unusable]) -> list[str]:
    """Lines that name the files left out and say why; many of the same kind share one."""
    by_reason: dict[str, list[Path]] = {}
    for file in unusable:
        by_reason.setdefault(file.reason, []).append(file.path)
    lines = []
    for reason, paths in by_reason.items():
        if len(paths) > NAMED:
            lines.append(f"{len(paths)} files: {reason} ({named(paths)})")
        else:
            lines += [f"{path}: {reason}" for path in paths]
    return lines


def _lines(unusable: Iterable[Unusable]) -> str:
    return "".join(f"\n  {line}" for line in listed(unusable))
