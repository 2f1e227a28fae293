"""A part's verdict as a result of OPC 40100-1, and the last of them. Only in the process that serves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from asyncua import ua

from server.words import PartResult

MOST_RESULTS = 100
"""Of each stream, that can be asked for; the oldest is forgotten."""
MOST_JOBS = 256

COMPLETED: Final = 1
ABORTED: Final = 3
FAILED: Final = 4
"""Result states, as the standard numbers them."""


@dataclass
class Job:
    """What was asked for with a trigger: its id, and what the client called it."""

    id: str
    meas: str | None = None
    product: str | None = None
    aborted: bool = False


class Jobs:
    """Those of one stream that may still get their result, by the number of their trigger: bounded, the oldest goes."""

    def __init__(self, stream: str, run: str) -> None:
        self._prefix = f"{stream}-{run}"
        self._by_trigger: OrderedDict[int, Job] = OrderedDict()
        self._continuous = 0

    def single(self, trigger: int, meas: str | None = None, product: str | None = None) -> Job:
        """That of a trigger, whoever gave it."""
        job = self._by_trigger.setdefault(trigger, Job(f"{self._prefix}-{trigger}"))
        job.meas, job.product = meas or job.meas, product or job.product
        while len(self._by_trigger) > MOST_JOBS:
            self._by_trigger.popitem(last=False)
        return job

    def next_continuous(self) -> Job:
        self._continuous += 1
        return Job(f"{self._prefix}-c{self._continuous}")

    def abort(self) -> None:
        """The one in work: the newest."""
        if self._by_trigger:
            next(reversed(self._by_trigger.values())).aborted = True

    def ended(self, trigger: int) -> Job:
        job = self.single(trigger)
        del self._by_trigger[trigger]
        return job


class Results:
    """The last results of one stream, by id."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def add(self, result: Any) -> None:
        id = result.ResultId.Id
        self._kept[id] = result
        self._kept.move_to_end(id)
        while len(self._kept) > MOST_RESULTS:
            self._kept.popitem(last=False)

    def get(self, id: str) -> Any | None:
        return self._kept.get(id)

    def matching(self, wanted: dict[str, str], state: int) -> list[Any]:
        """Newest first, those whose ids are the wanted ones; an empty one, and state 0, mean any."""
        return [one for one in reversed(self._kept.values()) if _matches(one, wanted, state)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._kept.values())


def result_of(part: PartResult, job: Job, namespace: int) -> Any:
    """Args:
    namespace: index of our own, in which the names of the contents are.
    """
    result = ua.ResultDataType()
    result.ResultId = ua.ResultIdDataType(Id=part.id)
    result.HasTransferableDataOnFile = False
    result.IsPartial = False
    result.IsSimulated = part.simulated
    result.ResultState = ABORTED if job.aborted else FAILED if part.verdict == "FAILED" else COMPLETED
    result.MeasId = _id(ua.MeasIdDataType, job.meas or part.trigger_id)
    result.PartId = _id(ua.PartIdDataType, part.part)
    result.ProductId = _id(ua.ProductIdDataType, job.product)
    result.InternalRecipeId = recipe_id(part.recipe, part.recipe_version)
    result.InternalConfigurationId = ua.ConfigurationIdDataType(Id=part.model or "none")
    result.JobId = ua.JobIdDataType(Id=job.id)
    result.CreationTime = _time(part.at)
    times = ua.ProcessingTimesDataType(StartTime=_time(part.began_at), EndTime=_time(part.at))
    if part.inspection_ms is not None:
        times.ProcessingDuration = part.inspection_ms
    result.ProcessingTimes = times
    result.ResultContent = [*_content(part, namespace)]
    return result


def recipe_id(id: str | None, version: int | None) -> Any:
    return ua.RecipeIdInternalDataType(Id=id or "none", Version=None if version is None else str(version))


def _content(part: PartResult, namespace: int) -> Iterator[Any]:
    """Names and values, each a KeyValuePair; what there is none of is left out."""
    kinds = ua.VariantType
    values: dict[str, tuple[Any, Any]] = {
        "Verdict": (part.verdict, kinds.String),
        "Score": (part.score, kinds.Double),
        "RawScore": (part.raw_score, kinds.Double),
        "Threshold": (part.threshold, kinds.Double),
        "ThresholdSource": (part.threshold_source, kinds.String),
        "Frames": (part.frames, kinds.UInt32),
        "AnomalousFrames": (part.anomalous, kinds.UInt32),
        "Why": (part.why, kinds.String),
        "Picture": (part.picture, kinds.String),
        "CycleMs": (part.cycle_ms, kinds.Double),
        "Number": (part.number, kinds.UInt64),
    }
    for name, (value, kind) in values.items():
        if value is not None:
            pair = ua.KeyValuePair(Key=ua.QualifiedName(name, namespace), Value=ua.Variant(value, kind))
            yield ua.Variant(pair, kinds.ExtensionObject)


def _matches(result: Any, wanted: dict[str, str], state: int) -> bool:
    if state and result.ResultState != state:
        return False
    return all(not id or getattr(getattr(result, name), "Id", None) == id for name, id in wanted.items())


def _id(kind: Any, id: str | None) -> Any:
    return None if id is None else kind(Id=id)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
