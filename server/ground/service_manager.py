"""What a server tells the program that keeps it alive (systemd, or what speaks like it): sd_notify's datagrams."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class ServiceManager:
    """Tells nobody anything where nobody asked to be told.

    Args:
        address: of a unix datagram socket, as ``NOTIFY_SOCKET`` has it (``@`` for an abstract one).
        watchdog_s: within which it wants to hear that all goes on; None: it does not.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = address if address and address[0] in "/@" and hasattr(socket, "AF_UNIX") else None
        self.watchdog_s = watchdog_s if self._address is not None else None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> ServiceManager:
        """The one that started this process, by what it put into the environment."""
        watchdog, whose = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        asked = watchdog.isdecimal() and len(watchdog) < 16 and int(watchdog) > 0 and whose in ("", str(os.getpid()))
        return cls(environment.get("NOTIFY_SOCKET"), int(watchdog) / 1e6 if asked else None)

    def tell(self, **what: str | int) -> None:
        """Tell it something, such as ``READY=1``, ``STATUS="inspects"``; never waits, what it does not take is lost.
        Line breaks become spaces: they would begin another word."""
        if self._address is None:
            return
        lines = "\n".join(f"{name}={' '.join(str(value).split())}" for name, value in what.items())
        path = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(lines.encode(errors="backslashreplace")[:4096], path)
        except OSError:
            return  # it is gone, or busy: it hears the next one
