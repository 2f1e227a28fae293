"""What the server and the process that learns tell each other, a line of JSON each."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from detector.teaching import PresetName

LONGEST_LINE = 1 << 20
"""Bytes. 300 pictures are 75 kB."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, 0..1 of the frame."""


class Wanted(Struct, frozen=True):
    """How it is to be learned."""

    preset: PresetName
    runtime: str


class Seen(Struct, frozen=True):
    """What one picture brought. ``why``: it is an outlier, one clause; ``place``: where it is least like the others."""

    new: bool = False
    copy: bool = False
    outlier: bool = False
    why: str | None = None
    place: Box | None = None


class Coverage(Struct, frozen=True):
    """What the pictures show of good parts, all in all; see :class:`detector.showing.CoverageSummary`."""

    parts: int = 0
    of_last: int = 0
    new_of_last: int = 0
    enough: bool = False
    sentence: str = "nothing was shown yet"


class Show(Struct, frozen=True, tag="show"):
    """Look at a picture. ``always``: also count it where it is a copy of another."""

    number: int
    path: str
    always: bool = False


class LeaveOut(Struct, frozen=True, tag="leave out"):
    """A picture does not count any more."""

    number: int


class Learn(Struct, frozen=True, tag="learn"):
    """Learn from the pictures at these paths, and write the model folder."""

    paths: list[str]
    folder: str
    category: str


class Rehearse(Struct, frozen=True, tag="rehearse"):
    """Learn from these pictures ahead, in case they will be what is learned from; answered at once."""

    paths: list[str]
    category: str


Request = Show | LeaveOut | Learn | Rehearse


class Shown(Struct, frozen=True, tag="shown"):
    """What all pictures brought, by number, and all in all."""

    pictures: dict[int, Seen]
    coverage: Coverage


class IsCopy(Struct, frozen=True, tag="copy"):
    """It shows a part that another picture shows already, lying still; nothing was counted."""


class Learned(Struct, frozen=True, tag="learned"):
    """The model folder is written. ``registration``: whether parts are laid on a reference, and why, one clause."""

    registration: str = ""


class Refused(Struct, frozen=True, tag="refused"):
    """It could not be done, one sentence."""

    why: str


class Progress(Struct, frozen=True, tag="progress"):
    """Of learning, 0..1; no answer, more will come."""

    fraction: float


class Step(Struct, frozen=True, tag="step"):
    """It goes on: another picture was looked at. No answer, more will come."""


class Region(Struct, frozen=True, tag="region"):
    """What a model would inspect; comes by itself."""

    box: Box


Answer = Shown | IsCopy | Learned | Refused
Said = Answer | Progress | Step | Region

_encoder = msgspec.json.Encoder()
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_said: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)


def line(message: Request | Said) -> bytes:
    return _encoder.encode(message) + b"\n"


def request_of(text: bytes) -> Request:
    return _requests.decode(text)


def said_of(text: bytes) -> Said:
    """Raises msgspec.MsgspecError: it is none of ours."""
    return _said.decode(text)
