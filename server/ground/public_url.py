"""Addresses as browsers name them: origins, and the one under which others reach this server (``PUBLIC_URL``)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(:(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORT = {"http": 80, "https": 443}
_SEGMENTS = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


@dataclass(frozen=True)
class PublicURL:
    """Where others find this server, e.g. behind a proxy: ``https://plant.example/line4/``.

    Attributes:
        origin: as a browser's ``Origin`` header names it, ``https://plant.example``.
        path: begins and ends with a slash; ``/`` where the proxy adds no prefix.
    """

    origin: str
    path: str = "/"

    @property
    def secure(self) -> bool:
        return self.origin.startswith("https:")

    @property
    def name(self) -> str:
        """The host's name or address, without its port."""
        host = host_and_port(self.origin.partition("://")[2], 0)
        assert host is not None
        return host[0]

    def is_host(self, host: str) -> bool:
        """Whether a ``Host`` header names this address."""
        scheme, _, own = self.origin.partition("://")
        port = _DEFAULT_PORT[scheme]
        return host_and_port(host, port) == host_and_port(own, port)

    def __str__(self) -> str:
        return self.origin + self.path

    @classmethod
    def parse(cls, text: str) -> PublicURL:
        """Raises ValueError: it is no address of a page, or has a query, user name, or unusual path."""
        scheme, _, rest = text.strip().partition("://")
        host, _, path = rest.partition("/")
        path = f"/{path}".rstrip("/")
        origin = canonical_origin(f"{scheme}://{host}")
        if origin is None or not _SEGMENTS.fullmatch(path):
            raise ValueError(
                "it must be an address such as https://plant.example/line4/, its path of A–Z a–z 0–9 . _ ~ -, no query"
            )
        return cls(origin, f"{path}/")


def canonical_origin(text: str) -> str | None:
    """An http or https origin in lower case, without its scheme's own port; None for ``null`` and all else."""
    scheme, found, host = text.strip().lower().partition("://")
    if not found or scheme not in _DEFAULT_PORT:
        return None
    parsed = host_and_port(host, _DEFAULT_PORT[scheme])
    if parsed is None or not 1 <= parsed[1] <= 65535:
        return None
    name, port = parsed
    return f"{scheme}://{name}" if port == _DEFAULT_PORT[scheme] else f"{scheme}://{name}:{port}"


def host_and_port(host: str, default_port: int) -> tuple[str, int] | None:
    """What a ``Host`` header says, the name in lower case; None for what is not one."""
    parts = _HOST.fullmatch(host.strip().lower())
    if parts is None:
        return None
    return parts["name"].removesuffix("."), int(parts["port"] or default_port)
