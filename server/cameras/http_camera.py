"""Asking an HTTP camera: what it answers says how to read it."""

from __future__ import annotations

import socket
import ssl
import string
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import (
    HTTPBasicAuthHandler,
    HTTPDefaultErrorHandler,
    HTTPDigestAuthHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPPasswordMgrWithDefaultRealm,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    UnknownHandler,
)

from server.cameras.arrivals import CaptureError
from server.cameras.ffmpeg import no_answer, refusal

_MJPEG = ("image/jpeg", "image/jpg", "image/pjpeg")


@dataclass(frozen=True)
class Answer:
    """A camera's answer, of which nothing is read yet. ``is_mjpeg``: whether it is JPEG after JPEG."""

    response: HTTPResponse
    is_mjpeg: bool


def ask(address: str, timeout: float) -> Answer | None:
    """Ask a camera for its stream, with the address's login (basic or digest) where it wants one.

    Args:
        address: http:// or https://; certificates are not checked: cameras make their own.
        timeout: seconds for each step, and later for each read.

    Returns:
        None when this is a dialect of HTTP that FFmpeg may know.

    Raises:
        CaptureError: it cannot be reached, or refuses.
    """
    parts = urlsplit(address)
    place = quote(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl(), safe=string.punctuation)
    from detector.images import is_jpeg  # here, for a camera that is not asked by http needs nothing of the detector

    try:
        response = _opener(place, parts.username, parts.password).open(Request(place), timeout=timeout)
        kind = response.headers.get_content_type()
        if kind == "text/html":
            response.close()
            raise CaptureError("this is a web page, not video: give the address of the camera's stream")
        is_mjpeg = kind in _MJPEG or kind.startswith("multipart/") or is_jpeg(response.peek(3))
        return Answer(response, is_mjpeg)
    except HTTPError as error:
        raise CaptureError(refusal(error.code)) from None
    except URLError as error:
        raise CaptureError(_why(error.reason, timeout)) from None
    except OSError as error:
        raise CaptureError(_why(error, timeout)) from None
    except (HTTPException, ValueError):  # ValueError: it wants a login of a kind that urllib does not know
        return None


def _opener(place: str, user: str | None, password: str | None) -> OpenerDirector:
    opener = OpenerDirector()  # not build_opener: that also follows ftp:// and asks the environment for a proxy
    opener.addheaders = [("User-Agent", "DefectVision"), ("Accept", "*/*")]
    no_check = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not the default one: that reads all authorities, for nothing
    no_check.check_hostname, no_check.verify_mode = False, ssl.CERT_NONE
    handlers = [HTTPHandler(), HTTPSHandler(context=no_check), HTTPRedirectHandler(), UnknownHandler()]
    if user is not None:
        logins = HTTPPasswordMgrWithDefaultRealm()
        logins.add_password(None, place, unquote(user), unquote(password or ""))
        handlers += [HTTPDigestAuthHandler(logins), HTTPBasicAuthHandler(logins)]
    for handler in (*handlers, HTTPDefaultErrorHandler(), HTTPErrorProcessor()):
        opener.add_handler(handler)
    return opener


def _why(reason: object, timeout: float) -> str:
    match reason:
        case TimeoutError():
            return no_answer(timeout)
        case ConnectionRefusedError():
            return "nothing listens there: check address and port, and that the camera is on"
        case socket.gaierror():
            return "no machine has this name: check the host name, and the network"
    return "it does not answer, or no longer: check the host name, the network, and that the camera is on"
