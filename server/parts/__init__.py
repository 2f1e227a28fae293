"""What a part is, when it has its verdict, and the handshake by which a controller hears of it. No I/O, no clock."""

from server.parts.gate import GateLook, gate_look, packed
from server.parts.handshake import ACK_WITHIN_S, MOST_RESULTS, Counts, Handshake, Outcome, Signals, Told, Trouble
from server.parts.passage import Done, Passage
from server.parts.station import FrameFound, Station, TriggerRefused

__all__ = [
    "ACK_WITHIN_S",
    "MOST_RESULTS",
    "Counts",
    "Done",
    "FrameFound",
    "GateLook",
    "Handshake",
    "Outcome",
    "Passage",
    "Signals",
    "Station",
    "Told",
    "TriggerRefused",
    "Trouble",
    "gate_look",
    "packed",
]
