"""Settings, from the environment or a ``.env`` file (the environment wins)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from starlette.config import Config

from detector.runtimes import RUNTIMES

T = TypeVar("T")


class SettingsError(Exception):
    """A setting that cannot be used; the message names it and says what is taken."""


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; each field's name in capitals is its name in the environment."""

    host: str = "127.0.0.1"
    port: int = 8000
    model_path: Path | None = None
    model_category: str | None = None
    runtime: str = "openvino"
    image_size: int | None = None
    threshold: float | None = None
    data_dir: Path = Path("data")
    max_upload_mb: float = 10.0
    workers: int = 1
    access_code: str | None = None

    @property
    def max_upload_bytes(self) -> int:
        return int(self.max_upload_mb * 1_000_000)


def read_settings(environment: Mapping[str, str] | None = None, env_file: Path = Path(".env")) -> Settings:
    """Settings from the environment and ``.env`` in the folder of the start. An empty value counts as unset.

    Raises:
        SettingsError: the first setting that cannot be used.
    """
    config = Config(env_file if env_file.is_file() else None, os.environ if environment is None else environment)

    def setting(name: str, cast: Callable[[str], T], default: T) -> T:
        text = config(name, default="")
        if text == "":
            return default
        try:
            return cast(text)
        except ValueError as error:
            raise SettingsError(f"{name}={text!r} cannot be used: {error}") from error

    default = Settings()
    return Settings(
        host=setting("HOST", str, default.host),
        port=setting("PORT", _whole(0, 65535), default.port),
        model_path=setting("MODEL_PATH", _path, default.model_path),
        model_category=setting("MODEL_CATEGORY", str, default.model_category),
        runtime=setting("RUNTIME", _one_of(*RUNTIMES), default.runtime),
        image_size=setting("IMAGE_SIZE", _whole(64, 2048, multiple=16), default.image_size),
        threshold=setting("THRESHOLD", _positive, default.threshold),
        data_dir=setting("DATA_DIR", _path, default.data_dir),
        max_upload_mb=setting("MAX_UPLOAD_MB", _positive, default.max_upload_mb),
        workers=setting("WORKERS", _whole(1, 64), default.workers),
        access_code=setting("ACCESS_CODE", str, default.access_code),
    )


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise ValueError("it must be a number greater than 0")
    return value


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


def _one_of(*choices: str) -> Callable[[str], str]:
    def cast(text: str) -> str:
        if text not in choices:
            raise ValueError(f"it must be one of {', '.join(choices)}")
        return text

    return cast
