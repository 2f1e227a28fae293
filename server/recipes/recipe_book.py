"""All recipes of this data directory, which streams they were chosen for, and their history: ``recipes.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from server.ground import OWN_FILES, Form, NewerVersion, Shelf, checksum
from server.recipes.recipe import ModelVersion, Recipe, RecipeChange, RecipeError, check

FILE = "recipes.json"
VERSION = 2
"""1: recipes did not say what a part is."""
LARGEST_FILE = 20_000_000
"""Bytes; a step of the history takes 1 kB, and up to 50 kB with many regions."""
LARGEST_IN_LINES = 2_000_000
"""Bytes up to which it is written for people to read."""
MOST_RECIPES = 100
MOST_CHOSEN = 1000
"""Streams that a recipe is chosen for."""
MOST_STEPS = 1000
MOST_BYTES_OF_STEPS = 8_000_000
MOST_EARLIER = 3
"""Models that a recipe had before, which are kept so that one can go back to them: with its pictures each may take half
a gigabyte."""


NOT_KNOWN = "not-known"
"""Stands for the default recipe where the file could not be read: no recipe has this id."""


class InUseStill(Exception):
    """It cannot be deleted while something needs it; the message says what."""


class NotTheNewest(RecipeError):
    """Somebody else changed the recipe since; says who."""


def require_newest(newest: Recipe, version: int | None) -> None:
    """Check that a version is the newest one of its recipe.

    Raises:
        NotTheNewest: it is not.
    """
    if newest.version != version:
        raise NotTheNewest(
            f"{newest.who or 'somebody'} changed {newest.name} since ({newest.why or 'no reason given'}): it is "
            f"version {newest.version} now; look at it and change it again"
        )


class Contents(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says. ``chosen``: id of a recipe by the stream's name; ``history``: oldest first."""

    recipes: tuple[Recipe, ...] = ()
    default: str | None = None
    chosen: dict[str, str] = {}
    history: tuple[RecipeChange, ...] = ()


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """``sha256``: of the contents as JSON, without a space."""

    version: int
    sha256: str
    contents: Contents


class _AsWritten(Struct):
    sha256: str
    contents: dict[str, Any]


class _Version(Struct):
    version: int


def encode(contents: Contents) -> bytes:
    data = msgspec.json.encode(_File(VERSION, checksum(contents), contents))
    # In lines it takes up to six times as much, and all that there may be must fit into the largest file.
    return msgspec.json.format(data, indent=1) if len(data) <= LARGEST_IN_LINES else data


def decode(data: bytes) -> tuple[Contents, bool]:
    """What a file says, and whether it is of an older version.

    Raises:
        msgspec.MsgspecError, ValueError, RecursionError: it is not such a file, or not what it says of itself.
    """
    version = msgspec.json.decode(data, type=_Version).version
    if not 1 <= version <= VERSION:
        kind = NewerVersion if version > VERSION else ValueError
        raise kind(f"its version is {version}, this software reads {VERSION}")
    file = msgspec.json.decode(data, type=_File)
    written = msgspec.json.decode(data, type=_AsWritten)  # an older file lacks fields that its contents have by now
    if written.sha256 != checksum(written.contents):
        raise ValueError("its checksum is not that of its contents")
    contents = file.contents
    for recipe in (*contents.recipes, *(change.after for change in contents.history)):
        check(recipe)
    if len({recipe.id for recipe in contents.recipes}) < len(contents.recipes):
        raise ValueError("two recipes in it have the same id")
    return contents, version != VERSION


FORM: Form[Contents] = Form(
    largest=LARGEST_FILE,
    encode=encode,
    decode=decode,
    empty=Contents(),
    # Which recipe a stream had is not known: with the one that happens to be left it would be judged as another
    # product. That stays so, over restarts, until somebody chooses.
    unknown=Contents(default=NOT_KNOWN),
    without="it is not known which recipe streams are inspected with, so none is inspected",
    then="put the file back and start again, or choose a default recipe",
)


DOCUMENTS: Mapping[str, Form[Any]] = {FILE: FORM}
"""What gateways of a plant share of this, by the path in the data directory."""


class RecipeBook:
    """The recipes, as they lie on disk. Every change is one atomic write that holds the new version and its step of
    the history, so that neither is without the other."""

    def __init__(self, folder: Path, shelf: Shelf = OWN_FILES) -> None:
        self._file = shelf.keep(folder / FILE, FORM)

    @property
    def warning(self) -> str | None:
        """What was wrong with the file at the start, for the operator; or nothing."""
        return self._file.warning

    @property
    def names_all(self) -> bool:
        """Whether nothing else is in use than what is named here: not while a damaged, newer or missing file may come
        back."""
        return self._file.is_whole

    def recover(self) -> bool:
        """Read what others changed. Returns whether there is anything.

        Raises:
            OSError: it cannot be read now.
        """
        return self._file.recover()

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """In the order they were made."""
        return self._file.contents.recipes

    @property
    def default(self) -> str | None:
        """Id of the recipe for streams that none was chosen for, if somebody chose one."""
        return self._file.contents.default

    @property
    def chosen(self) -> Mapping[str, str]:
        """Id of the recipe that was chosen for a stream, by its name."""
        return self._file.contents.chosen

    def get(self, recipe: str) -> Recipe | None:
        """The newest version of a recipe."""
        return _find(self._file.contents, recipe)

    def history(self, recipe: str | None = None) -> tuple[RecipeChange, ...]:
        """What was done to a recipe, or to all, newest first."""
        steps = self._file.contents.history
        return tuple(step for step in reversed(steps) if recipe in (None, step.after.id))

    def version(self, recipe: str, version: int) -> Recipe | None:
        """A recipe as it was, as long as the history remembers it."""
        for step in self.history(recipe):
            for one in (step.after, step.before):
                if one is not None and one.version == version:
                    return one
        return next((one for one in self.recipes if (one.id, one.version) == (recipe, version)), None)

    def named(self) -> list[ModelVersion]:
        """What is to be kept: the model of each recipe, and of those that it had before the newest few, each with all
        corrections that its history names."""
        found = [recipe.model for recipe in self.recipes]
        kept = {recipe.id: {recipe.model.taught} for recipe in self.recipes}
        for step in self.history():
            of = kept.setdefault(step.after.id, set())
            for one in (step.after, step.before):
                if one is None:
                    continue
                if one.model.taught not in of and len(of) <= MOST_EARLIER:
                    of.add(one.model.taught)
                if one.model.taught in of:
                    found.append(one.model)
        return found

    def change(
        self,
        change: RecipeChange,
        *,
        stream: str | None = None,
        as_default: bool = False,
        given: Recipe | None = None,
    ) -> Recipe:
        """Store a new version, or a new recipe where there was none before.

        Args:
            stream: for which it is chosen in the same step; ``as_default``: for all that none was chosen for, where
                nobody chose a default one.
            given: what may be changed without being here yet, as it was given at the start.

        Raises:
            NotTheNewest: ``before`` is not the newest version any more, or was deleted.
            RecipeError: it cannot be a recipe, or there are too many.
            OSError: it cannot be stored; nothing changes.
        """
        recipe = check(change.after)

        def step(contents: Contents) -> Contents:
            newest = _find(contents, recipe.id)
            if newest is not None:
                require_newest(newest, change.before.version if change.before else None)
            elif change.before not in (None, given):
                raise NotTheNewest(f"{recipe.name} was deleted since, perhaps at another gateway: nothing was changed")
            if newest is None and len(contents.recipes) >= MOST_RECIPES:
                raise RecipeError(f"there are {MOST_RECIPES} recipes already: delete one that is not needed")
            places = tuple(recipe if one.id == recipe.id else one for one in contents.recipes)
            return Contents(
                recipes=(*places, recipe) if newest is None else places,
                default=recipe.id if as_default and contents.default is None else contents.default,
                chosen=contents.chosen if stream is None else _chosen(contents, stream, recipe.id),
                history=_bounded((*contents.history, change)),
            )

        self._file.change(step)
        return recipe

    def delete(self, recipe: str, version: int, *, keeps_first: bool = False) -> None:
        """Take a recipe out of the book; its history goes with it. Streams that it was chosen for keep that choice:
        with another recipe they would be judged as another product, and nobody would have said so.

        Args:
            keeps_first: whether there may be gateways for which the first one is the default until one is chosen.

        Raises:
            NotTheNewest: somebody changed it since.
            InUseStill: it is the default one.
            OSError: it cannot be stored; nothing changes.
        """

        def step(contents: Contents) -> Contents:
            newest = _find(contents, recipe)
            if newest is not None and newest.version != version:
                raise NotTheNewest(
                    f"{newest.name} was changed since: it is version {newest.version} now; nothing was deleted"
                )
            if newest is not None:
                _require_no_default(contents, newest, keeps_first)
            return msgspec.structs.replace(
                contents,
                recipes=tuple(one for one in contents.recipes if one.id != recipe),
                history=tuple(step for step in contents.history if step.after.id != recipe),
            )

        self._file.change(step)

    def choose(self, stream: str, recipe: str | None) -> None:
        """Remember with which recipe a stream is inspected; None: with the default one.

        Raises:
            RecipeError: one is chosen for too many streams already; nothing changes.
            OSError: it cannot be stored; nothing changes.
        """
        self._file.change(lambda contents: msgspec.structs.replace(contents, chosen=_chosen(contents, stream, recipe)))

    def choose_default(self, recipe: str | None) -> None:
        """Remember with which recipe streams are inspected that none was chosen for.

        Raises:
            OSError: it cannot be stored; nothing changes.
        """
        self._file.change(lambda contents: msgspec.structs.replace(contents, default=recipe))


def _find(contents: Contents, recipe: str) -> Recipe | None:
    """The newest version of a recipe."""
    return next((one for one in contents.recipes if one.id == recipe), None)


def _require_no_default(contents: Contents, recipe: Recipe, keeps_first: bool) -> None:
    """Check that streams which none was chosen for are not inspected with a recipe.

    Raises:
        InUseStill: they are.
    """
    if recipe.id == contents.default:
        raise InUseStill(f"{recipe.name} is what streams are inspected with by default: choose another first")
    if keeps_first and contents.default is None and contents.recipes[0].id == recipe.id:
        raise InUseStill(
            f"{recipe.name} is the plant's first recipe, which gateways without a model of their own inspect with "
            "until a default one is chosen: choose one first"
        )


def _chosen(contents: Contents, stream: str, recipe: str | None) -> dict[str, str]:
    """What is chosen once a stream has this recipe; None: the default one.

    Raises:
        RecipeError: one is chosen for too many streams already.
    """
    chosen = {name: one for name, one in contents.chosen.items() if name != stream}
    if recipe is not None:
        # Whichever made room would be inspected with another recipe from now on, and nobody would notice.
        if len(chosen) >= MOST_CHOSEN:
            raise RecipeError(
                f"a recipe is chosen for {MOST_CHOSEN} streams already: choose the default one for a stream that "
                f"is gone, as {next(iter(chosen))} may be, whose was chosen longest ago"
            )
        chosen[stream] = recipe
    return chosen


def _bounded(history: tuple[RecipeChange, ...]) -> tuple[RecipeChange, ...]:
    """The newest steps of a history, oldest first, as many as are kept."""
    kept: list[RecipeChange] = []
    size = 0
    for step in reversed(history[-MOST_STEPS:]):
        size += len(msgspec.json.encode(step))
        if size > MOST_BYTES_OF_STEPS and kept:
            break
        kept.append(step)
    return tuple(reversed(kept))
