"""A PostgreSQL of the tests' own: started, paused, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.ground import DatabaseAddress
from tests.equipment import postgresql_programs

START_S = 60.0
USER, PASSWORD = "line", "p@ss/w:rd%"


class PostgreSQL:
    """One that runs as somebody who is not root, on loopback and a free port. Each test has a database of its own.

    Args:
        durable: whether what is stored would survive a power cut.
    """

    def __init__(self, programs: Path, *, durable: bool = False) -> None:
        self._programs, self._durable = programs, durable
        self._folder = Path(tempfile.mkdtemp(prefix="defectvision-postgresql-"))
        self._data = self._folder / "data"
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            who = _unprivileged()
            os.chown(self._folder, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "-D", str(self._data), "-U", USER, f"--pwfile={secret}", "-A", "scram-sha-256", "--no-sync")
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = (f"-p{self.port}", f"-k{self._folder}", "-clisten_addresses=127.0.0.1")
        options += () if self._durable else ("-cfsync=off",)
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", self._data, *options],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as,
        )
        until = time.monotonic() + START_S
        ready = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            assert self._process.poll() is None and time.monotonic() < until, "PostgreSQL did not start"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(START_S)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """It answers nothing meanwhile, and closes no connection."""
        stopped = self._processes()
        for process in stopped:
            with contextlib.suppress(ProcessLookupError):  # one that was about to end
                os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def database(self) -> DatabaseAddress:
        """A new, empty one."""
        name = f"test_{secrets.token_hex(4)}"
        asyncio.run(self._ask("postgres", f"CREATE DATABASE {name}"))
        return DatabaseAddress("127.0.0.1", self.port, name, USER, PASSWORD)

    async def _ask(self, database: str, *statements: str) -> None:
        import asyncpg

        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, database=database
        )
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, *arguments], cwd=self._folder, check=True, capture_output=True, **self._as
        )

    def _processes(self) -> list[int]:
        """The postmaster and its children, it first: so that none is new."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        children = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self._process.pid:
                    children.append(int(stat.parent.name))
        return [self._process.pid, *children]


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("there is nobody but root on this machine")


@contextlib.contextmanager
def running_postgresql(*, durable: bool = False) -> Iterator[PostgreSQL | None]:
    """One that runs; None where it is not installed."""
    programs = postgresql_programs()
    if programs is None:
        yield None
        return
    running = PostgreSQL(programs, durable=durable)
    try:
        yield running
    finally:
        running.close()
