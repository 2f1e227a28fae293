"""A look at a camera before it is added: a few at once, each within seconds, whatever the camera does."""

from __future__ import annotations

import asyncio
import contextlib

from server.cameras import MEASURED_S, Crop, Device, Found, Trial, look_around
from server.kept_cameras.cameras_file import check_addable
from server.settings import PulledCamera

WITHIN_S = 8.5
"""For the first picture; measuring their rate takes a second more."""
MOST_AT_ONCE = 2
MOST_LEFT_BEHIND = 8
"""Looks that were given up and have not come back from the camera's driver, or from the network."""


class TrialsBusy(Exception):
    """No other camera can be tried now; one sentence."""


class Trials:
    """Lives on the event loop.

    Args:
        max_pixels: of a frame.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._waited_for = 0
        self._left_behind: list[Trial] = []
        self._looks_around = False

    async def look_around(self) -> list[Device]:
        """The cameras of GigE Vision and USB3 Vision that answer, within seconds. Asks the whole network.

        Raises:
            CaptureError: nothing can be asked here; one sentence.
            TrialsBusy: somebody is looking already.
        """
        if self._looks_around:
            raise TrialsBusy("cameras are being looked for already: try again in a moment")
        self._looks_around = True
        looking = asyncio.ensure_future(asyncio.to_thread(look_around))
        looking.add_done_callback(self._looked_around)  # also when nobody waits for it any more
        return await asyncio.shield(looking)

    def _looked_around(self, looking: asyncio.Future[list[Device]]) -> None:
        self._looks_around = False
        if not looking.cancelled():
            looking.exception()  # is told to whoever asked

    async def look(self, camera: PulledCamera) -> Found:
        """What comes of a camera, within :data:`WITHIN_S` seconds.

        Raises:
            ValueError: there can be no such camera on the page.
            TrialsBusy: two are being looked at, or too many never came back.
        """
        check_addable(camera)
        if self._waited_for >= MOST_AT_ONCE:
            raise TrialsBusy(f"{MOST_AT_ONCE} cameras are being tested already: try again in a moment")
        self._left_behind = [trial for trial in self._left_behind if not trial.ended]
        if len(self._left_behind) >= MOST_LEFT_BEHIND:
            raise TrialsBusy(
                f"{MOST_LEFT_BEHIND} tests hang in the drivers of their cameras: unplug the camera and plug it in "
                "again, wait a minute, or restart the server"
            )
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the server ended meanwhile
                loop.call_soon_threadsafe(news.set)

        trial = Trial(
            camera.source,
            width=camera.width,
            height=camera.height,
            fps=camera.fps,
            crop=Crop.parse(camera.crop) if camera.crop else None,
            max_pixels=self._max_pixels,
            on_news=tell,
        )
        self._waited_for += 1
        try:
            trial.start()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), WITHIN_S)
                news.clear()
                if not trial.ended:
                    await asyncio.wait_for(news.wait(), MEASURED_S + 0.2)
        finally:
            self._waited_for -= 1
            trial.give_up()
            if not trial.ended:
                self._left_behind.append(trial)
        return trial.found()
