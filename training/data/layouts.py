"""How data sets lie on disk: each layout is recognised by its folders, and gives the same :class:`DataSet`."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from detector import images

GOOD = "good"
GOOD_NAMES = ("good", "normal", "ok")
"""Names a folder of good pictures may have, in any case."""

Layout = Literal["MVTec AD", "MVTec AD 2", "VisA", "plain folders", "flat"]

NAMED = 5
"""Files named in a note before it says how many more there are."""
KEPT_FOR_MEASURING = 5
"""Where nobody made a split, every fifth good picture is kept for measuring."""

_MASKS = ("ground_truth", "masks", "mask")
_PRIVATE_TESTS = ("test_private", "test_private_mixed")
_VISA_SPLIT = Path("split_csv", "1cls.csv")
_LIGHTING = re.compile(r"\d+_(?P<lighting>.+)")

LAYOUTS = """\
  MVTec AD       DIR/train/good, DIR/test/good, DIR/test/TYPE, DIR/ground_truth/TYPE/NAME_mask.png
  MVTec AD 2     DIR/train/good, DIR/validation/good, DIR/test_public/{good,bad,ground_truth/bad}
  VisA           DIR/Data/Images/{Normal,Anomaly}, DIR/Data/Masks/Anomaly, and split_csv/1cls.csv beside DIR
  plain folders  DIR/good and DIR/TYPE, one folder for each type of defect
  flat           pictures of good parts directly in DIR: to learn from only"""


class DataSetError(ValueError):
    """A data set that cannot be used. The message is one for the operator: what is wrong and what to do."""


@dataclass(frozen=True)
class TestPicture:
    """One labelled picture."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    path: Path
    defect: str
    """The type of defect (name of its folder), or ``good``."""
    mask: Path | None = None
    """Where the defect is; ``None`` for good pictures and for defects without a mask."""
    lighting: str | None = None
    """The light it was taken in (MVTec AD 2), such as ``regular`` or ``overexposed``."""

    @property
    def defective(self) -> bool:
        return self.defect != GOOD


@dataclass(frozen=True)
class Unusable:
    """A file that is left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class DataSet:
    """The pictures of one kind of part."""

    name: str
    folder: Path
    layout: Layout
    training: tuple[Path, ...] = ()
    """Good parts to learn from, sorted by name."""
    validation: tuple[Path, ...] = ()
    """Good parts neither learned nor measured, where a layout has them (MVTec AD 2)."""
    test: tuple[TestPicture, ...] = ()
    """Labelled pictures: good ones first, then by type of defect and name."""
    notes: tuple[str, ...] = ()
    """What was found and is not used, or not as it seems."""
    unusable: tuple[Unusable, ...] = ()
    """Files left out because they cannot be read or do not match; known once the pictures are checked."""


def recognise(folder: Path) -> DataSet | None:
    """The data set in a folder that exists, whatever its layout; ``None`` when it has none of the known ones.

    Raises:
        DataSetError: the layout is known, but something it needs is missing or wrong.
    """
    for find in (_mvtec_ad_2, _visa, _mvtec_ad, _flat, _plain_folders):
        if (found := find(folder)) is not None:
            return found
    return None


def subfolders(folder: Path) -> tuple[Path, ...]:
    """Sorted by name, without hidden ones."""
    return tuple(sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")))


def _mvtec_ad(folder: Path) -> DataSet | None:
    """Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021."""
    good = _good_folder(folder / "train")
    if good is None and not (folder / "test").is_dir():
        return None
    types = subfolders(folder / "test") if (folder / "test").is_dir() else ()
    test, notes = _labelled(types, lambda kind: folder / "ground_truth" / kind)
    return DataSet(
        _name(folder),
        folder,
        "MVTec AD",
        training=_pictures_in(good) if good else (),
        validation=_pictures_in(folder / "validation" / GOOD),
        test=test,
        notes=notes,
    )


def _mvtec_ad_2(folder: Path) -> DataSet | None:
    """Heckler-Kram et al., The MVTec AD 2 Dataset, arXiv 2503.21622: the light is in the picture's name."""
    public = folder / "test_public"
    if not any((folder / name).is_dir() for name in ("test_public", *_PRIVATE_TESTS)):
        return None
    types = [entry for entry in subfolders(public) if entry.name not in _MASKS] if public.is_dir() else []
    test, notes = _labelled(types, lambda kind: public / "ground_truth" / kind, lighting_of=_lighting)
    private = [(name, len(_pictures_in(folder / name))) for name in _PRIVATE_TESTS]
    notes += tuple(
        f"{name} has no labels, so its pictures ({count}) are not used: MVTec's benchmark server measures on them."
        for name, count in private
        if count
    )
    return DataSet(
        _name(folder),
        folder,
        "MVTec AD 2",
        training=_pictures_in(folder / "train" / GOOD),
        validation=_pictures_in(folder / "validation" / GOOD),
        test=test,
        notes=notes,
    )


def _visa(folder: Path) -> DataSet | None:
    """Zou et al., SPot-the-Difference, ECCV 2022: one table says for all objects what is learned and what measured."""
    if (folder / _VISA_SPLIT).is_file():
        objects = sorted({row["object"] for row in _visa_rows(folder / _VISA_SPLIT)})
        raise DataSetError(_choose_one(folder, objects))
    if not (folder / "Data" / "Images").is_dir():
        return None
    root = folder.resolve().parent
    split = root / _VISA_SPLIT
    if not split.is_file():
        raise DataSetError(
            f"{folder} is in VisA's layout, but VisA's split is missing: put its file at {split}, so that figures can "
            f"be compared with those of others."
        )
    rows = [row for row in _visa_rows(split) if row["object"] == _name(folder)]
    if not rows:
        raise DataSetError(f"{split} has no rows for {_name(folder)}: the folder must have the name VisA gave it.")
    test = [
        TestPicture(_inside(root, row["image"], split), GOOD)
        if row["label"] == "normal"
        else TestPicture(
            _inside(root, row["image"], split),
            row["label"],
            _inside(root, row["mask"], split) if row["mask"] else None,
        )
        for row in rows
        if row["split"] == "test"
    ]
    return DataSet(
        _name(folder),
        folder,
        "VisA",
        training=tuple(
            sorted(
                _inside(root, row["image"], split)
                for row in rows
                if row["split"] == "train" and row["label"] == "normal"  # other tables of VisA's teach defects too
            )
        ),
        test=tuple(sorted(test, key=lambda picture: (picture.defective, picture.defect, picture.path))),
    )


def _flat(folder: Path) -> DataSet | None:
    pictures = _pictures_in(folder)
    return DataSet(_name(folder), folder, "flat", training=pictures) if pictures else None


def _plain_folders(folder: Path) -> DataSet | None:
    good = _good_folder(folder)
    if good is None:
        return None
    types = [entry for entry in subfolders(folder) if entry not in (good, *(folder / name for name in _MASKS))]
    defective, notes = _labelled(types, lambda kind: folder / "ground_truth" / kind)
    pictures = _pictures_in(good)
    if not defective:
        return DataSet(_name(folder), folder, "plain folders", training=pictures, notes=notes)
    kept = pictures[KEPT_FOR_MEASURING - 1 :: KEPT_FOR_MEASURING]
    notes += (
        f"{folder} has no split of its own: every fifth picture in {good.name}, {len(kept)} of {len(pictures)}, is "
        "kept for measuring and never learned.",
    )
    return DataSet(
        _name(folder),
        folder,
        "plain folders",
        training=tuple(path for path in pictures if path not in set(kept)),
        test=(*(TestPicture(path, GOOD) for path in kept), *defective),
        notes=notes,
    )


def _labelled(
    types: Iterable[Path],
    masks_of: Callable[[str], Path],
    lighting_of: Callable[[Path], str | None] = lambda path: None,
) -> tuple[tuple[TestPicture, ...], tuple[str, ...]]:
    """Test pictures from one folder for each type, with their masks, and notes of masks without a picture and of
    pictures without a mask."""
    pictures: list[TestPicture] = []
    unused: list[Path] = []
    for kind in types:
        masks = {_pictured(mask): mask for mask in _pictures_in(masks_of(kind.name))}
        defect = GOOD if kind.name.lower() in GOOD_NAMES else kind.name
        for path in _pictures_in(kind):
            mask = masks.pop(path.stem, None) if defect != GOOD else None
            pictures.append(TestPicture(path, defect, mask, lighting_of(path)))
        unused += masks.values()
    pictures.sort(key=lambda picture: (picture.defective, picture.defect, picture.path))
    bare = [picture.path for picture in pictures if picture.defective and picture.mask is None]
    notes = []
    if unused:
        notes.append(f"Masks without a defective picture, not used: {_named(unused)}.")
    if bare and any(picture.mask for picture in pictures):
        notes.append(f"Defective pictures without a mask: {_named(bare)}.")
    return tuple(pictures), tuple(notes)


def _pictures_in(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    # Names with a leading dot are leftovers of file managers (macOS writes ._NAME.jpg beside NAME.jpg).
    return tuple(
        sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in images.SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    )


def _good_folder(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    return next((entry for entry in subfolders(folder) if entry.name.lower() in GOOD_NAMES), None)


def _pictured(mask: Path) -> str:
    """The picture a mask belongs to: ``000_mask.png`` and ``000.png`` both say 000."""
    return mask.stem.removesuffix("_mask")


def _lighting(path: Path) -> str | None:
    named = _LIGHTING.fullmatch(path.stem)
    return named["lighting"] if named else None


def _visa_rows(table: Path) -> list[dict[str, str]]:
    columns = {"object", "split", "label", "image", "mask"}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            named = columns <= set(reader.fieldnames or ())
            rows = [{name: row[name] or "" for name in columns} for row in reader] if named else []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataSetError(f"{table} cannot be read: {error}.") from error
    if not named:
        raise DataSetError(f"{table} is not VisA's table: its first line must be object,split,label,image,mask.")
    return rows


def _inside(root: Path, name: str, table: Path) -> Path:
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts:
        raise DataSetError(f"{table} names a file outside of its data set: {name!r}. Take VisA's own table.")
    return root / relative


def _choose_one(folder: Path, names: Sequence[str]) -> str:
    return (
        f"{folder} holds several data sets: {', '.join(names)}. Give the folder of one of them, such as "
        f"{folder / names[0]}."
        if names
        else f"{folder} holds no data set."
    )


def _named(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join("/".join(path.parts[-2:]) for path in paths[:NAMED]) + more


def _name(folder: Path) -> str:
    return folder.resolve().name


def several(folder: Path) -> str | None:
    """The sentence for a folder whose subfolders are data sets; ``None`` for any other folder."""
    marks = ("train", "test", "test_public", "Data/Images")
    names = [entry.name for entry in subfolders(folder) if any((entry / mark).is_dir() for mark in marks)]
    return _choose_one(folder, names) if names else None
