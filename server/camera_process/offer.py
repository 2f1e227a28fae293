"""The HTTP side of sending over WebRTC: which ICE servers there are, and the server's answer to an offer."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import msgspec

from server.camera_process.sender import CONNECT_S, AwayError, Destination, refused

MAX_BODY = 1024 * 1024


class IceServer(msgspec.Struct, frozen=True):
    """A STUN or TURN server, as in ``/health``."""

    urls: str | list[str]
    username: str | None = None
    credential: str | None = None


class _Health(msgspec.Struct, frozen=True):
    status: str
    ice_servers: tuple[IceServer, ...] = ()


class _Answer(msgspec.Struct, frozen=True):
    sdp: str


def ice_servers(destination: Destination) -> tuple[IceServer, ...]:
    """The STUN and TURN servers the server names; usually none.

    Raises:
        AwayError, OSError: there is no server to ask.
        GiveUpError: it wants another access code.
    """
    status, body = _request(destination, "GET", "/health")
    try:
        return msgspec.json.decode(body, type=_Health).ice_servers
    except msgspec.MsgspecError:
        # What speaks HTTP and has no /health is something else.
        raise refused(404 if status == 200 else status, body) from None


def answer(destination: Destination, sdp: str) -> str:
    """The server's answer to an offer, as SDP.

    Raises:
        AwayError, OSError: it cannot be asked, or has no room now.
        GiveUpError: it refuses this camera.
    """
    offer = msgspec.json.encode({"type": "offer", "sdp": sdp, "name": destination.name})
    status, body = _request(destination, "POST", "/webrtc/offer", offer)
    try:
        if status == 200:
            return msgspec.json.decode(body, type=_Answer).sdp
    except msgspec.MsgspecError:
        status = 404
    raise refused(status, body)


def _request(destination: Destination, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    address = urlsplit(destination.server)
    assert address.hostname is not None
    tls = destination.tls
    connection = (
        HTTPSConnection(address.hostname, address.port, timeout=CONNECT_S, context=tls)
        if tls is not None
        else HTTPConnection(address.hostname, address.port, timeout=CONNECT_S)
    )
    try:
        connection.request(method, address.path + path, body, destination.headers)
        response = connection.getresponse()
        return response.status, response.read(MAX_BODY)
    except HTTPException as error:
        raise AwayError(f"no HTTP answer ({type(error).__name__}): check address and port in --server") from None
    finally:
        connection.close()
