"""One stream as a vision system of OPC 40100-1: states, jobs, recipes, results. Only in the process that serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from asyncua import ua

from server.sinks.opcua.model import (
    AUTOMATIC_MACHINE,
    RECIPE_MANAGEMENT,
    RELEASE_RECIPE,
    RELEASE_RESULT,
    RESULT_FOLDER,
    RESULT_MANAGEMENT,
    SELECT_MODE_AUTOMATIC,
    SYSTEM,
    Model,
    Value,
)
from server.sinks.opcua.results import Job, Jobs, Results, recipe_id, result_of
from server.sinks.opcua.states import Cause, State, state_of, ways
from server.sinks.opcua.words import Answer, Ask, Recipe, Standing
from server.words import PartResult

MOST_AT_ONCE = 100
"""Recipes or results that one answer holds."""
_STRUCTURE, _TEXT, _LOCAL = ua.VariantType.ExtensionObject, ua.VariantType.String, ua.VariantType.LocalizedText

_RESULT_FIELDS: Mapping[str, Any] = {
    "ResultId": _STRUCTURE,
    "HasTransferableDataOnFile": ua.VariantType.Boolean,
    "IsPartial": ua.VariantType.Boolean,
    "IsSimulated": ua.VariantType.Boolean,
    "ResultState": ua.VariantType.Int32,
    "MeasId": _STRUCTURE,
    "PartId": _STRUCTURE,
    "ExternalRecipeId": _STRUCTURE,
    "InternalRecipeId": _STRUCTURE,
    "ProductId": _STRUCTURE,
    "ExternalConfigurationId": _STRUCTURE,
    "InternalConfigurationId": _STRUCTURE,
    "JobId": _STRUCTURE,
    "CreationTime": ua.VariantType.DateTime,
    "ProcessingTimes": _STRUCTURE,
    "ResultContent": ua.VariantType.Variant,
}
"""Of a result, in the standard's order, as variants."""
_PLAIN: Mapping[str, Any] = {
    "State": _TEXT,
    "StateWords": _TEXT,
    "Recipe": _TEXT,
    "Verdict": _TEXT,
    "Score": ua.VariantType.Double,
    "RawScore": ua.VariantType.Double,
    "Threshold": ua.VariantType.Double,
    "PartId": _TEXT,
    "JobId": _TEXT,
    "ResultId": _TEXT,
    "Results": ua.VariantType.UInt32,
    "Refused": ua.VariantType.UInt32,
    "LastRefusal": _TEXT,
}
"""Ours, for controllers that read no structures: how it stands, its last result, and what was refused."""
_SYSTEM_STATE = {
    State.PREOPERATIONAL: 6,
    State.HALTED: 4,
    State.ERROR: 5,
    State.INITIALIZED: 3,
    State.READY: 2,
    State.SINGLE_EXECUTION: 1,
    State.CONTINUOUS_EXECUTION: 1,
}
"""SEMI E10's, as the standard numbers them."""

Asker = Callable[[Ask], Awaitable[Answer]]


class Refused(Exception):
    """What a client asked for is not done. ``status``: as OPC UA has it; one sentence."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass
class VisionSystem:
    """On the loop of the process that serves.

    Args:
        ask: of the server; gives the answer, or raises TimeoutError.
        recipes: all there are, by id; shared, and kept up to date.
        run: the same as long as the inspecting server runs.

    Attributes:
        id: of its node.
    """

    model: Model
    standing: Standing
    ask: Asker
    recipes: dict[str, Recipe]
    run: str
    id: Any = None
    _state: State = State.PREOPERATIONAL
    _halted: bool = False
    _stopped: bool = False
    _nodes: dict[str, Any] = field(default_factory=dict)
    _plain: dict[str, Any] = field(default_factory=dict)
    _result_fields: dict[str, Any] = field(default_factory=dict)
    _results: Results = field(default_factory=Results)
    _told: int = 0
    _refused: int = 0
    _continuous: Job | None = None

    def __post_init__(self) -> None:
        self._jobs = Jobs(self.stream, self.run)

    @property
    def stream(self) -> str:
        return self.standing.stream

    async def begin(self) -> None:
        """Lay its nodes into the address space."""
        model, root = self.model, f"{self.stream}:"
        system = await model.add(model.server.nodes.objects, root, ua.QualifiedName(self.stream, model.own), SYSTEM)
        self.id = system.nodeid
        machine = await system.get_child(model.name("VisionStateMachine"))
        automatic = await model.add(
            machine,
            f"{machine.nodeid.Identifier}.AutomaticModeStateMachine",
            model.name("AutomaticModeStateMachine"),
            AUTOMATIC_MACHINE,
        )
        recipes = await model.add(system, f"{root}.RecipeManagement", model.name("RecipeManagement"), RECIPE_MANAGEMENT)
        results = await model.add(system, f"{root}.ResultManagement", model.name("ResultManagement"), RESULT_MANAGEMENT)
        folder = await model.add(results, f"{root}.ResultManagement.Results", model.name("Results"), RESULT_FOLDER)
        latest = await model.add_result(
            folder, f"{root}.ResultManagement.Results.Latest", ua.QualifiedName("Latest", model.own)
        )
        await model.add_optional(machine, SELECT_MODE_AUTOMATIC)
        await model.add_optional(recipes, RELEASE_RECIPE)
        await model.add_optional(results, RELEASE_RESULT)
        state = await system.add_variable(
            ua.NodeId(f"{root}.SystemState", model.own),
            model.name("SystemState"),
            ua.SystemStateDescriptionDataType(),
            varianttype=_STRUCTURE,
            datatype=ua.NodeId(3024, model.standard),
        )
        self._nodes = {"latest": latest.nodeid, "system_state": state.nodeid}
        for name, node in (("vision", machine), ("automatic", automatic)):
            current = await node.get_child(ua.QualifiedName("CurrentState", 0))
            self._nodes[name] = current.nodeid
            self._nodes[f"{name} id"] = (await current.get_child(ua.QualifiedName("Id", 0))).nodeid
            self._nodes[f"{name} machine"] = node.nodeid
        for child in await latest.get_children():
            self._result_fields[(await child.read_browse_name()).Name] = child.nodeid
        plain = await system.add_object(
            ua.NodeId(f"{root}.DefectVision", model.own), ua.QualifiedName("DefectVision", model.own)
        )
        for name, kind in _PLAIN.items():
            empty = "" if kind is _TEXT else 0
            node = await plain.add_variable(
                ua.NodeId(f"{root}.DefectVision.{name}", model.own), ua.QualifiedName(name, model.own), empty, kind
            )
            self._plain[name] = node.nodeid
        for node in (machine, automatic, recipes, results):
            await model.link(node, self._methods)
        for node in (system, machine, automatic, results):
            await node.set_event_notifier([ua.EventNotifier.SubscribeToEvents])
        await model.close_to_writing(self.stream)
        await self._show_state("")
        await self.show(self.standing)

    async def show(self, standing: Standing, cause: Cause = "") -> None:
        """How its stream stands now."""
        self.standing = standing
        await self._settle(cause)
        recipe = "" if standing.recipe is None else standing.recipe.id
        await self._set_plain(Recipe=recipe)

    async def told(self, part: PartResult, standing: Standing) -> None:
        """A part has its verdict: keep it, show it, fire its event; then show how the stream stands."""
        self.standing = standing  # who hears of the result may ask for the next job at once
        job = self._job_of(part)
        if job is not None:
            result = result_of(part, job, self.model.own)
            self._results.add(result)
            await self._show_result(part, result)
        await self.show(standing)

    def _job_of(self, part: PartResult) -> Job | None:
        """That its result belongs to; None while a client has it halted, or the continuous job stopped."""
        if part.trigger is not None:
            job = self._jobs.ended(part.trigger)
            return None if self._halted else job
        if self._stopped or self._halted:
            return None
        self._continuous = self._continuous or self._jobs.next_continuous()
        return self._continuous

    async def _show_result(self, part: PartResult, result: Any) -> None:
        self._told += 1
        fields = {name: (_value(result, name), kind) for name, kind in _RESULT_FIELDS.items()}
        source = result.CreationTime
        await self.model.set(self._nodes["latest"], result, _STRUCTURE, source=source)
        for name, id in self._result_fields.items():
            await self.model.set(id, *fields[name], source=source)
        await self._set_plain(
            Verdict=part.verdict,
            Score=part.score,
            RawScore=part.raw_score,
            Threshold=part.threshold,
            PartId=part.part or "",
            JobId=result.JobId.Id,
            ResultId=part.id,
            Results=self._told,
        )
        del fields["HasTransferableDataOnFile"]  # the event has no such field
        words = f"{self.stream}: {part.verdict}{f' of part {part.part}' if part.part else ''}"
        await self._fire("ResultReady", words, fields)

    # states

    async def _settle(self, cause: Cause = "") -> None:
        """Go where the stream is, and say each step."""
        after, words = state_of(self.standing, halted=self._halted, stopped=self._stopped)
        before, self._state = self._state, after
        if before is after:
            await self._set_plain(StateWords=words)
            return
        if after is State.CONTINUOUS_EXECUTION:
            self._continuous = self._continuous or self._jobs.next_continuous()
        await self._show_state(words)
        for way in ways(before, after, cause):
            await self._say_step(way.machine, way.name, way.before, way.after, words)
        if before in (State.SINGLE_EXECUTION, State.CONTINUOUS_EXECUTION) and after is State.READY:
            await self._fire("Ready", f"{self.stream} is ready", {"JobId": (self._last_job_id(), _STRUCTURE)})
        if after is State.CONTINUOUS_EXECUTION and self._continuous is not None:
            await self._say_started(self._continuous)
        elif before is State.CONTINUOUS_EXECUTION:
            self._continuous = None

    async def _say_step(self, machine: str, name: str, before: str, after: str, words: str) -> None:
        states, kind = self.model.states, ua.VariantType.NodeId
        fields: dict[str, Value] = {
            "Transition": (ua.LocalizedText(name), _LOCAL),
            "Transition/Id": (states[machine, name], kind),
            "FromState": (ua.LocalizedText(before), _LOCAL),
            "FromState/Id": (states[machine, before], kind),
            "ToState": (ua.LocalizedText(after), _LOCAL),
            "ToState/Id": (states[machine, after], kind),
        }
        event = "Error" if after == "Error" else "ErrorResolved" if before == "Error" else "StateChanged"
        severity = 700 if after == "Error" else 100
        for one in dict.fromkeys(("StateChanged", event)):
            await self._fire(one, f"{self.stream}: {words}", fields, machine=machine, severity=severity)

    async def _say_started(self, job: Job) -> None:
        await self._fire("JobStarted", f"job {job.id}", {"JobId": (ua.JobIdDataType(Id=job.id), _STRUCTURE)})

    def _last_job_id(self) -> Any:
        newest = next(iter(self._results.matching({}, 0)), None)
        if self._continuous is not None:
            return ua.JobIdDataType(Id=self._continuous.id)
        return ua.JobIdDataType() if newest is None else newest.JobId

    async def _show_state(self, words: str) -> None:
        state, states = self._state, self.model.states
        await self.model.set(self._nodes["vision"], ua.LocalizedText(state.outer), _LOCAL)
        await self.model.set(self._nodes["vision id"], states["vision", state.outer], ua.VariantType.NodeId)
        if state.inner is None:
            # Where the outer state is another, there is none in it: OPC 10000-5 has Bad_StateNotActive for that.
            inactive = ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadStateNotActive))
            for name in ("automatic", "automatic id"):
                await self.model.server.write_attribute_value(self._nodes[name], inactive)
        else:
            await self.model.set(self._nodes["automatic"], ua.LocalizedText(state.inner), _LOCAL)
            await self.model.set(self._nodes["automatic id"], states["automatic", state.inner], ua.VariantType.NodeId)
        described = ua.SystemStateDescriptionDataType(State=_SYSTEM_STATE[state], StateDescription=words)
        await self.model.set(self._nodes["system_state"], described, _STRUCTURE)
        await self._set_plain(State=state.value, StateWords=words)

    async def _set_plain(self, **values: Any) -> None:
        for name, value in values.items():
            kind = _PLAIN[name]
            await self.model.set(self._plain[name], 0.0 if value is None and kind is not _TEXT else value, kind)

    async def _fire(
        self, event: str, words: str, fields: Mapping[str, Value], *, machine: str = "", severity: int = 100
    ) -> None:
        server = ua.NodeId(ua.ObjectIds.Server)
        emitters = (self.id, server) if not machine else (self._nodes[f"{machine} machine"], self.id, server)
        await self.model.fire(event, self.id, self.stream, words, fields, emitters=emitters, severity=severity)

    # methods

    @property
    def _methods(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        return {
            "SelectModeAutomatic": self._method(0, self._select_automatic),
            "Halt": self._method(2, self._halt),
            "Reset": self._method(2, self._reset),
            "StartSingleJob": self._method(5, self._start_single),
            "StartContinuous": self._method(5, self._start_continuous),
            "Stop": self._method(2, self._stop),
            "Abort": self._method(2, self._abort),
            "GetRecipeListFiltered": self._method(6, self._list_recipes),
            "PrepareRecipe": self._method(2, self._prepare_recipe),
            "UnprepareRecipe": self._method(2, self._unprepare_recipe),
            "ReleaseRecipeHandle": self._method(1, self._release),
            "GetResultById": self._method(2, self._result_by_id),
            "GetResultComponentsById": self._method(2, self._components_by_id),
            "GetResultListFiltered": self._method(12, self._list_results),
            "ReleaseResultHandle": self._method(1, self._release),
        }

    def _method(self, count: int, do: Callable[..., Awaitable[list[Any]]]) -> Callable[..., Awaitable[Any]]:
        """As asyncua calls it: what is refused becomes a status, and its words an event and a variable."""

        async def call(parent: Any, *arguments: Any) -> Any:
            if len(arguments) != count:
                few = len(arguments) < count
                codes = ua.StatusCodes
                return ua.StatusCode(codes.BadArgumentsMissing if few else codes.BadTooManyArguments)
            try:
                return await do(*(one.Value for one in arguments))
            except Refused as refused:
                await self._say_refused(str(refused))
                return ua.StatusCode(refused.status)

        return call

    async def _say_refused(self, words: str) -> None:
        self._refused += 1
        await self._set_plain(Refused=self._refused, LastRefusal=words)
        await self._fire("Refused", words, {}, severity=300)

    async def _select_automatic(self) -> list[Any]:
        if self._state.inner is None:
            self._refuse_state()
        return [_ok()]

    async def _halt(self, cause: Any, description: Any) -> list[Any]:
        if self._halted:
            self._refuse_state()
        self._halted = True
        await self._settle("Halt")
        return [_ok()]

    async def _reset(self, cause: Any, description: Any) -> list[Any]:
        if self._state is State.PREOPERATIONAL:
            self._refuse_state()
        before, self._state = self._state, State.PREOPERATIONAL
        self._halted = self._stopped = False
        self._continuous = None
        await self._show_state("reset")
        for way in ways(before, State.PREOPERATIONAL, "Reset"):
            await self._say_step(way.machine, way.name, way.before, way.after, "reset")
        await self._settle()
        return [_ok()]

    async def _start_single(self, meas: Any, part: Any, recipe: Any, product: Any, parameters: Any) -> list[Any]:
        if self._halted:
            self._refuse_state()
        self._check_recipe(recipe)
        asked = Ask(0, self.stream, "trigger", part=_text(part), trigger_id=_text(meas))
        answer = await self._asked(asked)
        assert answer.trigger is not None
        job = self._jobs.single(answer.trigger, _text(meas), _text(product))
        if self._state is State.READY:
            self._state = State.SINGLE_EXECUTION
            await self._show_state("a part is in work")
            for way in ways(State.READY, State.SINGLE_EXECUTION, "StartSingleJob"):
                await self._say_step(way.machine, way.name, way.before, way.after, "a part is in work")
        await self._say_started(job)
        return [ua.Variant(ua.JobIdDataType(Id=job.id), _STRUCTURE), _ok()]

    async def _start_continuous(self, meas: Any, part: Any, recipe: Any, product: Any, parameters: Any) -> list[Any]:
        if self._state is not State.READY:
            self._refuse_state()
        if self.standing.by == "trigger":
            words = "its recipe says that a trigger makes a part: choose another rule under Recipes"
            raise Refused(ua.StatusCodes.BadInvalidState, f"{self.stream}: {words}")
        self._check_recipe(recipe)
        self._stopped = False
        self._continuous = self._jobs.next_continuous()
        id = self._continuous.id
        await self._settle("StartContinuous")
        return [ua.Variant(ua.JobIdDataType(Id=id), _STRUCTURE), _ok()]

    async def _stop(self, cause: Any, description: Any) -> list[Any]:
        """Of a single job nothing is to be done: it ends with its part."""
        if self._state is State.CONTINUOUS_EXECUTION:
            self._stopped = True
            await self._settle("Stop")
        elif self._state is not State.SINGLE_EXECUTION:
            self._refuse_state()
        return [_ok()]

    async def _abort(self, cause: Any, description: Any) -> list[Any]:
        """The part in work has its verdict all the same; its result says that the job was aborted."""
        if self._state is State.CONTINUOUS_EXECUTION:
            self._stopped = True
            await self._settle("Abort")
        elif self._state is State.SINGLE_EXECUTION:
            self._jobs.abort()
        else:
            self._refuse_state()
        return [_ok()]

    def _refuse_state(self) -> NoReturn:
        _, words = state_of(self.standing, halted=self._halted, stopped=self._stopped)
        raise Refused(ua.StatusCodes.BadInvalidState, f"{self.stream} is {self._state.value}: {words}")

    def _check_recipe(self, wanted: Any) -> None:
        """A job is done with the recipe that is in force: another takes seconds, and is prepared first."""
        name, now = _text(wanted), self.standing.recipe
        if name is not None and (now is None or name not in (now.id, now.name)):
            words = f"{self.stream} has another recipe now: PrepareRecipe {name[:64]} first"
            raise Refused(ua.StatusCodes.BadInvalidState, words)

    async def _asked(self, ask: Ask) -> Answer:
        try:
            answer = await self.ask(ask)
        except TimeoutError:
            raise Refused(ua.StatusCodes.BadTimeout, "the inspection did not answer in time") from None
        match answer.refusal:
            case None:
                return answer
            case "state":
                raise Refused(ua.StatusCodes.BadInvalidState, f"{self.stream}: {answer.words}")
            case "argument":
                raise Refused(ua.StatusCodes.BadInvalidArgument, answer.words)
            case _:
                raise Refused(ua.StatusCodes.BadUnexpectedError, answer.words)

    # recipes

    async def _list_recipes(
        self, external: Any, product: Any, prepared: Any, most: Any, start: Any, timeout: Any
    ) -> list[Any]:
        """``prepared``: 0 those that are not, 1 the one that is, 2 all; what is prepared is what the stream has."""
        name, now = _text(external), self.standing.recipe
        found = [one for one in self.recipes.values() if name is None or name in (one.id, one.name)]
        if prepared in (0, 1):
            found = [one for one in found if (now is not None and one.id == now.id) == bool(prepared)]
        if _text(product) is not None:
            found = []  # there are no products here
        page, complete = _page(found, most, start)
        ids = [recipe_id(one.id, one.version) for one in page]
        for id, one in zip(ids, page, strict=True):
            id.Description = ua.LocalizedText(one.name)
        return [_bool(complete), _count(len(page)), _count(0), ua.Variant(ids, _STRUCTURE, is_array=True), _ok()]

    async def _prepare_recipe(self, external: Any, internal: Any) -> list[Any]:
        name = _text(internal) or _text(external)
        if name is None:
            raise Refused(ua.StatusCodes.BadInvalidArgument, "PrepareRecipe needs the id or the name of a recipe")
        if self._halted or self._state is State.SINGLE_EXECUTION:
            self._refuse_state()
        answer = await self._asked(Ask(0, self.stream, "recipe", recipe=name))
        known = self.recipes.get(answer.recipe or "")
        id = recipe_id(answer.recipe, None if known is None else known.version)
        await self._fire(
            "RecipePrepared", f"{self.stream} has recipe {answer.recipe}", {"InternalId": (id, _STRUCTURE)}
        )
        return [ua.Variant(id, _STRUCTURE), _bool(True), _ok()]

    async def _unprepare_recipe(self, external: Any, internal: Any) -> list[Any]:
        words = "a stream always has a recipe: prepare another one instead"
        raise Refused(ua.StatusCodes.BadNotSupported, words)

    async def _release(self, handle: Any) -> list[Any]:
        """Answers hold all there is to them: handles are 0, and nothing is kept for them."""
        return [_ok()]

    # results

    async def _result_by_id(self, id: Any, timeout: Any) -> list[Any]:
        return [_count(0), ua.Variant(self._found(id), _STRUCTURE), _ok()]

    async def _components_by_id(self, id: Any, timeout: Any) -> list[Any]:
        result = self._found(id)
        parts = [_variant(result, name) for name in _RESULT_FIELDS if name not in ("ResultId",)]
        return [parts[0], _count(0), *parts[1:], _ok()]

    async def _list_results(self, state: Any, *more: Any) -> list[Any]:
        names = (
            "MeasId",
            "PartId",
            "ExternalRecipeId",
            "InternalRecipeId",
            "ExternalConfigurationId",
            "InternalConfigurationId",
            "ProductId",
            "JobId",
        )
        wanted = {name: _text(value) or "" for name, value in zip(names, more[:8], strict=True)}
        page, complete = _page(self._results.matching(wanted, int(state or 0)), more[8], more[9])
        listed = ua.Variant(page, _STRUCTURE, is_array=True)
        return [_bool(complete), _count(len(page)), _count(0), listed, _ok()]

    def _found(self, id: Any) -> Any:
        result = self._results.get(_text(id) or "")
        if result is None:
            raise Refused(ua.StatusCodes.BadNotFound, "there is no such result, or it is older than the last hundred")
        return result


def _value(result: Any, name: str) -> Any:
    return getattr(result, name)


def _variant(result: Any, name: str) -> Any:
    value = _value(result, name)
    return ua.Variant() if value is None else ua.Variant(value, _RESULT_FIELDS[name])


def _text(value: Any) -> str | None:
    """The id in one of the standard's structures, or a plain text; None where it is empty."""
    if isinstance(value, ua.ExtensionObject):
        if value.Body is None:
            return None
        raise Refused(ua.StatusCodes.BadInvalidArgument, "an id comes in a structure that is not the standard's")
    text = getattr(value, "Id", value)
    if text is not None and not isinstance(text, str):
        raise Refused(ua.StatusCodes.BadInvalidArgument, "an id is no text")
    return text.strip() or None if text else None


def _page(found: Sequence[Any], most: Any, start: Any) -> tuple[list[Any], bool]:
    """Those that were asked for, and whether there are no more; ``most`` 0: as many as there may be."""
    first = int(start or 0)
    last = first + (min(int(most), MOST_AT_ONCE) if most else MOST_AT_ONCE)
    return list(found[first:last]), last >= len(found)


def _ok() -> Any:
    return ua.Variant(0, ua.VariantType.Int32)


def _bool(value: bool) -> Any:
    return ua.Variant(value, ua.VariantType.Boolean)


def _count(value: int) -> Any:
    return ua.Variant(value, ua.VariantType.UInt32)
