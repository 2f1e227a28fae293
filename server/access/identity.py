"""Who asks, and what that one may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from server.words import Need, Role

How = Literal["open", "session", "token", "device", "nobody"]


@dataclass(frozen=True)
class Identity:
    """Somebody, as of now.

    Attributes:
        name: of the account, token or device; of nobody, nothing.
        role: what that one is.
        how: ``open``: the server asks nobody; ``session``: a browser that logged in or showed a token; ``token``: a
            machine; ``device``: a phone that was paired.
        streams: the only ones that it may use; None for all.
        session, account, token: id of the session, name of the account and id of the token, where there is one.
        expires: when it ends, seconds of the clock; None for not by itself.
    """

    name: str
    role: Role
    how: How
    streams: frozenset[str] | None = None
    session: str | None = None
    account: str | None = None
    token: str | None = None
    expires: float | None = None

    @property
    def signature(self) -> str:
        """What stands under what this one did. A phone is called whatever who pairs it likes: that makes it no login or
        token of the same name, none of which has a space in it."""
        return f"phone {self.name}" if self.how == "device" else self.name

    def may_use(self, stream: str | None) -> bool:
        """Whether a stream is none that this one is kept from; a stream without a name is everybody's and nobody's."""
        return self.streams is None or stream in self.streams

    def pairing_refusal(self, stream: str) -> str | None:
        """Why this one may pair no phone for a stream, in one sentence; None where it may."""
        if self.how == "device":
            # It would stay in when the phone that paired it is revoked, and so on without end.
            return "a phone that was paired pairs no other: have its QR code shown where you are logged in"
        if not self.may_use(stream):
            return f"{self.name} may not use {stream}, and pair no phone for it"
        return None

    def refusal(self, need: Need, stream: str | None = None) -> str | None:
        """Why this one may not use an endpoint, in one sentence; None where it may.

        Args:
            need: what the endpoint takes.
            stream: that is asked for, by the endpoint's path or query.
        """
        if self.role < need.role:
            role = self.role.word
            return f"this takes the role {need.role.word}, and {self.name} is {role}: ask an admin of this server"
        if self.streams is None or need.streams == "itself" or need.role is Role.NOBODY:
            return None
        if need.streams is None or not self.may_use(stream):
            only = ", ".join(sorted(self.streams)[:5]) or "no stream"
            return f"{self.name} may use {only} only: log in as somebody who may use this"
        return None


NOBODY = Identity("", Role.NOBODY, "nobody")
EVERYBODY = Identity("this machine", Role.ADMIN, "open")
"""Whoever asks a server that asks nobody who he is."""
