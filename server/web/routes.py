"""HTTP: the page, health, prediction, calibration and the list of streams."""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, TypeVar

import cv2
import msgspec
import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.templating import Jinja2Templates

from detector import Calibration, Detector, ImageError, TaughtModel
from detector.calibration import DEFAULT_K
from detector.images import decode, encode_png
from detector.score import overlay
from server.inspection import Calibrations, Inspected, Inspection, NoModel
from server.settings import Settings
from server.streams import MAX_FRAMES, MAX_SECONDS, InferencePool, PoolBusy, Streams, StreamWentAway, normal_scores
from server.web.uploads import Abandoned, BadUpload, TooLarge, Upload, read_form

OVERLAY_SIDE = 1280
MAX_CALIBRATION_IMAGES = 200
SUSPICIOUS = 2.0
"""A calibrated threshold above so many times the model's default is worth a question."""

MAX_PREDICTIONS, MAX_CALIBRATING = 32, 2
"""Uploads held in memory at once; more wait unread."""

T = TypeVar("T")
VERSION = version("defectvision")


class Refused(Exception):
    """A request that cannot be served: status code and one sentence for whoever sent it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


@dataclass(frozen=True)
class Routes:
    """The endpoints and what they work on."""

    settings: Settings
    inspection: Inspection
    pool: InferencePool
    streams: Streams
    calibrations: Calibrations
    teaching_progress: Callable[[], float] | None
    templates: Jinja2Templates
    simulated_stream: str | None
    ice_servers: list[dict[str, str]] = field(default_factory=list)
    predictions: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_PREDICTIONS))
    calibrating: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CALIBRATING))
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    async def page(self, request: Request) -> Response:
        return self.templates.TemplateResponse(request, "index.html", {"version": VERSION})

    async def health(self, request: Request) -> Response:
        body = self._health()
        status = 200 if body["status"] == "ok" else 503
        if not getattr(request.state, "access", True):
            body = {"status": body["status"]}
        return JSONResponse(body, status, headers={"Cache-Control": "no-store"})

    async def list_streams(self, request: Request) -> Response:
        body = msgspec.json.encode({"streams": self.streams.list()})
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})

    async def predict(self, request: Request) -> Response:
        self._need_model()
        limit = self.settings.max_upload_bytes
        async with self.predictions:
            form = await read_form(request, "file", max_file=limit, max_total=limit, max_files=1)
            return JSONResponse(await self.pool.run(lambda: self._predict(form.files[0])))

    async def calibrate(self, request: Request) -> Response:
        self._need_model()
        async with self.calibrating:
            return JSONResponse(await self._calibrate(request))

    async def calibrate_stream(self, request: Request) -> Response:
        self._need_model()
        name, query = request.path_params["name"], request.query_params
        k = _k(query.get("k"))
        n = _number(query.get("n", "20"), "n", 2, MAX_FRAMES)
        seconds = _number(query.get("seconds", "10"), "seconds", 0, MAX_SECONDS)
        if not self.streams.is_open(name):
            raise Refused(404, f"there is no stream {name} now: start its camera first")
        model = self.inspection.model
        scores = await normal_scores(self.streams.hub, name, int(n), seconds, gone=request.is_disconnected)
        calibration = await _stored(partial(self.inspection.calibrate, model, scores, k))
        return JSONResponse(self._calibrated(calibration))

    async def delete_calibration(self, request: Request) -> Response:
        self._need_model()
        await _stored(self.inspection.forget_calibration)
        threshold = self.inspection.threshold
        return JSONResponse({"threshold": threshold.value, "threshold_source": threshold.source})

    async def _calibrate(self, request: Request) -> dict[str, Any]:
        limit = self.settings.max_upload_bytes
        form = await read_form(request, "files", max_file=limit, max_total=20 * limit, max_files=MAX_CALIBRATION_IMAGES)
        k = _k(form.fields.get("k", request.query_params.get("k")))
        if len(form.files) < 2:
            raise Refused(422, "1 picture is too few: send at least 2 pictures of normal parts, 20 or more are better")
        model = self.inspection.model
        scores = [await self.pool.run(partial(_raw_score, model, upload), refuse=False) for upload in form.files]
        calibration = await _stored(partial(self.inspection.calibrate, model, scores, k))
        return self._calibrated(calibration)

    def _calibrated(self, calibration: Calibration) -> dict[str, Any]:
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
        return {
            "new_threshold": calibration.threshold,
            "mean_score": calibration.mean,
            "std_score": calibration.std,
            "n_images": calibration.n_images,
            "k": calibration.k,
            "threshold": threshold.value,
            "threshold_source": threshold.source,
            "warning": warning,
        }

    def _predict(self, upload: Upload) -> dict[str, Any]:
        frame = decode(upload.data)
        inspected = self.inspection.inspect_frame(frame)
        model = self.inspection.model
        return {
            "anomaly_score": inspected.score,
            "raw_score": inspected.raw_score,
            "is_anomaly": inspected.is_anomaly,
            "threshold": inspected.threshold.value,
            "heatmap_b64": _heatmap_png(inspected, frame.shape[0], frame.shape[1]),
            "overlay_b64": _overlay_png(inspected, frame),
            "model_category": self.inspection.category,
            "runtime": model.runtime,
        }

    def _need_model(self) -> None:
        if not self.inspection.ready:
            raise Refused(503, f"there is no model yet: {self.inspection.why_no_model}")

    def _health(self) -> dict[str, Any]:
        inspection, ready = self.inspection, self.inspection.ready
        model = inspection.model if ready else None
        calibration = inspection.calibration if ready else None
        warnings = [warning for warning in (self.calibrations.warning, inspection.warning) if warning]
        # Loading counts as teaching without a measure: the page waits calmly either way.
        preparing = not ready and not self.failed.is_set()
        return {
            "status": "ok" if ready else "teaching" if preparing else "error",
            "reason": None if ready else inspection.why_no_model,
            "progress": self.teaching_progress() if preparing and self.teaching_progress else None,
            "model_category": inspection.category if ready else None,
            "runtime": model.runtime if model else None,
            "image_size": model.image_size if model else None,
            "backbone": model.manifest.backbone if isinstance(model, TaughtModel) else None,
            "model_hash": model.hash if model else None,
            "threshold": inspection.threshold.value if ready else None,
            "threshold_source": inspection.threshold.source if ready else None,
            "calibration": None
            if calibration is None
            else {
                "k": calibration.k,
                "n_images": calibration.n_images,
                "mean_score": calibration.mean,
                "std_score": calibration.std,
                "created": calibration.created,
            },
            "simulated": self.simulated_stream is not None,
            "simulated_stream": self.simulated_stream,
            "warnings": warnings,
            "ice_servers": self.ice_servers,
            "version": VERSION,
        }


async def answer_error(request: Request, error: Exception) -> Response:
    """``{"error": one sentence}`` with the status code that fits."""
    status, words = 500, "the server failed; its log says why"
    match error:
        case Refused(status=status, words=words):
            pass
        case TooLarge():
            status, words = 413, str(error)
        case Abandoned():
            status, words = 408, str(error)
        case BadUpload() | ImageError():
            status, words = 422, str(error)
        case StreamWentAway():
            status, words = 409, str(error)
        case NoModel() | PoolBusy():
            status, words = 503, str(error)
    headers = {"Retry-After": "1"} if status == 503 else {}
    if status in (408, 413):
        headers["Connection"] = "close"  # the rest of the body is not going to be read
    return JSONResponse({"error": words}, status, headers=headers)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (404, 405) in the same words as ours."""
    status = getattr(error, "status_code", 500)
    return JSONResponse({"error": HTTPStatus(status).phrase}, status, headers=getattr(error, "headers", None))


ERRORS = (Refused, TooLarge, Abandoned, BadUpload, ImageError, NoModel, PoolBusy, StreamWentAway)


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
    k = DEFAULT_K if text is None else _float(text)
    if not math.isfinite(k) or k < 0:
        raise Refused(422, f"k is {text!r}: it must be a number of 0 or more")
    return k


def _number(text: str, name: str, least: float, most: float) -> float:
    value = _float(text)
    if not least <= value <= most:
        raise Refused(422, f"{name} is {text!r}: it must be a number from {least:g} to {most:g}")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan  # which no range holds


def _raw_score(model: Detector, upload: Upload) -> float:
    try:
        return model.detect(decode(upload.data)).score
    except ImageError as error:
        raise ImageError(f"{upload.filename}: {error}; nothing was changed") from error


def _heatmap_png(inspected: Inspected, height: int, width: int) -> str:
    size = _overlay_size(height, width)
    grey = cv2.resize(inspected.heatmap, size, interpolation=cv2.INTER_LINEAR)
    return base64.b64encode(encode_png(np.asarray(grey, np.uint8))).decode()


def _overlay_png(inspected: Inspected, frame: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    size = _overlay_size(*frame.shape[:2])
    if size != (frame.shape[1], frame.shape[0]):
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    return base64.b64encode(encode_png(overlay(frame, inspected.heatmap))).decode()


def _overlay_size(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, OVERLAY_SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))
