"""What was judged and waits for a decision, what was decided before, and the way back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector.counted import counted
from detector.thresholds import Rule
from server.inspection import Captured, Draft, Drafts, Inspection
from server.streams import Streams
from server.web.answers import Refused, answer, need_model
from server.web.calibrate import NOT_CALIBRATED, NOT_STORED, changed, put_in_force
from server.web.calibration_bodies import (
    Calibrated,
    Discarded,
    HistoryEntry,
    LeaveOut,
    NotCalibrated,
    ThresholdInForce,
    UndoneBody,
)
from server.web.calibration_query import who_asks
from server.web.json_body import read_json
from server.web.judgements import calibrated_body, history_entry, in_words, judgement_body
from server.words import HOW, Content, Operation, Parameter, Reply, Role, documented

MAX_BODY = 16 * 1024
NO_SUCH = "there is no such draft: drafts are kept for ten minutes, a few at a time, until they are applied"
OF_STREAM = Parameter("stream", "query", "whose recipe is meant; without it the default one")
REPLACED = "another model or other regions are in use since; nothing was changed"


@dataclass(frozen=True)
class CalibrationDrafts:
    inspection: Inspection
    streams: Streams
    drafts: Drafts
    judge: Callable[[Captured, Rule, Sequence[int]], Awaitable[Draft]]

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/calibration/drafts/{id}", self.leave_out, methods=["POST"]),
            Route("/api/calibration/drafts/{id}", self.discard, methods=["DELETE"]),
            Route("/api/calibration/drafts/{id}/apply", self.apply, methods=["POST"]),
            Route("/api/calibration/history", self.history),
            Route("/calibration/undo", self.undo, methods=["POST"]),
            Route("/calibration", self.forget, methods=["DELETE"]),
        ]

    @documented(
        Operation(
            "Judge a draft again, without some of its frames",
            {
                200: Reply("as a dry run answers; the same draft", Content(Calibrated)),
                404: NO_SUCH,
                409: REPLACED,
                413: "larger than a list of 200 numbers",
                422: "not such a list, or too few frames are left",
                503: "no model yet",
            },
            body=Content(LeaveOut),
            role=Role.ENGINEER,
            audited=False,
        )
    )
    async def leave_out(self, request: Request) -> Response:
        need_model(self.inspection)
        name = request.path_params["id"]
        draft = self._draft(name)
        left_out = await _left_out(request, len(draft.captured.scores))
        judged = await self.judge(draft.captured, draft.rule, left_out)
        self._draft(name)  # applied or discarded meanwhile
        self.drafts.put(name, judged)
        return answer(calibrated_body(judged, judged.judgement.calibration, judged.judged_against, name=name))

    @documented(
        Operation(
            "Put a draft in force",
            NOT_STORED
            | {
                200: Reply(
                    "the calibration, stored; `warning` says if it replaced another than it was judged against",
                    Content(Calibrated),
                ),
                404: NO_SUCH,
                409: REPLACED,
                422: Reply("it was refused; nothing was changed", NOT_CALIBRATED),
            },
            role=Role.ENGINEER,
        )
    )
    async def apply(self, request: Request) -> Response:
        need_model(self.inspection)
        name = request.path_params["id"]
        draft = self._draft(name)
        judgement, captured = draft.judgement, draft.captured
        if judgement.refused or judgement.calibration is None:
            return answer(NotCalibrated(f"{judgement.refused}; nothing was changed", judgement_body(draft), name), 422)
        self.drafts.take(name)  # once only, also when two press at once
        what = f"{len(captured.scores) - len(draft.left_out)} of {counted(len(captured.scores), 'frame')}"
        if captured.stream is not None:
            what += f" of {captured.stream} {HOW[captured.transport]}"
        try:
            return answer(
                await put_in_force(self.inspection, self.streams, draft, judgement.calibration, who_asks(request), what)
            )
        except Refused:
            self.drafts.put(name, draft)  # a disk may have room again
            raise

    @documented(
        Operation(
            "Discard a draft",
            {200: Reply("it is gone", Content(Discarded)), 404: NO_SUCH},
            role=Role.ENGINEER,
            audited=False,
        ),
    )
    async def discard(self, request: Request) -> Response:
        name = request.path_params["id"]
        self._draft(name)
        self.drafts.take(name)
        return answer(Discarded(name))

    @documented(
        Operation(
            "What was done to the calibrations of a recipe",
            {200: Reply("the newest first, 100 at the most", Content(list[HistoryEntry])), 503: "no model yet"},
            parameters=(OF_STREAM,),
            role=Role.VIEWER,
        )
    )
    async def history(self, request: Request) -> Response:
        stream = self._stream(request)
        entries = [history_entry(change) for change in self.inspection.history(stream)]
        return answer(entries, headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "Take back the newest change of the calibrations that was not taken back yet",
            NOT_STORED
            | {
                200: Reply("what is in force now", Content(UndoneBody)),
                409: "there is nothing to take back, or another change than the one named is the newest",
            },
            parameters=(
                Parameter(
                    "when",
                    "query",
                    "of the change to take back, as the history tells it: nothing happens if it is not the newest any "
                    "more. Without it the newest is taken back, whoever made it",
                    {"type": "string"},
                ),
                OF_STREAM,
            ),
            role=Role.ENGINEER,
        )
    )
    async def undo(self, request: Request) -> Response:
        stream, when = self._stream(request), request.query_params.get("when")
        undone = await changed(partial(self.inspection.undo, who=who_asks(request), when=when, stream=stream))
        if undone is None and when is not None:
            raise Refused(409, "the newest change is another one by now: look at the history; nothing was undone")
        if undone is None:
            raise Refused(409, "there is nothing to undo: no calibration of this model was made or forgotten here")
        self.streams.tell_changed(who_asks(request))
        became = undone.became
        return answer(UndoneBody(undone.change.why, in_words(became), became.value, became.source))

    @documented(
        Operation(
            "Forget a recipe's calibrations",
            NOT_STORED | {200: Reply("what is in force now", Content(ThresholdInForce))},
            parameters=(OF_STREAM,),
            role=Role.ENGINEER,
        )
    )
    async def forget(self, request: Request) -> Response:
        stream = self._stream(request)
        await changed(partial(self.inspection.forget_calibration, who=who_asks(request), stream=stream))
        self.streams.tell_changed(who_asks(request))
        threshold = self.inspection.newest_on(stream)
        return answer(ThresholdInForce(threshold.value, threshold.source))

    def _stream(self, request: Request) -> str | None:
        """The stream whose recipe is meant; none: the default one."""
        stream = request.query_params.get("stream")
        if not self.inspection.is_ready_for(stream):
            need_model(self.inspection)
        return stream

    def _draft(self, name: str) -> Draft:
        draft = self.drafts.get(name)
        if draft is None:
            raise Refused(404, f"{NO_SUCH}; capture again")
        return draft


async def _left_out(request: Request, frames: int) -> list[int]:
    wanted = await read_json(request, LeaveOut, MAX_BODY, '{"leave_out": [numbers of frames]}')
    if any(number >= frames for number in wanted.leave_out):
        raise Refused(422, f"the draft has frames 0 to {frames - 1}")
    return wanted.leave_out
