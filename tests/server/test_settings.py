"""Settings: whatever the text, a setting or a sentence that names it."""

from __future__ import annotations

import math
import tempfile
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from server.settings import Settings, SettingsError, read_settings

NAMES = [field.name.upper() for field in fields(Settings) if field.name != "came_from"]
BUSY = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a busy machine any of these takes long once."""
NOWHERE = Path("/nonexistent/.env")


def test_without_anything_the_defaults_hold() -> None:
    assert read_settings({}, NOWHERE) == Settings()
    assert read_settings(dict.fromkeys(NAMES, ""), NOWHERE) == Settings(), "an empty value counts as unset"
    assert Settings().host == "127.0.0.1", "nobody is let in from the network unasked"


def test_settings_are_read() -> None:
    environment = {
        "HOST": "0.0.0.0",
        "PORT": "9000",
        "MODEL_PATH": "/models/bottle",
        "MODEL_CATEGORY": "bottle",
        "RUNTIME": "torch",
        "IMAGE_SIZE": "224",
        "THRESHOLD": "12.5",
        "CALIBRATE_PER": "Stream",
        "DATA_DIR": "~/dv",
        "MAX_UPLOAD_MB": "2.5",
        "MAX_FRAME_MEGAPIXELS": "0.5",
        "WORKERS": "4",
        "ACCESS_CODE": "open sesame",
        "SILENT_AFTER_S": "0",
        "WATCHDOG_S": "20",
    }
    settings = read_settings(environment, NOWHERE)
    assert (settings.host, settings.port, settings.runtime, settings.workers) == ("0.0.0.0", 9000, "torch", 4)
    assert (settings.model_path, settings.model_category) == (Path("/models/bottle"), "bottle")
    assert (settings.image_size, settings.threshold, settings.max_upload_bytes) == (224, 12.5, 2_500_000)
    assert settings.max_frame_pixels == 500_000
    assert settings.calibrate_per == "stream"
    assert settings.data_dir == Path.home() / "dv"
    assert settings.access_code == "open sesame"
    assert (settings.silent_after_s, settings.watchdog_s) == (0, 20)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=9000\nWORKERS=3\n# a comment\nMODEL_CATEGORY='wide bottle'\n")
    settings = read_settings({"PORT": "9001"}, file)
    assert (settings.port, settings.workers, settings.model_category) == (9001, 3, "wide bottle")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("PORT", value) for value in ("-1", "65536", "http", "80.5", "1e3")],
        *[("SILENT_AFTER_S", value) for value in ("-1", "never", "inf")],
        *[("WATCHDOG_S", value) for value in ("0", "-1", "nan")],
        *[("RUNTIME", value) for value in ("tensorrt", "OpenVINO ")],
        *[("IMAGE_SIZE", value) for value in ("0", "100", "32", "4096", "big")],
        *[("THRESHOLD", value) for value in ("0", "-1", "nan", "inf", "high")],
        *[("CALIBRATE_PER", value) for value in ("camera", "none", "0")],
        *[("MAX_UPLOAD_MB", value) for value in ("0", "-5", "nan", "inf", "10MB", "1e308")],
        *[("MAX_FRAME_MEGAPIXELS", value) for value in ("0", "-1", "nan", "65", "4K")],
        *[("HOST", value) for value in ("a..b", "a" * 64, "\ud800")],
        *[("DATA_DIR", value) for value in ("~nobody-of-this-name/data", "a\0b")],
        *[("WORKERS", value) for value in ("0", "65", "many")],
        *[
            ("PUBLIC_URL", value)
            for value in ("plant.example", "https://plant.example/?a", "https://a:65536", "https://a:0")
        ],
        *[
            ("ALLOWED_ORIGINS", value)
            for value in ("*", "null", "hmi.plant", "https://hmi.plant/page", "https://a:65536")
        ],
    ],
)
def test_a_setting_that_cannot_be_is_named_with_what_is_taken(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}.*must"):
        read_settings({name: value}, NOWHERE)


@BUSY
@given(st.dictionaries(st.sampled_from(NAMES), st.text() | st.integers().map(str) | st.floats().map(str)))
def test_any_environment_is_settings_or_a_sentence(environment: dict[str, str]) -> None:
    try:
        settings = read_settings(environment, NOWHERE)
    except SettingsError as error:
        assert any(name in str(error) for name in environment)
    else:
        assert 0 <= settings.port <= 65535 and 1 <= settings.workers <= 64
        assert settings.threshold is None or 0 < settings.threshold < math.inf
        assert settings.max_upload_bytes >= 0


@BUSY
@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_env_file_is_settings_or_a_sentence(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ".env"
        file.write_text(text, encoding="utf-8")
        try:
            read_settings({}, file)
        except SettingsError as error:
            assert str(error)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a byte order mark"])
def test_an_env_file_is_read_as_editors_save_it(mark: bytes, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(mark + b"WORKERS=3\r\nMODEL_CATEGORY=\xc3\xbc\r\n")
    settings = read_settings({}, file)
    assert (settings.workers, settings.model_category) == (3, "ü")


@BUSY
@given(st.binary(max_size=100))
@example(b"# Gr\xf6\xdfe\nWORKERS=3\n")
def test_any_bytes_of_an_env_file_are_settings_or_a_sentence(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ".env"
        file.write_bytes(data)
        try:
            read_settings({}, file)
        except SettingsError as error:
            assert "UTF-8" in str(error)


@pytest.mark.parametrize(
    ("environment", "closed"),
    [
        ({}, False),
        ({"HOST": "localhost"}, False),
        ({"HOST": "::1", "ACCESS_CODE": "  "}, False),
        ({"ACCESS_CODE": "12345678"}, True),
        ({"SERVER_NAMES": "line4.plant.example"}, True),
        ({"PUBLIC_URL": "https://plant.example/line4/"}, True),
        ({"HOST": "0.0.0.0"}, True),
        ({"HOST": "::"}, True),
        ({"HOST": "192.168.1.20"}, True),
    ],
)
def test_a_code_is_asked_for_where_it_is_set_and_where_others_can_come_from(
    environment: dict[str, str], closed: bool
) -> None:
    assert read_settings(environment, NOWHERE).closed is closed


def test_the_original_s_name_of_the_torch_runtime_is_taken() -> None:
    assert read_settings({"RUNTIME": "pytorch"}, NOWHERE).runtime == "torch"


def test_origins_are_taken_as_browsers_say_them() -> None:
    given = "https://HMI.plant:443/, http://10.0.0.9:8080"
    origins = read_settings({"ALLOWED_ORIGINS": given}, NOWHERE).allowed_origins
    assert origins == ("https://hmi.plant", "http://10.0.0.9:8080")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("THRESHOLD", "1e39"),
        ("THRESHOLD", "nan"),
        ("MAX_MODELS_GB", "0"),
        ("MAX_MODELS_GB", "1e9"),
        ("ARCHIVE_GB", "-1"),
        ("ARCHIVE_DAYS", "0"),
        ("ARCHIVE_FREE_GB", "inf"),
        ("SHIFTS", "06:10"),
        ("SHIFTS", "25:00"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({name: text}, NOWHERE)


def test_nothing_may_be_archived_and_nothing_kept_free() -> None:
    set_ = read_settings(
        {"ARCHIVE_GB": "0", "ARCHIVE_FREE_GB": "0", "ARCHIVE_NORMALS_S": "0", "SHIFTS": "22:00,06:00"}, NOWHERE
    )
    assert (set_.archive_gb, set_.archive_free_gb, set_.archive_normals_s) == (0, 0, 0)
    assert set_.shifts.names == ("06:00", "22:00")


def test_errors_repeat_no_credentials() -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings({"CAMERAS": "rtsp//operator:s3cret@10.0.0.9"}, NOWHERE)
    assert "CAMERAS" in str(raised.value) and "s3cret" not in str(raised.value)


def test_a_camera_faster_than_any_is_refused_before_the_start() -> None:
    with pytest.raises(SettingsError, match="fps must be above 0 and at most 240"):
        read_settings({"CAMERAS": '[{"name": "press", "source": "0", "fps": 500}]'}, NOWHERE)


def test_folders_of_sinks_are_whole_paths() -> None:
    assert read_settings({"SINK_FOLDERS": "/mnt/quality, /srv"}, NOWHERE).sink_folders == (
        Path("/mnt/quality"),
        Path("/srv"),
    )
    with pytest.raises(SettingsError, match=r"SINK_FOLDERS.*a whole path"):
        read_settings({"SINK_FOLDERS": "/mnt/quality,rejects"}, NOWHERE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("POOL", "dask"),
        ("RAY_ADDRESS", "ray://head:10001"),
        ("RAY_ADDRESS", "local"),  # Ray would start a cluster that anybody in the network may use
        ("RAY_ADDRESS", "head"),
        ("RAY_ADDRESS", "head:65536"),
        ("RAY_ADDRESS", "http://head:6379"),
        ("RAY_REPLICAS", "0"),
        ("RAY_REPLICAS", "4-2"),
        ("RAY_REPLICAS", "many"),
        ("RAY_CPUS", "0"),
        ("RAY_CPUS", "0.00001"),
        ("RAY_CPUS", "1e9"),
        ("RAY_GPUS", "1.5"),
        ("RAY_GPUS", "-1"),
        ("RAY_GPUS", "inf"),
    ],
)
def test_what_replicas_cannot_be_started_with_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({name: text}, NOWHERE)


def test_replicas_are_set() -> None:
    chosen = {"POOL": "ray", "RAY_ADDRESS": "10.0.0.7:6379", "RAY_REPLICAS": "2-40", "RAY_CPUS": "0.5", "RAY_GPUS": "2"}
    settings = read_settings(chosen, NOWHERE)
    assert (settings.pool, settings.ray_address, settings.ray_replicas) == ("ray", "10.0.0.7:6379", (2, 40))
    assert (settings.ray_cpus, settings.ray_gpus) == (0.5, 2.0)
    for address in ("auto", "[fd00::7]:6379"):
        assert read_settings({"RAY_ADDRESS": address}, NOWHERE).ray_address == address
