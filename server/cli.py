"""The ``defectvision`` command."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.backup import History
    from server.ground import DatabaseAddress

STOPPED = 130  # what a shell reports for a command that Ctrl-C ended


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (2: the command cannot be run as given)."""
    _write_whatever_the_console_can_show()
    with _stopped_at_once():
        parser = _parser()
    parsed = parser.parse_args(arguments)
    from server import logs

    logs.set_up()
    return int(parsed.run(parsed))


def _parser() -> argparse.ArgumentParser:
    from detector import VERSION
    from server import (  # these take a second or two
        access_commands,
        backup,
        camera_process,
        doctor,
        original,
        plant_commands,
    )
    from training import commands as training_commands

    parser = argparse.ArgumentParser(
        prog="defectvision", description="Real-time visual inspection that learns from good parts only."
    )
    parser.add_argument("--version", action="version", version=f"defectvision {VERSION}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(subparsers)
    training_commands.add_parsers(subparsers)
    camera_process.add_parser(subparsers)
    access_commands.add_parsers(subparsers)
    backup.add_parsers(subparsers, _history_back)
    plant_commands.add_parsers(subparsers)
    original.add_parser(subparsers)
    doctor.add_parser(subparsers)
    return parser


def _history_back(data: Path, address: DatabaseAddress | None, to: str | None) -> History:
    from server import records

    return records.WayBack(data, address, to)


def _write_whatever_the_console_can_show() -> None:
    """A name that is not valid Unicode, or a ``²`` on a console that has none, is written as an escape: nothing that is
    said may end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _stopped_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process without a traceback while modules are imported. There is nothing to clean up yet, and
    an import that is interrupted may turn ``KeyboardInterrupt`` into any other error."""
    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody else sees to it, or it is ignored, as with nohup
        return

    def leave(signal_number: int, frame: FrameType | None) -> None:
        os.write(2, b"\nStopped.\n")
        os._exit(STOPPED)

    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _add_serve(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="start the server",
        description="Start the server. Settings come from the environment or a .env file (see the README); "
        "what is given here wins.",
    )
    parser.add_argument("--host", help="address to listen on (HOST; default 127.0.0.1, 0.0.0.0 for the whole network)")
    parser.add_argument("--port", help="port to listen on (PORT; default 8000)")
    parser.add_argument("--model", metavar="FOLDER", help="model to inspect with (MODEL_PATH)")
    parser.add_argument("--pool", help="who looks at frames: threads, or ray (POOL; default threads)")
    parser.add_argument("--https", action="store_true", help="speak https, with a certificate made here (HTTPS)")
    parser.add_argument("--cert", metavar="FILE", help="your own certificate, PEM (CERT_FILE); implies --https")
    parser.add_argument("--key", metavar="FILE", help="its private key, PEM (KEY_FILE)")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="where it cannot serve as it is set, stay, show at its address what is wrong, and start once that is "
        "mended (for services that are started again whenever they end)",
    )
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    with _stopped_at_once():
        from server import serve  # the web parts take their time, and the other commands need none of them

    return serve.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
