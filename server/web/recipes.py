"""Recipes over HTTP: what there is, every change of it, and which stream is inspected with which."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector import Described
from detector.counted import counted
from detector.model_folder import Manifest
from server.inspection import Inspection, other_regions
from server.recipes import CHANGEABLE, Recipe, RecipeChange, part_words, way_back
from server.settings import Settings
from server.streams import Streams
from server.teaching import Library, pack, unpack
from server.web.answers import NO_STORE, UPLOADS, MadeForGet, Refused, answer, whole_number
from server.web.calibration_query import who_asks
from server.web.held import Held
from server.web.json_body import read_json
from server.web.recipe_bodies import (
    ByHandBody,
    Deleted,
    ModelBody,
    RecipeBody,
    RecipeChangeBody,
    RecipeChoice,
    RecipeCopy,
    RecipeInForce,
    RecipePatch,
    RecipeRestore,
    RecipesBody,
)
from server.web.temporary_file import TemporaryFile
from server.web.uploads import MAX_CALIBRATION, read_form, source_of_request
from server.words import BYTES, Content, Operation, Parameter, Reply, Role, check_name, documented

MOST_EXPORTS = 4
"""Recipe files that are put together and sent at once: each lies in the data directory meanwhile."""
NO_SUCH = "there is no such recipe"
CHANGED = "somebody changed it since: look at the newest version; nothing was changed"
NOT_STORED = "the data directory cannot be written; nothing was changed"
BUSY = "too many changes wait already: try again in a moment"
NEWEST = Reply("the newest version", Content(RecipeBody))
VERSION = Parameter("version", "query", "that was looked at: 409 if it is not the newest any more", {"type": "integer"})


@dataclass(frozen=True)
class Recipes:
    settings: Settings
    library: Library
    inspection: Inspection
    streams: Streams
    held: Held
    exporting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_EXPORTS))
    importing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    @property
    def routes(self) -> list[Route]:
        one = "/api/recipes/{recipe}"
        return [
            Route("/api/recipes", self.list_recipes),
            Route("/api/recipes", self.import_file, methods=["POST"]),
            Route("/api/recipes/default", self.choose_default, methods=["POST"]),
            Route(one, self.get),
            Route(one, self.change, methods=["PATCH"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/copy", self.copy, methods=["POST"]),
            Route(f"{one}/restore", self.restore, methods=["POST"]),
            Route(f"{one}/history", self.history),
            MadeForGet(f"{one}/file", self.export_file),
            Route("/api/streams/{name}/recipe", self.choose, methods=["POST"]),
        ]

    @documented(Operation("All recipes", {200: Reply("by name", Content(RecipesBody))}, role=Role.VIEWER))
    async def list_recipes(self, request: Request) -> Response:
        return answer(self._all(), headers=NO_STORE)

    @documented(Operation("One recipe", {200: NEWEST, 404: NO_SUCH}, role=Role.VIEWER))
    async def get(self, request: Request) -> Response:
        return answer(self.body(self.library.get(request.path_params["recipe"])), headers=NO_STORE)

    @documented(
        Operation(
            "Change a recipe: its name, regions, rules or options",
            {
                200: NEWEST,
                404: NO_SUCH,
                409: CHANGED,
                413: "larger than 64 kB",
                422: "not such a change, or one that cannot be; nothing was changed",
                503: BUSY,
                507: NOT_STORED,
            },
            body=Content(RecipePatch),
            role=Role.ENGINEER,
        )
    )
    async def change(self, request: Request) -> Response:
        patch = await read_json(request, RecipePatch)
        fields = {name: value for name in ("name", *CHANGEABLE) if (value := getattr(patch, name)) is not UNSET}
        recipe = request.path_params["recipe"]
        made = await self.library.change(recipe, patch.version, who=who_asks(request), why=clause(patch.why), **fields)
        return answer(self.body(made))

    @documented(
        Operation(
            "Delete a recipe",
            {
                200: Reply("it is gone", Content(Deleted)),
                404: NO_SUCH,
                409: "somebody changed it since, or it is in use; nothing was changed",
                422: "no version was sent",
                503: BUSY,
                507: NOT_STORED,
            },
            parameters=(VERSION,),
            role=Role.ENGINEER,
        )
    )
    async def delete(self, request: Request) -> Response:
        recipe = request.path_params["recipe"]
        await self.library.delete(recipe, version_asked(request))
        return answer(Deleted(recipe, self.library.away(recipe)))

    @documented(
        Operation(
            "Copy a recipe",
            {
                201: Reply("the new one", Content(RecipeBody)),
                404: NO_SUCH,
                409: "its model cannot be kept here",
                413: "larger than 64 kB",
                422: "a name that cannot be, or too many recipes",
                503: BUSY,
                507: NOT_STORED,
            },
            body=Content(RecipeCopy),
            role=Role.ENGINEER,
        )
    )
    async def copy(self, request: Request) -> Response:
        wanted = await read_json(request, RecipeCopy)
        made = await self.library.copy(request.path_params["recipe"], wanted.name, who=who_asks(request))
        return answer(self.body(made), 201)

    @documented(
        Operation(
            "Go back to what a recipe was",
            {
                200: NEWEST,
                404: NO_SUCH,
                409: CHANGED,
                413: "larger than 64 kB",
                422: "a version that is not remembered",
                503: BUSY,
                507: NOT_STORED,
            },
            body=Content(RecipeRestore),
            role=Role.ENGINEER,
        )
    )
    async def restore(self, request: Request) -> Response:
        wanted = await read_json(request, RecipeRestore)
        recipe = request.path_params["recipe"]
        made = await self.library.restore(recipe, wanted.version, wanted.to, who=who_asks(request))
        return answer(self.body(made))

    @documented(
        Operation(
            "What was done to a recipe, calibrations included",
            {200: Reply("the newest first", Content(list[RecipeChangeBody])), 404: NO_SUCH},
            role=Role.VIEWER,
        )
    )
    async def history(self, request: Request) -> Response:
        recipe = self.library.get(request.path_params["recipe"])
        entries = [_step(change, self.library) for change in self.library.book.history(recipe.id)]
        model = self.inspection.model_of(recipe.id)
        runtime = model.runtime if model else self.library.models.runtime
        for done in self.inspection.calibrations_of(recipe, runtime):
            where = f" seen on {done.stream}" if done.stream else ""
            entries.append(
                RecipeChangeBody(
                    when=done.when,
                    who=done.who,
                    action={"set": "calibrated", "forget": "calibration forgotten", "undo": "calibration undone"}[
                        done.action
                    ],
                    why=done.why,
                    on=""
                    if done.action != "set"
                    else f"{counted(done.after[0].n_images if done.after else 0, 'different part')}{where}",
                    from_version=None,
                    to_version=None,
                    was=_threshold(done.was),
                    became=_threshold(done.became),
                    can_restore=False,
                )
            )
        entries.sort(key=lambda entry: entry.when, reverse=True)
        return answer(entries, headers=NO_STORE)

    @documented(
        Operation(
            "A recipe as one file: model, corrections, regions and rules, for another server",
            {
                200: Reply("a ZIP file", Content(BYTES, "application/zip")),
                404: NO_SUCH,
                409: "its model cannot be used, or was made by other software",
                503: BUSY,
                507: NOT_STORED,
            },
            description="Without calibrations, which belong to the place where a camera stands, and without the "
            "pictures it was taught on.",
            role=Role.ENGINEER,
        )
    )
    async def export_file(self, request: Request) -> Response:
        recipe = self.library.get(request.path_params["recipe"])
        if self.exporting.locked():
            raise Refused(503, "so many recipe files are sent already: try again when one is done")
        await self.exporting.acquire()
        folder: Path | None = None

        def done() -> None:
            self.exporting.release()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)  # a single file

        try:
            folder = await self.library.ask(self.library.temporary)
            file = await pack(self.library, recipe, folder)
        except BaseException:
            done()
            raise
        name = "".join(c if c.isascii() and c.isalnum() else "-" for c in recipe.name).strip("-") or "recipe"
        headers = {"Content-Disposition": f'attachment; filename="{name}.recipe.zip"', **NO_STORE}
        return TemporaryFile(file, done, headers, "application/zip")

    @documented(
        Operation(
            "Take in a recipe file of another server",
            UPLOADS
            | {
                201: Reply("the new recipe", Content(RecipeBody)),
                413: "larger than MAX_UPLOAD_MB, and than a recipe file can be",
                422: "not a recipe file, damaged, or of another version; nothing was changed",
                503: BUSY,
                507: NOT_STORED,
            },
            body=Content(
                {"type": "object", "properties": {"file": BYTES}, "required": ["file"]}, "multipart/form-data"
            ),
            role=Role.ENGINEER,
        )
    )
    async def import_file(self, request: Request) -> Response:
        limit = MAX_CALIBRATION * self.settings.max_upload_bytes
        with self.held.share(source_of_request(request)) as share:
            form = await read_form(request, "file", share=share, max_file=limit, max_total=limit, max_files=1)
            (file,) = form.files
            async with self.importing:
                made = await unpack(self.library, file.data, who=who_asks(request), on=file.filename[:80])
        return answer(self.body(made), 201)

    @documented(
        Operation(
            "Inspect a stream with a recipe",
            {
                200: Reply("what is in force now", Content(RecipeInForce)),
                404: NO_SUCH,
                409: "the recipe cannot be used; nothing was changed",
                413: "larger than 64 kB",
                422: "a name that no stream can have, or no such choice",
                503: BUSY,
                507: NOT_STORED,
            },
            body=Content(RecipeChoice),
            description="The stream need not run now: it is remembered for when it does. It is not interrupted.",
            role=Role.OPERATOR,
            streams="path",
        )
    )
    async def choose(self, request: Request) -> Response:
        choice = await read_json(request, RecipeChoice)
        try:
            name = check_name(request.path_params["name"])
        except ValueError as error:
            raise Refused(422, str(error)) from error
        recipe, took = await self.library.choose(name, choice.recipe, who=who_asks(request))
        opened = self.streams.get(name)
        transport = opened.stream.transport if opened else "unknown"
        threshold = self.inspection.threshold_there(recipe.id, name, transport)
        return answer(
            RecipeInForce(
                name,
                recipe.id,
                recipe.version,
                recipe.name,
                threshold.value if threshold and threshold.known else None,
                round(took, 1),
            )
        )

    @documented(
        Operation(
            "Inspect all streams that no recipe was chosen for with this one",
            {
                200: Reply("all recipes", Content(RecipesBody)),
                404: NO_SUCH,
                409: "the recipe cannot be used; nothing was changed",
                413: "larger than 64 kB",
                422: "no such choice",
                503: BUSY,
                507: NOT_STORED,
            },
            body=Content(RecipeChoice),
            role=Role.ENGINEER,
        )
    )
    async def choose_default(self, request: Request) -> Response:
        choice = await read_json(request, RecipeChoice)
        await self.library.choose_default(choice.recipe, who=who_asks(request))
        return answer(self._all())

    def body(self, recipe: Recipe) -> RecipeBody:
        """A recipe as it is answered."""
        threshold = self.inspection.threshold_of(recipe.id)
        return RecipeBody(
            id=recipe.id,
            name=recipe.name,
            version=recipe.version,
            model=self._model(recipe),
            regions=recipe.regions,
            rule=recipe.rule,
            decision=recipe.decision,
            options=recipe.options,
            parts=recipe.parts,
            threshold=threshold.value if threshold and threshold.known else None,
            threshold_source=threshold.source if threshold else None,
            threshold_warning=other_regions(threshold) if threshold else None,
            by_hand=self._by_hand(recipe),
            streams=self.library.streams_of(recipe.id),
            is_default=recipe.id == self.library.default,
            is_given=self.library.is_given(recipe.id),
            is_loaded=self.inspection.model_of(recipe.id) is not None,
            problem=self.library.problem(recipe),
            changed=recipe.changed,
            who=recipe.who,
            why=recipe.why,
        )

    def _by_hand(self, recipe: Recipe) -> ByHandBody | None:
        back = way_back(recipe, self.library.book.history(recipe.id))
        if back is None:
            return None
        then, is_apart = self.inspection.threshold_by(recipe.id, back.rule) or (None, False)
        raw = then.value if then and then.known and not is_apart else None
        return ByHandBody(back.version, back.rule, raw, then.source if then else None)

    def _model(self, recipe: Recipe) -> ModelBody | None:
        model = self.inspection.known_model(recipe.id)
        if model is None:
            return None
        manifest = model.manifest if isinstance(model, Described) else None
        kinds = [one.kind for one in self.library.models.corrections(recipe)]
        return ModelBody(
            category=model.category,
            hash=model.hash or None,
            taught=recipe.model.taught,
            pictures=manifest.n_images if manifest else 0,
            forgiven=kinds.count("good"),
            remembered=kinds.count("bad"),
            region=manifest.region.fractions if manifest else (0.0, 0.0, 1.0, 1.0),
            registration=_registration(manifest),
            can_be_corrected=manifest is not None,
            can_be_taught_more=self.library.keep.has_pictures(recipe.model.taught),
        )

    def _all(self) -> RecipesBody:
        return RecipesBody([self.body(recipe) for recipe in self.library.recipes], self.library.default)


def _registration(manifest: Manifest | None) -> str | None:
    """How parts are laid on a reference, in words; None where they are not."""
    if manifest is None or manifest.reference is None:
        return None
    return manifest.registration or "parts are laid on a reference"


def version_asked(request: Request) -> int:
    """The version that a change was made from, in the query."""
    return whole_number(request.query_params.get("version", ""), "version", 1, 999_999_999)


def clause(why: str) -> str:
    """What somebody wrote, as it may stand in a sentence and on every page: without what cannot be printed."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in why).split())


def _step(change: RecipeChange, library: Library) -> RecipeChangeBody:
    before, after = change.before, change.after
    return RecipeChangeBody(
        when=change.when,
        who=change.who,
        action=change.action,
        why=change.why,
        on=change.on,
        from_version=before.version if before else None,
        to_version=after.version,
        was=_in_words(before, after) if before else "",
        became=_in_words(after, before),
        can_restore=before is not None and library.is_kept(before),
    )


def _in_words(recipe: Recipe, other: Recipe | None) -> str:
    """What a version says where it differs from another one, one clause."""
    said = []
    if other is None or recipe.model != other.model:
        told = len(recipe.model.corrections)
        said.append(f"model {recipe.model.taught[:8]}" + (f" with {counted(told, 'correction')}" if told else ""))
    if other is not None and recipe.name != other.name:
        said.append(recipe.name)
    if other is not None and recipe.regions != other.regions:
        include, ignore = len(recipe.regions.include), len(recipe.regions.ignore)
        said.append(f"{counted(include, 'region')} to inspect, {ignore} to ignore")
    if other is not None and recipe.rule != other.rule:
        rule = recipe.rule
        by_hand = None if rule.raw is None else f"threshold {rule.raw:.4g} by hand"
        said.append(by_hand or (f"about 1 in {rule.one_in}" if rule.one_in else f"mean + {rule.k:g} · std"))
    if other is not None and recipe.decision != other.decision:
        decision = recipe.decision
        said.append(
            {"frame": "each frame", "n_of_m": f"{decision.n} of {counted(decision.m, 'frame')}"}.get(
                decision.kind, decision.kind
            )
        )
    if other is not None and recipe.options != other.options:
        fps = recipe.options.max_fps
        said.append("as quick as it can" if fps is None else f"at most {fps:g} a second")
    if other is not None and recipe.parts != other.parts:
        said.append(part_words(recipe.parts))
    return ", ".join(said)


def _threshold(value: float | None) -> str:
    return "no threshold" if value is None else f"threshold {value:.4g}"
