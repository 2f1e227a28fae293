"""HTTP: routes by subject, uploads, page files, phones, and HTTP with bounds."""

from server.web.answers import ERRORS, answer_error, answer_http_error
from server.web.bounded_http import BoundedHTTP
from server.web.calibrate import Calibrate
from server.web.health import Health
from server.web.pages import Pages
from server.web.phone import Phone, phone_url
from server.web.predict import Predict
from server.web.stream_list import StreamList

__all__ = [
    "ERRORS",
    "BoundedHTTP",
    "Calibrate",
    "Health",
    "Pages",
    "Phone",
    "Predict",
    "StreamList",
    "answer_error",
    "answer_http_error",
    "phone_url",
]
