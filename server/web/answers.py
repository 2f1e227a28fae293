"""What every endpoint answers when it cannot do what was asked: a status code and one sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from detector import ImageError, ModelError
from server.access import is_of_another_site
from server.inspection import Inspection, ModelReplaced, NoModel, NotLooked
from server.recipes import InUseStill, NotTheNewest, RecipeError
from server.records import DispositionRefused, RecordsAway
from server.streams import Hung, PoolBusy, StreamWentAway
from server.teaching import FrameGone, NoRecipe, NotStored
from server.web.uploads import BadUpload, Crowded, TooLarge
from server.words import Reply

NO_STORE = {"Cache-Control": "no-store"}

_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


def answer(body: Struct | Sequence[Struct], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A body of :mod:`server.web.bodies` or its like, or some, as JSON."""
    return Response(msgspec.json.encode(body), status, headers, "application/json")


class MadeForGet(Route):
    """A route whose answer is made for whoever asks, and costs or changes something: HEAD, which would have it made to
    be thrown away, is refused (405)."""

    def __init__(self, path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        super().__init__(path, endpoint, methods=["GET"])
        self.methods = {"GET"}  # Starlette adds HEAD


class Refused(Exception):
    """A request that cannot be served: status code and one sentence for whoever sent it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


def refuse_other_sites(request: Request, what: str) -> None:
    """Refuse (403) what a page of another site has a browser ask for: an answer it cannot read, but that costs."""
    if is_of_another_site(request.headers):
        raise Refused(403, f"another web site asked for {what}: ask for it on a page of this server")


def need_model(inspection: Inspection) -> None:
    """Refuse what needs a model while there is none."""
    if not inspection.ready:
        raise Refused(503, f"there is no model yet: {inspection.why_no_model}")


def number(text: str, name: str, least: float, most: float) -> float:
    value = float_or_nan(text)
    if not least <= value <= most:
        raise Refused(422, f"{name} is {text[:40]!r}: it must be a number from {least:g} to {most:g}")
    return value


def float_or_nan(text: str) -> float:
    """A plain decimal number; of anything else (Python reads ``1_0`` and full-width digits too) NaN, which no range
    holds."""
    return float(text) if _DECIMAL.fullmatch(text) else math.nan


def whole_number(text: str, name: str, least: int, most: int) -> int:
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else least - 1
    if not least <= value <= most:
        raise Refused(422, f"{name} is {text[:40]!r}: it must be a whole number from {least} to {most}")
    return value


async def answer_error(request: Request, error: Exception) -> Response:
    """``{"error": one sentence}`` with the status code that fits."""
    status, words = 500, "the server failed; its log says why"
    match error:
        case Refused(status=status, words=words):
            pass
        case TooLarge():
            status, words = 413, str(error)
        case ClientDisconnect():
            status, words = 400, "the request did not come whole"  # nobody hears it
        case BadUpload() | ImageError():
            status, words = 422, str(error)
        case StreamWentAway() | ModelReplaced() | NotTheNewest() | InUseStill() | ModelError() | FrameGone():
            status, words = 409, str(error)
        case DispositionRefused():
            status, words = 409, str(error)
        case NoRecipe():
            status, words = 404, str(error)
        case RecipeError():
            status, words = 422, str(error)
        case NotStored():
            status, words = 507, str(error)
        case NoModel() | NotLooked() | PoolBusy() | Hung() | Crowded() | RecordsAway():
            status, words = 503, str(error)
    headers = {"Retry-After": "1"} if status == 503 else {}
    if status == 413:
        headers["Connection"] = "close"  # the rest of the body is not going to be read
    return JSONResponse({"error": words}, status, headers=headers)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (404, 405), saying what to do, as ours do."""
    status = getattr(error, "status_code", 500)
    headers = getattr(error, "headers", None) or {}
    words = HTTPStatus(status).phrase
    if status == 404:
        words = "there is nothing at this address: /docs lists what there is"
    elif status == 405:
        words = f"{request.method} is not taken here, but {headers.get('Allow', 'nothing')}: see /docs"
    return JSONResponse({"error": words}, status, headers=headers)


UPLOADS: dict[int, Reply | str] = {
    503: "too much is being uploaded at once: try again in a moment",
    413: "larger than MAX_UPLOAD_MB",
    422: "not a picture, incomplete, of absurd dimensions, or a form that lacks one",
}
"""Refusals of whatever takes pictures."""

ERRORS = (
    Refused,
    TooLarge,
    Crowded,
    BadUpload,
    ImageError,
    ModelReplaced,
    NoModel,
    NotLooked,
    PoolBusy,
    Hung,
    StreamWentAway,
    ClientDisconnect,
    RecipeError,
    NoRecipe,
    FrameGone,
    InUseStill,
    ModelError,
    NotStored,
    DispositionRefused,
    RecordsAway,
)
