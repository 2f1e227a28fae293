"""What a phone needs to get here: an address it can reach, as a QR code, and the certificate to trust."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from server.ground import is_any_address, is_loopback, page_url, qr_svg, reachable
from server.https import Certificates, ca_der
from server.settings import Settings
from server.words import BYTES, HTML, Content, Operation, Reply, Role, documented


def phone_url(settings: Settings, port: int, code: str | None, *, secure: bool) -> str | None:
    """The address a phone on the same network can open, access code included; nothing on a loopback-only server."""
    addresses = page_addresses(settings, port, secure=secure)
    if not addresses:
        return None
    return f"{addresses[0]}?{urlencode({'code': code})}" if code else addresses[0]


def page_addresses(settings: Settings, port: int, *, secure: bool) -> list[str]:
    """The addresses at which others can open the page, the one a phone most likely needs first; none on a loopback-only
    server."""
    if settings.public_url:
        return [str(settings.public_url)]
    if is_loopback(settings.host):
        return []
    names = [*(settings.server_names if is_any_address(settings.host) else ()), *reachable(settings.host)]
    return [page_url("https" if secure else "http", name, port) for name in dict.fromkeys(names)]


class Phone:
    """``GET /phone``: how to get a phone on this page; ``GET /ca``: the certificate authority to install."""

    def __init__(
        self, settings: Settings, code: str | None, certificates: Certificates | None, templates: Jinja2Templates
    ) -> None:
        self._settings, self._code = settings, code
        self._certificates, self._templates = certificates, templates

    @property
    def routes(self) -> list[Route]:
        return [Route("/phone", self.page), Route("/ca", self.ca)]

    @documented(
        Operation(
            "How to get a phone on this page",
            {200: Reply("a page with a QR code", HTML)},
            role=Role.OPERATOR,
            streams="itself",
        )
    )
    async def page(self, request: Request) -> Response:
        public = self._settings.public_url
        # Behind a proxy it is the proxy's certificate that a phone sees.
        certificates = self._certificates if public is None else None
        secure = public.secure if public else certificates is not None
        port = request.scope["server"][1]
        url = phone_url(self._settings, port, self._code, secure=secure)
        context = {
            "url": url.partition("?")[0] if url else None,
            "qr": qr_svg(url) if url else None,
            "code": self._code,
            "secure": secure,
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
        if self._certificates is None or self._certificates.ca_path is None:
            return JSONResponse({"error": "this server has no certificate authority of its own"}, 404)
        return Response(
            ca_der(self._certificates.ca_path),
            media_type="application/x-x509-ca-cert",
            headers={"Content-Disposition": 'attachment; filename="defectvision-ca.crt"'},
        )
