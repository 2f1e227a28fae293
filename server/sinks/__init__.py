"""Ways out to the plant: each listens to the hub, and none is waited for."""

from server.sinks.choice import Choice
from server.sinks.kind import Around, Field, FieldKind, Kind
from server.sinks.kinds import KINDS
from server.sinks.own_line import OwnLine
from server.sinks.running_sink import SinkState, State
from server.sinks.sink import (
    Accepted,
    Line,
    Outbox,
    Outgoing,
    RecipeOnStream,
    Sink,
    SinkError,
    SinkOver,
    StandingOnLine,
    TriggerRefused,
    What,
)
from server.sinks.sinks import DOCUMENTS, CannotAdd, Draft, NoSink, Sinks, TooManyTests
from server.sinks.sinks_file import MOST, StoredSink, stored_in

__all__ = [
    "DOCUMENTS",
    "KINDS",
    "MOST",
    "Accepted",
    "Around",
    "CannotAdd",
    "Choice",
    "Draft",
    "Field",
    "FieldKind",
    "Kind",
    "Line",
    "NoSink",
    "Outbox",
    "Outgoing",
    "OwnLine",
    "RecipeOnStream",
    "Sink",
    "SinkError",
    "SinkOver",
    "SinkState",
    "Sinks",
    "StandingOnLine",
    "State",
    "StoredSink",
    "TooManyTests",
    "TriggerRefused",
    "What",
    "stored_in",
]
