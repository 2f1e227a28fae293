"""What a phone needs to get here: an address it can reach, as a QR code, and the certificate to trust."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from server.access import Access, Identity, standing_of
from server.ground import is_any_address, is_loopback, page_url, qr_svg, reachable
from server.https import Certificates, InService, ca_der
from server.settings import Settings
from server.web.answers import MadeForGet, Refused
from server.words import BYTES, HTML, Content, Operation, Parameter, Reply, Role, check_name, documented


def phone_url(settings: Settings, port: int, *, secure: bool) -> str | None:
    """The address a phone on the same network can open; nothing on a loopback-only server."""
    return next(iter(page_addresses(settings, port, secure=secure)), None)


def page_addresses(settings: Settings, port: int, *, secure: bool) -> list[str]:
    """The addresses at which others can open the page, the one a phone most likely needs first; none on a loopback-only
    server."""
    if settings.public_url:
        return [str(settings.public_url)]
    if is_loopback(settings.host):
        return []
    names = [*(settings.server_names if is_any_address(settings.host) else ()), *reachable(settings.host)]
    return [page_url("https" if secure else "http", name, port) for name in dict.fromkeys(names)]


def _any_name(who: Identity) -> str:
    """What a phone's stream is called where nobody said: one that it may use, or a new one."""
    return next(iter(sorted(who.streams or ())), f"phone-{secrets.token_hex(2)}")


class Phone:
    """``GET /phone``: how to get a phone on this page; ``GET /ca``: the certificate authority to install."""

    def __init__(
        self, settings: Settings, access: Access, in_service: InService | None, templates: Jinja2Templates
    ) -> None:
        self._settings, self._access = settings, access
        self._in_service, self._templates = in_service, templates

    @property
    def _certificates(self) -> Certificates | None:
        return None if self._in_service is None else self._in_service.certificates

    @property
    def secure(self) -> bool:
        """Whether a phone gets here by https."""
        public = self._settings.public_url
        return public.secure if public else self._certificates is not None

    def reached_at(self, port: int) -> str | None:
        """The page's address for a phone; None where none can reach it."""
        return phone_url(self._settings, port, secure=self.secure)

    @property
    def routes(self) -> list[Route]:
        return [MadeForGet("/phone", self.page), Route("/ca", self.ca)]

    @documented(
        Operation(
            "How to get a phone on this page",
            {
                200: Reply("a page with a QR code that pairs one phone, within ten minutes", HTML),
                422: "no stream can be called that",
            },
            parameters=(Parameter("stream", "query", "that the phone may send and watch; absent: a new one"),),
            role=Role.OPERATOR,
            streams="itself",
        )
    )
    async def page(self, request: Request) -> Response:
        standing = standing_of(request.scope)
        try:
            stream = check_name(request.query_params.get("stream") or _any_name(standing.identity))
        except ValueError as error:
            raise Refused(422, str(error)) from error
        if (refusal := standing.identity.pairing_refusal(stream)) is not None:
            raise Refused(403, refusal)
        # Behind a proxy it is the proxy's certificate that a phone sees.
        certificates = self._certificates if self._settings.public_url is None else None
        url = self.reached_at(request.scope["server"][1])
        link = url
        if url is not None and self._access.closed:
            _, secret = self._access.make_pairing(stream, stream, standing)
            link = f"{url}?code={secret}"
        context = {
            "url": url,
            "qr": qr_svg(link) if link else None,
            "stream": stream,
            "paired": link != url,
            "secure": self.secure,
            "has_ca": certificates is not None and certificates.ca_path is not None,
            "fingerprint": certificates.fingerprint if certificates else None,
        }
        return self._templates.TemplateResponse(request, "phone.html", context, headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "The certificate authority to install on a phone",
            {
                200: Reply("the certificate, DER", Content(BYTES, "application/x-x509-ca-cert")),
                404: "this server made no certificate authority",
            },
            role=Role.NOBODY,
        )
    )
    async def ca(self, request: Request) -> Response:
        certificates = self._certificates
        if certificates is None or certificates.ca_path is None:
            return JSONResponse({"error": "this server has no certificate authority of its own"}, 404)
        return Response(
            ca_der(certificates.ca_path),
            media_type="application/x-x509-ca-cert",
            headers={"Content-Disposition": 'attachment; filename="defectvision-ca.crt"'},
        )
