"""Camera addresses without their secrets, for logs, pages and error messages.

Nothing is guessed to be harmless: a user name and password are hidden whole, and of a query only the few
pairs are shown that are known to choose a channel or a size. Where an address can be read in two ways, less
of it is shown.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*")
_HARMLESS = re.compile(r"(channel|subtype|stream|profile|camera|fps|resolution|width|height)=[\w.-]{0,12}")


def shown(address: str) -> str:
    """One address (or any other source) as it may be shown.

    ``rtsp://user:pass@host/live?token=x`` becomes ``rtsp://***@host/live?***``. Text without ``://`` is
    returned as it is.
    """
    scheme, mark, rest = address.partition("://")
    if not mark or (scheme.lower() == "genicam" and "@" not in rest):  # no login, and settings of the camera alone
        return address
    login, at, place = rest.rpartition("@")
    if set(login) & set("/?#"):
        # Either the password holds one of these, or the @ belongs to the path or the query: nobody can tell.
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{HIDDEN + at if at else ''}{_without_values(place)}"


def redact(text: str, *sources: str) -> str:
    """A sentence as it may be logged: its addresses and the given sources as :func:`shown` shows them."""
    for source in sources:
        if "://" in source:
            text = text.replace(source, shown(source))
    return _ADDRESS.sub(lambda found: shown(found.group()), text)


def _without_values(place: str) -> str:
    path, mark, query = re.fullmatch(r"([^?#]*)([?#]?)(.*)", place, re.DOTALL).groups()  # type: ignore[union-attr]
    # Some cameras take the password in the path: /user=admin_password=secret_channel=1.sdp
    path = "/".join(HIDDEN if "=" in part else part for part in path.split("/"))
    if mark == "#":
        return f"{path}#{HIDDEN}"
    pairs = (pair if not pair or _HARMLESS.fullmatch(pair) else HIDDEN for pair in query.split("&"))
    return path + mark + "&".join(pairs)
