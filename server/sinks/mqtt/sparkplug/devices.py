"""What is told of a stream as a device of Sparkplug: its metrics, and their values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from msgspec import UNSET, UnsetType

from server.sinks.mqtt.sparkplug.payload import DataType, Value
from server.sinks.mqtt.told import NONE_YET, Counts, RecipeTold, recipe_of
from server.words import Change, Message, PartResult, Result, Status

METRICS: dict[str, DataType] = {
    "State": DataType.STRING,
    "Verdict": DataType.STRING,
    "Recipe/Id": DataType.STRING,
    "Recipe/Name": DataType.STRING,
    "Recipe/Version": DataType.INT64,
    "Threshold": DataType.DOUBLE,
    "Counts/Parts": DataType.UINT64,
    "Counts/Rejected": DataType.UINT64,
    "Counts/Failed": DataType.UINT64,
    "Part/Result Id": DataType.STRING,
    "Part/Number": DataType.UINT64,
    "Part/Id": DataType.STRING,
    "Part/Trigger": DataType.UINT64,
    "Part/Trigger Id": DataType.STRING,
    "Part/Verdict": DataType.STRING,
    "Part/Why": DataType.STRING,
    "Part/Score": DataType.DOUBLE,
    "Part/Raw Score": DataType.DOUBLE,
    "Part/Threshold": DataType.DOUBLE,
    "Part/Frames": DataType.UINT64,
    "Part/At": DataType.DATETIME,
    "Part/Cycle ms": DataType.DOUBLE,
    "Part/Picture": DataType.STRING,
    "Part/Simulated": DataType.BOOLEAN,
}
"""Of every device, in the order of their aliases."""

Values = dict[str, Value]


@dataclass(frozen=True)
class DeviceTold:
    """What was told of a device.

    Attributes:
        values: of all metrics that have one.
        by_parts: with which recipe its last part was told: the verdict of a frame of that is not its last one.
    """

    values: Values = field(default_factory=dict)
    counts: Counts = NONE_YET
    by_parts: RecipeTold | None = None

    @property
    def is_gone(self) -> bool:
        return self.values.get("State") == "waiting"

    @property
    def anew(self) -> DeviceTold:
        """What holds of it once nobody listened to it for a while: how many were told."""
        counts = {name: value for name, value in self.values.items() if name.startswith("Counts/")}
        return DeviceTold(counts, self.counts)

    @property
    def without_verdict(self) -> DeviceTold:
        """Another sender is none of whom the verdict was."""
        return replace(self, values={**self.values, "Verdict": None}, by_parts=None)


def told(message: Message, what: str, was: DeviceTold, address: str | None) -> tuple[DeviceTold, Values]:
    """What is known after an event, and which values it sets.

    Args:
        what: the event is, as an outbox says.
        address: where others find this server, ends with a slash; None leaves addresses of pictures relative.
    """
    now, values = was, Values()
    match message:
        case PartResult():
            counts = was.counts.and_one(message.verdict)
            now, values = replace(was, counts=counts, by_parts=recipe_of(message)), _of_part(message, counts, address)
        case Result() if what == "verdict" and was.by_parts != recipe_of(message):
            values = {"Verdict": message.verdict, "Threshold": message.threshold}
        case Status():
            now = was.without_verdict if message.state == "waiting" else was
            values = _of_status(message)
        case Change():
            now = replace(was, by_parts=was.by_parts if message.what == "threshold" else None)
            values = {
                "Recipe/Id": message.recipe,
                "Recipe/Name": message.recipe_name,
                "Recipe/Version": message.recipe_version,
                "Threshold": message.threshold,
            }
    return replace(now, values={**now.values, **values}), values


def seen(status: Status, was: DeviceTold) -> tuple[DeviceTold, Values]:
    """What is known of a device that stands so, and which values that sets."""
    values = {name: value for name, value in _of_status(status).items() if was.values.get(name) != value}
    if was.values.get("Threshold") is not None and values.keys() & {"Recipe/Id", "Recipe/Version"}:
        values["Threshold"] = None  # that of the recipe of before
    return replace(was, values={**was.values, **values}), values


def milliseconds(at: str) -> int:
    """Milliseconds since 1970 of an ISO 8601 time."""
    return round(datetime.fromisoformat(at).timestamp() * 1000)


def _of_status(status: Status) -> Values:
    said: dict[str, str | int | UnsetType] = {
        "Recipe/Id": status.recipe,
        "Recipe/Name": status.recipe_name,
        "Recipe/Version": status.recipe_version,
    }
    return {"State": status.state, **{name: value for name, value in said.items() if value is not UNSET}}


def _of_part(part: PartResult, counts: Counts, address: str | None) -> Values:
    picture = part.picture
    if picture is not None and address is not None:
        picture = address + picture.removeprefix("/")
    return {
        "Verdict": part.verdict,
        "Counts/Parts": counts.parts,
        "Counts/Rejected": counts.rejected,
        "Counts/Failed": counts.failed,
        "Part/Result Id": part.id,
        "Part/Number": part.number,
        "Part/Id": part.part,
        "Part/Trigger": part.trigger,
        "Part/Trigger Id": part.trigger_id,
        "Part/Verdict": part.verdict,
        "Part/Why": part.why,
        "Part/Score": part.score,
        "Part/Raw Score": part.raw_score,
        "Part/Threshold": part.threshold,
        "Part/Frames": part.frames,
        "Part/At": milliseconds(part.at),
        "Part/Cycle ms": part.cycle_ms,
        "Part/Picture": picture,
        "Part/Simulated": part.simulated,
    }
