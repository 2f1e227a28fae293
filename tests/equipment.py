"""What the tests need beside Python packages: a Chromium; for some an RTSP server and ffmpeg, GStreamer,
proxies, an MQTT broker, a Firefox.

``python -m tests.equipment`` finds or installs them. Without a Chromium the tests cannot run; without the others the
tests that need them skip and say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Playwright, sync_playwright

CHROMIUM_SHELL = "chromium-headless-shell"
"""The same engine without the windows that nobody sees: most tests of the page take half the processor time in it."""
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
]
RTSP_PACKAGES = ("ffmpeg", "python3-gi", "gir1.2-gst-rtsp-server-1.0", "gstreamer1.0-plugins-good")
PROXIES = ("nginx", "caddy")
MOSQUITTO = "mosquitto"
FIREFOX_NAMES = ("firefox-esr", "firefox")
WEBRTC_PACKAGES = (
    "python3-gi",
    "gir1.2-gst-plugins-bad-1.0",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-ugly",
    "gstreamer1.0-nice",
)
IMAGE_PACKAGES = ("buildah", "debootstrap")
"""For the container's test alone (``make image-test``), so asked for by ``python -m tests.equipment image``."""
GENICAM_PACKAGES = ("libaravis-0.8-0", "aravis-tools")
RTSP_PYTHON = "/usr/bin/python3"
"""Debian's own Python, which is the one its GStreamer bindings are for."""


def chromium(playwright: Playwright, *, shell: bool = False) -> str | None:
    """Path of a Chromium: $CHROMIUM, one on the PATH, or the one Playwright installed; its shell, if that will do and
    there is one."""
    for name in (os.environ.get("CHROMIUM", ""), *([CHROMIUM_SHELL] if shell else []), *CHROMIUM_NAMES):
        if name and (path := shutil.which(name)):
            return path
    own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


def firefox() -> str | None:
    """Path of a Firefox: $FIREFOX, or one on the PATH."""
    names = (os.environ.get("FIREFOX", ""), *FIREFOX_NAMES)
    return next((path for name in names if name and (path := shutil.which(name))), None)


def proxy_program(name: str) -> str | None:
    """Path of one of :data:`PROXIES`."""
    return debian_program(name)


def debian_program(name: str) -> str | None:
    """Path of a server, which Debian keeps where only root looks."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))


def postgresql_programs() -> Path | None:
    """The folder of PostgreSQL's own programs, which Debian keeps off the PATH; the newest there is."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    beside = shutil.which("initdb")
    folders = [*([Path(beside).resolve().parent] if beside else []), *folders]
    return next((folder for folder in reversed(folders) if (folder / "postgres").is_file()), None)


def has_rtsp_equipment() -> bool:
    """Whether there are an RTSP server and ffmpeg to feed it."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        found = subprocess.run([RTSP_PYTHON, "-c", probe], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
    return found and shutil.which("ffmpeg") is not None


def has_webrtc_equipment() -> bool:
    """Whether there is GStreamer's WebRTC sender, with all it encodes and connects with."""
    elements = ("webrtcbin", "nicesrc", "dtlsenc", "srtpenc", "vp8enc", "x264enc", "opusenc", "rtpvp8pay")
    probe = (
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstWebRTC', '1.0'); "
        "from gi.repository import Gst, GstWebRTC; Gst.init(None); "
        f"raise SystemExit(not all(map(Gst.ElementFactory.find, {elements})))"
    )
    try:
        return subprocess.run([RTSP_PYTHON, "-c", probe], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def main() -> int:
    """Install what is missing; returns 1 when there is no Chromium to be had."""
    if "image" in sys.argv[1:]:
        return 0 if all(map(debian_program, IMAGE_PACKAGES)) else _apt(*IMAGE_PACKAGES)
    if not has_rtsp_equipment() and _apt(*RTSP_PACKAGES) != 0:
        print(f"The RTSP tests will be skipped: they need {' '.join(RTSP_PACKAGES)}.", file=sys.stderr)
    for program in PROXIES:
        if proxy_program(program) is None and _apt(program) != 0:
            print(f"The tests behind {program} will be skipped: it is not installed.", file=sys.stderr)
    if postgresql_programs() is None and _apt("postgresql") != 0:
        print("The tests with PostgreSQL will be skipped: it is not installed.", file=sys.stderr)
    if debian_program(MOSQUITTO) is None and _apt(MOSQUITTO) != 0:
        print("The tests with an MQTT broker will be skipped: mosquitto is not installed.", file=sys.stderr)
    if firefox() is None and _apt("firefox-esr") != 0:
        print("The tests in Firefox will be skipped: it is not installed.", file=sys.stderr)
    if not has_webrtc_equipment() and _apt(*WEBRTC_PACKAGES) != 0:
        print(f"The tests with GStreamer will be skipped: they need {' '.join(WEBRTC_PACKAGES)}.", file=sys.stderr)
    if shutil.which("arv-fake-gv-camera-0.8") is None and _apt(*GENICAM_PACKAGES) != 0:
        print(f"The tests of GenICam cameras will be skipped: they need {' '.join(GENICAM_PACKAGES)}.", file=sys.stderr)
    if shutil.which(CHROMIUM_SHELL) is None:
        _apt(CHROMIUM_SHELL)
    if not _has_chromium():
        print("No Chromium found: installing one.")
        # Debian's own where we may install packages: Playwright's download is refused in closed networks.
        _apt("chromium")
        if not _has_chromium():
            subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if not _has_chromium():
        print("The page's tests need a Chromium: install one, or set CHROMIUM to its path.", file=sys.stderr)
        return 1
    return 0


def _has_chromium() -> bool:
    with sync_playwright() as playwright:
        return chromium(playwright) is not None


def _apt(*packages: str) -> int:
    if not shutil.which("apt-get") or (hasattr(os, "geteuid") and os.geteuid() != 0):
        return 1
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment)
    return subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=False, env=environment
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
