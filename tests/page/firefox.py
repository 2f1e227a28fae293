"""A headless Firefox for tests, spoken to over WebDriver BiDi: Debian's has no driver of its own beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.equipment import firefox

START_S = 100.0
ANSWER_S = 30.0
WAIT_S = 60.0

PREFERENCES = {
    "media.navigator.streams.fake": True,  # a camera whose picture changes its colour
    "media.navigator.permission.disabled": True,
    "media.peerconnection.ice.loopback": True,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "services.settings.server": "http://127.0.0.1:9/",
    "toolkit.telemetry.enabled": False,
}
"""The camera of the tests, WebRTC on loopback, and none of the calls that a Firefox makes by itself."""


class Firefox:
    """One tab of a running Firefox."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._tab = ""
        self.complaints: list[str] = []

    async def begin(self) -> None:
        await self._do("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        await self._do("session.subscribe", events=["log.entryAdded"])
        tree = await self._do("browsingContext.getTree")
        self._tab = tree["contexts"][0]["context"]

    async def size(self, width: int, height: int) -> None:
        await self._do("browsingContext.setViewport", context=self._tab, viewport={"width": width, "height": height})

    async def visit(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        await self._do("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page: a text, number, truth value or null."""
        target = {"context": self._tab}
        answer = await self._do("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    async def click(self, test_id: str) -> None:
        await self.evaluate(f"document.querySelector('[data-testid=\"{test_id}\"]').click()")

    async def until(self, expression: str, *, within_s: float = WAIT_S) -> None:
        """Wait until an expression is true in the page; fails with what the page then shows."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not await self.evaluate(expression):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                return
        seen = await self.evaluate("document.body.innerText")
        raise AssertionError(f"not true within {within_s} s: {expression}\n{seen}\n{self.complaints}")

    async def screenshot(self) -> str:
        """A PNG of the tab, base64."""
        answer = await self._do("browsingContext.captureScreenshot", context=self._tab)
        return str(answer["data"])

    async def _do(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        await self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        async with asyncio.timeout(ANSWER_S):
            while (message := json.loads(await self._connection.recv())).get("id") != self._number:
                self._note(message)
        assert message["type"] == "success", message
        return message["result"]

    def _note(self, event: dict[str, Any]) -> None:
        entry = event.get("params", {})
        if event.get("method") == "log.entryAdded" and entry.get("level") in ("error", "warn"):
            self.complaints.append(str(entry.get("text")))


@contextlib.asynccontextmanager
async def launch(profile: Path) -> AsyncIterator[Firefox]:
    """Start a Firefox with a profile of its own; skips the test, saying so, where there is none."""
    path = firefox()
    if path is None:
        pytest.skip("there is no Firefox here: `python -m tests.equipment`, apt-get install firefox-esr, or $FIREFOX")
    prepare(profile)
    process = await asyncio.create_subprocess_exec(
        *(path, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"HOME": str(profile), "MOZ_DISABLE_CONTENT_SANDBOX": "1"},
    )
    try:
        address = await _address(process)
        async with connect(f"{address}/session", proxy=None, max_size=None) as connection:
            started = Firefox(connection)
            await started.begin()
            yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def prepare(profile: Path) -> None:
    """Write the preferences of a new profile."""
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(START_S):
        while line := await process.stderr.readline():
            if found := re.search(rb"WebDriver BiDi listening on (ws://\S+)", line):
                return found[1].decode()
    raise AssertionError(f"Firefox ended with {await process.wait()}")
