"""From light to verdict: how long after a part changes in front of the camera the page shows the other verdict.

    python -m benchmarks.page_latency

A real headless Chromium shows the page of the real server; its camera is a canvas at 30 frames/s. The canvas flips
between a good part and the same with a patch on it, and the clock runs from the draw to the change of the verdict
on the page: capture, encoding, transport, decoding, inspection and drawing are all in it. A real camera adds its
exposure, its own processing and on average half a frame interval. WebRTC and WebSocket take turns. Browser and
server share the machine.
"""

from __future__ import annotations

import base64
import statistics
import tempfile
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page, Playwright, sync_playwright

from detector.images import encode_jpeg
from server.simulated_line import SimulatedLine
from tests.page.chromium import launch
from tests.running import command, free_port

ROUNDS, FLIPS = 3, 20
SERVER = "tests.page.loopback_server"
CAMERA = """
(pictures) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
  const context = canvas.getContext("2d");
  const images = pictures.map((source) => Object.assign(new Image(), { src: source }));
  window.shown = 0;
  window.drawnAt = 0;
  let drawn = -1, tick = 0;
  const draw = () => {
    context.drawImage(images[window.shown], 0, 0);
    context.fillStyle = (tick += 1) % 2 ? "#000" : "#010101";
    context.fillRect(0, 0, 2, 2); // a canvas that does not change gives no frames
    if (drawn !== window.shown) [drawn, window.drawnAt] = [window.shown, performance.now()];
  };
  setInterval(draw, 1000 / 30);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
}
"""
FLIP = """
async ([flips, longest]) => {
  const verdict = document.querySelector("[data-testid=verdict]");
  const until = (wanted) => new Promise((resolve, reject) => {
    const look = () => verdict.dataset.verdict === wanted && (observer.disconnect(), resolve(performance.now()));
    const observer = new MutationObserver(look);
    observer.observe(verdict, { attributes: true });
    setTimeout(() => reject(new Error(`no ${wanted} within ${longest} ms`)), longest);
    look();
  });
  const took = [];
  for (let flip = 1; flip <= flips; flip += 1) {
    await new Promise((resolve) => setTimeout(resolve, 400 + 33 * Math.random()));
    const before = window.drawnAt;
    window.shown = flip % 2;
    const at = await until(flip % 2 ? "ANOMALY" : "NORMAL");
    if (window.drawnAt > before) took.push(at - window.drawnAt);
  }
  return took;
}
"""


def pictures() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A good part at rest, and the same with a chequered patch."""
    good = SimulatedLine(defect_rate=0).frame_at(0.6).image
    bad = good.copy()
    bad[180:300, 260:380] = np.kron(np.indices((6, 6)).sum(0) % 2, np.ones((20, 20)))[..., None] * 255
    return good, bad


def measure(playwright: Playwright, url: str, sources: list[str], transport: str) -> list[float]:
    browser = launch(playwright, "--use-fake-ui-for-media-stream", "--allow-loopback-in-peer-connection", whole=True)
    try:
        page: Page = browser.new_page()
        if transport == "WebSocket":
            page.add_init_script("delete window.RTCPeerConnection")
        page.add_init_script(f"({CAMERA})({sources!r})")
        page.goto(url)
        page.get_by_test_id("start-camera").click()
        page.wait_for_selector("[data-testid=verdict][data-verdict=NORMAL]")
        page.wait_for_timeout(3000)  # video coding settles
        assert page.get_by_test_id("transport").inner_text() == transport
        took: list[float] = page.evaluate(FLIP, [FLIPS, 10_000])
        return took
    finally:
        browser.close()


def main() -> None:
    frames = pictures()
    jpegs = [encode_jpeg(frame, quality=95)[0] for frame in frames]
    sources = [f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" for jpeg in jpegs]
    took: dict[str, list[float]] = {"WebRTC": [], "WebSocket": []}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        port, settings = free_port(), {"DATA_DIR": str(Path(folder) / "data")}
        url = f"http://127.0.0.1:{port}"
        with command(port, settings, Path(folder)):
            scores = [httpx.post(f"{url}/predict", files={"file": jpeg}).json()["raw_score"] for jpeg in jpegs]
        settings |= {
            "MODEL_PATH": str(Path(folder) / "data" / "simulated_line"),
            "THRESHOLD": str(sum(scores) / 2),
        }
        with command(port, settings, Path(folder), module=SERVER):
            for _ in range(ROUNDS):
                for transport, times in took.items():
                    times += measure(playwright, url, sources, transport)
    print("| transport | changes | median ms | p95 ms |\n|---|---|---|---|")
    for transport, times in took.items():
        p95 = sorted(times)[int(len(times) * 0.95)]
        print(f"| {transport} | {len(times)} | {statistics.median(times):.0f} | {p95:.0f} |")


if __name__ == "__main__":
    main()
