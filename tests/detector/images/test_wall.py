"""The process that decodes may die, hang, swell or lie: the one that asked goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector import ImageError, images
from detector.images import wall

ROOT = Path(__file__).parents[3]
PICTURE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
PNG = images.encode_png(PICTURE)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    wall._close_all()
    yield
    wall._close_all()


def replaced(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str) -> None:
    path = folder / "program.py"
    path.write_text(f"import json, os, sys, time\nline = sys.stdin.buffer.readline()\n{program}\nsys.stdout.flush()\n")
    monkeypatch.setattr(wall, "_PROGRAM", path)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("os.abort()", "ended its decoder (SIGABRT)"),
        ("os._exit(3)", "ended its decoder (status 3)"),
        ("os.kill(os.getpid(), 9)", "ended from outside (SIGKILL), as systems do where memory is short: send it again"),
        ("time.sleep(600)", "took more than 1 s"),
        (
            'print(\'{"height": 48, "width": 64, "type": "uint8", "channels": 3}\'); print(\'too few\')',
            "ended its decoder",
        ),
        ('print(\'{"height": 48000, "width": 64000, "type": "uint8", "channels": 3}\')', "ended its decoder"),
        ('print(\'{"height": 48, "width": 64, "type": "object", "channels": 3}\')', "ended its decoder"),
        ('print(\'{"height": "48"}\')', "ended its decoder"),
        ("print('[]')", "ended its decoder"),
        ("print('[' * 100000)", "ended its decoder"),
    ],
)
def test_a_decoder_that_fails_in_any_way_is_a_picture_that_failed(
    program: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patched:
        replaced(patched, tmp_path, program)
        patched.setattr(wall, "MAX_SECONDS", 1.0 if "1 s" in words else 60.0)
        with pytest.raises(ImageError) as raised:
            images.decode(PNG)
        assert words in str(raised.value)
        assert not wall._idle, "a decoder that failed is not asked again"
    assert np.array_equal(images.decode(PNG), PICTURE)


def test_a_thread_that_waits_for_a_decoder_tells_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = threading.Semaphore(0)
    go_on = tmp_path / "go on"
    replaced(monkeypatch, tmp_path, f"while not os.path.exists({str(go_on)!r}): time.sleep(0.01)")
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as then:
        then.callback(go_on.touch)

        def watched() -> None:
            with images.telling(told.release):
                images.decode(PNG)

        waiting = pool.submit(watched)
        assert all(told.acquire(timeout=60) for _ in range(3))
        go_on.touch()
        with pytest.raises(ImageError):
            waiting.result(60)
    with ThreadPoolExecutor(1) as pool:  # and no other thread, nor this one later
        assert getattr(wall._thread, "progress", None) is None
        assert pool.submit(getattr, wall._thread, "progress", None).result() is None


def test_a_decoder_is_kept_and_one_that_died_meanwhile_is_replaced() -> None:
    images.decode(PNG)
    (first,) = wall._idle
    images.decode(PNG)
    assert wall._idle == [first]
    first._process.kill()
    first._process.wait()
    assert np.array_equal(images.decode(PNG), PICTURE)
    assert wall._idle != [first]


def test_threads_have_decoders_of_their_own() -> None:
    together = threading.Barrier(3)

    def decode(_: int) -> bool:
        together.wait(60)
        return np.array_equal(images.decode(PNG), PICTURE)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(decode, range(3)))
    assert len(wall._idle) <= wall.MAX_IDLE


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux alone")
def test_a_decoder_gets_no_memory_for_more_than_the_header_says() -> None:
    """What would be read of a header by another parser than ours."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
sys.argv = ['far side']
import numpy as np
from detector.images import far_side
far_side._reader = lambda name, alpha: lambda data, take: (take(64, 48), np.ones((20_000, 20_000, 3), np.uint8))[1]
far_side._decode(b'', 'PNG', 64_000_000, False)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MemoryError" in done.stderr


def test_a_large_picture_after_a_small_one_is_decoded(tmp_path: Path) -> None:
    """The limit of the small one stayed while the large one was read."""
    large = np.zeros((6000, 9000, 3), np.uint8)
    assert cv2.imwrite(str(tmp_path / "large.bmp"), large) and (tmp_path / "large.bmp").stat().st_size > 150_000_000
    assert images.decode(PNG).shape == PICTURE.shape
    assert images.read(tmp_path / "large.bmp").shape == large.shape
    assert len(wall._idle) == 1, "by the same process"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_starts_decoders_of_its_own() -> None:
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from detector.images import decode, wall
png = bytes.fromhex({PNG.hex()!r})
decode(png)
pid = os.fork()
ours = len(wall._idle)
decode(png)
wall._close_all()
if pid == 0:
    os._exit(ours)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) * 10 + ours)
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=100).returncode == 1


def test_nothing_is_left_behind() -> None:
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from detector.images import decode, wall
decode(bytes.fromhex({PNG.hex()!r}))
print(wall._idle[0]._process.pid, flush=True)
os._exit(0)  # as the server ends
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    # The pipe we read was the child's too, so that it has ended when this returns or soon after.
    for _ in range(600):
        if not _runs(int(done.stdout)):
            return
        threading.Event().wait(0.1)
    raise AssertionError("the decoder outlived the process that asked it")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.is_file() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="this system has no alarm")
def test_a_decoder_that_hangs_ends_itself_where_its_server_was_killed() -> None:
    hanging = (
        "from detector.images import far_side\n"
        "def hang(*_):\n while True: pass\n"
        "far_side.LONGEST_S, far_side._decode = 1, hang\n"
        "far_side.main()\n"
    )
    request = b'{"name": "PNG", "bytes": 3, "max_pixels": 1, "values": false}\nabc'
    ended = subprocess.run([sys.executable, "-c", hanging], input=request, cwd=ROOT, timeout=60, check=False)
    assert ended.returncode == -signal.SIGALRM
