"""``GET /asyncapi.json``: what is said on WebSockets and data channels, as AsyncAPI 3, made from the message types.

Which channel carries which message stands here; what a message is, in its type (:mod:`server.words`). Seen from the
server, as AsyncAPI wants it: it *sends* what clients hear, and *receives* what they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from detector import VERSION
from server.web.over_websocket import Answered, Asked
from server.words import (
    Change,
    Drift,
    Error,
    Goodbye,
    Heartbeat,
    PartResult,
    PartSaid,
    Result,
    Status,
    TriggerAnswer,
    TriggerSaid,
)

DESCRIPTION = """\
JSON texts, UTF-8; frames are binary. Later versions may add fields and types of messages, and take none away: skip a
`type` that you do not know, and a field too. docs/protocol.md tells the rest, *Stopping a line safely* first; clients
to begin with are in docs/clients.
"""

_SAYS: dict[str, tuple[Any, str]] = {
    "result": (Result, "One inspected frame"),
    "part": (PartResult, "One part, its one verdict"),
    "error": (Error, "A frame that could not be inspected"),
    "status": (Status, "How the stream is"),
    "heartbeat": (Heartbeat, "The server is there"),
    "change": (Change, "Something else is in force"),
    "drift": (Drift, "Parts or pictures are not as when calibrated, or are again"),
    "trigger": (TriggerAnswer, "Whether a trigger was taken"),
    "goodbye": (Goodbye, "The last message before the channel closes"),
    "answer": (Answered, "The answer to a request"),
    "partSaid": (PartSaid, "Which part the frames show that follow"),
    "triggerSaid": (TriggerSaid, "Judge the part under the camera now"),
    "request": (Asked, "A request, as over HTTP"),
}
"""What each message is made of, and its title; in the first nine the name is the message's ``type``."""

_QUERY: dict[str, tuple[str, Mapping[str, Any]]] = {
    "picture": ("1: results come with a small picture", {"enum": ["1"]}),
    "heatmap": ("0: results come without a heat map", {"enum": ["0"]}),
    "heartbeat": ("seconds between heartbeats, 1 to 60, or 0 for none; 5 when absent", {"type": "number"}),
    "name": ("of the stream, 1 to 64 of A-Z a-z 0-9 . _ -; one is made up when it is absent", {"type": "string"}),
    "max_fps": ("so many frames a second are inspected at the most", {"type": "number"}),
    "code": (
        "a token, or the access code, for pages of ALLOWED_ORIGINS; others send it as a header",
        {"type": "string"},
    ),
}

_CLOSES = {
    "1008": "what was sent or asked for cannot be; the reason says what. Mend the client",
    "1009": "a message over the limit of size",
    "1012": "the server is shutting down: come back",
    "1013": "too much at once: try again",
    "4401": "who has it is no longer logged in: log in again",
    "4403": "who has it may not do this any more",
    "4001": "another sender took over this stream's name: do not come back by itself",
}


def describe() -> dict[str, Any]:
    """The AsyncAPI 3.0 document."""
    kinds = [kind for kind, _ in _SAYS.values()]
    payloads, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    messages: dict[str, Any] = {
        name: {
            "name": name,
            "title": title,
            "contentType": "application/json",
            "payload": payload,
        }
        for (name, (_, title)), payload in zip(_SAYS.items(), payloads, strict=True)
    }
    messages["frame"] = {
        "name": "frame",
        "title": "A picture to inspect",
        "contentType": "image/jpeg",
        "payload": {"type": "string", "format": "binary", "description": "one JPEG, PNG or WebP, in a binary message"},
    }
    for name in ("request", "answer"):
        messages[name]["correlationId"] = {"location": "$message.payload#/id"}
    document = {
        "asyncapi": "3.0.0",
        "info": {"title": "DefectVision", "version": VERSION, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {
            "plain": _server("ws", "without HTTPS"),
            "secure": _server("wss", "with HTTPS or CERT_FILE, or behind a proxy that has them"),
        },
        "channels": _CHANNELS,
        "operations": _OPERATIONS,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "code": {"type": "http", "scheme": "bearer", "description": "a token, or the access code"}
            },
        },
    }
    # Defaults may be of kinds that no JSON Schema knows.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return plain


def _server(protocol: str, when: str) -> dict[str, Any]:
    where = {"default": "127.0.0.1:8000", "description": "the host and port that this document came from"}
    code = {"$ref": "#/components/securitySchemes/code"}
    return {
        "host": "{host}",
        "protocol": protocol,
        "description": when,
        "variables": {"host": where},
        "security": [code],
    }


def _channel(
    address: str | None,
    title: str,
    description: str,
    messages: Sequence[str],
    query: Sequence[str] = (),
    closes: Sequence[str] = ("1008", "1009", "1012", "1013", "4401", "4403"),
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "address": address,
        "title": title,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }
    if address is None:
        return described
    if "{name}" in address:
        described["parameters"] = {"name": {"description": "of the stream"}}
    asked = {name: {"description": _QUERY[name][0], **_QUERY[name][1]} for name in (*query, "code")}
    described["bindings"] = {"ws": {"method": "GET", "query": {"type": "object", "properties": asked}}}
    described["x-close-codes"] = {code: _CLOSES[code] for code in closes}
    return described


def _operation(action: str, channel: str, messages: Sequence[str], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


_LIVE = ("status", "result", "part", "error", "change", "drift", "heartbeat")
_ANSWERS = ("result", "part", "error", "trigger")
_SENT = ("frame", "partSaid", "triggerSaid")
_ON_CHANNEL = ("result", "part", "error", "goodbye")
_ON_PARTS = ("part",)

_CHANNELS = {
    "live": _channel(
        "/ws/live/{name}",
        "Listen to a stream",
        "A status first, then the last result once more (`repeated`), then what comes. The stream need not exist yet. "
        "Who hears no heartbeat for two and a half times its interval has lost the server.",
        _LIVE,
        ("picture", "heatmap", "heartbeat"),
    ),
    "stream": _channel(
        "/ws/stream",
        "Send frames",
        "At most one frame waits, a newer one replaces it. Every inspected one is answered by a result, every broken "
        "one by an error.",
        (*_SENT, *_ANSWERS),
        ("name", "max_fps", "heatmap"),
        ("1008", "1009", "1012", "1013", "4001", "4401", "4403"),
    ),
    "api": _channel(
        "/ws/api",
        "Everything over one connection",
        "Each request is answered by one answer, in order: paths, bodies and status codes of /openapi.json.",
        ("request", "answer"),
        (),
        ("1008", "1009", "1012", "4401", "4403"),
    ),
    "results": _channel(
        None,
        "Hear of frames sent by WebRTC",
        "A data channel of the label `results` (`ordered: false, maxRetransmits: 0`), opened by the sender before it "
        "offers itself to POST /webrtc/offer. It has no address and no close codes of its own: a goodbye comes first.",
        _ON_CHANNEL,
    ),
    "parts": _channel(
        None,
        "Hear of each part of a video sent by WebRTC",
        "A data channel of the label `parts`, ordered and reliable as they are by default, opened beside `results`: "
        "each part comes over this one instead, sent again until it arrives.",
        _ON_PARTS,
    ),
}

_OPERATIONS = {
    "tell": _operation("send", "live", _LIVE, "What everybody may hear of a stream"),
    "takeFrames": _operation("receive", "stream", _SENT, "Frames, and what the line says of them"),
    "answerFrames": _operation("send", "stream", _ANSWERS, "What became of them"),
    "takeRequest": _operation("receive", "api", ("request",), "A request")
    | {
        "reply": {
            "channel": {"$ref": "#/channels/api"},
            "messages": [{"$ref": "#/channels/api/messages/answer"}],
        }
    },
    "answerVideo": _operation("send", "results", _ON_CHANNEL, "What became of the frames of a video"),
    "judgeVideo": _operation("send", "parts", _ON_PARTS, "The verdicts on its parts"),
}
