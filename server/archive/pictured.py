"""One archived picture as a file: a ZIP that any program opens, with the frame, the model's input, and the facts.

Stored, not deflated: JPEG and PNG are packed already. Each entry carries a checksum, so damage is told.
"""

from __future__ import annotations

import io
import math
import struct
import time
import zipfile
from datetime import datetime
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct

from detector.images import MAX_SIDE, is_jpeg
from detector.registration import Moved
from server.inspection import Inspected, KeptPicture, Threshold
from server.recipes import ModelVersion, Recipe
from server.records import milliseconds, moment_of
from server.streams import KeptFrame
from server.words import PartVerdict

FORMAT = 1
MOST_BYTES = 64 << 20
"""Of a file: a frame's JPEG, its input as PNG and a heat map take some hundred kB."""
MOST_CELLS = 1 << 20
"""Of a heat map that is read again; ours have at most 64×64."""
PICTURE, INPUT, FACTS = "picture.jpg", "input.png", "facts.json"

Disposition = Literal["good", "bad"]
Kind = Literal["part", "alarm", "normal"]
"""A part with its one verdict; an alarm of a stream that runs freely; one good frame of such a stream."""
_PNG = b"\x89PNG\r\n\x1a\n"
_LONGEST = 300
_LARGEST = 1e9
_LATEST = 253_402_300_799_999
_MOST_ENTRIES, _LONGEST_LIST = 8, 4096
_UNREADABLE = (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError, ValueError, OSError)


class Damaged(Exception):
    """A file that does not say what was put into it; one sentence."""


class Facts(Struct, frozen=True):
    """What is known of an archived picture, beside it in its file.

    Attributes:
        id: of the part, the alarm, or the normal frame: the file's name.
        frame: id of the very frame; of an alarm that goes on it changes with ``id`` staying.
        at: when the verdict was given, ISO 8601.
        typical: raw score of a good part; None where it is unknown.
        model: its hash and runtime; ``taught``: hash of the model as it was taught.
        size: of the frame; ``picture``: of the JPEG; width and height in pixels.
        moved: how the part lies on the model's reference.
        cells: width and height of the heat map; ``heatmap``: its bytes, row by row, 128 at the threshold.
        disposition: what it was said to be, where its model was told; ``correction``: id of what was made of that;
            ``said_at``: when, milliseconds since 1970, also where it was taken back; 0: nothing was said of it.
    """

    id: str
    frame: str
    kind: Kind
    stream: str
    at: str
    part: str | None
    verdict: PartVerdict
    raw_score: float
    threshold: float
    threshold_source: Literal["environment", "recipe", "calibration", "model", "uncalibrated"]
    typical: float | None
    recipe: str
    recipe_name: str
    recipe_version: int
    model: tuple[str, str]
    taught: str
    size: tuple[int, int]
    picture: tuple[int, int]
    moved: Moved | None
    cells: tuple[int, int]
    heatmap: bytes
    simulated: bool = False
    disposition: Disposition | None = None
    correction: str | None = None
    format: int = FORMAT
    said_at: int = 0


class Pictured(Struct, frozen=True):
    """One archived picture. ``picture``: JPEG of the frame; ``input``: PNG of what the model looked at, lossless; None
    where the model cannot be corrected."""

    facts: Facts
    picture: bytes
    input: bytes | None

    @property
    def size(self) -> int:
        """Bytes it takes, about."""
        return len(self.picture) + len(self.input or b"") + 8192


def pictured(
    kind: Kind,
    id: str,
    frame: str,
    inspected: Inspected,
    kept: KeptPicture,
    *,
    stream: str,
    at: str,
    part: str | None,
    verdict: PartVerdict,
    simulated: bool,
) -> Pictured:
    """What is archived of a frame that was inspected."""
    data, width, height = kept.picture
    rows, columns = inspected.heatmap.shape
    threshold, recipe = inspected.threshold, inspected.recipe
    facts = Facts(
        id=id,
        frame=frame,
        kind=kind,
        stream=stream,
        at=at,
        part=part,
        verdict=verdict,
        raw_score=float(inspected.raw_score),
        threshold=float(threshold.value),
        threshold_source=threshold.source,
        typical=float(threshold.typical) if math.isfinite(threshold.typical) else None,
        recipe=recipe.id,
        recipe_name=recipe.name,
        recipe_version=recipe.version,
        model=inspected.model,
        taught=kept.taught,
        size=inspected.size,
        picture=(width, height),
        moved=kept.moved,
        cells=(columns, rows),
        heatmap=inspected.heatmap.tobytes(),
        simulated=simulated,
    )
    return Pictured(facts, data, kept.input)


def began(facts: Facts) -> int:
    """When what it shows began, milliseconds since 1970: an alarm is called by its first frame, and goes on."""
    began = moment_of(facts.id) if facts.kind == "alarm" else None
    return milliseconds(facts.at) if began is None else began


def said_of(pictured: Pictured, disposition: Disposition | None, correction: str | None) -> Pictured:
    """A picture with what is said of it now, which is later than what was said before, whatever the clock says."""
    said_at = max(round(time.time() * 1000), pictured.facts.said_at + 1)
    facts = msgspec.structs.replace(
        pictured.facts, disposition=disposition, correction=correction, said_at=min(said_at, _LATEST)
    )
    return msgspec.structs.replace(pictured, facts=facts)


def kept_frame(pictured: Pictured) -> KeptFrame:
    """An archived picture as the frame that was kept then: whatever is done with those can be done with it.

    Its id is the archive's, its recipe has nothing but its names.
    """
    facts = pictured.facts
    columns, rows = facts.cells
    inspected = Inspected(
        raw_score=facts.raw_score,
        threshold=Threshold(
            facts.threshold, facts.threshold_source, math.nan if facts.typical is None else facts.typical
        ),
        heatmap=np.frombuffer(facts.heatmap, np.uint8).reshape(rows, columns),
        size=facts.size,
        model=facts.model,
        recipe=Recipe(facts.recipe, facts.recipe_name, facts.recipe_version, ModelVersion(facts.taught)),
    )
    kept = KeptPicture(pictured.input, facts.taught, (pictured.picture, *facts.picture), facts.moved)
    is_good = facts.verdict == "NORMAL"
    return KeptFrame(
        id=facts.id,
        kind="recent" if is_good else "alarm",
        stream=facts.stream,
        at=facts.at,
        part=facts.part,
        verdict="NORMAL" if is_good else "ANOMALY",
        inspected=inspected,
        kept=kept,
        disposition=facts.disposition,
        correction=facts.correction,
    )


def pack(pictured: Pictured) -> bytes:
    """The file of an archived picture."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr(PICTURE, pictured.picture)
        if pictured.input is not None:
            packed.writestr(INPUT, pictured.input)
        packed.writestr(FACTS, msgspec.json.encode(pictured.facts))
    return file.getvalue()


def unpack(data: bytes) -> Pictured:
    """An archived picture out of its file.

    Raises:
        Damaged: it is none, or not whole.
    """
    if not _is_short(data):
        raise Damaged("the archived picture is damaged (it has no list of the few files that it is)")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in packed.infolist()):
                raise Damaged("the archived picture is packed by another program")  # and may be any size unpacked
            facts = msgspec.json.decode(packed.read(FACTS), type=Facts)
            picture = packed.read(PICTURE)
            input = packed.read(INPUT) if INPUT in packed.namelist() else None
    except _UNREADABLE as error:
        raise Damaged(f"the archived picture is damaged ({error})") from error
    if facts.format > FORMAT:
        raise Damaged("the archived picture was written by a newer version of this program")
    columns, rows = facts.cells
    if not (columns > 0 and rows > 0 and columns * rows == len(facts.heatmap) <= MOST_CELLS):
        raise Damaged("the archived picture is damaged (its heat map is not as large as it says)")
    if (odd := _odd(facts)) is not None:
        raise Damaged(f"the archived picture is damaged (its {odd} cannot be)")
    if not is_jpeg(picture) or (input is not None and not input.startswith(_PNG)):
        raise Damaged("the archived picture is damaged (what it holds are no pictures)")
    return Pictured(facts, picture, input)


def _is_short(data: bytes) -> bool:
    """Whether a ZIP ends as ours do, with a list of a few files: zipfile takes a list of millions into memory."""
    end = data[-22:]
    if len(end) < 22 or end[:4] != b"PK\5\6" or end[-2:] != b"\0\0" or data[-42:-38] == b"PK\6\7":
        return False
    entries, size = struct.unpack_from("<HL", end, 10)
    return bool(entries <= _MOST_ENTRIES and size <= _LONGEST_LIST)


def _odd(facts: Facts) -> str | None:
    """What of the facts has the right type and cannot be; they go into headers, file names, and sums."""
    words = {"id": facts.id, "frame": facts.frame, "stream": facts.stream, "part": facts.part, "recipe": facts.recipe}
    words |= {"recipe's name": facts.recipe_name, "taught": facts.taught, "correction": facts.correction}
    words |= {"model": facts.model[0], "runtime": facts.model[1]}
    for name, text in words.items():
        if text is not None and not (len(text) <= _LONGEST and text.isprintable()):
            return name
    if not (facts.frame.isascii() and '"' not in facts.frame):
        return "frame"  # an ETag
    try:
        datetime.fromisoformat(facts.at)
    except ValueError:
        return "time"
    if not 0 < facts.threshold < _LARGEST or not abs(facts.raw_score) < _LARGEST:
        return "threshold or score"
    if facts.typical is not None and not abs(facts.typical) < _LARGEST:
        return "typical score"
    if not all(0 < side <= MAX_SIDE for side in (*facts.size, *facts.picture)):
        return "size"
    if not 0 <= facts.said_at <= _LATEST:
        return "time of what was said"
    if facts.moved is not None and not all(abs(one) < _LARGEST for row in facts.moved for one in row):
        return "place"
    return None
