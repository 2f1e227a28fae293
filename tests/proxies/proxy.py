"""nginx and Caddy as docs/proxies.md configures them: its very code blocks, on free ports of loopback."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.https import ensure
from tests.equipment import proxy_program
from tests.running import ROOT, free_port

PAGE = ROOT / "docs" / "proxies.md"
SETUPS = [f"{proxy} {kind}" for proxy in ("nginx", "caddy") for kind in ("prefix", "name")]
"""Those of docs/proxies.md."""
PREFIX = "/line4"

NGINX = """daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""
"""What stands in /etc/nginx/nginx.conf around a file of conf.d, for somebody who is not root."""

CADDY = """{{
    admin off
    auto_https disable_redirects
}}
{site}
"""


@dataclass(frozen=True)
class Proxy:
    """``url``: of the live page behind the proxy, with a slash at its end; ``ca``: what signed its certificate."""

    url: str
    ca: Path

    @property
    def ws(self) -> str:
        return self.url.replace("http", "ws", 1)

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)


def need(program: str) -> None:
    """Skip the test, saying so, where nginx or caddy is not installed."""
    if proxy_program(program) is None:
        pytest.skip(f"{program} is not installed: `python -m tests.equipment`, or apt-get install {program}")


def site(setup: str) -> str:
    """The code block of docs/proxies.md for one of :data:`SETUPS`."""
    program, kind = setup.split()
    blocks = re.findall(rf"```{program}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    return str(blocks[kind == "name"])


@contextlib.contextmanager
def proxy(
    setup: str, server_port: int, folder: Path, change: Callable[[str], str] = str, port: int | None = None
) -> Iterator[Proxy]:
    """Run a set-up in front of a server on this port; names, ports and files of the page give way to those of here.

    Args:
        setup: one of :data:`SETUPS`.
        server_port: where the server listens.
        folder: for files of the proxy.
        change: made to the configuration, e.g. a mistake.
        port: to listen on; a free one by default.
    """
    program, kind = setup.split()
    need(program)
    port = port or free_port()
    certificates = ensure(folder / "certificates", ["localhost"])
    assert certificates.ca_path is not None
    text = change(site(setup))
    for theirs, ours in (
        ("https://plant.example:443", f"https://localhost:{port}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("server_name plant.example", "server_name localhost"),
        ("127.0.0.1:8000", f"127.0.0.1:{server_port}"),
        ("/etc/ssl/plant.example.crt", str(certificates.cert_path)),
        ("/etc/ssl/plant.example.key", str(certificates.key_path)),
    ):
        text = text.replace(theirs, ours)
    assert "/etc/" not in text and not re.search(r"\b443\b", text) and "plant" not in text
    configuration = folder / f"{program}.conf"
    configuration.write_text((NGINX if program == "nginx" else CADDY).format(folder=folder, site=text))
    path = proxy_program(program)
    assert path is not None
    command = (
        [path, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")]
        if program == "nginx"
        else [path, "run", "--adapter", "caddyfile", "--config", str(configuration)]
    )
    log = folder / f"{program}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | {"HOME": str(folder)})
    try:
        _wait_for(port, process, log)
        yield Proxy(f"https://localhost:{port}{PREFIX if kind == 'prefix' else ''}/", certificates.ca_path)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        finally:
            process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port} after 30 s:\n{log.read_text()}")
