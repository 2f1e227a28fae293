"""What is given wrong bytes: each target takes them and lets nothing out but what is a fault.

Imports stand inside of the functions, so that a target's process has only what it tests.
"""

from __future__ import annotations

import contextlib


def network_picture(data: bytes) -> None:
    """A frame or an upload."""
    from detector import ImageError
    from detector.images import decode

    with contextlib.suppress(ImageError):
        picture = decode(data)
        assert picture.ndim == 3 and picture.dtype == "uint8" and picture.size <= 3 * 64_000_000


def file_picture(data: bytes) -> None:
    """A file of a folder, which may be BMP or TIFF too."""
    from detector import ImageError
    from detector.images import FILE_FORMATS, decode

    with contextlib.suppress(ImageError):
        picture = decode(data, formats=FILE_FORMATS)
        assert picture.ndim == 3 and picture.dtype == "uint8" and picture.size <= 3 * 64_000_000


def offered_session(data: bytes) -> None:
    """The SDP of a WebRTC offer, read by us and by aiortc, as far as the answer."""
    import asyncio

    asyncio.run(_answer(data.decode("utf-8", "replace")))


async def _answer(sdp: str) -> None:
    import asyncio
    from typing import Any

    import aioice.ice

    from server.ingest.webrtc import OfferRefused, WebRTCIngest

    class Stream:
        name = "fuzzed"
        taken_over = asyncio.Event()

        async def results(self) -> Any:
            await asyncio.Event().wait()
            yield ""

        def fail(self, words: str) -> None:
            pass

        close = offer = lambda *_: None

    class Streams:
        def open(self, *_: object) -> Stream:
            return Stream()

    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]  # type: ignore[assignment]
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    ingest = WebRTCIngest(Streams())  # type: ignore[arg-type]
    with contextlib.suppress(OfferRefused):
        answered = await ingest.answer(sdp, None, None, "127.0.0.1")
        assert answered.sdp.startswith("v=0\r\n") and answered.sdp.count("m=video ") == 1
        await asyncio.sleep(0)
        answered.end()
        await answered.task
    await ingest.close()
    assert not faults, faults


def http_and_websocket(data: bytes) -> None:
    """What a peer may send on one connection, cut into pieces, read as HTTP and, once it asks for that, WebSocket."""
    from tests.fuzz.peer import feed

    feed(data)
