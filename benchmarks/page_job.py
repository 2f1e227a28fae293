"""The whole job, done through the page by an operator in a real Chromium."""

from __future__ import annotations

import numpy as np
from playwright.sync_api import expect, sync_playwright

from benchmarks.job_pictures import JobPictures, Scores
from benchmarks.job_rows import escape_of, forgiven_row, raw_scores, remembered_row, undone_row
from tests.page import chromium
from tests.page.line_operator import PATIENCE_S, Operator, operator

CALIBRATED_ON, SPACING_S = 40, 0.5
VIDEO = 3
"""One of so many test pictures is shown as video as well: it has to settle at each."""


def whole(port: int, pictures: JobPictures) -> list[list[str]]:
    """Rows of the table: step, what came of it, image AUROC."""
    expect.set_options(timeout=1000 * PATIENCE_S)
    url = f"http://127.0.0.1:{port}"
    train = [path.read_bytes() for path in pictures.train]
    with (
        sync_playwright() as playwright,
        chromium.launch(playwright, "--allow-loopback-in-peer-connection", whole=True) as browser,
    ):
        with operator(browser, url, "press", train[0]) as press:
            taught = press.teach("whole job", train)
            print(f"shown: {taught.coverage}\n", flush=True)
            words = f"{taught.parts} of {len(train)} pictures taken, Done to live {taught.seconds:.1f} s"
            rows, first = _corrected(press, taught.recipe, pictures)
        with operator(browser, url, "video", train[0], webrtc=True) as video:
            video.use(taught.recipe)
            shown = _shown(video, pictures, first)
    return [
        ["taught through the page", words, f"{pictures.auroc(first):.4f}"],
        ["taught offline on the same files", "", f"{pictures.offline():.4f}"],
        *rows,
        shown,
    ]


def _corrected(press: Operator, recipe: str, pictures: JobPictures) -> tuple[list[list[str]], Scores]:
    """Rows of what is done after the teaching, and the scores before it."""
    tested = [path.read_bytes() for path in pictures.tested]
    goods = len(pictures.goods)
    first = raw_scores(press.scores(tested))
    rows = []
    spare = [path.read_bytes() for path in pictures.spare[:CALIBRATED_ON]]
    if len(spare) == CALIBRATED_ON:
        threshold = press.calibrate(spare, spacing=SPACING_S)
        rejected, escapes = int((first[:goods] > threshold).sum()), int((first[goods:] <= threshold).sum())
        words = f"{rejected} of {goods} good parts rejected, {escapes} of {len(first) - goods} defects escape"
        words = f"threshold {threshold:.2f}: {words}"
        rows.append([f"calibrated on {len(spare)} other good parts", words, ""])

    highest = int(first[:goods].argmax())
    threshold = float(0.999 * first[highest])
    press.put_threshold(recipe, threshold)
    done = press.forgive(tested[highest])
    after = raw_scores(press.scores(tested))
    rows.append(forgiven_row(pictures, first, after, highest, threshold, f"{done.cost} {{}}; {done.ms:.0f} ms"))

    escape, threshold = escape_of(first, goods)
    press.put_threshold(recipe, threshold)
    done = press.remember(tested[escape])
    found = raw_scores(press.scores(tested))
    rows.append(remembered_row(pictures, after, found, escape, threshold, f"{{}}; {done.ms:.0f} ms"))

    press.undo_corrections(recipe)
    press.go("live")
    rows.append(undone_row(pictures, first, raw_scores(press.scores(tested))))
    return rows, first


def _shown(video: Operator, pictures: JobPictures, first: Scores) -> list[str]:
    chosen = np.arange(len(first)) % VIDEO == 0
    scores = first.copy()
    scores[chosen] = raw_scores(
        video.scores([path.read_bytes() for path, is_it in zip(pictures.tested, chosen, strict=True) if is_it])
    )
    expect(video.page.get_by_test_id("transport")).to_have_text("WebRTC")
    good = chosen & ~pictures.labels
    bad = chosen & pictures.labels
    moved = [f"{100 * (scores[of] / first[of] - 1).mean():+.1f} %" for of in (good, bad)]
    words = (
        f"{int(chosen.sum())} of them as video; scores of good parts {moved[0]}, of defects {moved[1]}; "
        f"over WebSocket the AUROC of these is {pictures.auroc(first, chosen):.4f}"
    )
    return ["shown over WebRTC", words, f"{pictures.auroc(scores, chosen):.4f}"]
