"""The threshold of this place: from pictures, from the frames of a running stream, or forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector import Calibration, Detector, ImageError
from detector.images import decode
from detector.thresholds import DEFAULT_K, MAX_K, MIN_K
from server.inspection import Inspection
from server.settings import Settings
from server.streams import MAX_FRAMES, MAX_SECONDS, InferencePool, Streams, normal_scores
from server.web.answers import UPLOADS, Refused, answer, float_or_nan, need_model, number
from server.web.bodies import Calibrated, ThresholdInForce
from server.web.held import Held, Share
from server.web.uploads import MAX_CALIBRATION, Form, Upload, read_form, source_of_request
from server.words import BYTES, Content, Operation, Parameter, Reply, documented

MAX_CALIBRATION_IMAGES = 200
SUSPICIOUS = 2.0
"""A calibrated threshold above so many times the model's default is worth a question."""

MAX_CALIBRATING = 2
"""At once, counted from when all of their pictures are here; more wait."""

T = TypeVar("T")

STORED = Reply("the calibration, stored", Content(Calibrated))
NOT_STORED: dict[int, Reply | str] = {
    503: "no model yet, or a worker hangs; nothing was changed",
    507: "the data directory cannot be written; nothing was changed",
}
_K = Parameter(
    "k",
    "query",
    "threshold = mean + k · std",
    {"type": "number", "minimum": MIN_K, "maximum": MAX_K, "default": DEFAULT_K},
)


@dataclass(frozen=True)
class Calibrate:
    settings: Settings
    inspection: Inspection
    pool: InferencePool
    streams: Streams
    held: Held
    calibrating: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CALIBRATING))

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/calibrate", self.calibrate, methods=["POST"]),
            Route("/calibration", self.delete_calibration, methods=["DELETE"]),
            Route("/api/streams/{name}/calibrate", self.calibrate_stream, methods=["POST"]),
        ]

    @documented(
        Operation(
            "Calibrate on pictures of good parts",
            UPLOADS
            | NOT_STORED
            | {200: STORED, 422: "fewer than 2 pictures, one that cannot be decoded, or a k that cannot be"},
            parameters=(_K,),
            body=Content(
                {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": BYTES, "minItems": 2, "maxItems": MAX_CALIBRATION_IMAGES},
                        "k": {
                            "type": "number",
                            "minimum": MIN_K,
                            "maximum": MAX_K,
                            "description": "before that in the address",
                        },
                    },
                    "required": ["files"],
                },
                "multipart/form-data",
            ),
        )
    )
    async def calibrate(self, request: Request) -> Response:
        need_model(self.inspection)
        with self.held.share(source_of_request(request)) as share:
            form = await self._read(request, share)
            k = _k(form.fields.get("k", request.query_params.get("k")))
            async with self.calibrating:
                return answer(await self._calibrate(form, k))

    @documented(
        Operation(
            "Calibrate on the next inspected frames of a running stream",
            NOT_STORED
            | {
                200: STORED,
                404: "there is no such stream now",
                409: "it went away, or gave no result for 10 s; nothing was changed",
                422: "a number that cannot be",
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
                _K,
            ),
        )
    )
    async def calibrate_stream(self, request: Request) -> Response:
        need_model(self.inspection)
        name, query = request.path_params["name"], request.query_params
        k = _k(query.get("k"))
        n = number(query.get("n", "20"), "n", 2, MAX_FRAMES)
        seconds = number(query.get("seconds", "10"), "seconds", 0, MAX_SECONDS)
        if not self.streams.is_open(name):
            raise Refused(404, f"there is no stream {name} now: start its camera first")
        model = self.inspection.model
        scores = await normal_scores(self.streams.hub, name, int(n), seconds, gone=request.is_disconnected)
        calibration = await _stored(partial(self.inspection.calibrate, model, scores, k))
        return answer(self._calibrated(calibration))

    @documented(
        Operation(
            "Forget this model's calibration",
            NOT_STORED | {200: Reply("what is in force now", Content(ThresholdInForce))},
        )
    )
    async def delete_calibration(self, request: Request) -> Response:
        need_model(self.inspection)
        await _stored(self.inspection.forget_calibration)
        threshold = self.inspection.threshold
        return answer(ThresholdInForce(threshold.value, threshold.source))

    async def _read(self, request: Request, share: Share) -> Form:
        limit, files = self.settings.max_upload_bytes, MAX_CALIBRATION_IMAGES
        total = MAX_CALIBRATION * limit
        return await read_form(request, "files", share=share, max_file=limit, max_total=total, max_files=files)

    async def _calibrate(self, form: Form, k: float) -> Calibrated:
        if len(form.files) < 2:
            raise Refused(422, "1 picture is too few: send at least 2 pictures of normal parts, 20 or more are better")
        model = self.inspection.model
        scores = [await self.pool.run(partial(_raw_score, model, upload), refuse=False) for upload in form.files]
        calibration = await _stored(partial(self.inspection.calibrate, model, scores, k))
        return self._calibrated(calibration)

    def _calibrated(self, calibration: Calibration) -> Calibrated:
        threshold = self.inspection.threshold
        warning = None
        if threshold.source == "environment":
            warning = "the calibration is stored, but THRESHOLD in the environment stays in force until it is removed"
        elif calibration.threshold > SUSPICIOUS * self.inspection.model.threshold:
            ratio = calibration.threshold / self.inspection.model.threshold
            warning = (
                f"the new threshold is {ratio:.1f} times the model's default, so little will be found: were these good "
                "parts of the kind the model was taught on, in the light it was taught in?"
            )
        elif calibration.std == 0:
            warning = "all pictures have the same score: they look like one picture sent again and again; take others"
        assert calibration.k is not None, "nothing asks for a target yet"
        return Calibrated(
            new_threshold=calibration.threshold,
            mean_score=calibration.mean,
            std_score=calibration.std,
            n_images=calibration.n_images,
            k=calibration.k,
            threshold=threshold.value,
            threshold_source=threshold.source,
            warning=warning,
        )


async def _stored(change: Callable[[], T]) -> T:
    """Run a change of the calibration in a thread."""
    try:
        return await run_in_threadpool(change)
    except ValueError as error:
        raise Refused(422, f"{error}; nothing was changed") from error
    except OSError as error:
        words = f"the data directory cannot be written ({error.strerror}); nothing was changed"
        raise Refused(507, words) from error


def _k(text: str | None) -> float:
    k = DEFAULT_K if text is None else float_or_nan(text)
    if not MIN_K <= k <= MAX_K:
        raise Refused(422, f"k is {text!r}: it must be a number from {MIN_K:g} to {MAX_K:g}")
    return k


def _raw_score(model: Detector, upload: Upload) -> float:
    try:
        return model.detect(decode(upload.data)).score
    except ImageError as error:
        raise ImageError(f"{upload.filename}: {error}; nothing was changed") from error
