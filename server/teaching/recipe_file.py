"""A recipe as one file, from one server to another: a ZIP with what it says, its model and its corrections.

Entries have names of the kinds that are listed here, or the file is refused before anything is written.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from detector import ModelError, TaughtModel
from detector.files import read_whole
from server.recipes import (
    SUFFIXES,
    Correction,
    Decision,
    ModelKeep,
    ModelVersion,
    NoRoom,
    PartRule,
    Recipe,
    RecipeError,
    Regions,
    StreamOptions,
    ThresholdRule,
    check,
    check_name,
)
from server.teaching.archive import MOST_RATIO, UNREADABLE, opened
from server.teaching.files import write_model
from server.teaching.library import Library
from server.teaching.trial import try_out
from server.teaching.work_thread import NotStored

VERSION = 2
"""1: recipes did not say what a part is."""
ABOUT = "recipe.json"
LARGEST_ABOUT = 1_000_000
LARGEST = 1_000_000_000
"""Bytes of all that is in the file, unpacked."""
MOST_ENTRIES = 2000
BLOCK = 1 << 20
_SMALL = 100_000
"""Bytes below which no ratio is looked at."""

_MODEL = re.compile(r"model/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_CORRECTION = re.compile(r"corrections/([0-9a-f]{12})(\.json|\.safetensors|\.jpg|\.png)")
_NOT_ONE = "this is not a recipe file: take one that this software exported"


class About(Struct, frozen=True, forbid_unknown_fields=True):
    """What ``recipe.json`` says. ``files``: sha256 of every other entry, by its name."""

    version: int
    name: str
    model: ModelVersion
    regions: Regions
    rule: ThresholdRule
    decision: Decision
    options: StreamOptions
    files: dict[str, str]
    parts: PartRule = PartRule()


class _Version(Struct):
    version: int


async def pack(library: Library, recipe: Recipe, folder: Path) -> Path:
    """Write the file of a recipe, piece by piece.

    Args:
        folder: an empty one for it, see :meth:`Library.temporary`.

    Raises:
        ModelError: its model is not here, or was made by other software.
        NotStored: it cannot be written.
    """
    model = await library.ask(partial(library.models.as_taught, recipe.model.taught))
    if not isinstance(model, TaughtModel):
        raise ModelError("a model that other software made cannot be exported: copy its folder")
    try:
        return await asyncio.to_thread(_pack, library.keep, recipe, model, folder)
    except OSError as error:
        raise NotStored(
            f"the recipe file is put together in the data directory, which cannot be written ({error.strerror}): make "
            "room there, then try again"
        ) from error


def _pack(keep: ModelKeep, recipe: Recipe, model: TaughtModel, folder: Path) -> Path:
    write_model(model, folder / "model")
    files: dict[str, str] = {}
    with zipfile.ZipFile(folder / "recipe.zip", "w", zipfile.ZIP_STORED) as archive:
        for path in sorted((folder / "model").iterdir()):
            if path.is_file():
                files[f"model/{path.name}"] = _add(archive, path, f"model/{path.name}")
        for name in recipe.model.corrections:
            for suffix in SUFFIXES:
                data = keep.correction_file(recipe.model.taught, name, suffix)
                archive.writestr(f"corrections/{name}{suffix}", data)
                files[f"corrections/{name}{suffix}"] = hashlib.sha256(data).hexdigest()
        about = About(
            VERSION,
            recipe.name,
            recipe.model,
            recipe.regions,
            recipe.rule,
            recipe.decision,
            recipe.options,
            files,
            recipe.parts,
        )
        archive.writestr(ABOUT, msgspec.json.format(msgspec.json.encode(about), indent=1))
    shutil.rmtree(folder / "model", ignore_errors=True)
    return folder / "recipe.zip"


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> str:
    """Put a file into an archive; its sha256."""
    digest = hashlib.sha256()
    with path.open("rb") as file, archive.open(zipfile.ZipInfo.from_file(path, name), "w") as entry:
        while block := file.read(BLOCK):
            digest.update(block)
            entry.write(block)
    return digest.hexdigest()


async def unpack(library: Library, data: bytes, *, who: str, on: str) -> Recipe:
    """Take in a recipe file: a new recipe, that no stream is inspected with yet. Its model is tried in another process
    first, and nobody who changes a recipe waits for that.

    Raises:
        RecipeError, ModelError: it is none, or damaged, or of another version; nothing changes.
        NotStored: it cannot be stored, or there is no room for it; nothing changes.
    """
    folder = await library.ask(library.temporary)
    try:
        about = await asyncio.to_thread(_read, data, folder, library.keep.require_room)
        with _refusing(folder):
            await try_out(folder / "model", library.models.runtime)
        async with library.changing_all(), library.taking_in():
            await library.in_thread(partial(_take_in, library, about, folder))
            made = Recipe(
                library.new_id(),
                library.free_name(about.name),
                1,
                about.model,
                about.regions,
                about.rule,
                about.decision,
                about.options,
                about.parts,
            )
            return await library.store(None, made, "imported", who=who, why=f"from the file {on}", on=on)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _read(data: bytes, folder: Path, require_room: Callable[[int], None]) -> About:
    """What a recipe file says; what is in it lies in the folder afterwards, under the names that it has there.

    Args:
        require_room: raises OSError where there is no room for so many bytes.

    Raises:
        RecipeError: it is none, or damaged.
        NotStored: it cannot be written.
    """
    try:
        with opened(data, "take one that this software exported") as archive:
            return _read_archive(archive, folder, require_room)
    except (RecipeError, NotStored):
        raise
    except NoRoom as error:
        raise NotStored(str(error)) from error
    except UNREADABLE as error:
        raise RecipeError(f"{_NOT_ONE} ({_short(error)})") from error


def _read_archive(archive: zipfile.ZipFile, folder: Path, require_room: Callable[[int], None]) -> About:
    entries = archive.infolist()
    whole = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_ENTRIES or whole > LARGEST:
        raise RecipeError("the recipe file holds more than any recipe does")
    if len({entry.filename for entry in entries}) < len(entries):
        raise RecipeError("two entries of the recipe file have the same name")
    for entry in entries:
        _judge(entry)
    require_room(whole)
    found, said = dict[str, str](), b""
    for entry in entries:
        if entry.filename == ABOUT:
            said = b"".join(_blocks(archive, entry, LARGEST_ABOUT))
        else:
            found[entry.filename] = _unpack(archive, entry, folder / entry.filename)
    about = _about(said)
    for name, digest in found.items():
        if about.files.get(name) != digest:
            raise RecipeError(f"the recipe file is damaged: {name} is not what it says")
    if missing := sorted(about.files.keys() - found.keys()):
        raise RecipeError(f"the recipe file is damaged: {missing[0][:60]} is missing")
    return about


def _judge(entry: zipfile.ZipInfo) -> None:
    """Refuse what is no part of a recipe file, before anything is unpacked."""
    name = entry.filename
    known = name == ABOUT or _MODEL.fullmatch(name) or _CORRECTION.fullmatch(name)
    if not known or entry.is_dir():
        raise RecipeError(f"{_NOT_ONE} (it holds {name[:60]!r})")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RecipeError(f"{_NOT_ONE} (it is compressed in another way)")
    if entry.file_size > max(_SMALL, MOST_RATIO * entry.compress_size):
        raise RecipeError(f"{_NOT_ONE} ({name[:60]} would unpack to more than {MOST_RATIO} times its size)")


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> str:
    """Write an entry; its sha256."""
    digest = hashlib.sha256()
    with _writing(path) as file:
        for block in _blocks(archive, entry, LARGEST):
            digest.update(block)
            with _refused_disk():
                file.write(block)
    return digest.hexdigest()


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    with _refused_disk():
        path.parent.mkdir(exist_ok=True)
        file = path.open("xb")
    try:
        yield file
    finally:
        with _refused_disk():
            file.close()


@contextmanager
def _refused_disk() -> Iterator[None]:
    """Tell a disk that takes nothing from a file that cannot be read."""
    try:
        yield
    except OSError as error:
        raise NotStored(
            f"the data directory cannot be written ({error.strerror}): make room there; nothing was changed"
        ) from error


def _blocks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> Iterator[bytes]:
    """Block by block: what an entry says of its size need not be true."""
    size = 0
    with archive.open(entry) as file:
        while block := file.read(BLOCK):
            size += len(block)
            if size > most or size > entry.file_size:
                raise RecipeError("the recipe file holds more than it says")
            yield block


def _about(data: bytes) -> About:
    if not data:
        raise RecipeError(_NOT_ONE)
    try:
        version = msgspec.json.decode(data, type=_Version).version
        if not 1 <= version <= VERSION:
            words = f"the recipe file is of version {str(version)[:20]}, this software reads {VERSION}: update it"
            raise RecipeError(words)
        about = msgspec.json.decode(data, type=About)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RecipeError(f"{_NOT_ONE} ({str(error)[:100]})") from error
    check_name(about.name)
    check(Recipe("", about.name, 1, about.model, about.regions, about.rule, about.decision, about.options, about.parts))
    wanted = {f"corrections/{name}{suffix}" for name in about.model.corrections for suffix in SUFFIXES}
    if wanted != {name for name in about.files if name.startswith("corrections/")}:
        raise RecipeError("the recipe file is damaged: its corrections are not those it names")
    return about


def _take_in(library: Library, about: About, folder: Path) -> None:
    """Move what was unpacked to where it belongs, if it is what it says."""
    with _refusing(folder):
        taught = library.take_in(folder / "model", None)
    if taught != about.model.taught:
        raise RecipeError("the recipe file is damaged: its model is another one than it names")
    for name in about.model.corrections:
        try:
            files = {suffix: read_whole(folder / "corrections" / f"{name}{suffix}") for suffix in SUFFIXES}
            correction = msgspec.json.decode(files[".json"], type=Correction)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RecipeError(f"the recipe file is damaged: the correction {name} cannot be read") from error
        if correction.id != name:
            raise RecipeError(f"the recipe file is damaged: the correction {name} is another one")
        try:
            library.keep.put_correction(taught, name, files)
        except ModelError as error:
            raise RecipeError(f"the recipe file cannot be used: {error}") from error


@contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    """Say of the recipe file that lies in a folder what is said of its model.

    Raises:
        RecipeError: the model cannot be used.
    """
    try:
        yield
    except ModelError as error:
        words = str(error).replace(f"{folder}/", "")
        raise RecipeError(f"the recipe file cannot be used: {words}") from error


def _short(error: Exception) -> str:
    return "".join(sign for sign in str(error) if sign.isprintable())[:100]
