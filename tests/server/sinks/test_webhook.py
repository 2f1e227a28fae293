"""Webhooks against a receiver that takes them, does not answer, never ends, refuses, and wants no more."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import h11
import pytest
from standardwebhooks import Webhook as Verifier

from server.cameras import Backoff
from server.https.certificates import ensure
from server.sinks import Around, Choice, Draft, SinkError, Sinks, sipped_http
from server.sinks import running_sink as running
from server.sinks import webhook as module
from server.sinks.webhook import WEBHOOK
from server.streams import Hub
from tests.server.camera_fakes import free_port
from tests.server.fakes import until
from tests.server.sinks.fakes import PART, part, result
from tests.server.sinks.receiver import (
    Answer,
    breaks_off,
    drips,
    floods,
    garbage,
    never,
    plainly,
    receiving,
    without_end,
)

pytest.importorskip("httpx", reason="the extra webhook is not installed")

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
TOKEN = "Bearer t0ken-of-the-receiver"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "Backoff", lambda longest: Backoff(first=0.02, longest=0.1))
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(module, "BODY_WITHIN_S", 0.1)
    monkeypatch.setattr(module, "WAITS_S", (0.01, 0.01))


@pytest.fixture
async def hub() -> Hub:
    return Hub()


@pytest.fixture
async def sinks(tmp_path: Path, hub: Hub) -> AsyncIterator[Sinks]:
    sinks = Sinks(tmp_path, hub, address="https://plant.example/line4/")
    sinks.start()
    yield sinks
    await sinks.stop()


def draft(url: str, **settings: Any) -> Draft:
    return Draft("webhook", "mes", True, Choice(), {"url": url, "secret": SECRET} | settings)


async def test_every_event_is_posted_signed_in_order_over_one_connection(sinks: Sinks, hub: Hub) -> None:
    async with receiving() as receiver:
        stored = await sinks.add(draft(receiver.url, authorization=TOKEN), "a test")
        await until(lambda: sinks.state(stored.id).state == "up")
        assert "nothing was sent yet" in sinks.state(stored.id).words
        told = [part(), part(verdict="ANOMALY"), result(verdict="ANOMALY")]
        for one in told:
            hub.publish(one.message)
        await until(lambda: sinks.state(stored.id).delivered == 3)
        assert receiver.connections == 1
        assert receiver.ids[:2] == [one.message.id for one in told[:2]]  # type: ignore[union-attr]
        types = []
        for headers, body in receiver.got:
            said = Verifier(SECRET).verify(body, headers)
            assert headers["content-type"] == "application/json" and headers["authorization"] == TOKEN
            assert headers["request"] == "POST /webhooks HTTP/1.1"
            assert said["server"] == "https://plant.example/line4/" and re.match(r"\d{4}-\d\d-\d\dT", said["timestamp"])
            types.append((said["type"], said["data"]["type"], said["data"]["verdict"]))
        assert types == [
            ("part.inspected", "part", "NORMAL"),
            ("part.inspected", "part", "ANOMALY"),
            ("verdict.changed", "result", "ANOMALY"),
        ]
        assert sinks.state(stored.id).words == "delivering to 127.0.0.1"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (never, "no answer from 127.0.0.1 within"),  # it would after 60 s
        (plainly(500), "it answers 500 Internal Server Error"),
        (plainly(503, "Retry-After: 0"), "it answers 503"),
        (plainly(302, "Location: http://127.0.0.1:1/"), "redirects are not followed"),
        (plainly(404), "nothing takes webhooks at this address"),
        (plainly(401), "see to the Authorization header"),
        (plainly(799), "it answers 799"),
        (breaks_off, "broke off, or no HTTP came"),
        (garbage, "broke off, or no HTTP came"),
    ],
)
async def test_what_fails_is_said_and_tried_again_under_the_same_id(
    sinks: Sinks, hub: Hub, answer: Answer, words: str
) -> None:
    async with receiving(answer, answer, plainly(200)) as receiver:
        stored = await sinks.add(draft(receiver.url), "a test")
        hub.publish(part().message)
        hub.publish(part().message)
        await until(lambda: words in (sinks.state(stored.id).last_error or ""))
        await until(lambda: sinks.state(stored.id).delivered == 2)
        assert len(receiver.ids) == 4 and len(set(receiver.ids)) == 2 and len(set(receiver.ids[:3])) == 1
        assert sinks.state(stored.id).state == "up" and sinks.state(stored.id).failures == 0


@pytest.mark.parametrize("answer", [without_end, drips, plainly(200, body=b"x" * 100_000)])
async def test_a_body_is_neither_needed_nor_waited_for(sinks: Sinks, hub: Hub, answer: Answer) -> None:
    async with receiving(answer) as receiver:
        stored = await sinks.add(draft(receiver.url), "a test")
        hub.publish(part().message)
        hub.publish(part().message)
        await until(lambda: sinks.state(stored.id).delivered == 2)
        assert len(receiver.got) == 2 and sinks.state(stored.id).state == "up"


OK = b"HTTP/1.1 200 OK\r\n"
NO_END = "answers without an end"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), NO_END),
        (floods(b"", b"HTTP/1.1 103 E\r\n" + b"a: b\r\n" * 90 + b"\r\n"), NO_END),
        (floods(OK, b"a:\r\n"), NO_END),
        (floods(OK + b"a: ", b"y"), NO_END),
        (floods(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), None),
        (floods(OK + b"Content-Length: 99999999999\r\n\r\n", b"x"), None),
    ],
)
async def test_whatever_an_answer_is_of_little_is_read_and_of_that_little_at_once(
    answer: Answer, words: str | None, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foreign parser on the event loop: what it does between two turns of the loop is bounded, and so is the rest."""
    monkeypatch.setattr(module, "TIMEOUT_S", 60.0)  # the bound is one of bytes
    monkeypatch.setattr(module, "BODY_WITHIN_S", 60.0)
    parsed = at_once = most_at_once = fed = 0
    next_event, receive_data = h11.Connection.next_event, h11.Connection.receive_data

    def counted(self: h11.Connection) -> Any:
        nonlocal parsed, at_once, most_at_once
        parsed, at_once = parsed + 1, at_once + 1
        most_at_once = max(most_at_once, at_once)
        return next_event(self)

    def measured(self: h11.Connection, data: bytes) -> None:
        nonlocal fed
        fed += len(data)
        receive_data(self, data)

    async def turn() -> None:
        nonlocal at_once
        while True:
            at_once = 0
            await asyncio.sleep(0)

    monkeypatch.setattr(h11.Connection, "next_event", counted)
    monkeypatch.setattr(h11.Connection, "receive_data", measured)
    turning = asyncio.create_task(turn())
    context, ca = None, ""
    if scheme == "https":
        certificates = ensure(tmp_path / "certificates", ["127.0.0.1"])
        assert certificates.ca_path is not None
        context, ca = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificates.ca_path.read_text()
        context.load_cert_chain(certificates.cert_path, certificates.key_path)
    async with receiving(answer, context=context) as receiver:
        settings = {"url": receiver.url.replace("http", scheme, 1), "secret": SECRET, "ca": ca}
        sink = WEBHOOK.make(WEBHOOK.read(settings, Around("a", "mes", tmp_path)), Around("a", "mes", tmp_path))
        if words is None:
            assert "was answered by 127.0.0.1 with 200" in await sink.test()
        else:
            with pytest.raises(SinkError, match=words):
                await sink.test()
    turning.cancel()
    assert fed <= sipped_http.MOST_OF_ANSWER and parsed < sipped_http.MOST_OF_ANSWER
    assert most_at_once < 150


async def test_one_that_is_away_gets_what_waited_in_order_once_it_is_there(sinks: Sinks, hub: Hub) -> None:
    port = free_port()
    stored = await sinks.add(draft(f"http://127.0.0.1:{port}/"), "a test")
    told = [part() for _ in range(50)]
    for one in told:
        hub.publish(one.message)
    await until(lambda: "nothing listens at 127.0.0.1" in (sinks.state(stored.id).last_error or ""))
    assert sinks.state(stored.id).waiting == 50
    async with receiving() as receiver:
        await sinks.change(stored.id, "a test", settings={"url": receiver.url, "secret": SECRET})
        await until(lambda: len(receiver.got) == 50)
        assert receiver.ids == [one.message.id for one in told]  # type: ignore[union-attr]


async def test_410_switches_it_off_and_says_so(sinks: Sinks, hub: Hub, tmp_path: Path) -> None:
    async with receiving(plainly(410)) as receiver:
        stored = await sinks.add(draft(receiver.url), "a test")
        hub.publish(part().message)
        await until(lambda: sinks.state(stored.id).state == "off")
        assert "wants no more (410)" in (sinks.state(stored.id).last_error or "")
        assert not json.loads((tmp_path / "sinks.json").read_text())["sinks"][0]["enabled"]
        hub.publish(part().message)
        assert len(receiver.got) == 1


async def test_an_event_that_is_refused_for_good_blocks_no_other_and_two_in_a_row_wait(sinks: Sinks, hub: Hub) -> None:
    no, yes = plainly(422), plainly(200)
    async with receiving(yes, no, no, no, yes, no, no, no, no, no, no, yes) as receiver:
        stored = await sinks.add(draft(receiver.url), "a test")
        for _ in range(5):
            hub.publish(part().message)
        await until(lambda: sinks.state(stored.id).delivered == 3)
        assert sinks.state(stored.id).refused == 2
        ids = receiver.ids
        assert [ids.count(one) for one in dict.fromkeys(ids)] == [1, 3, 1, 3, 4]
        assert "it does not like the event" in (sinks.state(stored.id).last_error or "")


async def test_its_own_authority_is_trusted_and_no_other(sinks: Sinks, tmp_path: Path) -> None:
    certificates = ensure(tmp_path / "certificates", ["localhost", "127.0.0.1"])
    assert certificates.ca_path is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert_path, certificates.key_path)
    async with receiving(context=context) as receiver:
        url = receiver.url.replace("http", "https", 1)
        with pytest.raises(SinkError, match="is not trusted"):
            await sinks.try_out(draft(url))
        ca = certificates.ca_path.read_text()
        assert "was answered by 127.0.0.1 with 204" in await sinks.try_out(draft(url, ca=ca))
        with pytest.raises(SinkError, match="broke off, or no HTTP came"):
            await sinks.try_out(draft(receiver.url))


async def test_proxies_of_the_environment_are_not_asked(sinks: Sinks, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with receiving() as receiver:
        assert "with 204" in await sinks.try_out(draft(receiver.url))
        (headers, body) = receiver.got[0]
        assert Verifier(SECRET).verify(body, headers)["type"] == "test"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "ftp://mes/x"}, "http:// or https://"),
        ({"url": "file:///etc/passwd"}, "http:// or https://"),
        ({"url": "http://"}, "name a host"),
        ({"url": "http://mes:99999/"}, "name a host"),
        ({"url": "http://user:pass@mes/"}, "the address holds a login"),
        ({"url": "http://mes/ x"}, "spaces or line breaks"),
        ({"url": "http://mes/\r\nx: y"}, "spaces or line breaks"),
        ({"url": "http://mes/#x"}, "has a #"),
        ({"url": "http://[::1/"}, "name a host"),
        ({"secret": "whsec_"}, "the signing secret must be"),
        ({"secret": "whsec_" + "A" * 20}, "the signing secret must be"),
        ({"secret": "whsec_ä"}, "the signing secret must be"),
        ({"authorization": "Bearer x\r\nHost: y"}, "Authorization header"),
        ({"ca": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "no PEM"),
        ({"ca": "\0"}, "no PEM"),
    ],
)
def test_what_cannot_be_is_refused_without_repeating_secrets(settings: dict[str, str], words: str) -> None:
    wanted = {"url": "http://mes/x", "secret": SECRET} | settings
    with pytest.raises(ValueError, match=re.escape(words)) as refusal:
        WEBHOOK.read(wanted, Around("a", "mes", Path()))
    assert "pass" not in str(refusal.value) and SECRET not in str(refusal.value)


def test_no_secret_is_shown_by_its_settings() -> None:
    assert {"secret", "authorization"} == WEBHOOK.secrets and PART.picture is None


async def test_a_shutdown_does_not_wait_for_an_answer(sinks: Sinks, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 20.0)
    async with receiving(never) as receiver:
        await sinks.add(draft(receiver.url), "a test")
        hub.publish(part().message)
        await until(lambda: len(receiver.got) == 1)
        async with asyncio.timeout(5):
            await sinks.stop()
