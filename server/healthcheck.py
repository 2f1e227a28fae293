"""``python -m server.healthcheck``: exit code 0 while the server on this machine can inspect. For containers."""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException

from server.ground import is_any_address, page_url, takes_both_families
from server.settings import Settings, read_settings

LONGEST = 1_000_000
"""Bytes of an answer that are read."""


def health_url(settings: Settings) -> str:
    """Where the server of these settings tells on this machine how it is."""
    host = settings.host
    if is_any_address(host):
        host = "::1" if ":" in host and not takes_both_families(host) else "127.0.0.1"
    return page_url("https" if settings.secure else "http", host, settings.port) + "health"


def asked(url: str) -> tuple[int, bytes]:
    """What ``/health`` answers: HTTP status, and body.

    Raises:
        OSError, HTTPException: nothing, within 2 s.
    """
    context = ssl.create_default_context()
    # It asks whether the server answers, on loopback, and sends no secret: whose certificate it is does not matter.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # Not through a proxy that a container was given.
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with ask.open(url, timeout=2) as answer:
            return int(answer.status), answer.read(LONGEST)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read(LONGEST)


def healthy() -> bool:
    """Whether ``/health`` answers 200."""
    url = health_url(read_settings())
    try:
        return asked(url)[0] == HTTPStatus.OK
    except (OSError, HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy() else 1)
