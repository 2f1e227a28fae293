"""The original project's settings, as they are for here."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cli import main
from server.original import KEPT, LARGEST, lines
from server.settings import read_settings

THEIRS = """\
MODEL_PATH=results/Patchcore/MVTec/bottle/v3/weights/lightning/model.ckpt
MODEL_CATEGORY=bottle
RUNTIME=pytorch
IMAGE_SIZE=256
THRESHOLD=31.5
PORT=8010
API_URL=http://api:8000
"""


def test_what_means_the_same_is_kept_and_a_threshold_never(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env").write_text(THEIRS)
    (tmp_path / "calibration.json").write_text('{"threshold": 31.5}')
    (tmp_path / "datasets/MVTec/mvtec_anomaly_detection/bottle").mkdir(parents=True)
    assert main(["import-original", str(tmp_path)]) == 0
    ours = capsys.readouterr().out
    file = tmp_path / "ours.env"
    file.write_text(ours)
    settings = read_settings({}, file)
    assert (settings.runtime, settings.port, settings.host) == ("torch", 8010, "0.0.0.0")
    assert (settings.threshold, settings.image_size) == (None, None)
    assert (settings.model_category, settings.model_path) == ("bottle", Path("models/bottle"))
    assert "# left out: THRESHOLD=31.5" in ours
    assert "# left out: calibration.json" in ours
    assert "API_URL" in ours
    assert f"defectvision train {tmp_path}/datasets/MVTec/mvtec_anomaly_detection/bottle --output models/bottle" in ours


def test_a_folder_without_settings_had_the_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-original", str(tmp_path)]) == 0
    assert "HOST=0.0.0.0" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"#" * (LARGEST + 1)])
def test_what_cannot_be_read_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    file = tmp_path / "env"
    if content is not None:
        file.write_bytes(content)
    assert main(["import-original", str(file)]) == 2
    assert "give the original's folder" in capsys.readouterr().err


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: "=" not in name), st.text()))
def test_whatever_it_says_every_line_is_a_comment_or_a_setting_that_is_kept(said: dict[str, str]) -> None:
    for line in lines(said, Path("original")):
        assert len(line.splitlines()) <= 1
        assert line.startswith("#") or line.partition("=")[0] in {*KEPT, "MODEL_PATH"}
