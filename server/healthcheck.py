"""``python -m server.healthcheck``: exit code 0 while the server on this machine can inspect. For containers."""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request

from server.ground import is_any_address, page_url, takes_both_families
from server.settings import read_settings


def healthy() -> bool:
    """Whether ``/health`` answers 200."""
    settings = read_settings()
    context = ssl.create_default_context()
    # It asks whether the server answers, on loopback, and sends no secret: whose certificate it is does not matter.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host = settings.host
    if is_any_address(host):
        host = "::1" if ":" in host and not takes_both_families(host) else "127.0.0.1"
    url = page_url("https" if settings.secure else "http", host, settings.port) + "health"
    try:
        # Not through a proxy that a container was given.
        ask = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with ask.open(url, timeout=2):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy() else 1)
