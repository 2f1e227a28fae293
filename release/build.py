"""The source archive and the wheel, made twice of the commit and compared byte by byte."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from release.requirements import ROOT


class NotReleased(Exception):
    """A step of the release failed; the text says what was wrong and what to do."""


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def clean_commit() -> str:
    """The commit's name. Raises: NotReleased where the tree holds anything else."""
    if changed := git("status", "--porcelain").decode().splitlines():
        raise NotReleased(f"the tree is not clean: commit or remove {len(changed)} files first, {changed[0].strip()} …")
    return git("rev-parse", "HEAD").decode().strip()


def build_twice(folder: Path) -> list[Path]:
    """Two builds in two folders of their own.

    Args:
        folder: empty; the builds' results are left in it.

    Returns: the archives, wheel last.
    Raises: NotReleased where the two differ.
    """
    moment = git("log", "-1", "--format=%ct").decode().strip()
    archives = []
    for number in ("first", "second"):
        source = folder / number / "source"
        source.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD"))) as tree:
            tree.extractall(source, filter="data")
        archives.append(_build(source, folder / number / "made", moment))
    first, second = archives
    if [path.name for path in first] != [path.name for path in second]:
        raise NotReleased("two builds of one commit made files of different names")
    for one, other in zip(first, second, strict=True):
        if sha256(one) != sha256(other):
            raise NotReleased(f"two builds of one commit differ: {one} and {other}; compare them with diffoscope")
    return first


def _build(source: Path, made: Path, moment: str) -> list[Path]:
    environment = os.environ | {"SOURCE_DATE_EPOCH": moment, "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(made)]
    done = subprocess.run(command, cwd=source, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotReleased(f"the build failed: {done.stderr.strip()[-500:]}")
    return [*sorted(made.glob("*.tar.gz")), *sorted(made.glob("*.whl"))]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_checksums(folder: Path) -> None:
    """``SHA256SUMS`` of every file in the folder, for ``sha256sum --check``."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != "SHA256SUMS")
    (folder / "SHA256SUMS").write_text("".join(f"{sha256(path)}  {path.name}\n" for path in files))
