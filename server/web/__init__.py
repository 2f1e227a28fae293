"""HTTP: routes by subject, uploads, page files, phones, and HTTP with bounds."""

from server.web.answers import ERRORS, answer_error, answer_http_error
from server.web.bounded_http import BoundedHTTP
from server.web.bounded_websocket import BoundedWebSocket
from server.web.calibrate import Calibrate
from server.web.connections import Connections
from server.web.door import Door
from server.web.health import Health
from server.web.held import Held
from server.web.pages import Pages
from server.web.phone import Phone, phone_url
from server.web.predict import Predict
from server.web.refusals import Refusals
from server.web.stream_list import StreamList
from server.web.uploads import uploads_held

__all__ = [
    "ERRORS",
    "BoundedHTTP",
    "BoundedWebSocket",
    "Calibrate",
    "Connections",
    "Door",
    "Health",
    "Held",
    "Pages",
    "Phone",
    "Predict",
    "Refusals",
    "StreamList",
    "answer_error",
    "answer_http_error",
    "phone_url",
    "uploads_held",
]
