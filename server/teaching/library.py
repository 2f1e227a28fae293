"""Everything that is inspected with: recipes in force, and every change of them, one at a time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from detector import Detector, ModelError, TaughtModel
from detector.counted import counted
from detector.files import temporary_beside
from detector.images import BGRImage
from detector.thresholds import calibrate
from server.ground import OWN_FILES, Noted, Shelf, why_not_kept
from server.inspection import Inspection, given_recipe, inspected_cells
from server.recipes import (
    CHANGEABLE,
    LARGEST_MODEL,
    LONGEST_NAME,
    MOST_BYTES,
    MOST_EARLIER,
    Action,
    Decision,
    InUseStill,
    ModelKeep,
    ModelVersion,
    PartRule,
    Recipe,
    RecipeBook,
    RecipeChange,
    RecipeError,
    Regions,
    SharedModels,
    StreamOptions,
    ThresholdRule,
    check,
    check_name,
    part_words,
    require_newest,
    rule_before,
)
from server.streams import PoolBusy, Streams
from server.teaching.files import write_model
from server.teaching.in_force import InForce
from server.teaching.models import Models
from server.teaching.others import Earlier, TaughtMeanwhile
from server.teaching.work_thread import NotStored, WorkThread
from server.words import now

log = logging.getLogger("defectvision.recipes")

T = TypeVar("T")

MOST_WAITING = 32
"""Changes, and questions that are answered from the disk, that wait or are in work; more are refused, not queued."""


class NoRecipe(RecipeError):
    """There is no such recipe; the message says so."""


class Library:
    """The recipes of this server. The event loop owns it; models are loaded and corrected in a thread of its own.

    Args:
        data_dir: where recipes and models lie.
        simulated: name of the simulated line, which is inspected with the model given at the start.
        most_bytes: that all models may take on disk, their pictures included.
        goods_of: pictures of good parts of a model that was given, by its hash.
        spread: has a model wherever frames are looked at, before it is put in force.
        shelf: where the recipes are kept.
        shared: where a plant has its models.

    Attributes:
        behind: why what other gateways of the plant changed is not in force here; or nothing.
    """

    def __init__(
        self,
        data_dir: Path,
        inspection: Inspection,
        streams: Streams,
        *,
        runtime: str,
        workers: int,
        simulated: str | None = None,
        most_bytes: int = MOST_BYTES,
        goods_of: Callable[[str], Iterable[BGRImage]] = lambda taught: (),
        spread: Callable[[Detector], Awaitable[None]] | None = None,
        shelf: Shelf = OWN_FILES,
        shared: SharedModels | None = None,
    ) -> None:
        self.book, self.keep = RecipeBook(data_dir, shelf), ModelKeep(data_dir, most_bytes, shared)
        self.behind = Noted()
        self._is_plants = shared is not None
        self.models = Models(self.keep, runtime, workers, goods_of)
        self._inspection, self._streams, self._simulated = inspection, streams, simulated
        self._changing, self._thread, self._waiting = asyncio.Lock(), WorkThread(), 0
        self._fetching = WorkThread()  # its own: nobody who changes something waits for a store that does not answer
        self._fetch: asyncio.Task[None] | None = None
        self._is_fetch_wanted = False
        self._spread = spread or _nowhere
        self.in_force = InForce(
            self.book, self.models, inspection, streams, self._thread, self._changing, simulated, self._spread
        )
        self.in_thread = self._thread.run

    # ---- at the start and at the end --------------------------------------------------------------------------------

    async def open(self, given: Detector | None, category: str | None) -> None:
        """Put in force what this data directory says, beside the model that was given at the start, if there is one;
        :meth:`bring` fetches what is not here."""
        async with self._changing:
            await self.in_thread(self.keep.remove_unfinished)
            if given is not None:
                self.models.give(given)
            lacking = await self.in_thread(self._lacking)
            recipe = None if given is None else given_recipe(given, category or given.category)
            await self.in_force.load(recipe, lacking)
        for name in self._streams.names:  # that came meanwhile
            if (stream := self._streams.get(name)) is not None:
                self.in_force.opened(stream)

    async def bring(self) -> None:
        """After :meth:`open`: fetch what is not here, and put it in force; then remove what nothing names. A plant's
        store may take long to say that it does not answer, and others' changes are followed meanwhile."""
        lacking = await self.in_thread(self._lacking)
        await self._bring()
        async with self._changing:
            if lacking:
                await self.in_force.renew()
            await self.in_thread(self._tidy)

    async def renew(self) -> None:
        """Put in force what other gateways of the plant changed, and what could not be fetched before: what is here at
        once, the rest once it was fetched, for which nobody waits."""
        was_behind = self.behind.warning is not None
        try:
            async with self._changing:
                try:
                    is_new = await self.in_thread(self.book.recover)
                except NotStored:
                    is_new = False  # the plant says it
                if not is_new and not was_behind:
                    return
                lacking = await self.in_thread(self._lacking)
                await self.in_force.renew(lacking)
        except Exception as error:  # whoever is told that something changed, is told once
            self._is_behind(error)
            raise
        self._streams.tell_changed("another gateway")
        log.info("recipes renewed recipes=%d", len(self.book.recipes))
        self._is_fetch_wanted = True
        if self._fetch is None or self._fetch.done():
            self._fetch = asyncio.get_running_loop().create_task(self._fetched())

    async def _fetched(self) -> None:
        """Fetch what is not here, and put it in force."""
        while self._is_fetch_wanted:
            self._is_fetch_wanted = False
            try:
                lacking = await self.in_thread(self._lacking)
                await self._bring()
                if lacking:
                    async with self._changing:
                        await self.in_force.renew()
                    self._streams.tell_changed("another gateway")
            except Exception as error:
                log.exception("what was fetched cannot be put in force")
                self._is_behind(error)

    def _is_behind(self, error: Exception) -> None:
        self.behind.warning = (
            f"what other gateways of the plant changed is not in force here ({type(error).__name__}: {error}): "
            "it is tried again"
        )

    def _lacking(self) -> frozenset[str]:
        """Ids of the recipes whose models, or corrections of them, are not here and may be in the plant's store."""
        if not self._is_plants:
            return frozenset()
        return frozenset(
            recipe.id
            for recipe in self.book.recipes
            if not self.in_force.is_elsewhere(recipe) and not self._is_here(recipe)
        )

    def _is_here(self, recipe: Recipe) -> bool:
        """Whether its model and its corrections are."""
        taught = recipe.model.taught
        return self.keep.is_here(taught, recipe.model.corrections, is_given=self.models.is_given(taught))

    async def _fetch_first(self, recipe: Recipe) -> None:
        """Fetch what a version of a recipe needs and is not here, before anybody who changes something has to wait.

        Raises:
            ModelError, NotStored: it cannot be fetched.
        """
        if not self._is_plants or await self.in_thread(partial(self._is_here, recipe)):
            return
        async with self._asked():
            await self._fetching.run(partial(self.keep.bring, _models_of([recipe])))

    async def _bring(self) -> None:
        """Fetch the models that recipes name, where a plant has them; nobody who changes something waits for it."""
        try:
            await self._fetching.run(self.keep.look_for_shared)
            found_nowhere = await self._fetching.run(partial(self.keep.bring, _models_of(self.book.recipes)))
            lacking = await self.in_thread(self._lacking) if found_nowhere else ()
            names = [recipe.name for recipe in self.book.recipes if recipe.id in lacking]
            words = None
            if names:
                words = (
                    f"what {', '.join(names[:5])} inspects with is neither here nor in the plant's store: a gateway "
                    "that has it puts it back at its next start, or with the next change of a recipe"
                )
        except (NotStored, ModelError) as error:
            words = f"models of the plant cannot be fetched: {error}"
        if words is not None and self.behind.warning is None:
            log.warning("%s", words)
        self.behind.warning = words

    def close(self) -> None:
        """Take no more work."""
        if self._fetch is not None:
            self._fetch.cancel()
        self._fetching.close()
        self._thread.close()
        self.in_force.close()

    async def ask(self, work: Callable[[], T]) -> T:
        """Run what only reads, for somebody who asks; otherwise as :meth:`in_thread`.

        Raises:
            PoolBusy: so many ask already.
            NotStored: a file could not be read.
        """
        async with self._asked():
            return await self.in_thread(work)

    # ---- what there is ----------------------------------------------------------------------------------------------

    @property
    def recipes(self) -> list[Recipe]:
        """The newest version of each, by name."""
        found = {recipe.id: recipe for recipe in self.book.recipes if not self.in_force.is_elsewhere(recipe)}
        if self.in_force.given is not None:
            found.setdefault(self.in_force.given.id, self.in_force.given)
        return sorted(found.values(), key=lambda recipe: (recipe.name.casefold(), recipe.id))

    @property
    def default(self) -> str:
        """Id of the recipe for streams that none was chosen for; empty where there is none."""
        return self.in_force.default

    def get(self, recipe: str) -> Recipe:
        """The newest version of a recipe.

        Raises:
            NoRecipe: there is none of this id.
        """
        found = self.in_force.find(recipe)
        if found is None:
            raise NoRecipe("there is no such recipe: /api/recipes lists those there are")
        return found

    def problem(self, recipe: Recipe) -> str | None:
        """Why a recipe cannot be used; or nothing."""
        return self._inspection.why_not(recipe.id)

    def streams_of(self, recipe: str) -> list[str]:
        """Running streams that are inspected with it."""
        return [name for name in self._streams.names if self.in_force.on(name) == recipe]

    def is_given(self, recipe: str) -> bool:
        return self.in_force.is_given(recipe)

    def is_kept(self, version: Recipe) -> bool:
        """Whether the model of a version is still here: what it says can be gone back to then."""
        return self.models.is_given(version.model.taught) or self.keep.is_kept(version.model.taught)

    def away(self, recipe: str) -> list[str]:
        """Streams that it was chosen for and that nobody sends now."""
        return sorted(
            name for name, one in self.book.chosen.items() if one == recipe and self._streams.get(name) is None
        )

    async def require_room(self, more: int = 0) -> None:
        """Check that there is room for another model, before anybody works for it.

        Args:
            more: bytes of its pictures.

        Raises:
            NotStored: there is none; says what to do.
        """
        await self.in_thread(partial(self.keep.require_room, more + LARGEST_MODEL, writes=LARGEST_MODEL))

    # ---- changes ----------------------------------------------------------------------------------------------------

    async def change(
        self,
        recipe: str,
        version: int,
        *,
        who: str,
        why: str = "",
        name: str | None = None,
        regions: Regions | None = None,
        rule: ThresholdRule | None = None,
        decision: Decision | None = None,
        options: StreamOptions | None = None,
        parts: PartRule | None = None,
    ) -> Recipe:
        """Make a new version of a recipe, and put it in force.

        Raises:
            NoRecipe, NotTheNewest, RecipeError: it cannot be; nothing changes.
            NotStored: it cannot be; nothing changes.
        """
        given = {
            "name": name,
            "regions": regions,
            "rule": rule,
            "decision": decision,
            "options": options,
            "parts": parts,
        }
        fields = {key: value for key, value in given.items() if value is not None}
        if not fields:
            raise RecipeError("nothing is to be changed: send what is to be")
        if name is not None:
            fields["name"] = check_name(name)
        actions: Mapping[str, Action] = {
            "name": "renamed", "regions": "regions", "rule": "rule", "decision": "decision", "options": "options",
            "parts": "parts",
        }  # fmt: skip
        action = actions[next(iter(fields))]
        async with self.changing(recipe, version) as before:
            check(msgspec.structs.replace(before, **fields))
            return await self.store(before, fields, action, who=who, why=why or _said(fields))

    async def restore(self, recipe: str, version: int, to: int, *, who: str) -> Recipe:
        """Go back to what a recipe was at an earlier version: a new version that says the same.

        Raises:
            NoRecipe, NotTheNewest, RecipeError, ModelError: it cannot be; nothing changes.
            NotStored: it cannot be; nothing changes.
        """
        require_newest(self.get(recipe), version)
        if (wanted := self.book.version(recipe, to)) is not None:
            await self._fetch_first(wanted)
        async with self.changing(recipe, version) as before:
            old = self.book.version(recipe, to)
            if old is not None:  # it is here by now; and what the store lost is put back there
                await self.in_thread(partial(self.keep.bring, _models_of([old])))
            if old is None and to == 1 and self.in_force.given is not None and self.in_force.given.id == recipe:
                old = self.in_force.given
            if old is None:
                raise RecipeError(f"version {to} is not remembered any more: the history says which are")
            if not self.is_kept(old):
                raise RecipeError(
                    f"the model of version {to} is not kept any more: of those that a recipe had before, the newest "
                    f"{MOST_EARLIER} are"
                )
            fields = {name: getattr(old, name) for name in ("name", "model", *CHANGEABLE)}
            return await self.store(before, fields, "restored", who=who, why=f"back to version {to}")

    async def copy(self, recipe: str, name: str, *, who: str) -> Recipe:
        """A new recipe that says the same.

        Raises:
            NoRecipe, RecipeError, ModelError: it cannot be; nothing changes.
            NotStored: it cannot be; nothing changes.
        """
        async with self._asked(), self._changing, self.taking_in():
            like = self.get(recipe)
            if self.models.is_given(like.model.taught) and not self.keep.is_kept(like.model.taught):
                await self.in_thread(partial(self.keep_given, like.model.taught))
            # Stored anew where it is old: whoever deletes what it is a copy of may not know yet that this names it.
            await self.in_thread(partial(self.keep.share, _models_of([like])))
            made = msgspec.structs.replace(like, id=self.new_id(), name=check_name(name), version=1)
            return await self.store(None, made, "copied", who=who, why=f"a copy of {like.name}")

    async def delete(self, recipe: str, version: int) -> None:
        """Delete a recipe that nothing needs.

        Raises:
            NoRecipe, NotTheNewest: it cannot be.
            InUseStill: a running stream is inspected with it, or it is the default one, or was given at the start.
            NotStored: it cannot be; nothing changes.
        """
        async with self.changing(recipe, version) as found:
            if self.is_given(recipe):
                raise InUseStill(
                    "a recipe whose model was given at the start cannot be deleted: set another MODEL_PATH"
                )
            if recipe == self.default:
                raise InUseStill(f"{found.name} is what streams are inspected with by default: choose another first")
            if used := self.streams_of(recipe):
                raise InUseStill(f"{found.name} is in use on {', '.join(used[:5])}: choose another recipe there first")
            await self.in_thread(partial(self.book.delete, recipe, version, keeps_first=self._is_plants))
            self.in_force.forget(found)
            self.in_force.choose()
            await self.in_thread(self._tidy)
        log.info("recipe deleted recipe=%s name=%s", recipe, found.name)

    async def choose(self, stream: str, recipe: str | None, *, who: str) -> tuple[Recipe, float]:
        """Inspect a stream with a recipe from now on, or, with None, with the default one.

        Returns:
            the recipe, and how long it took, milliseconds.

        Raises:
            NoRecipe: there is none of this id.
            ModelError: it cannot be used; nothing changes.
            NotStored: it cannot be; nothing changes.
        """
        began = time.perf_counter()
        async with self._choosing(recipe or self.default) as found:
            if stream == self._simulated and not self.is_given(found.id):
                raise ModelError("the simulated line shows its own part, and is inspected with its own recipe")
            await self.in_thread(partial(self.book.choose, stream, recipe))
            self.in_force.choose()
            self._streams.tell_changed(who)  # before anything else is waited for: a result would say it without who
            await self.in_force.rest_others()
        took = (time.perf_counter() - began) * 1000
        log.info("recipe chosen stream=%s recipe=%s name=%s ms=%.0f", stream, found.id, found.name, took)
        return found, took

    async def choose_default(self, recipe: str | None, *, who: str) -> None:
        """Inspect all streams that none was chosen for with a recipe; None: with the one given at the start. In a plant
        that one is chosen then: each of the others would take what is its own.

        Raises:
            NoRecipe: there is none of this id.
            ModelError: it cannot be used; nothing changes.
            NotStored: it cannot be; nothing changes.
        """
        async with self._choosing(recipe or self.in_force.default_of(None) or "") as found:
            await self.in_thread(partial(self.book.choose_default, found.id if self._is_plants else recipe))
            self.in_force.choose()
            self._streams.tell_changed(who)
            await self.in_force.rest_others()

    @asynccontextmanager
    async def _choosing(self, recipe: str) -> AsyncIterator[Recipe]:
        """A recipe, loaded, while nobody changes any. Streams go on with what they have until then.

        Raises:
            NoRecipe: there is none of this id.
            ModelError: it cannot be used.
        """
        async with self._asked():
            await self.in_force.preload(self.get(recipe))
            async with self._changing:
                found = self.get(recipe)
                if self._inspection.model_of(found.id) is None:
                    await self.in_force.put(found, strict=True)
                self.in_force.used(found.id)
                yield found

    async def add_taught(
        self, name: str, folder: Path, pictures: Path, *, stream: str | None, who: str, why: str, on: str
    ) -> tuple[str, str]:
        """Make a recipe of a model that was just taught, chosen for the stream it was taught on. The first one here
        becomes the default where nothing but the simulated line's was given. In a plant none does: another gateway may
        inspect with what was given there, and one that was given nothing does with the first one anyhow.

        Args:
            folder, pictures: the model folder and its pictures, which are moved.
            on: on which data, one clause.

        Returns:
            the recipe's id, and what its threshold promises, one sentence.

        Raises:
            ModelError, RecipeError: it cannot be used.
            NotStored: it cannot be.
        """
        async with self._changing, self.taking_in():
            taught = await self.in_thread(partial(self.take_in, folder, pictures))
            made = Recipe(self.new_id(), self.free_name(check_name(name)), 1, ModelVersion(taught))
            none_given = self.in_force.given is None or self._simulated is not None
            first = none_given and self.book.default is None and not self._is_plants
            stored = await self.store(None, made, "taught", who=who, why=why, on=on, stream=stream, as_default=first)
            return stored.id, await self._promised(stored)

    async def taught_more(
        self, recipe: str, folder: Path, pictures: Path, *, of: str, stream: str | None, who: str, why: str, on: str
    ) -> tuple[str, str]:
        """A recipe's model was taught again, on more pictures; otherwise as :meth:`add_taught`. Corrections of the
        older one do not fit it: what was forgiven may be shown, what was remembered has to be remembered again.

        Args:
            of: hash of the model whose pictures are among them.

        Raises:
            TaughtMeanwhile: the recipe has another model by now, whose pictures would be lost; nothing changes.
            NoRecipe, ModelError, RecipeError: it cannot be used.
            NotStored: it cannot be.
        """
        async with self._changing, self.taking_in():
            before = self.get(recipe)
            if before.model.taught != of:
                raise TaughtMeanwhile(
                    f"{before.name} was given another model meanwhile, by {before.who or 'somebody'}: what that was "
                    "taught on is shown here now, too; look through it, then press Done again"
                )
            taught = await self.in_thread(partial(self.take_in, folder, pictures))
            fields: dict[str, Any] = {"model": ModelVersion(taught)}
            by_hand = before.rule.raw
            if by_hand is not None:  # where the older model's scores lay
                fields["rule"] = rule_before(self.book.history(recipe))
            stored = await self.store(before, fields, "taught more", who=who, why=why, on=on, stream=stream)
            await self.in_thread(self._tidy)  # of the models it had before, the newest few are kept
            promised = await self._promised(stored)
            if by_hand is None:
                return stored.id, promised
            return stored.id, f"{promised}; the threshold put by hand, {by_hand:.4g}, was for the model of before"

    def name_of(self, recipe: str) -> str:
        """What a recipe is called.

        Raises:
            NoRecipe: there is none of this id.
        """
        return self.get(recipe).name

    async def pictures_of(self, recipe: str) -> Earlier:
        """The pictures a recipe's model was taught on, fetched where another gateway of the plant taught it. Changes
        do not wait for that.

        Raises:
            NoRecipe: there is none of this id.
            RecipeError: they are not kept here.
            ModelError: they are damaged.
            NotStored: the plant's store does not answer, or they cannot be written here.
        """
        found = self.get(recipe)
        taught = found.model.taught
        try:
            await asyncio.to_thread(self.keep.bring_pictures, taught)
        except OSError as error:
            raise NotStored(why_not_kept(error)) from error
        pictures = await asyncio.to_thread(self.keep.pictures, taught)
        if not pictures:
            raise RecipeError(
                f"the pictures that {found.name} was taught on are not kept here: teach a new part on them and more"
            )
        return Earlier(taught, pictures)

    async def picture_of(self, recipe: str) -> Path | None:
        """The file of one of the pictures that its model was taught on, to show the part; None where none lies here:
        all that another gateway has are not fetched for it.

        Raises:
            NoRecipe: there is none of this id.
        """
        return next(iter(await asyncio.to_thread(self.keep.pictures, self.get(recipe).model.taught)), None)

    async def _promised(self, recipe: Recipe) -> str:
        model = await self.in_thread(partial(self.models.as_taught, recipe.model.taught))
        if not isinstance(model, TaughtModel):
            return "its threshold is the model's own"
        made = calibrate(model.manifest.held_out_scores)
        if made.promise is None:
            return f"its threshold promises nothing yet: {made.no_promise}"
        return f"{made.promise.sentence}; calibrate in place, where the camera stands"

    # ---- steps of changes -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def changing(self, recipe: str, version: int | None) -> AsyncIterator[Recipe]:
        """The newest version of a recipe, while nobody else changes any.

        Raises:
            NoRecipe: there is none of this id.
            NotTheNewest: ``version`` is not the newest.
        """
        async with self._asked(), self._changing:
            found = self.get(recipe)
            if version is not None:
                require_newest(found, version)
            yield found

    @asynccontextmanager
    async def changing_all(self) -> AsyncIterator[None]:
        """While nobody else changes any recipe."""
        async with self._asked(), self._changing:
            yield

    @asynccontextmanager
    async def taking_in(self) -> AsyncIterator[None]:
        """A model is put where a recipe will name it, while :meth:`changing`; if it comes to nothing, it goes again."""
        before = await self.in_thread(self.keep.there)
        try:
            yield
        except Exception:
            named = {model.taught for model in self.book.named()}  # what came meanwhile of another gateway
            await self.in_thread(lambda: self.keep.remove(self.keep.there() - before - named))
            raise

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[None]:
        """Somebody asks for something that takes its time.

        Raises:
            PoolBusy: so many do already.
        """
        if self._waiting >= MOST_WAITING:
            raise PoolBusy("too many changes and questions about recipes are waiting: try again in a moment")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def store(
        self,
        before: Recipe | None,
        fields: Mapping[str, object] | Recipe,
        action: Action,
        *,
        who: str,
        why: str,
        on: str = "",
        stream: str | None = None,
        as_default: bool = False,
        model: TaughtModel | None = None,
    ) -> Recipe:
        """Store a version and put it in force; while :meth:`changing`.

        Args:
            fields: what is different from ``before``; or a whole recipe, where there is none before.
            model: of the new version, where it was made already.
        """
        when = now()
        said: dict[str, object] = {"changed": when, "who": who, "why": why[:200]}
        if isinstance(fields, Recipe):
            after = msgspec.structs.replace(fields, **said)
        else:
            assert before is not None
            after = msgspec.structs.replace(before, version=before.version + 1, **said, **fields)
        check(after)
        inspects = await self.in_thread(partial(self.models.of, after)) if model is None else model
        _require_something(after, inspects)
        await self._spread(inspects)
        change = RecipeChange(when, who, action, why[:200], on, before, after)
        stored = await self.in_thread(
            partial(self.book.change, change, stream=stream, as_default=as_default, given=self.in_force.given)
        )
        self.in_force.use(inspects, stored)
        self.in_force.used(stored.id)
        self.in_force.choose()
        await self.in_force.rest_others()
        self._streams.tell_changed(who)
        log.info("recipe changed recipe=%s version=%d action=%s by=%s", stored.id, stored.version, action, who)
        return stored

    def new_id(self) -> str:
        """For a recipe or a correction."""
        return secrets.token_hex(6)

    def keep_given(self, taught: str) -> None:
        """Store a model that was given at the start here too, so that a recipe outlives the setting that gave it."""
        model = self.models.as_taught(taught)
        if not isinstance(model, TaughtModel):
            raise ModelError("a model that other software made cannot be kept here: set MODEL_PATH to it")
        temporary = self.temporary()
        try:
            write_model(model, temporary / "model")
            self.keep.put(taught, temporary / "model", None)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def temporary(self) -> Path:
        """A new folder for the thread to use and remove; a restart removes what a crash left."""
        folder = temporary_beside(self.keep.folder / "work")
        folder.mkdir(parents=True)
        return folder

    def free_name(self, name: str) -> str:
        """This name, or one like it that no recipe has yet."""
        taken = {recipe.name for recipe in self.recipes}
        tries = (name if number == 1 else f"{name[: LONGEST_NAME - 5]} ({number})" for number in itertools.count(1))
        return next(one for one in tries if one not in taken)

    def take_in(self, folder: Path, pictures: Path | None) -> str:
        """Keep a model folder, and its pictures, which are moved here; its hash. For the library's thread.

        Raises:
            ModelError: it is no model of ours.
            NotStored: it cannot be.
        """
        model = self.models.load_taught(folder)
        self.keep.put(model.taught_hash, folder, pictures)
        self.models.took_in(model.taught_hash, model)
        return model.taught_hash

    def _tidy(self) -> None:
        if not self.book.names_all:
            if self.keep.there():
                log.info("models are kept that no recipe names, until recipes.json is whole and none is set aside")
            return
        self.keep.tidy([(model.taught, model.corrections) for model in self.book.named()])


def _models_of(recipes: Iterable[Recipe]) -> list[tuple[str, tuple[str, ...]]]:
    return [(recipe.model.taught, recipe.model.corrections) for recipe in recipes]


async def _nowhere(model: Detector) -> None:
    """Frames are looked at in this process."""


def _said(fields: Mapping[str, object]) -> str:
    match fields:
        case {"regions": Regions() as regions}:
            return f"{counted(len(regions.include), 'region')} to inspect, {len(regions.ignore)} to ignore"
        case {"rule": ThresholdRule(raw=float() as raw)}:
            return f"threshold set to {raw:.4g} by hand"
        case {"rule": ThresholdRule(one_in=int() as one_in)}:
            return f"threshold by calibration: about 1 in {one_in} good parts rejected"
        case {"rule": ThresholdRule(k=k)}:
            return f"threshold by calibration: mean + {k:g} · std"
        case {"decision": Decision(kind="frame")}:
            return "verdict of each frame"
        case {"decision": Decision(kind="n_of_m", n=n, m=m)}:
            return f"ANOMALY from {n} of the last {counted(m, 'frame')} on"
        case {"decision": Decision(m=m, release=release)}:
            return f"back to NORMAL after {counted(m, 'frame')} below {release:g} of the threshold"
        case {"parts": PartRule() as parts}:
            return part_words(parts)
        case {"name": name}:
            return f"renamed to {name}"
    return "options changed"


def _require_something(recipe: Recipe, model: Detector) -> None:
    """Check that something is left to inspect: what is inspected nowhere is always NORMAL.

    Raises:
        RecipeError: nothing is.
    """
    if not recipe.regions.include and not recipe.regions.ignore:
        return
    rows, columns = 64, 64
    seen = inspected_cells(recipe.regions, rows, columns)
    if isinstance(model, TaughtModel):
        left, top, right, bottom = model.manifest.region.fractions
        seen = seen[round(top * rows) : round(bottom * rows), round(left * columns) : round(right * columns)]
    if not seen.any():
        raise RecipeError(
            "with these regions nothing of what the model looks at would be inspected: leave some of it in"
        )
