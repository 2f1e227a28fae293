"""A headless Chromium for a test."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright

from tests.equipment import CHROMIUM_ARGUMENTS, chromium


def launch(playwright: Playwright, *arguments: str, whole: bool = False) -> Browser:
    """Start a browser of its own, with more command-line arguments; fails the test where no Chromium can be found.

    Args:
        whole: the browser that people use, with its windows, permissions and all.
    """
    path = chromium(playwright, shell=not whole)
    if path is None:
        pytest.fail(
            "the page is tested in a Chromium and there is none here: run `apt-get install chromium` or "
            "`playwright install chromium`, or set CHROMIUM to one"
        )
    return playwright.chromium.launch(executable_path=path, args=[*CHROMIUM_ARGUMENTS, *arguments])


def with_camera(playwright: Playwright, video: Path, *arguments: str) -> Browser:
    """Start a browser whose only camera plays an MJPEG file over and over, 30 frames a second, and is allowed."""
    return launch(
        playwright,
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
        "--allow-loopback-in-peer-connection",
        *arguments,
    )
