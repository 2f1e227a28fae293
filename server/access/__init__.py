"""Who may use this server: the access code, cookies made from it, and Origin and Host checks."""

from server.access.code import AccessCodeError, load_code
from server.access.middleware import AccessMiddleware
from server.access.origin import Origins

__all__ = ["AccessCodeError", "AccessMiddleware", "Origins", "load_code"]
