"""Who sent a browser here: the checks of ``Host`` and ``Origin`` that keep other web sites out.

``X-Forwarded-*`` headers are not read: anyone can send them.
"""

from __future__ import annotations

import re

from server.ground import is_loopback

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>.+)")
_DEFAULT_PORT = {"http": 80, "https": 443}


def is_same_origin(origin: str, host: str, secure: bool) -> bool:
    """Whether an ``Origin`` header names the server that got the request.

    Args:
        origin: The header's value; ``null`` and anything that is not http or https never match.
        host: The request's ``Host`` header.
        secure: Whether the request came over TLS. A page from plain http is not the same origin then; the
            other way round it is, because a proxy in front of this server may have taken the TLS off.
    """
    parts = _ORIGIN.fullmatch(origin.strip().lower())
    if parts is None:
        return False
    scheme = parts["scheme"]
    if secure and scheme != "https":
        return False
    # A browser leaves out its scheme's port in both headers, also when a proxy then talks to another one.
    theirs = _name_and_port(parts["host"], _DEFAULT_PORT[scheme])
    return theirs is not None and theirs == _name_and_port(host, _DEFAULT_PORT[scheme])


def is_local_host(host: str) -> bool:
    """Whether a ``Host`` header names this machine from the inside.

    A web site can point its own name at 127.0.0.1 (DNS rebinding) and then reads an open server on this
    machine as if it were its own; the name in ``Host`` gives it away.
    """
    parsed = _name_and_port(host, 0)
    return parsed is not None and is_loopback(parsed[0])


def _name_and_port(host: str, default_port: int) -> tuple[str, int] | None:
    parts = _HOST.fullmatch(host.strip())
    if parts is None:
        return None
    return parts["name"].lower().removesuffix("."), int(parts["port"] or default_port)
