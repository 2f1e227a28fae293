"""Through nginx and Caddy, as docs/proxies.md sets them up: everything a client does, with the access code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from server.app import create_app
from server.ground import PublicURL
from server.serve import listen
from server.settings import Settings
from server.words.messages import Result, Status
from tests.proxies.proxy import PREFIX, SETUPS, Proxy, need, proxy
from tests.running import running
from tests.server.fakes import GOOD, WAIT_S, FakeModel, healthy, picture, receive

pytestmark = pytest.mark.service

CODE = "7KQ2-M9XR-4TBD"
BEARER = {"Authorization": f"Bearer {CODE}"}
HTML = {"Accept": "text/html"}


@contextlib.asynccontextmanager
async def behind(setup: str, folder: Path, *, public: bool = True) -> AsyncIterator[Proxy]:
    """A server behind a proxy, which knows its public address or does not."""
    need(setup.split()[0])
    reserved = listen("127.0.0.1", 0)  # which the server would else get
    port = reserved.getsockname()[1]
    path = f"{PREFIX}/" if setup.endswith("prefix") else "/"
    url = PublicURL.parse(f"https://localhost:{port}{path}") if public else None
    settings = replace(Settings(data_dir=folder / "data", max_frame_age_ms=1e6), public_url=url)
    app = create_app(settings, code=CODE, make_model=FakeModel)  # type: ignore[arg-type]
    async with running(app, settings) as server:
        await healthy(server)
        reserved.close()
        with contextlib.ExitStack() as stack:
            # In a thread: the proxy is waited for.
            entered = proxy(setup, server.port, folder, port=port)
            yield await asyncio.to_thread(stack.enter_context, entered)


def client(through: Proxy) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=through.context, trust_env=False, timeout=WAIT_S)


@pytest.mark.parametrize("setup", SETUPS)
async def test_everything_works_through_a_proxy(setup: str, tmp_path: Path) -> None:
    async with behind(setup, tmp_path) as through, client(through) as browser:
        url, origin = through.url, through.url.removesuffix("/").removesuffix(PREFIX)
        assert (await browser.get(f"{url}health")).json() == {"status": "ok"}

        # A stranger's way in: to the form, and with the code back to the page that was asked for.
        asked = await browser.get(f"{url}phone?a=1", headers=HTML)
        form = urljoin(f"{url}phone?a=1", asked.headers["location"])
        assert form.startswith(f"{url}enter?next=")
        assert (await browser.get(form)).status_code == 200
        entered = await browser.post(
            urljoin(form, "./enter"), data={"code": CODE, "next": "/phone?a=1"}, headers={"Origin": origin}
        )
        assert urljoin(form, entered.headers["location"]) == f"{url}phone?a=1"
        cookie = SimpleCookie(entered.headers["set-cookie"])["defectvision_access"]
        assert cookie["secure"] and cookie["path"] == urlsplit(url).path
        assert (await browser.get(f"{url}api/connection", params={"page": url})).json()["problem"] is None

        # Pages, and all that they load and lead to; files of the history among them, which opens beside all else.
        async with asyncio.timeout(WAIT_S):
            while (await browser.get(f"{url}api/history?limit=1")).status_code == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        phone = (await browser.get(f"{url}phone")).text
        assert f"<strong>{url}</strong>" in phone and "plain http" not in phone
        for page in (url, f"{url}phone", f"{url}teach", f"{url}kiosk/press", f"{url}panel/press", f"{url}docs"):
            await all_addresses_lead_here(browser, page, url)

        # A picture as large as is taken, and one larger, with the server's own words.
        limit = int(Settings().max_upload_mb * 1_000_000)
        headers = {"Origin": origin}
        whole = picture(50) + b"\0" * (limit - len(GOOD) - 1000)
        answer = await browser.post(f"{url}predict", files={"file": whole}, headers=headers)
        assert answer.status_code in (200, 422), "it arrived whole; what follows a picture may be refused"
        answer = await browser.post(f"{url}predict", files={"file": b"x" * (limit + 5000)}, headers=headers)
        assert answer.status_code == 413 and "MAX_UPLOAD_MB" in answer.json()["error"]

        # A stream and who watches it.
        cookies = {"Cookie": f"defectvision_access={cookie.value}"}
        options = {"ssl": through.context, "proxy": None, "origin": Origin(origin), "additional_headers": cookies}
        async with connect(f"{through.ws}ws/live/press", **options) as viewer:  # type: ignore[arg-type]
            assert isinstance(await receive(viewer), Status)
            async with connect(f"{through.ws}ws/stream?name=press", **options) as sender:  # type: ignore[arg-type]
                await sender.send(GOOD)
                assert isinstance(await receive(sender), Result)
            while not isinstance(await receive(viewer), Result):
                pass
        with pytest.raises(InvalidStatus) as refusal:
            await connect(f"{through.ws}ws/live/press", ssl=through.context, proxy=None)
        assert refusal.value.response.status_code == 401
        assert "error" in json.loads(refusal.value.response.body)


async def all_addresses_lead_here(browser: httpx.AsyncClient, page: str, root: str) -> None:
    """Follow a page's links and scripts, and what those import: all below the root, and all there."""
    seen, wanted = set[str](), [page]
    while wanted:
        address = wanted.pop()
        if address in seen or "/report?at=" in address:  # one shift leads to the one before, for ever
            continue
        seen.add(address)
        assert address.startswith(root), f"{address} is not below {root}"
        answer = await browser.get(address)
        if address.endswith("/ca"):
            assert answer.status_code == 404
            continue
        assert answer.status_code == 200, f"{address}: {answer.text[:200]}"
        if address.endswith(".js"):
            found = re.findall(r'from "([^"]+)"|new URL\("(\./[^"]+)"', answer.text)
        elif address.endswith(".css"):
            found = []
        else:
            found = re.findall(r'(?:href|src)="([^"#]+)"()', answer.text)
        wanted += [urljoin(address, one or other) for one, other in found]
    assert len(seen) > 3


@pytest.mark.parametrize("setup", ["nginx prefix", "caddy prefix"])
async def test_a_prefix_works_before_public_url_is_known(setup: str, tmp_path: Path) -> None:
    async with behind(setup, tmp_path, public=False) as through, client(through) as browser:
        asked = await browser.get(f"{through.url}?code={CODE}")
        assert urljoin(through.url, asked.headers["location"]) == through.url
        assert [cookie.path for cookie in browser.cookies.jar] == [PREFIX]
        await all_addresses_lead_here(browser, through.url, through.url)
        assert (await browser.get(f"{through.url}api/streams")).status_code == 200


@pytest.mark.parametrize("address", ["{url}", "{ws}ws/stream"])
async def test_a_camera_process_sends_through_it(address: str, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        (pictures / f"{number}.png").write_bytes(picture(50 + number))
    async with behind("nginx prefix", tmp_path) as through, client(through) as browser:
        server = address.format(url=through.url, ws=through.ws)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server.cli", "camera", str(pictures), "--server", server),
            *("--name", "press", "--code", CODE, "--ca", str(through.ca)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(WAIT_S):
                inspected = 0
                while not inspected:
                    answer = await browser.get(f"{through.url}api/streams", headers=BEARER)
                    inspected = sum(stream["inspected"] for stream in answer.json()["streams"])
                    await asyncio.sleep(0.05)
        finally:
            process.terminate()
            await process.wait()
