"""A headless Chromium: the machine's own where there is one, else the one of playwright."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
)


def launch(playwright: Playwright, *arguments: str) -> Browser:
    """Start a browser of its own, with more command-line arguments; fails the test where no Chromium can be found."""
    return playwright.chromium.launch(executable_path=_find(playwright), args=[*QUIET, *arguments])


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


def _find(playwright: Playwright) -> str:
    named = os.environ.get("CHROMIUM")
    if named:
        if not Path(named).is_file():
            pytest.fail(f"CHROMIUM is {named}, which is no file: set it to a Chromium, or remove it")
        return named
    for name in NAMES:
        if found := shutil.which(name):
            return found
    own = playwright.chromium.executable_path
    if not Path(own).is_file():
        pytest.fail(
            "the page is tested in a Chromium and there is none here: run `apt-get install chromium` or "
            "`playwright install chromium`, or set CHROMIUM to one"
        )
    return own
