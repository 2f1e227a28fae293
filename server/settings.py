"""Settings, from the environment or a ``.env`` file (the environment wins)."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from starlette.config import Config

from detector.images import MAX_PIXELS
from detector.runtimes import RUNTIMES
from detector.score import LARGEST
from server.cameras import Crop, Framing, Patience, Throttle, check_source
from server.ground import DatabaseAddress, PublicURL, canonical_origin, is_loopback
from server.plant import StoreAddress
from server.shifts import THREE_SHIFTS, Shifts
from server.words import check_name

T = TypeVar("T")

CalibratePer = Literal["all", "stream"]
"""Whether a calibration made on a stream holds for all streams of its transport, or for that one alone."""

SECRET = ("ACCESS_CODE", "CAMERAS", "DATABASE_URL", "ICE_SERVERS")
"""Settings whose values may hold credentials: errors do not repeat them."""


Origin = Literal["default", ".env", "environment", "command line"]
"""Where a setting's value comes from."""

MAX_UPLOAD_MB = 10_000
"""No picture is larger, and so many bytes at once have to fit into memory."""


MAX_MODELS_GB = 100_000
"""More than any disk here has: a slip of the finger."""


MAX_DAYS = 36_500


MAX_REPLICAS = 256
"""Of one gateway: each has a thread there that waits for it."""


Pool = Literal["threads", "ray"]
"""Who looks at frames: threads of this process, or replicas on a Ray cluster."""


class SettingsError(Exception):
    """A setting that cannot be used; the message names it and says what is taken."""


class PulledCamera(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A camera the server fetches frames from itself. ``source``: rtsp://, http:// or genicam:// address, device
    number, video file or folder of pictures; ``crop``: ``X,Y,W,H`` in pixels; ``patience``: seconds without a frame
    after which it is opened anew."""

    name: str
    source: str
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    crop: str | None = None
    patience: float | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; each field's name in capitals is its name in the environment.

    Attributes:
        came_from: of the settings that were set, by their names in the environment, where; no setting itself.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    model_path: Path | None = None
    model_category: str | None = None
    runtime: str = "openvino"
    image_size: int | None = None
    threshold: float | None = None
    calibrate_per: CalibratePer = "all"
    data_dir: Path = Path("data")
    max_upload_mb: float = 10.0
    max_frame_megapixels: float = 16.0
    max_models_gb: float = 20.0
    archive_gb: float = 20.0
    archive_days: int = 90
    archive_free_gb: float = 2.0
    archive_normals_s: float = 60.0
    shifts: Shifts = THREE_SHIFTS
    max_connections: int = 1000
    max_connections_per_address: int = 256
    workers: int = 1
    pool: Pool = "threads"
    ray_address: str = ""
    ray_replicas: tuple[int, int] = (1, 8)
    ray_cpus: float = 1.0
    ray_gpus: float = 0.0
    access_code: str | None = None
    max_frame_age_ms: float = 2000.0
    silent_after_s: float = 5.0
    watchdog_s: float = 4.0
    ice_servers: tuple[str, ...] = ()
    cameras: tuple[PulledCamera, ...] = ()
    sink_folders: tuple[Path, ...] = ()
    https: bool = False
    cert_file: Path | None = None
    key_file: Path | None = None
    server_names: tuple[str, ...] = ()
    public_url: PublicURL | None = None
    allowed_origins: tuple[str, ...] = ()
    database_url: DatabaseAddress | None = None
    plant_store: StoreAddress | None = None
    gateway_name: str = ""
    history_days: float = 400.0
    history_rows: int = 10_000_000
    came_from: Mapping[str, Origin] = field(default_factory=dict, compare=False, repr=False)

    @property
    def has_chosen_code(self) -> bool:
        """Whether an access code is set."""
        return self.access_code is not None and self.access_code.strip() != ""

    @property
    def closed(self) -> bool:
        """Whether everybody is asked who he is: beyond loopback, behind a proxy that has a name, or with a code."""
        chosen = self.has_chosen_code
        proxied = bool(self.server_names) or self.public_url is not None
        return chosen or proxied or not is_loopback(self.host)

    @property
    def secure(self) -> bool:
        """Whether the server speaks https: with a certificate made here, or the operator's own."""
        return self.https or self.cert_file is not None

    @property
    def max_upload_bytes(self) -> int:
        return int(self.max_upload_mb * 1_000_000)

    @property
    def max_models_bytes(self) -> int:
        return int(self.max_models_gb * 1e9)

    @property
    def max_frame_pixels(self) -> int:
        return int(self.max_frame_megapixels * 1_000_000)


def read_settings(
    environment: Mapping[str, str] | None = None,
    env_file: Path = Path(".env"),
    arguments: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from the command line, the environment and ``.env`` in the folder of the start, the first that has one.
    An empty value counts as unset.

    Args:
        environment: by default this process's.
        arguments: those given on the command line, by their names in the environment.

    Raises:
        SettingsError: the first setting that cannot be used.
    """
    environment, arguments = os.environ if environment is None else environment, arguments or {}
    config = _config({**environment, **arguments}, env_file)
    came_from: dict[str, Origin] = {}

    def setting(name: str, cast: Callable[[str], T], default: T) -> T:
        text = config(name, default="")
        if text == "":
            return default
        came_from[name] = "command line" if name in arguments else "environment" if name in environment else ".env"
        try:
            return cast(text)
        except ValueError as error:
            shown = "" if name in SECRET else f"={text!r}"
            raise SettingsError(f"{name}{shown} cannot be used: {error}") from error

    default = Settings()
    read = Settings(
        host=setting("HOST", _host, default.host),
        port=setting("PORT", _whole(0, 65535), default.port),
        model_path=setting("MODEL_PATH", _path, default.model_path),
        model_category=setting("MODEL_CATEGORY", str, default.model_category),
        runtime=setting("RUNTIME", _runtime, default.runtime),
        image_size=setting("IMAGE_SIZE", _whole(64, 2048, multiple=16), default.image_size),
        threshold=setting("THRESHOLD", _threshold, default.threshold),
        calibrate_per=setting("CALIBRATE_PER", _calibrate_per, default.calibrate_per),
        data_dir=setting("DATA_DIR", _path, default.data_dir),
        max_upload_mb=setting("MAX_UPLOAD_MB", _megabytes, default.max_upload_mb),
        max_frame_megapixels=setting("MAX_FRAME_MEGAPIXELS", _megapixels, default.max_frame_megapixels),
        max_models_gb=setting("MAX_MODELS_GB", _gigabytes, default.max_models_gb),
        archive_gb=setting("ARCHIVE_GB", _gigabytes_or_none, default.archive_gb),
        archive_days=setting("ARCHIVE_DAYS", _whole(1, 36_500), default.archive_days),
        archive_free_gb=setting("ARCHIVE_FREE_GB", _gigabytes_or_none, default.archive_free_gb),
        archive_normals_s=setting("ARCHIVE_NORMALS_S", _positive_or_zero, default.archive_normals_s),
        shifts=setting("SHIFTS", Shifts.parse, default.shifts),
        max_connections=setting("MAX_CONNECTIONS", _whole(16, 60_000), default.max_connections),
        max_connections_per_address=setting(
            "MAX_CONNECTIONS_PER_ADDRESS", _whole(8, 60_000), default.max_connections_per_address
        ),
        workers=setting("WORKERS", _whole(1, 64), default.workers),
        pool=setting("POOL", _pool, default.pool),
        ray_address=setting("RAY_ADDRESS", _ray_address, default.ray_address),
        ray_replicas=setting("RAY_REPLICAS", _replicas, default.ray_replicas),
        ray_cpus=setting("RAY_CPUS", _cpus, default.ray_cpus),
        ray_gpus=setting("RAY_GPUS", _gpus, default.ray_gpus),
        access_code=setting("ACCESS_CODE", str, default.access_code),
        silent_after_s=setting("SILENT_AFTER_S", _positive_or_zero, default.silent_after_s),
        watchdog_s=setting("WATCHDOG_S", _positive, default.watchdog_s),
        max_frame_age_ms=setting("MAX_FRAME_AGE_MS", _positive, default.max_frame_age_ms),
        ice_servers=setting("ICE_SERVERS", _list, default.ice_servers),
        cameras=setting("CAMERAS", _cameras, default.cameras),
        sink_folders=setting("SINK_FOLDERS", _folders, default.sink_folders),
        https=setting("HTTPS", _yes_or_no, default.https),
        cert_file=setting("CERT_FILE", _path, default.cert_file),
        key_file=setting("KEY_FILE", _path, default.key_file),
        server_names=setting("SERVER_NAMES", _list, default.server_names),
        public_url=setting("PUBLIC_URL", PublicURL.parse, default.public_url),
        allowed_origins=setting("ALLOWED_ORIGINS", _origins, default.allowed_origins),
        database_url=setting("DATABASE_URL", DatabaseAddress.parse, default.database_url),
        plant_store=setting("PLANT_STORE", StoreAddress.parse, default.plant_store),
        gateway_name=setting("GATEWAY_NAME", _gateway_name, default.gateway_name),
        history_days=setting("HISTORY_DAYS", _days, default.history_days),
        history_rows=setting("HISTORY_ROWS", _whole(1000, 1_000_000_000), default.history_rows),
        came_from=came_from,
    )
    if read.plant_store is not None and read.database_url is None:
        raise SettingsError("PLANT_STORE needs DATABASE_URL: the gateways of a plant share a PostgreSQL")
    return read


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """``--data-dir``, for a command beside the server, whose environment it may lack; see :func:`read_settings_of`."""
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="of the server (default: DATA_DIR, or data)")


def read_settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings for such a command.

    Raises:
        SettingsError: as :func:`read_settings`.
    """
    folder: Path | None = arguments.data_dir
    return read_settings(arguments={} if folder is None else {"DATA_DIR": str(folder)})


def read_place(
    environment: Mapping[str, str] | None = None,
    env_file: Path = Path(".env"),
    arguments: Mapping[str, str] | None = None,
) -> tuple[str, int]:
    """Host and port alone, as far as they can be read: where people look for a server that cannot serve."""
    environment, arguments = os.environ if environment is None else environment, arguments or {}
    default = Settings()
    try:
        config = _config({**environment, **arguments}, env_file)
    except SettingsError:
        config = Config(environ={**environment, **arguments})
    host, port = default.host, default.port
    with contextlib.suppress(ValueError):
        host = _host(config("HOST", default="") or default.host)
    with contextlib.suppress(ValueError):
        port = _whole(0, 65535)(config("PORT", default="") or str(default.port))
    return host, port


def _config(environment: Mapping[str, str], env_file: Path) -> Config:
    if not env_file.is_file():
        return Config(environ=environment)
    try:
        return Config(env_file, environment, encoding="utf-8-sig")  # Windows' editors put a mark before the first name
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{env_file.absolute()} cannot be read ({why}): save it as UTF-8 text, readable") from error


def _megabytes(text: str) -> float:
    if (value := _positive(text)) > MAX_UPLOAD_MB:
        raise ValueError(f"it must be at most {MAX_UPLOAD_MB:g}")
    return value


def _days(text: str) -> float:
    if not 1 <= (value := _positive(text)) <= MAX_DAYS:
        raise ValueError(f"it must be from 1 to {MAX_DAYS:g}")
    return value


def _gigabytes(text: str) -> float:
    if (value := _positive(text)) > MAX_MODELS_GB:
        raise ValueError(f"it must be at most {MAX_MODELS_GB:g}")
    return value


def _gigabytes_or_none(text: str) -> float:
    return 0.0 if text.strip() == "0" else _gigabytes(text)


def _megapixels(text: str) -> float:
    if (value := _positive(text)) > MAX_PIXELS / 1e6:
        raise ValueError(f"it must be at most {MAX_PIXELS / 1e6:g}")
    return value


def _host(text: str) -> str:
    host = text.strip().removeprefix("[").removesuffix("]")  # as it stands in an address
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise ValueError("it must be an address of this machine, or its name") from error
    return host


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _origins(text: str) -> tuple[str, ...]:
    origins = []
    for part in _list(text):
        origin = canonical_origin(part.removesuffix("/"))
        if origin is None:
            raise ValueError(
                f"{part!r} is no origin: each must be named as browsers do, such as https://hmi.plant:8443"
            )
        origins.append(origin)
    return tuple(origins)


def _gateway_name(text: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise ValueError("it must be a name of up to 64 characters")
    return name


def _yes_or_no(text: str) -> bool:
    answers = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.strip().lower() not in answers:
        raise ValueError("it must be true or false")
    return answers[text.strip().lower()]


def _cameras(text: str) -> tuple[PulledCamera, ...]:
    try:
        cameras = msgspec.json.decode(text, type=tuple[PulledCamera, ...])
    except msgspec.MsgspecError as error:
        raise ValueError(
            f'it must be a JSON list such as [{{"name": "press", "source": "rtsp://camera/stream"}}] ({error})'
        ) from error
    for camera in cameras:
        check_camera(camera)
    if len({camera.name for camera in cameras}) < len(cameras):
        raise ValueError("two cameras have the same name")
    return cameras


def check_camera(camera: PulledCamera) -> None:
    """Raise ValueError when there can be no such camera, in one sentence without its credentials."""
    check_name(camera.name)
    check_source(camera.source)
    Framing(camera.width, camera.height, Crop.parse(camera.crop) if camera.crop else None)
    if camera.fps is not None:
        Throttle(camera.fps)
    if camera.patience is not None:
        Patience.between_frames(camera.patience)


def _path(text: str) -> Path:
    if "\0" in text:
        raise ValueError("it must be a path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError("it must be a path; there is no such user's home folder") from error


def _folders(text: str) -> tuple[Path, ...]:
    folders = tuple(map(_path, _list(text)))
    if not all(folder.is_absolute() for folder in folders):
        raise ValueError("each must be a whole path, from the root: /mnt/quality, /srv/rejects")
    return folders


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise ValueError("it must be a number greater than 0")
    return value


def _threshold(text: str) -> float:
    if (value := _positive(text)) >= LARGEST:
        raise ValueError("it must be one that scores can exceed")
    return value


def _positive_or_zero(text: str) -> float:
    return 0.0 if text.strip() == "0" else _positive(text)


def _whole(least: int, most: int, *, multiple: int = 1) -> Callable[[str], int]:
    def cast(text: str) -> int:
        wanted = f"it must be a whole number from {least} to {most}" + (f", a multiple of {multiple}" * (multiple > 1))
        try:
            value = int(text)
        except ValueError as error:
            raise ValueError(wanted) from error
        if not least <= value <= most or value % multiple:
            raise ValueError(wanted)
        return value

    return cast


def _calibrate_per(text: str) -> CalibratePer:
    match text.strip().lower():
        case "all":
            return "all"
        case "stream":
            return "stream"
    raise ValueError("it must be all or stream")


def _pool(text: str) -> Pool:
    match text.strip().lower():
        case "threads":
            return "threads"
        case "ray":
            return "ray"
    raise ValueError("it must be threads or ray")


def _ray_address(text: str) -> str:
    if (address := text.strip()).startswith("ray://"):
        raise ValueError(
            "a gateway is a machine of the cluster, not a client of it: run ray start --address=HEAD:6379 --num-cpus=0 "
            "here, and set RAY_ADDRESS=auto"
        )
    if address in ("", "auto"):
        return address
    host, _, port = address.rpartition(":")
    if not host or set(host) & set("/@ ") or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        # `local`, too: Ray would start a cluster that listens on the network and asks for no secret.
        raise ValueError(
            "it must be HOST:6379, the address of the cluster's first machine, or auto for the cluster of which this "
            "machine is one; leave it out for a cluster of its own on this machine"
        )
    return address


def _cpus(text: str) -> float:
    if not 0.01 <= (value := _positive(text)) <= 1024:
        raise ValueError("it must be how many processors each replica may use, from 0.01 to 1024")
    return value


def _gpus(text: str) -> float:
    value = _positive_or_zero(text)
    if value and not (0.01 <= value <= 1 or (value <= 64 and value.is_integer())):
        raise ValueError("it must be 0, a part of one graphics card from 0.01, or a whole number of them up to 64")
    return value


def _replicas(text: str) -> tuple[int, int]:
    least, dash, most = text.strip().partition("-")
    whole = _whole(1, MAX_REPLICAS)
    low, high = whole(least), whole(most if dash else least)
    if low > high:
        raise ValueError("it must be how many, 4, or from how many to how many, 1-8")
    return low, high


def _runtime(text: str) -> str:
    name = "torch" if text == "pytorch" else text  # as the original of this idea calls it
    if name not in RUNTIMES:
        raise ValueError(f"it must be one of {', '.join(RUNTIMES)}")
    return name
