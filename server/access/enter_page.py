"""The pages that ask who you are, and say what that one may not. They need no script."""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

import jinja2
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import Scope

from detector.counted import counted
from server.ground import page_folder

_LONGEST_TARGET = 2000
_LONGEST_NAME = 64
"""Of one that is shown again."""
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


@dataclass(frozen=True)
class Form:
    """What was posted; empty where missing."""

    name: str = ""
    password: str = ""
    code: str = ""
    target: str = ""


def ask(target: str, root: str, status: int = 200, *, has_code: bool = False) -> HTMLResponse:
    """The form.

    Args:
        target: where the browser goes afterwards; ``root``: the way from here to the live page.
        has_code: whether there is an access code, which then may be given in place of name and password.
    """
    return _page(target, root, "", status, has_code=has_code)


def refuse_wrong(target: str, root: str, *, has_code: bool = False) -> HTMLResponse:
    """The form again, after a wrong code (401)."""
    words = "That is not the access code, and no token."
    return _page(target, root, words, 401, has_code=has_code)


def refuse_login(target: str, root: str, *, has_code: bool = False, name: str = "") -> HTMLResponse:
    """The form again, after a wrong name or password (401): which of them is wrong is not said; `name` is what was
    typed."""
    words = "Name or password are wrong, or the login is disabled. An admin can give you another password."
    return _page(target, root, words, 401, has_code=has_code, name=name)


def refuse_for(target: str, root: str, wait_s: int, *, has_code: bool = False, name: str = "") -> HTMLResponse:
    """The form again, after too many wrong ones (429)."""
    wait = counted(wait_s, "second") if wait_s < 120 else counted(math.ceil(wait_s / 60), "minute")
    words = f"Too many wrong tries. Wait {wait}, then try again."
    page = _page(target, root, words, 429, has_code=has_code, name=name)
    page.headers["Retry-After"] = str(wait_s)
    return page


def refuse_busy(target: str, root: str, words: str, *, has_code: bool = False, name: str = "") -> HTMLResponse:
    """The form again, while too many passwords are being looked at (503)."""
    page = _page(target, root, f"{words[0].upper()}{words[1:]}.", 503, has_code=has_code, name=name)
    page.headers["Retry-After"] = "2"
    return page


def ask_to_pair(target: str, root: str, secret: str, stream: str, who: str) -> HTMLResponse:
    """Whether this phone is to be paired: a button. `who` is in with this browser until then; empty: nobody."""
    return _page(target, root, "", 200, secret=secret, stream=stream, who=who)


def refuse_pairing(target: str, root: str) -> HTMLResponse:
    """The form, for a pairing that is good for nothing any more (401)."""
    words = "This QR code was used already, or is older than 10 minutes. Have a new one shown, and scan that."
    return _page(target, root, words, 401)


def refuse_other_site(root: str) -> HTMLResponse:
    """The form again, after one that came from another site, or through a proxy that makes it look so (403)."""
    words = (
        "This form does not come from a page of this server. Behind a proxy, set PUBLIC_URL to the address that the "
        "browser shows, or let the proxy pass Host on unchanged."
    )
    return _page("", root, words, 403)


def not_allowed(words: str, scope: Scope) -> HTMLResponse:
    """A page that this login may not open (403): why, and the ways on."""
    text = _templates.get_template("not_allowed.html").render(
        words=f"{words[0].upper()}{words[1:]}.", root=root_of(scope), target=safe_target(target_of(scope))
    )
    return HTMLResponse(text, 403, _HEADERS)


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


def target_of(scope: Scope) -> str:
    """The path and query that were asked for, ready to be sent back in a header."""
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~")
    query = scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def root_of(scope: Scope) -> str:
    """From the address that was asked for to that of the live page, relative: ``./``, ``../`` …"""
    raw_path = scope.get("raw_path") or scope["path"].encode()
    return "../" * (raw_path.count(b"/") - 1) or "./"


def parse_form(body: bytes) -> Form:
    """What is in a posted form."""
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8, keep_blank_values=True)
    except ValueError:
        return Form()
    name, password, code, target = (fields.get(field, [""])[0] for field in ("name", "password", "code", "next"))
    return Form(name.strip(), password, code, target)


def _page(
    target: str,
    root: str,
    message: str,
    status: int,
    *,
    has_code: bool = False,
    name: str = "",
    secret: str = "",
    stream: str = "",
    who: str = "",
) -> HTMLResponse:
    template = _templates.get_template("pair.html" if secret else "enter.html")
    text = template.render(
        target=safe_target(target),
        root=root,
        message=message,
        has_code=has_code,
        name=name if len(name) <= _LONGEST_NAME and name.isprintable() else "",
        secret=secret,
        stream=stream,
        who=who,
    )
    return HTMLResponse(text, status, _HEADERS)
