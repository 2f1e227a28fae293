"""Webhooks after Standard Webhooks (https://www.standardwebhooks.com): one signed POST an event, in order."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import random
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from server.sinks.kind import Around, Kind
from server.sinks.sink import Outbox, Outgoing, SinkError, SinkOver, What
from server.words import now

if TYPE_CHECKING:
    from server.sinks.sipped_http import Client

TIMEOUT_S = 20.0
"""From the connection to the answer's headers: as the standard has it, 15 to 30 s."""
BODY_WITHIN_S = 1.0
"""For the answer's body."""
LONGEST_WAIT_S = 600.0
KEY_BYTES = range(24, 65)
"""Of a secret, as the standard has it."""

REFUSING = frozenset({400, 413, 415, 422})
"""Answers that may be about the event, and not about us."""
WAITS_S = (1.0, 2.0, 4.0, 8.0)
"""Between the tries of an event that is refused, before it is given up."""
TRIES_WITHIN_S = 25.0

TYPES: Mapping[What, str] = {
    "part": "part.inspected",
    "verdict": "verdict.changed",
    "result": "frame.inspected",
    "state": "stream.state",
    "change": "stream.changed",
    "drift": "stream.drifted",
}


class WebhookSettings(Struct, frozen=True, forbid_unknown_fields=True):
    url: Annotated[
        str,
        Meta(
            title="Address",
            description="Where events are posted to.",
            min_length=1,
            max_length=2000,
            extra={"placeholder": "https://mes.plant/webhooks/line4"},
        ),
    ]
    secret: Annotated[
        str,
        Meta(
            title="Signing secret",
            description="whsec_ and base64 of 24 to 64 bytes. The receiver needs the same.",
            min_length=1,
            max_length=200,
            extra={"secret": True, "placeholder": "whsec_…", "makes": "whsec"},
        ),
    ]
    authorization: Annotated[
        str,
        Meta(
            title="Authorization header",
            description="Sent as it is, where the receiver asks for it: Bearer and a token, for example.",
            max_length=2000,
            pattern="^[\\x21-\\x7e]*( [\\x21-\\x7e]+)*$",
            extra={"secret": True, "more": True},
        ),
    ] = ""
    ca: Annotated[
        str,
        Meta(
            title="Certificate of your own authority",
            description="PEM. Then it alone is trusted; without it, those that this machine trusts.",
            max_length=20_000,
            extra={"lines": True, "more": True, "placeholder": "-----BEGIN CERTIFICATE-----"},
        ),
    ] = ""


def check(settings: WebhookSettings, around: Around) -> None:
    """Raise ValueError where there can be no such webhook."""
    if settings.url != settings.url.strip() or any(ord(one) < 33 for one in settings.url):
        raise ValueError("the address has spaces or line breaks in it: take them out")
    try:
        parts = urlsplit(settings.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port == 0 or parts.scheme not in ("http", "https"):
        raise ValueError("the address must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the address holds a login, which would be shown: put it into the Authorization header")
    if parts.fragment:
        raise ValueError("the address has a # in it, which is for browsers: take it out")
    if len(key_of(settings.secret)) not in KEY_BYTES:
        raise ValueError("the signing secret must be whsec_ and base64 of 24 to 64 bytes")
    if settings.ca:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=settings.ca)
        except (ssl.SSLError, ValueError):
            raise ValueError("the certificate of your own authority is no PEM of a certificate") from None


def key_of(secret: str) -> bytes:
    """Nothing where it is none."""
    text = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


_took: dict[str, str] = {}
"""By sink, the address that took its last event: a run that is begun anew knows it."""


@dataclass(frozen=True, repr=False)
class Webhook:
    settings: WebhookSettings
    around: Around

    async def run(self, outbox: Outbox) -> None:
        host = urlsplit(self.settings.url).hostname
        if not outbox.waiting:
            outbox.is_up(f"nothing was sent yet; events will go to {host}")
        taken_before = _took.get(self.around.id) == self.settings.url
        async with self._client() as client:
            async for event in outbox:
                status = await self._post_until_told(client, event, patient=taken_before)
                if status in REFUSING:
                    outbox.refuse(_words(status))
                    taken_before = False  # two in a row: it is not the events, and they wait
                    _took.pop(self.around.id, None)
                    continue
                outbox.confirm()
                outbox.is_up(f"delivering to {host}")
                taken_before = True
                _took[self.around.id] = self.settings.url

    async def test(self) -> str:
        host, began = urlsplit(self.settings.url).hostname, time.monotonic()
        at = now()
        body = self._body("test", at, {"message": f"a test of {self.around.name}"})
        async with self._client() as client:
            status, _ = await self._post(client, f"test-{secrets.token_hex(8)}", body)
        if not 200 <= status < 300:
            raise SinkError(_words(status))
        took_ms = 1000 * (time.monotonic() - began)
        return f"a signed event of type test was answered by {host} with {status} after {took_ms:.0f} ms"

    async def _post_until_told(self, client: Client, event: Outgoing, *, patient: bool) -> int:
        """The status of an answer that takes an event, or refuses it for good.

        Args:
            patient: whether a refusal may be the event's own fault: it is tried some times, and then told.

        Raises:
            SinkError: it is to be tried later.
        """
        body, began = self._body(TYPES[event.what], event.at, event.message), time.monotonic()
        for number in range(len(WAITS_S) + 1):
            status, retry_after_s = await self._post(client, event.id, body)
            if 200 <= status < 300:
                return status
            if status == HTTPStatus.GONE:
                raise SinkOver("the receiver says that it wants no more (410): switch it on again once it does")
            if status not in REFUSING or not patient or time.monotonic() - began > TRIES_WITHIN_S:
                raise SinkError(_words(status), retry_after_s=retry_after_s)
            if number < len(WAITS_S):
                await asyncio.sleep(WAITS_S[number] * (0.75 + random.random() / 2))
        return status

    def _body(self, type: str, at: str, data: object) -> bytes:
        server = {} if self.around.address is None else {"server": self.around.address}
        return msgspec.json.encode({"type": type, "timestamp": at, **server, "data": data})

    async def _post(self, client: Client, id: str, body: bytes) -> tuple[int, float | None]:
        """Status of the answer, and how long it asks to be left alone."""
        import httpcore
        import httpx
        from standardwebhooks import Webhook as Signer

        from server.sinks.sipped_http import TooLong

        now = datetime.now(UTC)
        headers = {
            "user-agent": "DefectVision",
            "accept": "*/*",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Signer(key_of(self.settings.secret)).sign(id, now, body.decode()),
        }
        if self.settings.authorization:
            headers["authorization"] = self.settings.authorization
        host = urlsplit(self.settings.url).hostname
        try:
            answer = await client.post(
                self.settings.url, headers, body, within_s=TIMEOUT_S, body_within_s=BODY_WITHIN_S
            )
        except (TimeoutError, httpcore.TimeoutException):
            raise SinkError(f"no answer from {host} within {TIMEOUT_S:.0f} s: is the receiver busy, or away?") from None
        except TooLong:
            raise SinkError(f"{host} answers without an end: is it a receiver of webhooks at all?") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpx.InvalidURL, OSError, ValueError) as error:
            raise SinkError(_why(error, host)) from None
        return answer.status, _seconds(answer.retry_after)

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        from server.sinks import sipped_http

        context = None
        if urlsplit(self.settings.url).scheme == "https":
            context = await asyncio.to_thread(_trusting, self.settings.ca)
        async with sipped_http.client(context) as client:
            yield client


def _trusting(ca: str) -> ssl.SSLContext:
    """Of this machine's authorities, as they are now, or of this one alone."""
    file = ssl.get_default_verify_paths().cafile
    changed = Path(file).stat().st_mtime if not ca and file and Path(file).is_file() else 0.0
    return _loaded(ca, changed)


@lru_cache(maxsize=8)
def _loaded(ca: str, changed: float) -> ssl.SSLContext:
    """Reading all authorities of a machine takes 20 ms and the interpreter with it: not at each try."""
    return ssl.create_default_context(cadata=ca or None)


def _words(status: int) -> str:
    try:
        said = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = str(status)
    match status:
        case _ if 300 <= status < 400:
            return f"it answers {said}: redirects are not followed, so give the address it leads to"
        case 401 | 403:
            return f"it answers {said}: see to the Authorization header and the signing secret"
        case 404 | 405:
            return f"it answers {said}: nothing takes webhooks at this address"
        case 400 | 413 | 415 | 422:
            return f"it answers {said}: it does not like the event, or the signing secret is another one there"
        case _:
            return f"it answers {said}: the receiver's log should say why"


def _why(error: Exception, host: str | None) -> str:
    """What goes wrong on the way, in words; the deepest cause says most."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    match cause:
        case ssl.SSLCertVerificationError():
            return f"the certificate of {host} is not trusted ({cause.verify_message}): give your own authority's"
        case ssl.SSLError():
            return f"no TLS can be spoken with {host} ({cause.reason or 'broken off'}): is it http instead?"
        case ConnectionRefusedError():
            return f"nothing listens at {host} on that port: is the receiver started?"
        case OSError() if "Name or service" in str(cause) or "getaddrinfo" in str(cause) or "resolution" in str(cause):
            return f"the name {host} is not known: is it written rightly?"
        case OSError():
            return f"no way to {host} ({cause.strerror or type(cause).__name__}): see to the network and its firewalls"
        case _:
            return f"the connection to {host} broke off, or no HTTP came ({type(error).__name__})"


def _seconds(retry_after: str) -> float | None:
    text = retry_after.strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 8 else None


WEBHOOK = Kind(
    name="webhook",
    title="Webhook",
    about="Posts every event to an address of yours, signed, after Standard Webhooks.",
    settings=WebhookSettings,
    make=Webhook,
    check=check,
    extra="webhook",
    modules=("httpx", "standardwebhooks"),
    warm=("httpcore", "server.sinks.sipped_http", "anyio._backends._asyncio", "anyio._core._sockets"),
    peer=("url", "ca"),
    longest_wait_s=LONGEST_WAIT_S,
)
