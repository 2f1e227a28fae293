"""STUN and TURN servers: as an operator writes them, as aiortc, a browser and WHIP take them."""

from __future__ import annotations

from urllib.parse import unquote

from aiortc import RTCIceServer
from aiortc.rtcicetransport import parse_stun_turn_uri


def ice_server(url: str) -> RTCIceServer:
    """A STUN or TURN server from ``stun:host:port``, ``turn:user:password@host:port`` or ``turns:…``.

    Raises:
        ValueError: naming the URL that cannot be read.
    """
    scheme, _, rest = url.partition(":")
    login, at, host = rest.rpartition("@")
    user, _, password = login.partition(":")
    bare = f"{scheme}:{host}"
    try:
        parse_stun_turn_uri(bare)
    except ValueError as error:
        shown = f"{scheme}:…@{host}" if at else url
        raise ValueError(f"ICE server {shown!r}: write stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT") from error
    return RTCIceServer(urls=bare, username=unquote(user) or None, credential=unquote(password) or None)


def for_page(server: RTCIceServer) -> dict[str, str]:
    """The server as a browser's ``RTCIceServer``."""
    fields = {"urls": server.urls, "username": server.username, "credential": server.credential}
    return {name: value for name, value in fields.items() if value is not None}


def as_link(server: RTCIceServer) -> str:
    """The server as a ``Link`` header of WHIP (RFC 9725, 4.6)."""
    link = f'<{server.urls}>; rel="ice-server"'
    if server.username is not None:
        link += f"; username={_quoted(server.username)}; credential={_quoted(server.credential or '')}"
        link += '; credential-type="password"'
    return link


def _quoted(text: str) -> str:
    """A quoted string of a header: headers are latin-1 to all who read them, UTF-8 to all who mean them."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped.encode().decode("latin-1")}"'
