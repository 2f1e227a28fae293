"""The page in Firefox: watching, sending over either transport, calibrating."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.page.firefox import Firefox, launch

SHOWN = "document.querySelector('[data-testid={}]').{}"
NO_ERRORS = ("SyntaxError", "TypeError", "ReferenceError", "Content-Security-Policy", "InvalidStateError")


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Firefox]:
    """One for all tests: it takes seconds to start."""
    async with launch(tmp_path_factory.mktemp("firefox")) as started:
        await started.size(1440, 900)
        yield started
        assert not [text for text in started.complaints if any(kind in text for kind in NO_ERRORS)]


def shown(test_id: str, what: str) -> str:
    return SHOWN.format(f'"{test_id}"', what)


async def test_the_simulated_line_is_watched(tab: Firefox, line: str) -> None:
    await tab.visit(f"{line}/")
    await tab.until(f"['NORMAL', 'ANOMALY'].includes({shown('verdict', 'dataset.verdict')})")
    await tab.until(f"{shown('picture', 'dataset.shown')} === 'true'")
    await tab.until(f"Number({shown('inspected', 'textContent')}.replaceAll(',', '')) > 10")
    assert await tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    await tab.visit(f"{line}/kiosk/simulated-line")
    await tab.until(f"['NORMAL', 'ANOMALY'].includes({shown('kiosk', 'dataset.verdict')})")


@pytest.mark.parametrize("transport", ["WebRTC", "WebSocket"])
async def test_its_camera_is_sent_and_calibrated_on(tab: Firefox, inspection: str, transport: str) -> None:
    await tab.visit(f"{inspection}/phone")
    await tab.evaluate("sessionStorage.clear()")  # else the camera of the test before is started by itself
    if transport == "WebSocket":
        await tab.evaluate("sessionStorage.setItem('defectvision.webrtc-finds-no-path', 'yes')")
    await tab.visit(f"{inspection}/")
    await tab.until(f"{shown('verdict', 'dataset.verdict')} === 'NO_CAMERA'")
    await tab.click("start-camera")
    await tab.until(f"{shown('transport', 'textContent')} === '{transport}'")
    await tab.until(f"Number({shown('inspected', 'textContent')}.replaceAll(',', '')) > 5")
    await tab.evaluate("document.querySelector('#calibrate-n').value = 4")
    await tab.click("calibrate-button")
    await tab.until(f"{shown('judgement', 'open')} === true")
    await tab.click("judgement-discard")
    await tab.until(f"{shown('calibrate-result', 'textContent')}.startsWith('Discarded')")
    await tab.click("start-camera")
    await tab.until(f"{shown('verdict', 'dataset.verdict')} === 'NO_CAMERA'")
