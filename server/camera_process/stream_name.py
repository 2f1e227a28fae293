"""The name of a stream that nobody gave one: of this host and the source."""

from __future__ import annotations

import hashlib
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from server.cameras import is_address, is_device

MACHINE_ID = Path("/etc/machine-id")


def default_name(source: str) -> str:
    """The same at each start, different for different sources, and a name that a server takes.

    It is seen by all who watch, so nothing of a login is in it. Of what follows the host in an address, which may hold
    a password too (``?token=…``), there are only some digits of a hash, keyed with what others cannot read, so that no
    guess can be tried on them.
    """
    if is_address(source):
        parts = urlsplit(source)
        what = parts.hostname or "address"
        whole = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}?{parts.query}"
    elif source.isdecimal():
        return _named(source)
    else:
        whole = source if is_device(source) else str(Path(source).resolve())
        what = Path(whole).stem
    return _named(f"{what[:20]}-{hashlib.blake2b(whole.encode(), key=_key(), digest_size=4).hexdigest()}")


def _named(what: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{socket.gethostname()[:32]}-{what}")


def _key() -> bytes:
    try:
        return MACHINE_ID.read_bytes()[:64]
    except OSError:
        return socket.gethostname().encode()[:64]
