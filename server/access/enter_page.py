"""The page that asks for the access code. It needs no script."""

from __future__ import annotations

import math
from urllib.parse import parse_qs, quote

import jinja2
from starlette.responses import HTMLResponse, RedirectResponse

from detector.counted import counted
from server.ground import page_folder

_LONGEST_TARGET = 2000
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    # Not no-referrer: browsers would then send "Origin: null" with the form.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_templates = jinja2.Environment(loader=jinja2.FileSystemLoader(page_folder("templates")), autoescape=True)


def ask(target: str, root: str, status: int = 200) -> HTMLResponse:
    """The form; `target` is where the browser goes afterwards, `root` the way from here to the live page."""
    return _page(target, root, "", status)


def refuse_wrong(target: str, root: str) -> HTMLResponse:
    """The form again, after a wrong code (401)."""
    words = "That is not the access code. Look at the screen of the machine that runs the server."
    return _page(target, root, words, 401)


def refuse_for(target: str, root: str, wait_s: int) -> HTMLResponse:
    """The form again, after too many wrong codes (429)."""
    wait = counted(wait_s, "second") if wait_s < 120 else counted(math.ceil(wait_s / 60), "minute")
    page = _page(target, root, f"Too many wrong codes. Wait {wait}, then try again.", 429)
    page.headers["Retry-After"] = str(wait_s)
    return page


def refuse_other_site(root: str) -> HTMLResponse:
    """The form again, after one that came from another site, or through a proxy that makes it look so (403)."""
    words = (
        "This form does not come from a page of this server. Behind a proxy, set PUBLIC_URL to the address that the "
        "browser shows, or let the proxy pass Host on unchanged."
    )
    return _page("", root, words, 403)


def redirect(target: str, root: str) -> RedirectResponse:
    """Go to a page of this server (303: with GET); never to another one, whatever `target` says."""
    location = root + safe_target(target).removeprefix("/")
    return RedirectResponse(location, 303, {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"})


def redirect_here(target: str, root: str) -> RedirectResponse:
    """Go to the form, and from there to `target`."""
    return redirect(f"/enter?next={quote(safe_target(target), safe='/')}", root)


def safe_target(target: str) -> str:
    """A path on this server, with its query; ``/`` for what is not one, or leads to another server."""
    bare = target.lstrip("/\\")
    if not target.startswith("/") or len(target) > _LONGEST_TARGET or bare != target[1:]:
        return "/"
    if not (target.isascii() and target.isprintable()) or "\\" in target:
        return "/"
    if ".." in target.partition("?")[0].lower().replace("%2e", ".").split("/"):
        return "/"  # out of the prefix under which a proxy has this server
    return target


def parse_form(body: bytes) -> tuple[str, str]:
    """The code and the target in a posted form; empty where missing."""
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
    except ValueError:
        return "", ""
    return fields.get("code", [""])[0], fields.get("next", [""])[0]


def _page(target: str, root: str, message: str, status: int) -> HTMLResponse:
    text = _templates.get_template("enter.html").render(target=safe_target(target), root=root, message=message)
    return HTMLResponse(text, status, _HEADERS)
