"""Teaching with and without a reference."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import overload

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

import detector
from detector import ModelError, TaughtModel, self_contained
from detector.model_folder import MANIFEST, Manifest
from detector.teaching import registering
from tests.detector.parts import draw_bracket, draw_lying_freely, draw_parts

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def registered() -> TaughtModel:
    """Taught on brackets that lie freely, left to itself."""
    return detector.fit(draw_lying_freely(16), image_size=64, coreset_size=100)


def test_parts_that_lie_freely_are_registered_where_it_helps(registered: TaughtModel) -> None:
    manifest = registered.manifest
    assert manifest.reference is not None and manifest.reference.is_turning
    assert manifest.registration.startswith("registered: the parts lie turned up to 1")
    assert "of drawn defects stand out against normal pictures" in manifest.registration
    plain = detector.fit(draw_lying_freely(16), image_size=64, coreset_size=100, register="off")
    assert plain.manifest.reference is None and plain.manifest.registration == ""
    assert np.mean(manifest.held_out_scores) < 0.8 * np.mean(plain.manifest.held_out_scores)


@pytest.mark.parametrize("turn", [0.0, 75.0, -160.0])
def test_a_defect_is_found_at_any_turn_and_a_good_part_passes(registered: TaughtModel, turn: float) -> None:
    good, bad = (draw_bracket(80, turn=turn, shift=(0.05, -0.02), defect=defect) for defect in (False, True))
    assert registered.detect(bad).score > registered.threshold > registered.detect(good).score
    found = registered.detect(bad)
    assert found.anomaly_map.max() == pytest.approx(found.score)


def test_the_defect_is_shown_where_the_camera_saw_it(registered: TaughtModel) -> None:
    found = registered.detect(draw_bracket(81, turn=180, shift=(0.05, 0), defect=True)).anomaly_map
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert column / found.shape[1] == pytest.approx((160 + 45 + 16) / 320, abs=0.08)
    assert row / found.shape[0] == pytest.approx((120 + 15) / 240, abs=0.08)


@pytest.mark.parametrize(
    "frame",
    [
        np.clip(40 + np.random.default_rng(0).normal(0, 3, (240, 320, 3)), 0, 255).astype(np.uint8),
        np.ascontiguousarray(draw_bracket(82, turn=30)[:, ::-1]),
        draw_parts(1)[0],
    ],
    ids=["an empty belt", "the other side", "another part"],
)
def test_what_is_no_such_part_is_an_anomaly(registered: TaughtModel, frame: Picture) -> None:
    assert registered.detect(frame).score > registered.threshold


def test_a_reference_is_part_of_the_model_folder(registered: TaughtModel, tmp_path: Path) -> None:
    registered.save(tmp_path / "bracket")
    loaded = detector.load_taught(tmp_path / "bracket")
    assert loaded.hash == registered.hash and loaded.manifest.reference == registered.manifest.reference
    frame = draw_bracket(83, turn=-70)
    assert loaded.detect(frame).score == registered.detect(frame).score
    other = msgspec.structs.replace(registered.manifest, reference=None)
    assert other.hash != registered.hash
    reworded = msgspec.structs.replace(registered.manifest, registration="")
    assert reworded.hash == registered.hash


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"registration": "x" * 501}, "says of registration has 501 characters"),
        ({"reference": {"rows": 1}}, "the reference that parts are laid on makes no sense"),
        ({"reference": {"grey": "!"}}, "damaged"),
    ],
    ids=["words", "numbers", "no base64"],
)
def test_a_damaged_reference_is_refused(
    registered: TaughtModel, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    registered.save(tmp_path / "bracket")
    path = tmp_path / "bracket" / MANIFEST
    manifest = msgspec.json.decode(path.read_bytes())
    del manifest["sha256"]
    for name, value in fields.items():
        manifest[name] = manifest[name] | value if isinstance(value, dict) else value
    path.write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(ModelError, match=message):
        detector.load_taught(tmp_path / "bracket")


def test_a_model_without_a_reference_says_nothing_of_it(model: TaughtModel) -> None:
    """So that it hashes as it did before there were references."""
    assert model.manifest.reference is None
    written = msgspec.json.decode(msgspec.json.encode(model.manifest))
    assert "reference" not in written
    before = {name: value for name, value in written.items() if name != "registration"}
    assert msgspec.json.decode(msgspec.json.encode(before), type=Manifest).hash == model.hash


def test_parts_that_hardly_move_are_not_registered(model: TaughtModel) -> None:
    assert model.manifest.registration == "not registered: the parts hardly move"


def test_a_model_with_a_reference_forgives(registered: TaughtModel) -> None:
    frame = draw_bracket(84, turn=120, defect=True)
    assert registered.detect(frame).score > registered.threshold
    seen = registered.input_of(frame)
    after = registered.corrected([registered.good_of(seen)])
    assert after.manifest.reference == registered.manifest.reference
    assert after.detect(frame).score <= registered.threshold
    assert after.detect(frame).score == after.detect_input(seen).score


def test_it_cannot_be_one_graph(registered: TaughtModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="teach it with --register off"):
        self_contained.write(registered, tmp_path)


def test_what_cannot_be_registered_is_refused_if_asked_for() -> None:
    random = np.random.default_rng(0)
    textures = [random.integers(0, 256, (96, 96, 3)).astype(np.uint8) for _ in range(6)]
    with pytest.raises(ModelError, match="6 of 6 pictures show no whole part on a plain background: teach them as"):
        detector.fit(textures, image_size=64, coreset_size=50, register="on")
    assert detector.fit(textures, image_size=64, coreset_size=50).manifest.reference is None


def test_of_few_pictures_nothing_is_measured() -> None:
    model = detector.fit(draw_lying_freely(6), image_size=64, coreset_size=50)
    assert model.manifest.registration == "not registered: fewer than 8 pictures to measure it with"


@pytest.mark.parametrize("large_enough", [0, 7])
def test_of_parts_too_small_for_drawn_defects_nothing_is_measured(
    large_enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, looked_at = registering._part_of, count()
    monkeypatch.setattr(registering, "_part_of", lambda *laid: found(*laid) if next(looked_at) < large_enough else None)
    model = detector.fit(draw_lying_freely(16), image_size=64, coreset_size=50)
    assert model.manifest.registration == "not registered: fewer than 8 pictures to measure it with"


def test_one_part_seen_again_and_again_is_taught_as_it_lies() -> None:
    """Laid on a reference it would be one part lying still, which is refused."""
    turns = np.linspace(-180, 180, 9)[:-1]
    model = detector.fit([draw_bracket(0, turn=float(turn)) for turn in turns], image_size=64, coreset_size=50)
    assert model.manifest.registration == "not registered: the pictures show one part again and again"


class Loaded(Sequence[Picture]):
    """Brackets that are drawn when asked for, and counted while anybody holds them."""

    def __init__(self, count: int) -> None:
        self._count, self.held, self.most_held = count, 0, 0

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int, /) -> Picture: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[Picture]: ...
    def __getitem__(self, index: int | slice, /) -> Picture | Sequence[Picture]:
        assert isinstance(index, int)
        if index >= self._count:
            raise IndexError
        picture = draw_bracket(index, turn=47.0 * index)
        self.held += 1
        self.most_held = max(self.held, self.most_held)
        weakref.finalize(picture, self._let_go)
        return picture

    def _let_go(self) -> None:
        self.held -= 1


def test_while_it_is_measured_pictures_are_held_one_at_a_time() -> None:
    pictures = Loaded(12)
    model = detector.fit(pictures, image_size=64, coreset_size=50)
    assert "stand out against normal pictures" in model.manifest.registration
    assert pictures.most_held <= 2  # the next one is loaded while a loop still names the last
