"""What streams are inspected with: which recipe on which stream, and which models are loaded for that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from detector import Detector, DetectorError, TaughtModel
from server.inspection import GIVEN, Inspection, Resting
from server.recipes import MOST_RECIPES, NOT_KNOWN, Recipe, RecipeBook
from server.streams import OpenStream, Streams
from server.teaching import loading
from server.teaching.loading import staying
from server.teaching.models import Models
from server.teaching.work_thread import NotStored, WorkThread

log = logging.getLogger("defectvision.recipes")

_WHY_GONE = "the recipe that was chosen is not here any more: choose another one"
_WHY_NOT_KNOWN = (
    "recipes.json could not be read, so it is not known which recipe streams are inspected with: put it back and start "
    "again, or choose a default recipe"
)


class InForce:
    """The event loop owns it. What is called while recipes change, or changes which are in use, is called with the lock
    that everybody takes who changes any.

    Args:
        changing: that lock.
        simulated: name of the simulated line, which is inspected with the model given at the start.
        spread: has a model wherever frames are looked at, before it is put in force.

    Attributes:
        given: the recipe of the model that was given at the start.
    """

    def __init__(
        self,
        book: RecipeBook,
        models: Models,
        inspection: Inspection,
        streams: Streams,
        thread: WorkThread,
        changing: asyncio.Lock,
        simulated: str | None,
        spread: Callable[[Detector], Awaitable[None]],
    ) -> None:
        self._book, self._models, self._inspection, self._streams = book, models, inspection, streams
        self._thread, self._changing, self._simulated = thread, changing, simulated
        self._spread = spread
        self.given: Recipe | None = None
        self._recent: dict[str, None] = {}
        """Ids of recipes, the one used last at the end."""
        self._known: dict[str, Recipe] = {}
        """Recipes of the book as they were put in force last, or were found to be of no use, by id. The book may know
        more: a change here takes in what other gateways had changed."""
        self._missing: frozenset[str] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = self._rests_soon = False
        self._loader = ThreadPoolExecutor(1, "models")  # its own: a switch does not wait for what is being loaded

    @property
    def default(self) -> str:
        """Id of the recipe for streams that none was chosen for; empty where there is none."""
        return self._inspection.default or ""

    def find(self, recipe: str) -> Recipe | None:
        """The newest version of a recipe."""
        found = self._book.get(recipe)
        return self.given if found is None and self.given is not None and self.given.id == recipe else found

    def on(self, stream: str) -> str | None:
        """Id of the recipe that a stream is inspected with."""
        return self._inspection.recipe_id_on(stream)

    def is_given(self, recipe: str) -> bool:
        """Whether it is of a model that was given at a start."""
        return recipe.startswith(GIVEN)

    def is_elsewhere(self, recipe: Recipe) -> bool:
        """Whether it is of a model that another MODEL_PATH gave."""
        return self.is_given(recipe.id) and not self._models.is_given(recipe.model.taught)

    def close(self) -> None:
        """Load nothing more."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        self._loader.shutdown(wait=False, cancel_futures=True)

    # ---- what is loaded ---------------------------------------------------------------------------------------------

    async def load(self, given: Recipe | None, lacking: Collection[str] = ()) -> None:
        """At the start: that of the model that was given, the default one, those of streams, and of the others as many
        as stay loaded.

        Args:
            lacking: ids of recipes whose models are about to be fetched: frames wait for them.
        """
        self.given = given
        self.choose()  # before anything is in force: no stream is ever inspected with what is merely there first
        for id in lacking:
            self._inspection.expect(id)
        if given is not None and given.id not in lacking:
            await self.put(self._book.get(given.id) or given)
        await self._load_book(lacking)
        await self.rest_others()

    async def _load_book(self, lacking: Collection[str]) -> None:
        running = [id for name in self._streams.names if (id := self.on(name)) is not None]
        newest_first = sorted(self._book.recipes, key=lambda recipe: recipe.changed, reverse=True)
        by_need = [
            self.default,
            *running,
            *[*self._book.chosen.values()][::-1],
            *(recipe.id for recipe in newest_first),
        ]
        by_need = [*dict.fromkeys(by_need)]
        self._recent = dict.fromkeys(reversed(by_need))
        others = [recipe for recipe in newest_first if self.given is None or recipe.id != self.given.id]
        others = [recipe for recipe in others if recipe.id not in lacking]
        others.sort(key=lambda recipe: by_need.index(recipe.id))
        taught = {recipe.id: recipe.model.taught for recipe in others if not self.is_elsewhere(recipe)}
        stay = staying(taught, self._needed(), by_need, loading.MOST_IDLE)
        await self._thread.run(partial(self._models.keep_loaded, stay))
        for recipe in others:
            self._inspection.expect(recipe.id)  # frames wait until it is known what becomes of it
        to_rest = [recipe for recipe in others if recipe.model.taught not in stay]
        to_load = [recipe for recipe in others if recipe.model.taught in stay]
        for recipe in to_rest:
            await self._let_rest(recipe)
        for recipe in to_load:
            await self.put(recipe)

    async def renew(self, lacking: Collection[str] = ()) -> None:
        """Inspect as the recipe book says now, and try again what could not be used; while recipes change.

        Args:
            lacking: ids of recipes whose models are about to be fetched: what was in force of them stays so.
        """
        were, now = {**self._known}, {one.id: one for one in self._book.recipes}
        for gone in were.keys() - now.keys():
            if self.given is not None and gone == self.given.id:
                await self.put(self.given)
            else:
                self.forget(were[gone])
        needed = self._needed_by_book()
        for recipe in now.values():
            if recipe.id in lacking:
                continue
            is_changed = were.get(recipe.id) != recipe or self._inspection.why_not(recipe.id) is not None
            if self.given is not None and recipe.id == self.given.id and not is_changed:
                continue
            is_loaded = self._inspection.model_of(recipe.id) is not None
            if (is_changed and (is_loaded or recipe.id in needed)) or (recipe.id in needed and not is_loaded):
                self.used(recipe.id)
                await self.put(recipe)
            elif is_changed:
                await self._let_rest(recipe)
        self.choose()
        await self.rest_others()

    def _needed_by_book(self) -> set[str]:
        """Ids of the recipes that running streams are about to be inspected with."""
        default = self.default_of(self._book.default)
        found = {self._book.chosen.get(name, default) for name in self._streams.names} | {default}
        return {id for id in found if id}

    def opened(self, stream: OpenStream) -> None:
        """A stream is sent: what it is inspected with is loaded, where it is not; its frames wait until then."""
        recipe = self.on(stream.name)
        if recipe is None:
            return
        self.used(recipe)
        if self._inspection.rests(recipe) and not self._inspection.is_coming_for(stream.name):
            self._inspection.expect(recipe)
            self._spawn(self._bring(recipe))

    def closed(self) -> None:
        """A stream went away: what it needed may be one too many now."""
        if not self._rests_soon:
            self._rests_soon = True
            self._spawn(self._rest_when_nobody_changes())

    async def _bring(self, recipe: str) -> None:
        """Load the model of a recipe that a stream needs."""
        try:
            if (found := self.find(recipe)) is not None:
                await self.preload(found)
            async with self._changing:
                found = self.find(recipe)
                if found is None:
                    return  # deleted meanwhile, which was said
                if self._inspection.rests(recipe):
                    await self.put(found)
                await self.rest_others()
        except Exception:
            log.exception("recipe not in use recipe=%s", recipe)
            self._inspection.drop(recipe, "its model cannot be loaded; the server's log says why")
        self._streams.tell_changed()

    async def preload(self, recipe: Recipe) -> None:
        """Load a model without keeping anybody who changes something waiting; what is wrong with it is said where it is
        put in force."""
        taught = recipe.model.taught
        if self._models.is_loaded(taught):
            return
        try:
            model = await asyncio.get_running_loop().run_in_executor(self._loader, partial(self._models.fetch, taught))
        except (DetectorError, OSError, MemoryError):
            return
        await self._thread.run(partial(self._models.took_in, taught, model))

    async def _rest_when_nobody_changes(self) -> None:
        async with self._changing:
            self._rests_soon = False
            await self.rest_others()

    def _needed(self) -> set[str]:
        """Ids of the recipes that have to stay loaded: of streams that run, the default one and the one given."""
        needed = {self.on(name) for name in self._streams.names} | {self.default}
        return {id for id in needed if id} | ({self.given.id} if self.given is not None else set())

    def used(self, recipe: str) -> None:
        """It is the one used last."""
        self._recent.pop(recipe, None)
        self._recent[recipe] = None
        while len(self._recent) > MOST_RECIPES:
            del self._recent[next(iter(self._recent))]

    async def rest_others(self) -> None:
        """Let go of models that no stream needs, but for those used last."""
        loaded = [recipe for recipe in self._inspection.recipes if not self._inspection.rests(recipe.id)]
        by_use = [*reversed(self._recent), *(recipe.id for recipe in loaded)]
        stay = staying({recipe.id: recipe.model.taught for recipe in loaded}, self._needed(), by_use, loading.MOST_IDLE)
        for recipe in loaded:
            model = self._inspection.model_of(recipe.id)
            if recipe.model.taught not in stay and isinstance(model, TaughtModel):
                self._inspection.rest(recipe, Resting.of(model))
                log.info("model let go of recipe=%s name=%s", recipe.id, recipe.name)
        if stay != self._models.in_force:
            await self._thread.run(partial(self._models.keep_loaded, stay))

    async def _let_rest(self, recipe: Recipe) -> None:
        """Know a recipe without loading its model."""
        taught = recipe.model.taught
        self._known[recipe.id] = recipe
        try:
            manifest = await self._thread.run(partial(self._models.about, taught))
        except (DetectorError, NotStored) as error:
            self._cannot_be_used(recipe, error)
            return
        hash = "" if recipe.model.corrections else taught
        self._inspection.rest(recipe, Resting(manifest, hash, self._models.runtime))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._is_closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, recipe: Recipe) -> None:
        """It was deleted."""
        self._inspection.drop(recipe.id, f"the recipe {recipe.name} was deleted: choose another one")
        self._recent.pop(recipe.id, None)
        self._known.pop(recipe.id, None)
        self._missing |= {recipe.id}  # which was just said

    async def put(self, recipe: Recipe, *, strict: bool = False) -> None:
        """Load what a recipe needs, and inspect with it wherever it is chosen; where it cannot be used, that is said.

        Raises:
            Exception: why it cannot be used; of ``strict`` ones only.
        """
        self._known[recipe.id] = recipe
        try:
            model = await self._thread.run(partial(self._models.of, recipe))
        except Exception as error:  # whatever is wrong with one, the others are put in force
            self._cannot_be_used(recipe, error)
            if strict:
                raise
            return
        try:
            await self._spread(model)
        except DetectorError as error:  # it is tried there again and again, and said until then
            log.warning("recipe not where frames are looked at recipe=%s reason=%s", recipe.id, error)
            if strict:
                raise
        self.use(model, recipe)

    def use(self, model: Detector, recipe: Recipe) -> None:
        """Inspect with a recipe wherever it is chosen."""
        self._known[recipe.id] = recipe
        self._inspection.use(model, recipe)

    def _cannot_be_used(self, recipe: Recipe, error: Exception) -> None:
        known = isinstance(error, DetectorError | NotStored)
        words = str(error) if known else "its model cannot be loaded; the server's log says why"
        self._inspection.drop(recipe.id, f"the recipe {recipe.name} cannot be used: {words}")
        if not known:
            log.error("recipe not in use recipe=%s name=%s", recipe.id, recipe.name, exc_info=error)
        elif not self.is_elsewhere(recipe):
            log.warning("recipe not in use recipe=%s name=%s reason=%s", recipe.id, recipe.name, error)

    # ---- what is chosen ---------------------------------------------------------------------------------------------

    def default_of(self, wanted: str | None) -> str | None:
        """Id of the default recipe, where somebody wanted this one, or none."""
        if wanted is not None or self.given is not None:
            return wanted or (self.given.id if self.given else None)
        return self._book.recipes[0].id if self._book.recipes else None

    def choose(self) -> None:
        """Let streams be inspected with what the recipe book says."""
        chosen, default = dict(self._book.chosen), self.default_of(self._book.default)
        if self._simulated is not None and self.given is not None:
            chosen[self._simulated] = self.given.id
        self._tell_missing(chosen, default)
        if default is not None:
            self._inspection.choose(chosen, default)

    def _tell_missing(self, chosen: Mapping[str, str], default: str | None) -> None:
        """Say of streams whose recipe is not here (deleted while they were away, or a recipes.json that was edited)
        that they are not inspected: with the default one they would be judged as another product."""
        there = {recipe.id for recipe in self._book.recipes} | ({self.given.id} if self.given else set())
        missing = {id for id in (*chosen.values(), default) if id is not None and id not in there}
        for id in sorted(missing - self._missing):
            names = [name for name, one in chosen.items() if one == id]
            who = f"streams={','.join(names[:5])}" if names else "streams that none was chosen for"
            log.warning("a recipe that was chosen is not here any more recipe=%s %s: choose another one", id, who)
            self._inspection.drop(id, _WHY_NOT_KNOWN if id == NOT_KNOWN else _WHY_GONE)
        self._missing = frozenset(missing)
        if default in missing:
            self._inspection.why_no_model = _WHY_NOT_KNOWN if default == NOT_KNOWN else f"by default {_WHY_GONE}"
