"""``defectvision doctor``: what a server needs, looked at one by one, and what to mend. It changes nothing."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Literal

import msgspec

from detector.counted import counted
from detector.errors import DetectorError
from detector.folder_lock import holder
from server.backup import is_of_a_disk
from server.ground import RESTORING, NotKept, fault, raise_limit
from server.plant import looked_at
from server.settings import Settings, SettingsError, add_data_dir, read_settings_of

Mark = Literal["ok", "warning", "wrong"]
PATIENCE_S = 20.0
"""For one look: a disk or a driver may hang."""
LEAST_MEMORY, LEAST_FREE = 1_000_000_000, 2_000_000_000
SLOW_SYNC_S = 0.25
FOLDERS = ("access", "archive", "audit", "backlog", "certificates", "models", "ray", "sinks", "teaching")
OLDEST_CLOCK = datetime(2025, 1, 1, tzinfo=UTC)


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. ``words``: how it is, and what to do where it is not well."""

    what: str
    mark: Mark
    words: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, each in its time; whatever a look fails of is a finding too."""
    looks: dict[str, Callable[[Settings], Iterator[Finding]]] = {
        "data directory": _data,
        "data files": _files,
        "history": _history,
        "plant": _plant,
        "port": _port,
        "server": _server,
        "certificate": _certificate,
        "clock": _clock,
        "machine": _machine,
        "inference": _inference,
        "replicas": _replicas,
        "model": _model,
        "cameras": _cameras,
        "sinks": _sinks,
    }
    for what, look in looks.items():
        pool = ThreadPoolExecutor(1)
        try:
            yield from pool.submit(lambda look=look: [*look(settings)]).result(PATIENCE_S)  # type: ignore[misc]
        except Late:
            yield Finding(what, "wrong", f"it does not answer within {PATIENCE_S:g} s: a disk or a driver hangs")
        except Exception as error:
            yield Finding(what, "wrong", f"it cannot be looked at ({type(error).__name__}: {str(error)[:200]})")
        finally:
            pool.shutdown(wait=False)


def _data(settings: Settings) -> Iterator[Finding]:
    what, folder = "data directory", settings.data_dir.absolute()
    place = next(one for one in (folder, *folder.parents) if one.exists())
    if not place.is_dir():
        yield Finding(what, "wrong", f"{place} is no folder: move it away, or set another DATA_DIR")
        return
    free = shutil.disk_usage(place).free
    enough = free >= max(LEAST_FREE, settings.archive_free_gb * 1e9)
    said = f"{free / 1e9:,.1f} GB are free on the disk of {folder}"
    yield Finding("disk", "ok" if enough else "warning", said if enough else f"{said}: make room, pictures go first")
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding(what, "wrong", f"{place} cannot be written by this user: chown it to the server's")
        return
    if not folder.exists():
        yield Finding(
            what, "ok", f"{folder} is not there yet; the first start makes it. Another is meant? Set DATA_DIR"
        )
        return
    busy = holder(folder)
    yield Finding(what, "ok", f"{folder} can be written" + (f"; used by {busy}" if busy else ""))
    yield _synced(folder)


def _synced(folder: Path) -> Finding:
    """How long the disk takes to have something for good; the one thing that is written, and it has no name."""
    flags = getattr(os, "O_TMPFILE", None)
    if flags is None:
        return Finding("disk speed", "ok", "not measured on this system")
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, flags | os.O_WRONLY, 0o600)
        try:
            start = time.perf_counter()
            os.write(descriptor, bytes(4096))
            os.fsync(descriptor)
            took = time.perf_counter() - start
        finally:
            os.close(descriptor)
        slow = took > SLOW_SYNC_S
        then = ": changes and the history wait for it; an SD card may be at its end" if slow else ""
        return Finding("disk speed", "warning" if slow else "ok", f"{took * 1000:.1f} ms until something is kept{then}")
    return Finding("disk speed", "ok", "not measured on this disk")


def _files(settings: Settings) -> Iterator[Finding]:
    from server import access, inspection, kept_cameras, recipes, sinks

    data = settings.data_dir
    for room in (inspection, recipes, kept_cameras, sinks, access):
        for name, form in room.DOCUMENTS.items():
            if os.path.lexists(data / name):
                words = fault(data / name, form)
                yield Finding(name, "wrong" if words else "ok", words or "can be read")
    for name in FOLDERS:
        if os.path.lexists(data / name) and not (data / name).is_dir():
            yield Finding(name, "wrong", "is no folder, and nothing can be kept there: move it away")
    others = [name for name in sorted(os.listdir(data)) if not _is_ours(data / name)] if data.is_dir() else []  # noqa: PTH208
    if others:
        yield Finding(
            "data files",
            "wrong",
            f"this user may not write {', '.join(others[:5])}: chown them to the server's, or run the doctor as that",
        )
    if (data / RESTORING).exists():
        yield Finding("data files", "wrong", "a backup was put back by half: run `defectvision restore` again")
    aside = sorted(path.name for path in data.glob("*.damaged-*"))
    if aside:
        yield Finding(
            "data files", "warning", f"set aside as damaged: {', '.join(aside[:5])}; remove it once it is mended"
        )


def _is_ours(path: Path) -> bool:
    """Whether this user may write a file, or into a folder; of links, and what a disk has at its root, it is not this
    place's to say."""
    return path.is_symlink() or is_of_a_disk(path.name) or os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0))


def _history(settings: Settings) -> Iterator[Finding]:
    from server.records import history_fault

    address, data = settings.database_url, settings.data_dir
    if address is not None or (data / "history.db").exists():
        fault = history_fault(data, address)
        if fault and address is not None:
            fault += ": entries wait on disk meanwhile; start it, or mend the network, or DATABASE_URL"
        yield Finding("history", "wrong" if fault else "ok", fault or f"{address or 'history.db'} can be read")
    waiting = len(list((data / "backlog").glob("*.jsonl"))) if (data / "backlog").is_dir() else 0
    if waiting and holder(data) is None:
        yield Finding("history", "warning", f"entries wait in backlog ({counted(waiting, 'file')}) for the next start")


def _plant(settings: Settings) -> Iterator[Finding]:
    if settings.plant_store is None or settings.database_url is None:
        return
    try:
        yield Finding("plant", "ok", looked_at(settings.database_url, settings.plant_store))
    except NotKept as error:
        yield Finding("plant", "wrong", f"{error}: gateways go on with what they know, and nothing can be changed")


def _port(settings: Settings) -> Iterator[Finding]:
    from server.serve import listen  # the web parts take their time

    try:
        listen(settings.host, settings.port).close()
    except SettingsError as error:
        busy = holder(settings.data_dir) if settings.data_dir.exists() else None
        words = f"{settings.port} is taken, by the server that runs here ({busy})" if busy else str(error)
        yield Finding("port", "ok" if busy else "wrong", words)
    else:
        yield Finding("port", "ok", f"{settings.host} port {settings.port} is free")


class _Told(msgspec.Struct, frozen=True):
    """What ``/health`` says, of it what is of use here; strangers hear the status alone."""

    status: str
    reason: str | None = None
    warnings: list[str] = []


def _server(settings: Settings) -> Iterator[Finding]:
    """What the server that runs here says of itself."""
    from server.healthcheck import asked, health_url

    what, busy = "server", holder(settings.data_dir) if settings.data_dir.exists() else None
    if busy is None:
        return
    url = health_url(settings)
    try:
        _, body = asked(url)
        told = msgspec.json.decode(body, type=_Told)
    except (OSError, HTTPException, msgspec.DecodeError):
        yield Finding(
            what,
            "warning",
            f"{busy} has the data directory, and does not say at {url} how it is: is it a server, and started with "
            "the same HOST, PORT and HTTPS? Then it hangs, or only begins; its log says more",
        )
        return
    if told.status == "ok":
        yield Finding(what, "ok", f"{url} says that it inspects")
    else:
        mark: Mark = "warning" if told.status == "teaching" else "wrong"
        yield Finding(what, mark, f"{url} says {told.status}: {told.reason or 'why is on its page, and in its log'}")
    yield from (Finding(what, "warning", warning) for warning in told.warnings)


def _certificate(settings: Settings) -> Iterator[Finding]:
    if settings.secure:
        yield from _own_certificate(settings) if settings.cert_file is not None else _made_certificate(settings)


def _own_certificate(settings: Settings) -> Iterator[Finding]:
    """The operator's, as the server checks it."""
    from server.https import CertificateError, check_own

    what = "certificate"
    if settings.cert_file is None or settings.key_file is None:
        yield Finding(what, "wrong", "CERT_FILE is given but KEY_FILE is not: give its private key too")
        return
    try:
        own = check_own(settings.cert_file, settings.key_file)
    except CertificateError as error:
        yield Finding(what, "wrong", str(error))
        return
    yield Finding(what, "ok", f"valid until {own.expires:%Y-%m-%d}")
    yield from (Finding(what, "warning", warning) for warning in own.warnings)
    known = {name.lower() for name in own.names}
    wanted = [name.lower() for name in settings.server_names]
    missing = [name for name in wanted if not known & {name, f"*.{name.partition('.')[2]}"}]
    if missing:
        yield Finding(what, "warning", f"it does not name {', '.join(missing)}: browsers refuse it there")


def _made_certificate(settings: Settings) -> Iterator[Finding]:
    """The one that the server makes, and makes anew at its start and while it runs."""
    from server.https import outlook
    from server.serve import certificate_names

    what, path = "certificate", settings.data_dir / "certificates" / "server.pem"
    if not path.exists():
        yield Finding(what, "ok", f"{path} is not there: made at the start")
        return
    found, runs = outlook(path.parent, certificate_names(settings)), holder(settings.data_dir) is not None
    if found.expires is None:
        yield Finding(what, "warning", f"{path} is damaged: it is set aside, and made anew at the start")
        return
    is_over = found.expires <= datetime.now(UTC)
    said = f"{'expired on' if is_over else 'valid until'} {found.expires:%Y-%m-%d}"
    if found.is_due:
        when = "within ten minutes (for new SERVER_NAMES, at the next start)" if runs else "at the start"
        said += f"; it is made anew {when}"
    if is_over and runs:
        said += ": where it is not, the log of the server that runs here says why"
    yield Finding(what, "warning" if is_over and runs else "ok", said)
    yield from (Finding(what, "warning" if found.is_believable else "wrong", warning) for warning in found.warnings)


def _clock(settings: Settings) -> Iterator[Finding]:
    now, newest = datetime.now(UTC), max((one.stat().st_mtime for one in _of(settings.data_dir)), default=0.0)
    if now < OLDEST_CLOCK:
        yield Finding("clock", "wrong", f"it says {now:%Y-%m-%d}: set it, or let NTP; https and history need it")
    elif newest > now.timestamp() + 3600:
        ahead = datetime.fromtimestamp(newest, UTC)
        yield Finding(
            "clock", "warning", f"files are from {ahead:%Y-%m-%d %H:%M}, it is {now:%Y-%m-%d %H:%M}: it jumped back"
        )
    elif Path("/run/systemd/timesync").is_dir() and not Path("/run/systemd/timesync/synchronized").exists():
        yield Finding("clock", "warning", "it was not set by NTP since the start: timedatectl says more")
    else:
        yield Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC")


def _of(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (one for one in folder.iterdir() if one.is_file())


def _machine(settings: Settings) -> Iterator[Finding]:
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        facts = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines if len(line.split()) > 1}
        free = facts.get("MemAvailable", LEAST_MEMORY)
        few = free < LEAST_MEMORY
        then = ": teaching needs 1 GB; close other programs" if few else ""
        yield Finding("memory", "warning" if few else "ok", f"{free / 1e9:.1f} GB are free{then}")
    most = raise_limit()
    short = most < settings.max_connections + 256
    then = (
        f": fewer than MAX_CONNECTIONS={settings.max_connections} need; set LimitNOFILE or ulimit -n" if short else ""
    )
    yield Finding("files", "warning" if short else "ok", f"{most:,} may be open at once{then}")
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = set(next(line for line in lines if line.startswith("flags")).split())
        slow = "avx2" not in flags
        exact = " with exact 8-bit arithmetic" if flags & {"avx512_vnni", "avx_vnni"} else ""
        words = "it has no AVX2: frames take several times as long" if slow else f"AVX2{exact}"
        yield Finding("processor", "warning" if slow else "ok", f"{os.cpu_count()} cores, {words}")


def _inference(settings: Settings) -> Iterator[Finding]:
    from detector.runtimes import runtime

    try:
        runtime(settings.runtime)
    except DetectorError as error:
        yield Finding("inference", "wrong", str(error))
        return
    words = settings.runtime
    if settings.runtime == "openvino":
        from detector.quiet_openvino import ov

        words += f" on {', '.join(ov.Core().available_devices)}"
    yield Finding("inference", "ok", words)


def _replicas(settings: Settings) -> Iterator[Finding]:
    if settings.pool != "ray":
        return
    from server.replicas import NoCluster, cluster_looked_at

    try:
        yield Finding("replicas", "ok", cluster_looked_at(settings.ray_address))
    except NoCluster as error:
        yield Finding("replicas", "wrong", str(error))


def _model(settings: Settings) -> Iterator[Finding]:
    from detector.backbones import PACKAGED, load_backbone
    from detector.model_folder import read_manifest

    if settings.model_path is not None:
        try:
            manifest = read_manifest(settings.model_path)
            if manifest.backbone in PACKAGED and not manifest.backbone_files:
                load_backbone(manifest.backbone)  # its package may be an extra
            yield Finding("model", "ok", f"{settings.model_path} can be read")
        except (DetectorError, OSError) as error:
            yield Finding("model", "wrong", str(error))


def _cameras(settings: Settings) -> Iterator[Finding]:
    from server.cameras import is_address, network_address, shown
    from server.kept_cameras import cameras_of

    for camera in (*settings.cameras, *cameras_of(settings.data_dir)):
        source = camera.source
        if source.startswith("/dev/") or source.isdecimal():
            device = Path(f"/dev/video{source}" if source.isdecimal() else source)
            there = os.access(device, os.R_OK | os.W_OK)
            words = f"{device} can be opened" if there else f"{device}: plug it in, or add this user to the group video"
        elif (address := network_address(source)) is not None:
            try:
                socket.create_connection(address, timeout=3).close()
                there, words = True, f"{shown(source)} answers"
            except OSError:
                there, words = False, f"{shown(source)}: nothing answers there; check its power, cable and address"
        elif is_address(source):  # genicam://
            there, words = True, f"{shown(source)} is tried by the server alone"
        else:
            there = Path(source).exists()
            words = f"{source} is there" if there else f"{source} is not there"
        yield Finding(f"camera {camera.name}", "ok" if there else "wrong", words)


def _sinks(settings: Settings) -> Iterator[Finding]:
    from server.sinks import KINDS, stored_in

    for one in stored_in(settings.data_dir):
        kind = KINDS.get(one.kind)
        if one.enabled:
            why = f"there is no kind {one.kind}" if kind is None else kind.missing
            yield Finding(f"sink {one.name}", "wrong" if why else "ok", why or f"{one.kind}: all it needs is installed")
    for folder in settings.sink_folders:
        there = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
        words = "can be written" if there else "is not there, or this user may not write it: is the disk mounted?"
        yield Finding("SINK_FOLDERS", "ok" if there else "warning", f"{folder} {words}")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add it to ``defectvision``'s subcommands."""
    parser = subparsers.add_parser(
        "doctor",
        help="look at everything a server needs, and say what to mend",
        description="Look at settings, data directory, disk, port, certificate, clock, memory, processor, model, "
        "replicas, cameras, sinks and database as the server would find them, and at /health of the one that runs. "
        "Changes nothing. Exit code 1: something is wrong.",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON list of what, mark (ok, warning, wrong) and words"
    )
    add_data_dir(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        found = [Finding("settings", "ok", "can be used"), *examine(read_settings_of(arguments))]
    except SettingsError as error:
        found = [Finding("settings", "wrong", str(error))]
    if arguments.json:
        print(msgspec.json.encode(found).decode())
    else:
        for one in found:
            print(f"{one.mark:8}{one.what}: {one.words}")
    sys.stdout.flush()
    return int(any(one.mark == "wrong" for one in found))
