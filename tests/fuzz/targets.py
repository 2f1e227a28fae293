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

        async def waiting(self) -> Any:
            await asyncio.Event().wait()
            yield

        def results(self) -> Any:
            return self

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


def calibration_file(data: bytes) -> None:
    """``calibration.json``: what it holds, or a warning that names it, and the file set aside."""
    import json
    import tempfile
    from pathlib import Path

    from detector.thresholds import fault
    from server.inspection.calibration_file import VERSION
    from server.inspection.calibrations import FILE, Calibrations

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(data)
        calibrations = Calibrations(Path(folder))
        if calibrations.warning is not None:
            is_newer = "calibration.json is of a newer version" in calibrations.warning
            assert is_newer != ("calibration.json was damaged" in calibrations.warning)
            assert "\n" not in calibrations.warning and (not is_newer or json.loads(data)["version"] > VERSION)
            assert not (Path(folder) / FILE).exists() and not calibrations._contents.calibrations
        for one in calibrations._contents.calibrations:
            assert fault(one.threshold, one.mean, one.std, one.n_images, one.k, one.one_in) is None


def cameras_file(data: bytes) -> None:
    """``cameras.json``: cameras that may be added, or a warning without secrets, and the file set aside."""
    import logging
    import tempfile
    from pathlib import Path

    from server.kept_cameras import KeptCameras, check_addable
    from server.kept_cameras.kept_cameras import FILE

    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(data)
        cameras = KeptCameras(Path(folder))
        if cameras.warning is not None:
            assert cameras.warning.startswith("cameras.json ") and "\n" not in cameras.warning
            assert "s3cret" not in cameras.warning and len(cameras.warning) < 300
            assert not (Path(folder) / FILE).exists() and not cameras.all
        for one in cameras.all:
            check_addable(one)


def manifest(data: bytes) -> None:
    """A model folder's ``manifest.json``, with no tensors beside it."""
    import tempfile
    from pathlib import Path

    from detector import ModelError, model_folder

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / model_folder.MANIFEST).write_bytes(data)
        try:
            model_folder.read(Path(folder))
        except ModelError as error:
            assert folder in str(error) and "\n" not in str(error)


def certificate_file(data: bytes) -> None:
    """``authority.pem``: a key and a certificate that belong together, or a clause."""
    from server.https import authority, pair_file

    with contextlib.suppress(ValueError):
        pair = pair_file.load(data)
        if authority.is_issued_by(pair.certificate, pair.certificate):
            assert pair_file.load(pair_file.dump(pair)).certificate == pair.certificate


def access_code_file(data: bytes) -> None:
    """``access_code``: a code that can be typed and sent, or none."""
    import logging
    import tempfile
    from pathlib import Path

    from server.access import load_code

    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "access_code").write_bytes(data)
        code = load_code(Path(folder), None)
        assert code is None or (8 <= len(code) <= 200 and code.isascii() and code.isprintable())
        assert load_code(Path(folder), None) == code


def png_with_right_sums(data: bytes) -> None:
    """A PNG whose chunks are told to be right, whatever is in them."""
    import zlib

    whole, position = bytearray(data), 8
    while position + 12 <= len(whole):
        end = position + 12 + int.from_bytes(whole[position : position + 4], "big")
        if end > len(whole):
            break
        whole[end - 4 : end] = zlib.crc32(whole[position + 4 : end - 4]).to_bytes(4, "big")
        position = end
    network_picture(bytes(whole))
