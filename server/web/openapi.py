"""``GET /openapi.json``, ``/asyncapi.json``, ``/schema.json`` and ``/docs``: what this server takes and answers, made
from its code.

Routes say it themselves (``@documented``, :mod:`server.words`); what every route has in common, and the pages that are
answered before any route is reached, stand here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.templating import Jinja2Templates

from server.web import asyncapi
from server.web.bodies import Refusal
from server.web.health import VERSION
from server.words import HTML, Content, Operation, Parameter, Reply, Role, documented, messages

DESCRIPTION = """\
JSON over HTTP, UTF-8. `raw_score` and `threshold` are feature distances of the model in use.

Frames come in over `WS /ws/stream?name=NAME`, `POST /webrtc/offer` or WHIP at `/whip/NAME`; results are heard on
`WS /ws/live/NAME`. What is said there is `/asyncapi.json`, its JSON Schema alone `/schema.json`; docs/protocol.md tells
the rest.

On loopback nobody is asked who he is. Elsewhere people log in, and machines show a token; what each operation takes is
its `x-role`. Fields may be added in later versions, none is taken away.
"""

EVERYWHERE = {
    401: "nobody is logged in, or the token is wrong",
    403: "who asks may not do this (`x-role`), or may use other streams only; or it comes from another site's page, "
    "or through a name this server does not have",
    408: "the request comes too slowly",
    414: "the address is absurdly long",
    429: "too many wrong tokens: wait as long as Retry-After says",
    431: "a header is absurdly long",
    500: "the server failed; its log says why",
}
"""Refusals of every operation that is not open, whatever it does."""
TO_ALL = (403, 408, 414, 431, 500)
"""Those of the open ones."""

IN_PATH = {
    "name": "name of a stream",
    "session": "of WHIP, from the answer's Location",
    "id": "of a draft",
    "recipe": "id of a recipe",
    "correction": "id of a correction",
    "frame": "id of a kept frame",
    "teaching": "id of a teaching",
    "number": "of a picture",
    "entry": "id of an entry of the history",
    "user": "name of a login",
    "token": "id of a token",
    "session_id": "id of a session",
    "pairing": "id of a pairing",
}

_CODE = Parameter("code", "query", "a token, the access code, or what pairs a phone, as in the QR code's address")
_NEXT = Parameter("next", "query", "path on this server to go to then")
_IN = Reply("on to `next`, with a cookie if what was shown is right", headers={"Location": "where to go"})
ENTER = {
    "get": Operation(
        "The form to log in",
        {
            200: Reply("the form, or a button that pairs", HTML),
            303: _IN,
            401: Reply("the form again: wrong code", HTML),
        },
        parameters=(_CODE, _NEXT),
        role=Role.NOBODY,
    ),
    "post": Operation(
        "Log in, show a token or the access code, or pair a phone, and get a cookie",
        {
            200: Reply("the form: nothing was given", HTML),
            303: _IN,
            401: Reply("the form again: what was given is wrong", HTML),
            413: "the form is too large",
        },
        body=Content(
            {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("name", "password", "code", "next")},
            },
            "application/x-www-form-urlencoded",
        ),
        role=Role.NOBODY,
    ),
}
"""Answered before any route is reached."""


@dataclass
class Documents:
    """Describes the routes of the application it is asked in."""

    templates: Jinja2Templates
    described: Sequence[BaseRoute]

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/openapi.json", self.openapi),
            Route("/asyncapi.json", self.asyncapi),
            Route("/schema.json", self.schema),
            Route("/docs", self.page),
        ]

    @documented(
        Operation(
            "This description, as OpenAPI 3.1",
            {200: Reply("the document", Content({"type": "object", "required": ["openapi", "paths"]}))},
            role=Role.VIEWER,
        )
    )
    async def openapi(self, request: Request) -> Response:
        return JSONResponse(self.document)

    @documented(
        Operation(
            "What is said on WebSockets and data channels, as AsyncAPI 3.0",
            {200: Reply("the document", Content({"type": "object", "required": ["asyncapi", "channels"]}))},
            role=Role.VIEWER,
        )
    )
    async def asyncapi(self, request: Request) -> Response:
        return JSONResponse(asyncapi.describe())

    @documented(
        Operation(
            "JSON Schema (2020-12) of the messages on WebSockets and data channels",
            {200: Reply("the schema", Content({"type": "object", "required": ["$schema", "oneOf", "$defs"]}))},
            role=Role.VIEWER,
        )
    )
    async def schema(self, request: Request) -> Response:
        return JSONResponse(messages.schema())

    @documented(Operation("This description, as a page", {200: Reply("the page", HTML)}, role=Role.VIEWER))
    async def page(self, request: Request) -> Response:
        context = {"document": self.document, "everywhere": EVERYWHERE, "phrase": _phrase}
        return self.templates.TemplateResponse(request, "docs.html", context)

    @cached_property
    def document(self) -> dict[str, Any]:
        return describe(self.described)


def describe(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes; those that are no HTTP endpoints (WebSockets, files) are left out.

    Raises:
        AttributeError: an endpoint does not say what it does.
    """
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if isinstance(route, Route):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                path = paths.setdefault(route.path, {})
                path[method.lower()] = _operation(operation_of(route), schemas, route.path, method)
    paths["/enter"] = {
        method: _operation(operation, schemas, "/enter", method.upper()) for method, operation in ENTER.items()
    }
    return {
        "openapi": "3.1.1",
        "info": {"title": "DefectVision", "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": "./", "description": "where this document came from"}],
        "paths": paths,
        "components": {
            # Defaults may be Structs and tuples, which no JSON Schema knows.
            "schemas": msgspec.json.decode(msgspec.json.encode(schemas.components())),
            "securitySchemes": {
                "code": {"type": "http", "scheme": "bearer", "description": "a token, or the access code"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "defectvision_access"},
            },
        },
        "security": [{"code": []}, {"cookie": []}, {}],
    }


def operation_of(route: Route) -> Operation:
    """What a route's endpoint says of itself.

    Raises:
        AttributeError: nothing.
    """
    operation: Operation = route.endpoint.operation  # type: ignore[attr-defined]
    return operation


def _operation(operation: Operation, schemas: _Schemas, path: str, method: str) -> dict[str, Any]:
    common = {status: EVERYWHERE[status] for status in (TO_ALL if operation.is_open else EVERYWHERE)}
    answers = common | dict(operation.answers)
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "responses": {str(status): _answer(answers[status], schemas) for status in sorted(answers)},
    }
    if operation.description:
        described["description"] = operation.description
    in_path = tuple(Parameter(name, "path", IN_PATH[name]) for name in re.findall(r"{(\w+)}", path))
    if parameters := (*in_path, *operation.parameters):
        described["parameters"] = [_parameter(one) for one in parameters]
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body, schemas)}
    described["x-role"] = operation.role.word
    if operation.is_open:
        described["security"] = []
    return described


def _answer(answer: Reply | str, schemas: _Schemas) -> dict[str, Any]:
    if isinstance(answer, str):
        answer = Reply(answer, Content(Refusal))
    described: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        described["headers"] = {
            name: {"description": words, "schema": {"type": "string"}} for name, words in answer.headers.items()
        }
    if answer.content is not None:
        described["content"] = _content(answer.content, schemas)
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }


def _content(content: Content, schemas: _Schemas) -> dict[str, Any]:
    return {content.media_type: {"schema": schemas.of(content.body)}}


class _Schemas:
    """The JSON Schemas of bodies, those of Structs by reference."""

    def __init__(self) -> None:
        self._kinds: list[Any] = []

    def of(self, body: Any) -> dict[str, Any]:
        if isinstance(body, Mapping):
            return dict(body)
        if isinstance(body, tuple):
            return {"oneOf": [self.of(one) for one in body]}
        if body not in self._kinds:
            self._kinds.append(body)
        (schema,), _ = msgspec.json.schema_components([body], ref_template="#/components/schemas/{name}")
        return schema

    def components(self) -> dict[str, Any]:
        return msgspec.json.schema_components(self._kinds, ref_template="#/components/schemas/{name}")[1]


def _phrase(status: str | int) -> str:
    return HTTPStatus(int(status)).phrase
