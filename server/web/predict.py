"""``POST /predict``: one picture."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector.images import decode, encode_png
from detector.score import overlay
from server.inspection import Inspected, Inspection
from server.settings import Settings
from server.streams import InferencePool, Progress
from server.web.answers import UPLOADS, answer, need_model
from server.web.bodies import Prediction
from server.web.held import Held
from server.web.uploads import Upload, read_form, source_of_request
from server.words import BYTES, Content, Operation, Reply, Role, documented

OVERLAY_SIDE = 1280


@dataclass(frozen=True)
class Predict:
    settings: Settings
    inspection: Inspection
    pool: InferencePool
    held: Held

    @property
    def routes(self) -> list[Route]:
        return [Route("/predict", self.predict, methods=["POST"])]

    @documented(
        Operation(
            "Judge one picture",
            UPLOADS
            | {
                200: Reply("what was found", Content(Prediction)),
                503: "no model yet, too many requests are waiting, or a worker hangs: try again in a second",
            },
            body=Content(
                {"type": "object", "properties": {"file": BYTES}, "required": ["file"]}, "multipart/form-data"
            ),
            description="JPEG, PNG or WebP.",
            role=Role.OPERATOR,
            audited=False,
        )
    )
    async def predict(self, request: Request) -> Response:
        need_model(self.inspection)
        limit = self.settings.max_upload_bytes
        with self.held.share(source_of_request(request)) as share:
            form = await read_form(request, "file", share=share, max_file=limit, max_total=limit, max_files=1)
            progress = Progress()
            work = partial(self._predict, form.files[0], progress.made)
            return answer(await self.pool.run(work, progress=progress))

    def _predict(self, upload: Upload, progress: Callable[[], None]) -> Prediction:
        frame = decode(upload.data)
        progress()
        inspected = self.inspection.inspect_frame(frame, progress=progress)
        model = self.inspection.model
        return Prediction(
            anomaly_score=inspected.score,
            raw_score=inspected.raw_score,
            is_anomaly=inspected.is_anomaly,
            threshold=inspected.threshold.value,
            heatmap_b64=_heatmap_png(inspected, frame.shape[0], frame.shape[1]),
            overlay_b64=_overlay_png(inspected, frame),
            model_category=self.inspection.category,
            runtime=model.runtime,
        )


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
