"""HTTP: routes by subject, uploads, page files, phones, and HTTP and WebSocket with bounds."""

from server.web.bounded_http import BoundedHTTP
from server.web.phone import Phone, phone_url
from server.web.routes import ERRORS, Routes, answer_error, answer_http_error

__all__ = ["ERRORS", "BoundedHTTP", "Phone", "Routes", "answer_error", "answer_http_error", "phone_url"]
