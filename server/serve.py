"""``defectvision serve``: the server process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any, NoReturn, cast

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from detector.counted import counted
from detector.folder_lock import FolderLock
from server.access import CODE_FILE, FIRST, Access, AccessCodeError, load_code
from server.cannot_serve import LOOK_EVERY_S, CannotServe
from server.ground import (
    DataDirectoryError,
    Refusals,
    ServiceManager,
    Supervised,
    data_directory,
    is_any_address,
    names,
    page_url,
    qr_terminal,
    raise_limit,
    takes_both_families,
    why_not_kept,
)
from server.https import CertificateError, Certificates, Fresh, InService, check_own, ensure
from server.plant import Plant, PlantError
from server.settings import Settings, SettingsError, read_place, read_settings
from server.web import BoundedHTTP, BoundedWebSocket, Connections, Door, Held, Turns, phone_url

log = logging.getLogger("defectvision.serve")

SHUTDOWN_S = 1

LET_GO_S = 0.3
"""Seconds that what was left behind at the end may take to be cancelled."""

MAX_UNSENT = 16 * 1024
"""Bytes of a connection that the system queues unsent; what is above that waits where newer messages replace it."""

LOCALHOST = ("localhost", "127.0.0.1", "::1")
"""Addresses that a browser finds by the name, unlike others of 127.0.0.0/8."""

MAX_UNCOUNTED = 256
"""Files and sockets kept free for what is no connection of this port: cameras, WebRTC senders, the data directory."""

CANNOT_SERVE = 2
"""Exit code where it cannot serve as it is set: nothing that starting it again would mend."""

UNSEEN_S = 60.0
"""Between tries, where what is wrong is found by starting only."""

PULSE_S = 5.0
"""How often the service manager is told at the least, where it asked for no watchdog."""

CANNOT_LISTEN = {
    errno.EADDRNOTAVAIL: "that is no address of this machine: set HOST to one, or to 0.0.0.0 for all of them",
    errno.EACCES: "ports below 1024 are for root, or take CAP_NET_BIND_SERVICE: set another PORT",
}
"""What to do, where it is not that somebody uses the port."""

CANNOT = (SettingsError, DataDirectoryError, AccessCodeError, CertificateError, PlantError)
"""Why it cannot serve as it is set; one sentence each."""

Renew = Callable[[], Certificates]


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM, which ends the process with 0; returns 2 when it cannot serve as it is set, unless
    it was told to stay and say so (``--explain``)."""
    given = {
        "HOST": arguments.host,
        "PORT": arguments.port,
        "MODEL_PATH": arguments.model,
        "POOL": arguments.pool,
        "HTTPS": "true" if arguments.https else None,
        "CERT_FILE": arguments.cert,
        "KEY_FILE": arguments.key,
    }
    arguments_given = {name: value for name, value in given.items() if value is not None}
    manager = ServiceManager.of(os.environ)
    try:
        settings = read_settings(arguments=arguments_given)
        with data_directory(settings.data_dir, f"at {_own_address(settings, settings.port)}") as lock:
            return _run(settings, lock, manager)
    except CANNOT as error:
        print(f"defectvision: {error}", file=sys.stderr)
        if not arguments.explain:
            return CANNOT_SERVE
        words = str(error)
    return _explain(words, arguments_given, manager)


def _run(settings: Settings, lock: FolderLock | None, manager: ServiceManager) -> NoReturn:
    from server.app import create_app  # the detector's libraries take a second: after the settings are checked

    code = load_code(settings.data_dir, settings.access_code) if settings.closed else None
    renew = _certificates(settings)
    certificates = renew() if renew else None
    app = create_app(settings, code=code, certificates=certificates)
    access: Access = app.state.access
    password = first_login(access, code)
    listening = listen(settings.host, settings.port)
    port = listening.getsockname()[1]
    if lock is not None:
        lock.say(f"at {_own_address(settings, port)}")
    config = configuration(app, settings, certificates)
    _announce(settings, port, code, certificates, password, access)
    stop = Stop(manager)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(config, listening, renew, stop))
        runner.run(_let_go())
        # All is closed and saved. What may still run is a thread that teaches, or is stuck in a camera's driver or with
        # a store that does not answer: the runner's and the interpreter's own ends would wait for it, or crash on it.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


async def _let_go() -> None:
    """What was left behind is cancelled."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=LET_GO_S)


class Stop:
    """What a signal to stop does: the first is a clean end, whenever it comes; the second ends the process at once."""

    def __init__(self, manager: ServiceManager) -> None:
        self.manager, self.asked = manager, False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked = True
        self.manager.tell(STOPPING=1, STATUS="stops")


def _explain(words: str, given: Mapping[str, str], manager: ServiceManager) -> NoReturn:
    """Say at the server's address why it cannot serve, until it can: then this process begins anew."""
    host, port = read_place(arguments=given)
    listening, certificates = None, None
    with contextlib.suppress(SettingsError):  # somebody else may be there: the log and the service manager are told
        listening = listen(host, port)
    with contextlib.suppress(*CANNOT):
        certificates = renew() if (renew := _certificates(read_settings(arguments=given))) else None
    log.error("state=cannot serve reason=%r then=tried again every %d s, its page says so", words, LOOK_EVERY_S)
    shown, stop = CannotServe(words), Stop(manager)

    def why_not() -> str | None:
        try:
            settings = read_settings(arguments=given)
            with data_directory(settings.data_dir, "where it looks whether it can serve"):
                plant = Plant.of(settings.database_url, settings.plant_store, settings.data_dir, settings.gateway_name)
                if plant is not None:
                    plant.close()
                if settings.closed:
                    load_code(settings.data_dir, settings.access_code)
                if (renew := _certificates(settings)) is not None:
                    renew()
            if listening is None or (settings.host, settings.port) != (host, port):
                listen(settings.host, settings.port).close()
        except CANNOT as error:
            return str(error)
        return None

    async def until_it_can() -> None:
        """It begins anew once nothing is found; what only a start finds is tried by one now and then."""
        first = await asyncio.to_thread(why_not)
        pause = UNSEEN_S if first is None else LOOK_EVERY_S
        manager.tell(READY=1, STATUS=f"cannot serve: {words}")
        while True:
            for _ in range(round(pause / LOOK_EVERY_S)):
                manager.tell(WATCHDOG=1)
                await asyncio.sleep(LOOK_EVERY_S)
            if (found := await asyncio.to_thread(why_not)) is None:
                return
            if found != shown.why:
                shown.why, pause = found, LOOK_EVERY_S
                manager.tell(STATUS=f"cannot serve: {found}")
                log.error("state=cannot serve reason=%r", found)

    async def show() -> None:
        looking = asyncio.create_task(until_it_can())
        if listening is None:
            while not looking.done() and not stop.asked:
                await asyncio.wait({looking}, timeout=0.2)
            return
        server = Server(configuration(shown.app, Settings(host=host, port=port), certificates), stop)
        looking.add_done_callback(lambda _: setattr(server, "should_exit", True))
        await server.serve(sockets=[listening])

    with asyncio.Runner() as runner:
        runner.run(show())
    logging.shutdown()
    sys.stdout.flush()
    if stop.asked:
        os._exit(0)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


async def _serve(
    config: Configuration,
    listening: socket.socket,
    renew: Renew | None,
    stop: Stop,
) -> None:
    config.load()
    app = config.app
    assert isinstance(app, Starlette)
    renewing = None
    in_service: InService | None = app.state.in_service
    if in_service is not None and renew is not None and config.ssl is not None:
        for warning in in_service.certificates.warnings:
            log.warning("%s", warning)
        fresh = Fresh(config.ssl, in_service, renew)
        renewing = Supervised("the renewal of the certificate", fresh.keep)
        renewing.start()
        app.state.watched += [fresh, renewing]
    # What was imported lives as long as the process. Looking through it for garbage again and again, while strangers
    # come and go, would stop everything for a tenth of a second each time.
    gc.collect()
    gc.freeze()
    pulse = Supervised("the word to the service manager", partial(_pulse, app, stop))
    pulse.start()
    await Server(config, stop).serve(sockets=[listening])
    for one in (renewing, pulse):
        if one is not None:
            await one.stop(0.1)
    # The runner waits for all threads of the loop's own executor: what hangs in the old one is left behind.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))


async def _pulse(app: Starlette, stop: Stop) -> None:
    """Tell the service manager how it is, and that all goes on: the event loop, which this runs on, and the inspection.

    A camera whose pictures hang workers is no reason to start anew while others are inspected; that nothing at all is
    is one. Replicas that are away are none: they come back by themselves, and a new start would wait for them as well.
    """
    manager, pool, health = stop.manager, app.state.pool, app.state.health
    every_s = min(PULSE_S, (manager.watchdog_s or PULSE_S * 3) / 3)
    finished, told = -1, ""
    while not stop.asked:
        if not pool.is_hung or (pool.finished != finished and not pool.is_stuck):
            manager.tell(WATCHDOG=1)
        finished, now = pool.finished, health.now()
        words = "inspects" if now.status == "ok" else f"{now.status}: {now.reason}"
        words += f"; {counted(len(now.warnings), 'warning')}: {now.warnings[0]}" if now.warnings else ""
        if words != told:
            told = words
            manager.tell(STATUS=words)
        await asyncio.sleep(every_s)


class Configuration(uvicorn.Config):
    """uvicorn's, with the connections that its protocols count theirs among."""

    def __init__(self, app: ASGIApp, *, connections: Connections, **more: Any) -> None:
        super().__init__(app, **more)
        self.connections = connections


class Server(uvicorn.Server):
    """uvicorn, ending at the first signal, and telling those who wait for results before it waits for them."""

    config: Configuration

    def __init__(self, config: Configuration, stop: Stop | None = None) -> None:
        super().__init__(config)
        self._stop = stop
        self.should_exit = stop is not None and stop.asked

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # As uvicorn does it, but that it would let strangers shake hands over TLS without counting them.
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SettingsError("a part of the server could not be started: the lines above, in the log, say why")
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
        if self._stop is not None:
            self._stop.manager.tell(READY=1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if isinstance(self.config.app, Starlette) and hasattr(self.config.app.state, "hub"):
            self.config.app.state.hub.close()
            self.config.app.state.pool.stop_waiting()
            self.config.app.state.backups.stop()
        try:
            await super().shutdown(sockets)
        except Exception:
            # One connection that cannot be ended must not cost what waits for sinks and disk.
            log.exception("the end of connections")
            await self.lifespan.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stop is not None:
            self._stop(sig, frame)
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
    return lambda: ensure(folder, certificate_names(settings))


def certificate_names(settings: Settings) -> list[str]:
    """Host names and addresses that a certificate made here is of, as they are now."""
    own = () if is_any_address(settings.host) else (settings.host,)
    return [*settings.server_names, *own, *names()]


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
        then = CANNOT_LISTEN.get(error.errno or 0, "stop what uses that port, or set another HOST or PORT")
        raise SettingsError(f"cannot listen on {host} port {port} ({error.strerror}): {then}") from error
    # Connections inherit it. Otherwise the system would queue megabytes for a viewer on a slow link, and show verdicts
    # of half a minute ago as those of now.
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT)
    return listening


def _own_address(settings: Settings, port: int) -> str:
    """Where a browser on this machine finds the page."""
    host = "localhost" if is_any_address(settings.host) or settings.host in LOCALHOST else settings.host
    return page_url("https" if settings.secure else "http", host, port)


def first_login(access: Access, code: str | None) -> str | None:
    """The password of the login that is made at the first start; None where there is one already.

    Raises:
        AccessCodeError: it cannot be kept, and there is no access code either: nobody could get in.
    """
    try:
        return access.first_login()
    except OSError as error:
        words = f"no login can be kept ({why_not_kept(error)})"
        if code is None:
            raise AccessCodeError(f"{words}: let this user write there, or set ACCESS_CODE") from error
        log.warning("%s: only the access code opens this server", words)
        return None


def _announce(
    settings: Settings,
    port: int,
    code: str | None,
    certificates: Certificates | None,
    password: str | None = None,
    access: Access | None = None,
) -> None:
    print(f"DefectVision is at {_own_address(settings, port)}  (Ctrl-C stops it)")
    host, secure = settings.host, certificates is not None
    if is_any_address(host) and ":" in host and not takes_both_families(host):
        print("It takes IPv6 only, for this system lets no socket take both: HOST=0.0.0.0 takes IPv4.")
    url = phone_url(settings, port, secure=secure)
    if url is not None:
        print(f"On the network: {url}")
        if access is not None and sys.stdout.isatty():
            stream = f"phone-{secrets.token_hex(2)}"
            _, secret = access.make_pairing(stream, stream)
            print(qr_terminal(f"{url}?code={secret}"), end="")
            print(f"That pairs one phone, as {stream}, within 10 minutes; {url}phone shows more of them.")
    if password is not None:
        print(f"Log in as {FIRST} with the password {password}  (shown this once; change it: your name on the page)")
    if code is not None:
        where = "the setting ACCESS_CODE" if settings.has_chosen_code else str(settings.data_dir / CODE_FILE)
        # Everybody who may read a journal or a container's log would be an admin.
        print(f"Access code: {code if sys.stdout.isatty() else f'see {where}'}")
    if certificates is not None and certificates.ca_path is not None and settings.public_url is None:
        reachable = url or _own_address(settings, port)
        print(f"Certificate authority to install on phones: {reachable}ca")
        print(f"Its SHA-256: {certificates.fingerprint}")
    if url is not None and not url.startswith("https:"):
        print("Phones give their camera to https pages only: start with --https (make phone) to use one as a camera.")
    sys.stdout.flush()
