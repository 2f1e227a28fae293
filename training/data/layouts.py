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

_MASKS = ("ground_truth", "groundtruth", "masks", "mask", "gt")
"""Names a folder of masks may have, in any case; the first of them that is there is used."""
_UNREADABLE = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), "JPEG 2000"),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".raw"), "a camera's raw file"),
    **dict.fromkeys((".pgm", ".ppm", ".pnm", ".pbm"), "Netpbm"),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm"), "a film"),
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
    ".gif": "GIF",
    ".psd": "Photoshop",
    ".exr": "OpenEXR",
    ".hdr": "Radiance HDR",
    ".svg": "SVG",
}
"""Endings of pictures that are not read, and what they are."""
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"II\x2a\x00", b"MM\x00\x2a")
_PRIVATE_TESTS = ("test_private", "test_private_mixed")
_VISA_SPLIT = Path("split_csv", "1cls.csv")
_LIGHTING = re.compile(r"\d+_(?P<lighting>.+)")

LAYOUTS = """\
  MVTec AD       DIR/train/good, DIR/test/good, DIR/test/TYPE, DIR/ground_truth/TYPE/NAME_mask.png
  MVTec LOCO     the same, with DIR/ground_truth/TYPE/NAME/000.png and so on
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
    """Where the defect is: a picture, or a folder of several, one for each part of it (MVTec LOCO). ``None`` for good
    pictures and for defects without a mask."""
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
    training_left_out: tuple[Unusable, ...] = ()
    """What lies among the pictures to learn from, and is none that can be read or reached."""
    test_left_out: tuple[Unusable, ...] = ()
    """The same among the labelled pictures and their masks."""


def defects_left_out(data_set: DataSet) -> bool:
    """Whether something that cannot be read or reached lies among the pictures of defects."""
    folders = [file.path.relative_to(data_set.folder).parts[:-1] for file in data_set.test_left_out]
    known = (*GOOD_NAMES, *_MASKS)
    return any(not any(name.lower() in known for name in names) for names in folders)


def recognise(folder: Path) -> DataSet | None:
    """The data set in a folder that exists, whatever its layout; ``None`` when it has none of the known ones.

    A folder of good pictures is asked for before pictures that lie about: those above ``good`` may be previews of
    defects, and must not be learned in its place.

    Raises:
        DataSetError: the layout is known, but something it needs is missing or wrong.
    """
    for find in (_mvtec_ad_2, _visa, _mvtec_ad, _plain_folders, _flat):
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
    test, notes, left_out = _labelled(types, folder)
    return DataSet(
        _name(folder),
        folder,
        "MVTec AD",
        training=pictures_in(good) if good else (),
        validation=pictures_in(folder / "validation" / GOOD),
        test=test,
        notes=notes + _loose(folder, folder / "train", folder / "test"),
        training_left_out=_left_out(good) if good else (),
        test_left_out=left_out,
    )


def _mvtec_ad_2(folder: Path) -> DataSet | None:
    """Heckler-Kram et al., The MVTec AD 2 Dataset, arXiv 2503.21622: the light is in the picture's name."""
    public = folder / "test_public"
    if not any((folder / name).is_dir() for name in ("test_public", *_PRIVATE_TESTS)):
        return None
    types = [entry for entry in subfolders(public) if not _holds_masks(entry)] if public.is_dir() else []
    test, notes, left_out = _labelled(types, public, lighting_of=_lighting)
    private = [(name, len(pictures_in(folder / name))) for name in _PRIVATE_TESTS]
    notes += tuple(
        f"{name} has no labels, so its pictures ({count}) are not used: MVTec's benchmark server measures on them."
        for name, count in private
        if count
    )
    return DataSet(
        _name(folder),
        folder,
        "MVTec AD 2",
        training=pictures_in(folder / "train" / GOOD),
        validation=pictures_in(folder / "validation" / GOOD),
        test=test,
        notes=notes + _loose(folder, folder / "train", public),
        training_left_out=_left_out(folder / "train" / GOOD),
        test_left_out=left_out,
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
    pictures, left_out = pictures_in(folder), _left_out(folder)
    if not pictures and not any(not file.path.is_dir() for file in left_out):
        return None
    return DataSet(_name(folder), folder, "flat", training=pictures, training_left_out=left_out)


def _plain_folders(folder: Path) -> DataSet | None:
    good = _good_folder(folder)
    if good is None:
        return None
    types = [entry for entry in subfolders(folder) if entry != good and not _holds_masks(entry)]
    defective, notes, test_left_out = _labelled(types, folder)
    pictures, left_out = pictures_in(good), _left_out(good)
    notes += _loose(folder)
    if not defective:
        return DataSet(
            _name(folder), folder, "plain folders", training=pictures, notes=notes, training_left_out=left_out
        )
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
        training_left_out=left_out,
        test_left_out=left_out + test_left_out,
    )


def _labelled(
    types: Iterable[Path],
    folder: Path,
    lighting_of: Callable[[Path], str | None] = lambda path: None,
) -> tuple[tuple[TestPicture, ...], tuple[str, ...], tuple[Unusable, ...]]:
    """Test pictures from one folder for each type, with the masks in ``folder``; notes of masks without a picture and
    of pictures without a mask; and what lies among them that cannot be read or matched."""
    root = next((entry for name in _MASKS for entry in subfolders(folder) if entry.name.lower() == name), None)
    by_type: dict[str, tuple[Path, ...]] = {}
    left_out: list[Unusable] = []
    for kind in types:
        by_type[kind.name] = pictures_in(kind)
        left_out += _left_out(kind)
    bad = {name: paths for name, paths in by_type.items() if name.lower() not in GOOD_NAMES}
    masks: dict[Path, Path] = {}
    unused: list[Path] = []
    if root is not None:
        masks, unused, refused = _matched(root, by_type, bad)
        left_out += refused
    pictures = [
        TestPicture(path, GOOD if name not in bad else name, masks.get(path), lighting_of(path))
        for name, paths in by_type.items()
        for path in paths
    ]
    pictures.sort(key=lambda picture: (picture.defective, picture.defect, picture.path))
    bare = [picture.path for picture in pictures if picture.defective and picture.mask is None]
    notes = []
    if unused:
        notes.append(f"Masks without a defective picture, not used: {named(unused)}.")
    if bare and any(picture.mask for picture in pictures):
        notes.append(f"Defective pictures without a mask: {named(bare)}.")
    return tuple(pictures), tuple(notes), tuple(left_out)


def _matched(
    root: Path, by_type: dict[str, tuple[Path, ...]], bad: dict[str, tuple[Path, ...]]
) -> tuple[dict[Path, Path], list[Path], list[Unusable]]:
    """The mask of each defective picture, the masks that belong to none, and what cannot be used.

    Masks lie in a folder for each type, as files or (MVTec LOCO) as a folder for each picture; or all in one folder,
    where the names of the pictures tell them apart.
    """
    masks: dict[Path, Path] = {}
    unused: list[Path] = []
    left_out: list[Unusable] = []
    for name in by_type:
        pictures = {path.stem: path for path in bad.get(name, ())}
        folders = [entry for entry in subfolders(root / name) if pictures_in(entry)] if (root / name).is_dir() else []
        for mask in (*pictures_in(root / name), *folders):
            picture = pictures.get(mask.name if mask in folders else _pictured(mask))
            if picture is None:
                unused.append(mask)
            elif picture in masks:
                left_out.append(Unusable(mask, f"{masks[picture].name} is the mask of {picture.name} already"))
            else:
                masks[picture] = mask
        left_out += [file for file in _left_out(root / name) if file.path not in folders]
    named: dict[str, list[Path]] = {}
    for path in (path for paths in bad.values() for path in paths):
        named.setdefault(path.stem, []).append(path)
    for mask in pictures_in(root):
        found = named.get(_pictured(mask), [])
        if len(found) > 1:
            where = " and ".join("/".join(path.parts[-2:]) for path in found[:2])
            reason = f"it may belong to {where}: put masks in a folder for each type, {root.name}/TYPE/NAME.png"
            left_out.append(Unusable(mask, reason))
        elif found and found[0] not in masks:
            masks[found[0]] = mask
        else:
            unused.append(mask)
    return masks, unused, left_out


def _holds_masks(folder: Path) -> bool:
    return folder.name.lower() in _MASKS


def _loose(*folders: Path) -> tuple[str, ...]:
    """A note of pictures that lie beside the folders of a layout."""
    found = [path for folder in folders for path in pictures_in(folder)]
    return (f"Pictures beside the folders of this layout, not used: {named(found)}.",) if found else ()


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """The files in a folder that are named as pictures that can be read, sorted; none where there is no folder."""
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


def _left_out(folder: Path) -> tuple[Unusable, ...]:
    """What lies among the pictures of a folder and is meant to be one of them, but cannot be read or reached."""
    if not folder.is_dir():
        return ()
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return tuple(Unusable(entry, reason) for entry in entries if (reason := _why_left_out(entry)) is not None)


def _why_left_out(entry: Path) -> str | None:
    suffix = entry.suffix.lower()
    if not entry.exists():
        return "a link to a file that is not there"
    if entry.is_dir():
        inside = sum(1 for path in entry.rglob("*") if path.suffix.lower() in (*images.SUFFIXES, *_UNREADABLE))
        pictures = "a picture" if inside == 1 else f"{inside} pictures"
        return f"a folder with {pictures} inside of one of pictures: move them out of it, or away" if inside else None
    if suffix in _UNREADABLE:
        return f"{_UNREADABLE[suffix]} is not read: save as JPEG or PNG"
    if suffix in images.SUFFIXES or not _looks_like_a_picture(entry):
        return None
    return f"a picture called {suffix or 'nothing'}: give it the ending of its format"


def _looks_like_a_picture(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(16).startswith(_SIGNATURES)
    except OSError:
        return False


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


def named(paths: Sequence[Path]) -> str:
    """The first few files by folder and name, and how many more there are."""
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join("/".join(path.parts[-2:]) for path in paths[:NAMED]) + more


def _name(folder: Path) -> str:
    """What the parts are called: ``bottle`` of ``bottle``, and of ``bottle/train/good`` too."""
    names = list(folder.resolve().parts)
    for known in (GOOD_NAMES, ("train",)):
        if len(names) > 2 and names[-1].lower() in known:
            names.pop()
    return names[-1]


def several(folder: Path) -> str | None:
    """The sentence for a folder whose subfolders are data sets; ``None`` for any other folder."""
    marks = ("train", "test", "test_public", "Data/Images")
    names = [entry.name for entry in subfolders(folder) if any((entry / mark).is_dir() for mark in marks)]
    return _choose_one(folder, names) if names else None
