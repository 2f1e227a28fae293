"""Who sent a browser here: the checks of ``Host`` and ``Origin`` that keep other web sites out.

``X-Forwarded-*`` headers are not read: anyone can send them. Behind a proxy ``PUBLIC_URL`` says what it changes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Scope

from server.ground import PublicURL, canonical_origin, host_and_port, is_loopback

_NAMED_ORIGINS = 20
"""Refused origins that get a line in the log, each once."""

_FORWARDING = frozenset(
    {"forwarded", "via", "x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "cf-connecting-ip"}
)

_log = logging.getLogger("defectvision.access")


@dataclass(frozen=True)
class Origins:
    """Whose pages may use this server.

    Attributes:
        public: the address under which others reach this server.
        allowed: further origins, in the form of :func:`server.ground.canonical_origin`.
    """

    public: PublicURL | None = None
    allowed: frozenset[str] = frozenset()
    _refused: set[str] = field(default_factory=set, compare=False)

    def is_good(self, origin: str, host: str, secure: bool) -> bool:
        """Whether an ``Origin`` header names this server, or a page that may use it.

        Args:
            origin: the header's value; ``null`` and anything that is not http or https is never good.
            host: the request's ``Host`` header.
            secure: whether the request came over TLS.
        """
        given = canonical_origin(origin)
        if given is not None and given in self.allowed:
            return True
        if self.public is not None and self.public.is_host(host):
            return given == self.public.origin
        return (self.public is not None and given == self.public.origin) or is_same_origin(origin, host, secure)

    def note_refused(self, origin: str) -> None:
        """Tell the operator once, so that a screen of the plant that only sees its connection fail can be let in."""
        if origin not in self._refused and len(self._refused) < _NAMED_ORIGINS:
            self._refused.add(origin)
            _log.warning(
                "refused a page of origin %.200r: if it may use this server, add it to ALLOWED_ORIGINS; if it is this "
                "server's own page behind a proxy, set PUBLIC_URL, or let the proxy pass Host on unchanged",
                origin,
            )


def is_same_origin(origin: str, host: str, secure: bool) -> bool:
    """Whether an ``Origin`` header names the server that got the request.

    Args:
        origin: The header's value; ``null`` and anything that is not http or https never match.
        host: The request's ``Host`` header.
        secure: Whether the request came over TLS. A page from plain http is not the same origin then; the
            other way round it is, because a proxy in front of this server may have taken the TLS off.
    """
    scheme = origin.strip().lower().partition("://")[0]
    if secure and scheme != "https":
        return False
    # A browser leaves out its scheme's port in both headers, also when a proxy then talks to another one.
    named = canonical_origin(origin)
    return named is not None and named == canonical_origin(f"{scheme}://{host}")


def is_of_another_site(headers: Headers) -> bool:
    """Whether a browser says that a page of another site is behind a request. To an address of plain http, other than
    this machine's, browsers say nothing of it."""
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none")


def is_local_host(host: str) -> bool:
    """Whether a ``Host`` header names this machine from the inside.

    A web site can point its own name at 127.0.0.1 (DNS rebinding) and then reads an open server on this
    machine as if it were its own; the name in ``Host`` gives it away.
    """
    parsed = host_and_port(host, 0)
    return parsed is not None and is_loopback(parsed[0])


def comes_through_a_proxy(scope: Scope) -> bool:
    """Whether it stands for someone else, as far as can be told: most say so, and nginx by default speaks HTTP/1.0."""
    headers = Headers(scope=scope)
    names = {name for name in headers if name.startswith("x-forwarded")} | _FORWARDING.intersection(headers)
    return bool(names) or scope.get("http_version") == "1.0"
