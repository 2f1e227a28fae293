"""``defectvision serve``: the server process."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any, NoReturn, cast

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE

from detector.folder_lock import FolderLock
from server.access import AccessCodeError, load_code
from server.ground import (
    DataDirectoryError,
    Refusals,
    data_directory,
    is_any_address,
    names,
    page_url,
    qr_terminal,
    raise_limit,
    takes_both_families,
)
from server.https import CertificateError, Certificates, check_own, ensure, keep_fresh
from server.settings import Settings, SettingsError, read_settings
from server.web import BoundedHTTP, BoundedWebSocket, Connections, Door, Held, Turns, phone_url

log = logging.getLogger("defectvision.serve")

SHUTDOWN_S = 1

MAX_UNSENT = 16 * 1024
"""Bytes of a connection that the system queues unsent; what is above that waits where newer messages replace it."""

LOCALHOST = ("localhost", "127.0.0.1", "::1")
"""Addresses that a browser finds by the name, unlike others of 127.0.0.0/8."""

MAX_UNCOUNTED = 256
"""Files and sockets kept free for what is no connection of this port: cameras, WebRTC senders, the data directory."""

Renew = Callable[[], Certificates]


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM, which ends the process with 0; returns 2 when it cannot serve as it is set."""
    given = {
        "HOST": arguments.host,
        "PORT": arguments.port,
        "MODEL_PATH": arguments.model,
        "POOL": arguments.pool,
        "HTTPS": "true" if arguments.https else None,
        "CERT_FILE": arguments.cert,
        "KEY_FILE": arguments.key,
    }
    try:
        settings = read_settings(arguments={name: value for name, value in given.items() if value is not None})
        with data_directory(settings.data_dir, f"at {_own_address(settings, settings.port)}") as lock:
            return _run(settings, lock)
    except (SettingsError, DataDirectoryError, AccessCodeError, CertificateError) as error:
        print(f"defectvision: {error}", file=sys.stderr)
        return 2


def _run(settings: Settings, lock: FolderLock | None) -> NoReturn:
    from server.app import create_app  # the detector's libraries take a second: after the settings are checked

    code = load_code(settings.data_dir, settings.access_code) if settings.closed else None
    renew = _certificates(settings)
    certificates = renew() if renew else None
    app = create_app(settings, code=code, certificates=certificates)
    listening = listen(settings.host, settings.port)
    port = listening.getsockname()[1]
    if lock is not None:
        lock.say(f"at {_own_address(settings, port)}")
    config = configuration(app, settings, certificates)
    _announce(settings, port, code, certificates)
    for stop in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal that stopped it once more when it is done: a normal end here, not a crash.
        signal.signal(stop, lambda number, frame: None)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(config, listening, certificates, renew))
    # All is closed and saved. What may still run is a thread in native code, teaching or stuck in a camera's driver:
    # the interpreter's own end would wait for it, or crash on it.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


async def _serve(
    config: uvicorn.Config, listening: socket.socket, certificates: Certificates | None, renew: Renew | None
) -> None:
    config.load()
    renewing = None
    if certificates is not None and renew is not None and config.ssl is not None:
        for warning in certificates.warnings:
            log.warning("%s", warning)
        renewing = asyncio.create_task(keep_fresh(config.ssl, certificates, renew))
    # What was imported lives as long as the process. Looking through it for garbage again and again, while strangers
    # come and go, would stop everything for a tenth of a second each time.
    gc.collect()
    gc.freeze()
    await Server(config).serve(sockets=[listening])
    if renewing is not None:
        renewing.cancel()
    # The runner waits for all threads of the loop's own executor: what hangs in the old one is left behind.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))


class Configuration(uvicorn.Config):
    """uvicorn's, with the connections that its protocols count theirs among."""

    def __init__(self, app: ASGIApp, *, connections: Connections, **more: Any) -> None:
        super().__init__(app, **more)
        self.connections = connections


class Server(uvicorn.Server):
    """uvicorn, ending at the first signal, and telling those who wait for results before it waits for them."""

    config: Configuration

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # As uvicorn does it, but that it would let strangers shake hands over TLS without counting them.
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        make: Callable[..., asyncio.Protocol] = partial(
            cast(Callable[..., asyncio.Protocol], self.config.http_protocol_class),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        connections, context = self.config.connections, self.config.ssl
        doors = [Door(one, connections, lambda place: make(connection=place), context) for one in sockets or []]
        self.servers = cast(list[asyncio.Server], doors)
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if isinstance(self.config.app, Starlette):
            self.config.app.state.hub.close()
            self.config.app.state.pool.stop_waiting()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # An impatient second Ctrl-C would cut the clean end short, which takes no second anyway.
        self.should_exit = True


def _certificates(settings: Settings) -> Renew | None:
    if settings.key_file is not None and settings.cert_file is None:
        raise CertificateError("KEY_FILE is given but CERT_FILE is not: give the certificate of that private key too")
    if not settings.secure:
        return None
    if settings.cert_file is not None:
        if settings.key_file is None:
            raise CertificateError("CERT_FILE is given but KEY_FILE is not: give the certificate's private key too")
        return partial(check_own, settings.cert_file, settings.key_file)
    folder = settings.data_dir / "certificates"
    own = () if is_any_address(settings.host) else (settings.host,)
    return lambda: ensure(folder, [*settings.server_names, *own, *names()])


def configuration(app: ASGIApp, settings: Settings, certificates: Certificates | None = None) -> Configuration:
    """uvicorn as we want it; the tests serve with the same."""
    refusals, turns, largest = Refusals(), Turns(), settings.max_upload_bytes
    most = max(MAX_UNCOUNTED // 2, min(settings.max_connections, raise_limit() - MAX_UNCOUNTED))
    connections = Connections(most, settings.max_connections_per_address, refusals)
    held = Held(8 * largest, 4 * largest, "unfinished messages", refusals)
    return Configuration(
        app,
        connections=connections,
        # Windows' usual loop cannot say when a socket has something to read, which the door asks.
        loop="asyncio:SelectorEventLoop" if sys.platform == "win32" else "auto",
        http=partial(BoundedHTTP, turns=turns, refusals=refusals),
        ws=partial(BoundedWebSocket, messages_held=held, turns=turns, refusals=refusals),
        ws_max_size=settings.max_upload_bytes,
        ws_per_message_deflate=False,  # frames are JPEG already: deflating them only costs
        timeout_graceful_shutdown=SHUTDOWN_S,
        access_log=False,
        log_config=None,
        proxy_headers=False,  # nobody may claim to be another address
        server_header=False,
        ssl_certfile=certificates.cert_path if certificates else None,
        ssl_keyfile=certificates.key_path if certificates else None,
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; on ``::`` it takes IPv4 too, where the system lets it.

    Raises:
        SettingsError: the address is not this machine's, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = takes_both_families(host)
        listening = socket.create_server(address, family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host} port {port} ({error.strerror}): "
            "stop what uses that port, or set another HOST or PORT"
        ) from error
    # Connections inherit it. Otherwise the system would queue megabytes for a viewer on a slow link, and show verdicts
    # of half a minute ago as those of now.
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT)
    return listening


def _own_address(settings: Settings, port: int) -> str:
    """Where a browser on this machine finds the page."""
    host = "localhost" if is_any_address(settings.host) or settings.host in LOCALHOST else settings.host
    return page_url("https" if settings.secure else "http", host, port)


def _announce(settings: Settings, port: int, code: str | None, certificates: Certificates | None) -> None:
    print(f"DefectVision is at {_own_address(settings, port)}  (Ctrl-C stops it)")
    host, secure = settings.host, certificates is not None
    if is_any_address(host) and ":" in host and not takes_both_families(host):
        print("It takes IPv6 only, for this system lets no socket take both: HOST=0.0.0.0 takes IPv4.")
    url = phone_url(settings, port, code, secure=secure)
    if url is not None:
        print(f"On the network: {url.partition('?')[0]}")
        if sys.stdout.isatty():
            print(qr_terminal(url), end="")
    if code is not None:
        print(f"Access code: {code}")
    if certificates is not None and certificates.ca_path is not None and settings.public_url is None:
        reachable = url.partition("?")[0] if url else _own_address(settings, port)
        print(f"Certificate authority to install on phones: {reachable}ca")
        print(f"Its SHA-256: {certificates.fingerprint}")
    if url is not None and not url.startswith("https:"):
        print("Phones give their camera to https pages only: start with --https (make phone) to use one as a camera.")
    sys.stdout.flush()
