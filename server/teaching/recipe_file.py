"""A recipe as one file, from one server to another: a ZIP with what it says, its model and its corrections.

Nothing is ever written under a name from the file: entries have the names that are listed here, or the file is refused.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from detector import ModelError, TaughtModel
from server.recipes import (
    SUFFIXES,
    Correction,
    Decision,
    ModelVersion,
    Recipe,
    RecipeError,
    Regions,
    StreamOptions,
    ThresholdRule,
    check,
    check_name,
)
from server.teaching.archive import UNREADABLE
from server.teaching.library import Library

VERSION = 1
ABOUT = "recipe.json"
LARGEST_ABOUT = 1_000_000
LARGEST = 1_000_000_000
"""Bytes of all that is in the file, unpacked."""
MOST_ENTRIES = 2000
BLOCK = 1 << 20

_MODEL = re.compile(r"model/([A-Za-z0-9_.-]{1,100})")
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


class _Version(Struct):
    version: int


def pack(library: Library, recipe: Recipe) -> bytes:
    """The file of a recipe. For the library's thread.

    Raises:
        ModelError: its model is not here, or was made by other software.
    """
    model = library.models.as_taught(recipe.model.taught)
    if not isinstance(model, TaughtModel):
        raise ModelError("a model that other software made cannot be exported: copy its folder")
    temporary = library.temporary()
    try:
        model.save(temporary / "model")
        files: dict[str, bytes] = {
            f"model/{path.name}": path.read_bytes()
            for path in sorted((temporary / "model").iterdir())
            if path.is_file()
        }
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for name in recipe.model.corrections:
        for suffix in SUFFIXES:
            files[f"corrections/{name}{suffix}"] = library.keep.correction_file(recipe.model.taught, name, suffix)
    about = About(
        VERSION,
        recipe.name,
        recipe.model,
        recipe.regions,
        recipe.rule,
        recipe.decision,
        recipe.options,
        {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(ABOUT, msgspec.json.format(msgspec.json.encode(about), indent=1))
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


async def unpack(library: Library, data: bytes, *, who: str, on: str) -> Recipe:
    """Take in a recipe file: a new recipe, that no stream is inspected with yet.

    Raises:
        RecipeError, ModelError: it is none, or damaged, or of another version; nothing changes.
        OSError: it cannot be stored; nothing changes.
    """
    about, files = await library.ask(partial(_read, data))
    async with library.changing_all():
        await library.in_thread(partial(_take_in, library, about, files))
        made = Recipe(
            library.new_id(),
            library.free_name(about.name),
            1,
            about.model,
            about.regions,
            about.rule,
            about.decision,
            about.options,
        )
        return await library.store(None, made, "imported", who=who, why=f"from the file {on}", on=on)


def _read(data: bytes) -> tuple[About, dict[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_archive(archive)
    except RecipeError:
        raise
    except UNREADABLE as error:
        raise RecipeError(f"{_NOT_ONE} ({str(error)[:100]})") from error


def _read_archive(archive: zipfile.ZipFile) -> tuple[About, dict[str, bytes]]:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES or sum(entry.file_size for entry in entries) > LARGEST:
        raise RecipeError("the recipe file holds more than any recipe does")
    if len({entry.filename for entry in entries}) < len(entries):
        raise RecipeError("two entries of the recipe file have the same name")
    left = LARGEST
    found = dict[str, bytes]()
    for entry in entries:
        known = entry.filename == ABOUT or _MODEL.fullmatch(entry.filename) or _CORRECTION.fullmatch(entry.filename)
        if not known or entry.is_dir():
            raise RecipeError(f"{_NOT_ONE} (it holds {entry.filename[:60]!r})")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RecipeError(f"{_NOT_ONE} (it is compressed in another way)")
        found[entry.filename] = _unpacked(archive, entry, left)
        left -= len(found[entry.filename])
    about = _about(found.pop(ABOUT, b""))
    for name, data in found.items():
        if about.files.get(name) != hashlib.sha256(data).hexdigest():
            raise RecipeError(f"the recipe file is damaged: {name} is not what it says")
    if missing := sorted(about.files.keys() - found.keys()):
        raise RecipeError(f"the recipe file is damaged: {missing[0][:60]} is missing")
    return about, found


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    """Block by block: what an entry says of its size need not be true."""
    data = bytearray()
    with archive.open(entry) as file:
        while block := file.read(BLOCK):
            data += block
            if len(data) > most or len(data) > entry.file_size:
                raise RecipeError("the recipe file holds more than it says")
    return bytes(data)


def _about(data: bytes) -> About:
    if not data or len(data) > LARGEST_ABOUT:
        raise RecipeError(_NOT_ONE)
    try:
        version = msgspec.json.decode(data, type=_Version).version
        if version != VERSION:
            words = f"the recipe file is of version {str(version)[:20]}, this software reads {VERSION}: update it"
            raise RecipeError(words)
        about = msgspec.json.decode(data, type=About)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RecipeError(f"{_NOT_ONE} ({str(error)[:100]})") from error
    check_name(about.name)
    check(Recipe("", about.name, 1, about.model, about.regions, about.rule, about.decision, about.options))
    wanted = {f"corrections/{name}{suffix}" for name in about.model.corrections for suffix in SUFFIXES}
    if wanted != {name for name in about.files if name.startswith("corrections/")}:
        raise RecipeError("the recipe file is damaged: its corrections are not those it names")
    return about


def _take_in(library: Library, about: About, files: Mapping[str, bytes]) -> None:
    temporary = library.temporary()
    try:
        for name, data in files.items():
            if (match := _MODEL.fullmatch(name)) is not None:
                _write(temporary / "model", match[1], data)
        try:
            taught = library.take_in(temporary / "model", None)
        except ModelError as error:
            words = str(error).replace(f"{temporary}/", "")
            raise RecipeError(f"the recipe file cannot be used: {words}") from error
        if taught != about.model.taught:
            raise RecipeError("the recipe file is damaged: its model is another one than it names")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for name in about.model.corrections:
        try:
            correction = msgspec.json.decode(files[f"corrections/{name}.json"], type=Correction)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RecipeError(f"the recipe file is damaged: the correction {name} cannot be read") from error
        if correction.id != name:
            raise RecipeError(f"the recipe file is damaged: the correction {name} is another one")
        try:
            library.keep.put_correction(taught, name, {s: files[f"corrections/{name}{s}"] for s in SUFFIXES})
        except ModelError as error:
            raise RecipeError(f"the recipe file cannot be used: {error}") from error


def _write(folder: Path, name: str, data: bytes) -> None:
    if name in (".", "..") or name.startswith("."):
        raise RecipeError(_NOT_ONE)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
