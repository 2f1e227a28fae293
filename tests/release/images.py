"""The container built and run without Docker: Debian's buildah on a base made by debootstrap.

Runs go into the built image's own file system, mounted read-only, as its user, with its environment and its command:
what `docker run --read-only --user … --tmpfs /tmp` does, by the kernel's own means (unshare, chroot).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.equipment import debian_program
from tests.running import ROOT

NEEDED = ("buildah", "debootstrap", "unshare", "chroot")
SUITE = "bookworm"
"""Debian 12: Python 3.11, the oldest that we run on."""
BUILD_S = 1800
PIP = ("index-url", "extra-index-url", "find-links", "cert", "proxy")
"""Of pip's configuration: where packages come from."""


def missing() -> str:
    """What is not here that a container needs to be built; empty where all is."""
    absent = [name for name in NEEDED if debian_program(name) is None]
    if absent:
        return f"the container's test needs {' and '.join(absent)}"
    return "" if os.geteuid() == 0 else "the container's test needs root"


@dataclass(frozen=True)
class Built:
    """An image in a storage of its own.

    Attributes:
        config: as Docker writes it: ``User``, ``Env``, ``Cmd``, ``WorkingDir``, ``Volumes``, ``Healthcheck``.
        root: where its file system is mounted.
        identity: of all that is in it.
    """

    config: dict[str, Any]
    root: Path
    identity: str

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.config["Env"])

    def command(self, arguments: list[str], data: Path, extra: dict[str, str]) -> list[str]:
        """The command line that runs something in it as its user: read-only but for ``/data`` and ``/tmp``."""
        environment = self.environment | extra
        mounts = [
            f"mount --bind {self.root} {self.root}",
            f"mount -o remount,bind,ro {self.root}",
            f"mount --bind {data} {self.root}/data",
            f"mount -t tmpfs tmpfs {self.root}/tmp",
            f"mount -t proc proc {self.root}/proc",
            f"mount --rbind /dev {self.root}/dev",
        ]
        user, _, group = self.config["User"].partition(":")
        run = shlex.join(
            [
                *("chroot", str(self.root), "/usr/bin/env", "-i", "-C", self.config["WorkingDir"]),
                *(f"{name}={value}" for name, value in environment.items()),
                *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"),
                *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", *arguments),
            ]
        )
        return ["unshare", "--mount", "sh", "-ec", "\n".join([*mounts, f"exec {run}"])]


def base(folder: Path) -> Path:
    """The file system of a small Debian with Python; that of ``IMAGE_TEST_BASE`` where one was made before."""
    if kept := os.environ.get("IMAGE_TEST_BASE"):
        return Path(kept)
    found = [*Path("/etc/apt").glob("sources.list*"), *Path("/etc/apt/sources.list.d").glob("*")]
    texts = [path.read_text() for path in found if path.is_file()]
    addresses = re.findall(r"(?m)^(?:URIs:|deb(?: \[.*\])?) +(\S+/debian/?)(?:\s|$)", "\n".join(texts))
    mirror = addresses[:1]  # debootstrap's own where there is none
    include = "python3,python3-venv,ca-certificates"
    run("debootstrap", "--variant=minbase", f"--include={include}", SUITE, str(folder / "base"), *mirror)
    return folder / "base"


def pip_volumes(folder: Path) -> list[str]:
    """Where this machine's pip gets packages from, with the certificates for it, for pip in the build."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in PIP:
            settings[option] = value.strip("'\"").replace("\\n", " ")
    paths = {Path("/etc/ssl/certs"), Path("/usr/share/ca-certificates"), Path("/usr/local/share/ca-certificates")}
    for word in " ".join(settings.values()).split():
        if (path := Path(word.removeprefix("file://"))).is_absolute():
            paths.add(path.parent if path.name == "simple" else path)  # an index names files that lie beside it
    file = folder / "pip.conf"
    file.write_text("[global]\n" + "".join(f"{option} = {value}\n" for option, value in settings.items()))
    volumes = [f"{file}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in sorted(paths) if path.exists())]
    return [part for volume in volumes for part in ("--volume", volume)]


@contextlib.contextmanager
def built(folder: Path, *, extras: str = "line") -> Iterator[Built]:
    """Build the image of this tree as its Dockerfile says, in ``folder``; taken away afterwards."""
    storage = ["--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]

    def buildah(*arguments: str) -> str:
        return run("buildah", *storage, *arguments)

    try:
        scratch = buildah("from", "scratch").strip()
        buildah("add", "--quiet", scratch, str(base(folder)), "/")
        buildah("commit", "--quiet", "--rm", scratch, "base")
        buildah(
            *("build", "--isolation", "chroot", "--format", "docker", "--pull=never", "--timestamp", "315532800"),
            *("--build-arg", "BASE=localhost/base", "--build-arg", f"EXTRAS={extras}"),
            *pip_volumes(folder),
            *("--tag", "defectvision", str(ROOT)),
        )
        container = buildah("from", "--pull-never", "defectvision").strip()
        said = json.loads(buildah("inspect", "--type", "image", "defectvision"))
        root = Path(buildah("mount", container).strip())
        yield Built(said["Docker"]["config"], root, said["FromImageID"])
    finally:
        with contextlib.suppress(AssertionError):
            buildah("umount", "--all")
        shutil.rmtree(folder / "storage", ignore_errors=True)
        shutil.rmtree(folder / "run", ignore_errors=True)


def run(program: str, *arguments: str) -> str:
    """Returns: what it wrote to its standard output."""
    path = debian_program(program) or program
    environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(
        [path, *arguments], capture_output=True, text=True, check=False, timeout=BUILD_S, env=environment
    )
    assert done.returncode == 0, f"{program} {shlex.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout
