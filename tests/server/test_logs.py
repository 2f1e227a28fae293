"""Logs: one line an event."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from server import logs
from server.logs import MAX_A_LINE, MAX_REMEMBERED, QUIET_S, Collapse


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def written(clock: Clock) -> Iterator[list[str]]:
    """What comes through to the operator from the logger ``test``."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Collapse(clock))
    log = logging.getLogger("test_logs")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    lines: list[str] = []
    stream.write = lambda text: lines.extend(text.splitlines()) or len(text)  # type: ignore[method-assign, func-returns-value]
    yield lines
    log.removeHandler(handler)


log = logging.getLogger("test_logs")


def camera_lost(name: str) -> None:
    log.warning("camera lost name=%s", name)


def test_the_same_message_of_another_exception_is_news(written: list[str]) -> None:
    def fail(with_: Exception) -> None:
        try:
            raise with_
        except Exception:
            log.exception("it failed")

    for _ in range(3):
        fail(ValueError("1"))
        fail(KeyError("2"))
    try:
        raise ValueError("from elsewhere")
    except ValueError:
        log.exception("it failed")
    assert len([line for line in written if line.startswith("it failed")]) == 3


def test_the_same_message_is_written_once_a_minute_with_a_count(written: list[str], clock: Clock) -> None:
    for _ in range(1000):
        camera_lost("press-1")
    assert written == ["camera lost name=press-1"]
    clock.now += QUIET_S
    for _ in range(5):
        camera_lost("press-1")
    assert written[1:] == ["camera lost name=press-1 (and 999 times more since)"]
    clock.now += QUIET_S
    camera_lost("press-1")
    clock.now += QUIET_S
    camera_lost("press-1")
    assert written[2:] == ["camera lost name=press-1 (and 4 times more since)", "camera lost name=press-1"]


def test_other_messages_come_through(written: list[str]) -> None:
    for name in ("a", "b", "a", "b"):
        camera_lost(name)
    log.error("camera lost name=%s", "a")
    assert written == ["camera lost name=a", "camera lost name=b", "camera lost name=a"]


def test_ever_new_messages_of_one_place_are_one_event(written: list[str], clock: Clock) -> None:
    for number in range(5000):
        camera_lost(f"x{number}")
    assert len(written) == MAX_A_LINE
    log.info("something else")
    assert written[-1] == "something else"
    clock.now += QUIET_S
    camera_lost("y")
    assert written[-1] == f"camera lost name=y (and {5000 - MAX_A_LINE} like it since)"


def test_memory_is_bounded(clock: Clock) -> None:
    collapse = Collapse(clock)
    for number in range(10_000):
        record = logging.LogRecord("x", logging.INFO, "file", number, "message %d", (number,), None)
        assert collapse.filter(record)
    assert len(collapse._messages) <= MAX_REMEMBERED and len(collapse._lines) <= MAX_REMEMBERED


class MeetsInTheMiddle(dict[Any, Any]):
    """Once, between the choice of the oldest key and its end, another message chooses it as well."""

    meets: Callable[[], object] | None = None

    def __iter__(self) -> Iterator[Any]:
        oldest = [*super().__iter__()]
        meets, self.meets = self.meets, None
        if meets is not None:
            meets()
        return iter(oldest)


def test_two_that_forget_the_same_message_at_once_raise_nothing(clock: Clock) -> None:
    collapse = Collapse(clock)
    collapse._messages = messages = MeetsInTheMiddle()

    def logged(number: int) -> bool:
        return collapse.filter(logging.LogRecord("x", logging.INFO, "file", number, "message %d", (number,), None))

    assert all(logged(number) for number in range(MAX_REMEMBERED))
    messages.meets = lambda: logged(MAX_REMEMBERED)
    assert logged(MAX_REMEMBERED + 1)


def test_one_thread_at_a_time_looks_at_what_was_written(clock: Clock) -> None:
    collapse, entered, goes_on = Collapse(clock), threading.Event(), threading.Event()

    def slow() -> float:
        entered.set()
        assert goes_on.wait(20)
        return 0.0

    collapse._clock = slow
    record = logging.LogRecord("x", logging.INFO, "file", 1, "message", (), None)
    thread = threading.Thread(target=collapse.filter, args=(record,))
    thread.start()
    assert entered.wait(20) and not collapse._one_at_a_time.acquire(blocking=False)
    goes_on.set()
    thread.join()


def test_the_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up()
    logging.getLogger("defectvision.streams").info("stream opened stream=a")
    logging.getLogger("defectvision.streams").debug("not told")
    logging.getLogger("uvicorn.error").info("not told")
    logging.getLogger("websockets").warning("not told")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("INFO defectvision.streams: stream opened stream=a")
    assert line[10] == "T" and line[19] == "Z"


def test_nothing_in_a_message_looks_like_a_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    hostile = "a\n2026-11-27T00:00:00Z INFO forged: x\r\x1b[2J\u202e\u2028\ud800 Bolzen Größe 8 \N{WRENCH}"
    try:
        logs.set_up()
        try:
            raise ValueError(hostile)
        except ValueError:
            logging.getLogger("defectvision.test").exception("camera %s", hostile)
    finally:
        logging.getLogger().handlers[:] = before
    first, *more = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR defectvision.test: camera a")
    assert all(line.startswith("  ") for line in more) and any("Traceback" in line for line in more)
    shown = [line for line in more if "forged" in line]
    assert len(shown) == 2 and all(line.isprintable() for line in shown)
    assert shown[0].endswith(r"x\r\x1b[2J\u202e\u2028\ud800 Bolzen Größe 8 " + "\N{WRENCH}")


def test_no_test_inherits_the_set_up_of_another() -> None:
    assert all(type(handler) is not logging.StreamHandler for handler in logging.getLogger().handlers)


def test_a_connection_that_could_not_be_closed_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    try:
        logs.set_up()
        logging.getLogger("sqlalchemy.pool.impl.QueuePool").error("Exception closing connection")
        logging.getLogger("sqlalchemy.engine").error("something else")
    finally:
        logging.getLogger().handlers[:] = before
    err = capsys.readouterr().err
    assert "closing" not in err and "something else" in err


def test_where_a_request_stood_that_a_stop_broke_off_is_no_news() -> None:
    """Whoever sends a large file that slowly is told by its connection; how many there were is logged."""

    def record(error: BaseException) -> logging.LogRecord:
        about = type(error), error, None
        return logging.LogRecord("uvicorn.error", logging.ERROR, "file", 1, "Exception in ASGI application", (), about)

    assert not logs.is_news(record(asyncio.CancelledError("Task cancelled, timeout graceful shutdown exceeded")))
    assert logs.is_news(record(ValueError()))
