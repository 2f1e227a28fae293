"""The threshold of a place: from pictures, or from the frames of a running stream; judged before it is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from detector import ImageError
from detector.counted import counted
from detector.images import decode
from detector.thresholds import Calibration, Rule
from server.ground import why_not_kept
from server.inspection import (
    Captured,
    Draft,
    Drafts,
    Inspected,
    Inspection,
    ModelReplaced,
    StoredCalibration,
    Threshold,
)
from server.settings import Settings
from server.streams import MAX_FRAMES, MAX_SECONDS, InferencePool, Streams
from server.web.answers import UPLOADS, Refused, answer, need_model, number, whole_number
from server.web.calibration_bodies import Calibrated, NotCalibrated
from server.web.calibration_query import K_SCHEMA, ONE_IN_SCHEMA, PARAMETERS, Wanted, who_asks
from server.web.held import Held, Share
from server.web.judgements import calibrated_body, in_words, judgement_body
from server.web.uploads import MAX_CALIBRATION, Form, Upload, read_form, source_of_request
from server.words import BYTES, HOW, Content, Operation, Parameter, Reply, Role, documented

MAX_CALIBRATION_IMAGES = 200
MAX_CALIBRATING = 2
"""At once, counted from when all of their pictures are here; more wait."""
MAX_CAPTURING = 8
"""Streams, or times the same one, that are captured from at once; more are refused."""

T = TypeVar("T")

CALIBRATED = Reply("the calibration, stored; or, in a dry run, judged", Content(Calibrated))
NOT_CALIBRATED = Content(NotCalibrated)
NOT_STORED: dict[int, Reply | str] = {
    503: "no model yet, or a worker hangs; nothing was changed",
    507: "the data directory cannot be written; nothing was changed",
}
WARNED = "`include_suspects` decides, or the `draft`"


@dataclass(frozen=True)
class Calibrate:
    settings: Settings
    inspection: Inspection
    pool: InferencePool
    streams: Streams
    held: Held
    drafts: Drafts
    calibrating: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CALIBRATING))
    capturing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CAPTURING))
    judging: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CALIBRATING))

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/calibrate", self.calibrate, methods=["POST"]),
            Route("/api/streams/{name}/calibrate", self.calibrate_stream, methods=["POST"]),
        ]

    @documented(
        Operation(
            "Calibrate on pictures of good parts",
            UPLOADS
            | NOT_STORED
            | {
                200: CALIBRATED,
                409: Reply(f"it carries a warning: {WARNED}; nothing was changed", NOT_CALIBRATED),
                422: Reply(
                    "fewer than 2 pictures, one that cannot be decoded, a rule that cannot be, or pictures that no "
                    "threshold can be made from; nothing was changed",
                    NOT_CALIBRATED,
                ),
            },
            parameters=PARAMETERS,
            body=Content(
                {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": BYTES, "minItems": 2, "maxItems": MAX_CALIBRATION_IMAGES},
                        "defects": {
                            "type": "array",
                            "items": BYTES,
                            "description": "pictures of parts known to be defective: where all good parts lie below "
                            "them, so does the threshold; counted among those 200",
                        },
                        "k": K_SCHEMA | {"description": "before that in the address"},
                        "one_in": ONE_IN_SCHEMA | {"description": "before that in the address"},
                        "dry_run": {"type": "boolean", "description": "before that in the address"},
                        "include_suspects": {"type": "boolean", "description": "before that in the address"},
                    },
                    "required": ["files"],
                },
                "multipart/form-data",
            ),
            role=Role.ENGINEER,
        )
    )
    async def calibrate(self, request: Request) -> Response:
        need_model(self.inspection)
        with self.held.share(source_of_request(request)) as share:
            form = await self._read(request, share)
            asked = dict(request.query_params)
            if form.fields.keys() & {"k", "one_in"}:
                asked = {name: value for name, value in asked.items() if name not in ("k", "one_in")}
            wanted = Wanted.read(asked | form.fields)
            if len(form.files) < 2:
                words = "1 picture is too few: send at least 2 pictures of normal parts, 20 or more are better"
                raise Refused(422, words)
            async with self.calibrating:
                captured = await self._scored(form, request)
            what = counted(len(captured.scores), "picture")
            if captured.defects:
                what += f", {len(captured.defects)} more of known defects"
            return await self._judged(captured, wanted, request, what)

    @documented(
        Operation(
            "Calibrate on the next inspected frames of a running stream",
            NOT_STORED
            | {
                200: CALIBRATED,
                404: "there is no such stream now",
                409: Reply(
                    f"it carries a warning: {WARNED}; or the stream went away, was taken over, or gave no result for "
                    "10 s; nothing was changed",
                    NOT_CALIBRATED,
                ),
                422: Reply("a number that cannot be, or frames that no threshold can be made from", NOT_CALIBRATED),
                503: "no model yet, or too many are captured from at once; nothing was changed",
            },
            parameters=(
                Parameter(
                    "n",
                    "query",
                    "how many frames",
                    {"type": "integer", "minimum": 2, "maximum": MAX_FRAMES, "default": 20},
                ),
                Parameter(
                    "seconds",
                    "query",
                    "over how long, so that several parts are seen",
                    {"type": "number", "minimum": 0, "maximum": MAX_SECONDS, "default": 10},
                ),
                *PARAMETERS,
            ),
            role=Role.ENGINEER,
        )
    )
    async def calibrate_stream(self, request: Request) -> Response:
        name, query = request.path_params["name"], request.query_params
        if not self.inspection.is_ready_for(name):
            need_model(self.inspection)
        wanted = Wanted.read(query, beside=("n", "seconds"))
        n = whole_number(query.get("n", "20"), "n", 2, MAX_FRAMES)
        seconds = number(query.get("seconds", "10"), "seconds", 0, MAX_SECONDS)
        opened = self.streams.get(name)
        if opened is None:
            raise Refused(404, f"there is no stream {name} now: start its camera first")
        if self.capturing.locked():
            raise Refused(503, "too many calibrations are captured at once: try again when one is done")
        async with self.capturing:
            captured = await opened.capture(n, seconds, gone=request.is_disconnected)
        return await self._judged(
            captured, wanted, request, f"{counted(n, 'frame')} of {name} {HOW[captured.transport]}"
        )

    async def _read(self, request: Request, share: Share) -> Form:
        limit, files = self.settings.max_upload_bytes, MAX_CALIBRATION_IMAGES
        total = MAX_CALIBRATION * limit
        return await read_form(
            request, "files", share=share, max_file=limit, max_total=total, max_files=files, other="defects"
        )

    async def _scored(self, form: Form, request: Request) -> Captured:
        found, defects = list[Inspected](), list[Inspected]()
        for upload in (*form.files, *form.others):
            if await request.is_disconnected():  # a picture can take seconds, and others wait for this place
                raise ClientDisconnect
            inspected = await self.pool.run(partial(_inspected, self.inspection, upload), refuse=False)
            (found if len(found) < len(form.files) else defects).append(inspected)
        if len({inspected.scored_by for inspected in (*found, *defects)}) > 1:
            raise ModelReplaced("another model, recipe or region came into use in the middle of it: send them again")
        samples = [inspected.sample for inspected in found if inspected.sample is not None]
        return Captured(
            model=found[0].model,
            stream=None,
            transport="pictures",
            scores=tuple(inspected.raw_score for inspected in found),
            looks=tuple(sample.look for sample in samples),
            pictures=tuple(sample.picture for sample in samples),
            defects=tuple(inspected.raw_score for inspected in defects),
            recipe=found[0].recipe.id,
            regions=found[0].recipe.regions,
        )

    async def judge(self, captured: Captured, rule: Rule, left_out: Sequence[int] = ()) -> Draft:
        """Judge what was captured; a few at once, and none waits for pictures that are still being scored.

        Raises:
            ModelReplaced, Refused: it cannot be.
        """
        async with self.judging:
            return await changed(partial(self.inspection.judge, captured, rule, left_out))

    async def _judged(self, captured: Captured, wanted: Wanted, request: Request, what: str) -> Response:
        """Judge what was captured, and set it where nothing speaks against it."""
        draft = await self.judge(captured, wanted.rule)
        refused, left_out = draft.judgement.refused, [suspect.index for suspect in draft.judgement.suspects]
        if left_out and not refused and wanted.include_suspects is False:
            if draft.judgement.without_suspects is None:
                words = "without the frames that look like defects too few are left: capture again; nothing was changed"
                return answer(NotCalibrated(words, judgement_body(draft)), 422)
            draft = await self.judge(captured, wanted.rule, left_out)
            what += f", {counted(len(left_out), 'frame')} left out that looked like a defect"
        judgement = draft.judgement
        if wanted.dry_run:
            name = None if judgement.refused else self.drafts.keep(draft)
            return answer(calibrated_body(draft, judgement.calibration, draft.judged_against, name=name))
        if judgement.refused or judgement.calibration is None:
            words = f"{judgement.refused}; nothing was changed"
            return answer(NotCalibrated(words, judgement_body(draft)), 422)
        if judgement.warnings and wanted.include_suspects is None:
            words = f"{'; '.join(judgement.warnings)}. Nothing was changed: {WARNED}"
            return answer(NotCalibrated(words, judgement_body(draft), self.drafts.keep(draft)), 409)
        calibration = judgement.calibration
        return answer(await put_in_force(self.inspection, self.streams, draft, calibration, who_asks(request), what))


async def put_in_force(
    inspection: Inspection, streams: Streams, draft: Draft, calibration: Calibration, who: str, what: str
) -> Calibrated:
    """Set and store a calibration, and tell who listens.

    Raises:
        ModelReplaced, Refused: it cannot be; nothing was changed.
    """
    done = await changed(partial(inspection.set, draft, calibration, who=who, why=f"calibrated on {what}"))
    streams.tell_changed(who)
    notes = _notes(draft, done.was, done.became, inspection.others(draft.captured))
    return calibrated_body(draft, calibration, done.became, notes=notes, when=done.change.when)


def _notes(draft: Draft, was: Threshold, became: Threshold, others: Sequence[StoredCalibration]) -> tuple[str, ...]:
    notes = []
    if draft.captured.stream is None and others and became.source != "environment":
        kept = " and ".join(f"{one.threshold:.4g} {_where(one)}" for one in others)
        notes.append(f"what was calibrated on streams stays in force there: {kept}; calibrate there, or forget it")
    if became.source == "environment":
        notes.append("the calibration is stored, but THRESHOLD in the environment stays in force until it is removed")
    if became.source == "recipe":
        notes.append(
            "the calibration is stored, but the threshold that was put there by hand stays in force: change the "
            "recipe's rule to let the calibration count"
        )
    if was != draft.judged_against:
        notes.append(
            f"it replaced another threshold than the one it was judged against: until now, {in_words(was)}; undo goes "
            "back to it"
        )
    return tuple(notes)


def _where(stored: StoredCalibration) -> str:
    return f"on {stored.stream}" if stored.alone else HOW[stored.transport]


async def changed(change: Callable[[], T]) -> T:
    """Run what judges or changes calibrations in a thread."""
    try:
        return await run_in_threadpool(change)
    except ValueError as error:
        raise Refused(422, f"{error}; nothing was changed") from error
    except OSError as error:
        raise Refused(507, why_not_kept(error)) from error


def _inspected(inspection: Inspection, upload: Upload) -> Inspected:
    try:
        return inspection.inspect_frame(decode(upload.data), sample=True)
    except ImageError as error:
        raise ImageError(f"{upload.filename}: {error}; nothing was changed") from error
