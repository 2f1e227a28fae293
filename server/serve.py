"""``defectvision serve``: the server process."""

from __future__ import annotations

import argparse
import logging
import socket
import sys

import uvicorn
from starlette.types import ASGIApp

from server.access import AccessCodeError, load_code
from server.network_address import is_loopback
from server.settings import Settings, SettingsError, read_settings

log = logging.getLogger("defectvision.serve")

SHUTDOWN_S = 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``serve`` to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="start the server",
        description="Start the server. Settings come from the environment or a .env file: see the README.",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code."""
    from server.app import (
        create_app,  # the detector's libraries take a second to import: after the arguments are checked
    )

    try:
        settings = read_settings()
        code = None if is_loopback(settings.host) else load_code(settings.data_dir, settings.access_code)
        listening = listen(settings.host, settings.port)
    except (SettingsError, AccessCodeError) as error:
        print(f"defectvision: {error}", file=sys.stderr)
        return 2
    app = create_app(settings, code=code)
    port = listening.getsockname()[1]
    _announce(settings.host, port, code)
    uvicorn.Server(configuration(app, settings)).run(sockets=[listening])
    return 0


def configuration(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """uvicorn as we want it; the tests serve with the same."""
    return uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=settings.max_upload_bytes,
        ws_per_message_deflate=False,  # frames are JPEG already: deflating them only costs
        timeout_graceful_shutdown=SHUTDOWN_S,
        access_log=False,
        log_config=None,
        proxy_headers=False,  # nobody may claim to be another address
        server_header=False,
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        SettingsError: the address is not this machine's, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}): stop what uses that port, or set another HOST or PORT"
        ) from error


def _announce(host: str, port: int, code: str | None) -> None:
    shown = "localhost" if is_loopback(host) else host
    print(f"DefectVision is at http://{shown}:{port}  (Ctrl-C stops it)", flush=True)
    if code is not None:
        print(f"Access code: {code}", flush=True)
