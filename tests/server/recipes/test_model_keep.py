"""Models on disk, named by what they are."""

from __future__ import annotations

import io
import os
import shutil
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from detector import ModelError
from detector.model_folder import read_manifest
from server.plant import Listed, ObjectStore, StoreAddress
from server.recipes import SUFFIXES, Correction, ModelKeep, NoRoom, SharedModels, model_keep

TAUGHT, OTHER = "a" * 64, "b" * 64


def made(folder: Path) -> tuple[Path, Path]:
    """A model folder and one of pictures, as teaching leaves them."""
    model, pictures = folder / "model", folder / "pictures"
    for each in (model, pictures):
        each.mkdir(parents=True)
    (model / "manifest.json").write_text("{}")
    for number in (2, 10, 1):
        (pictures / f"{number}.png").write_bytes(b"png")
    (pictures / "notes.txt").write_text("not a picture")
    return model, pictures


def correction(name: str) -> Correction:
    return Correction(name, "good", True, "now", "me", "", "press", None, 9.0, 8.0, 1)


def test_a_model_moves_in_with_its_pictures(tmp_path: Path) -> None:
    keep = ModelKeep(tmp_path)
    keep.put(TAUGHT, *made(tmp_path / "work"))
    assert (keep.model_folder(TAUGHT) / "manifest.json").exists()
    assert [path.name for path in keep.pictures(TAUGHT)] == ["1.png", "2.png", "10.png"]
    assert keep.pictures(OTHER) == []
    keep.put(TAUGHT, *made(tmp_path / "again"))  # the same pictures make the same model
    assert not (tmp_path / "again" / "model").exists()


def test_corrections_are_written_and_read(tmp_path: Path) -> None:
    keep = ModelKeep(tmp_path)
    keep.keep_correction(TAUGHT, correction("0123456789ab"), {"fine": np.ones((2, 3), np.int8)}, b"jpeg", b"png")
    assert keep.correction(TAUGHT, "0123456789ab") == correction("0123456789ab")
    assert keep.patches(TAUGHT, "0123456789ab")["fine"].shape == (2, 3)
    assert keep.correction_file(TAUGHT, "0123456789ab", ".jpg") == b"jpeg"
    keep.put(TAUGHT, *made(tmp_path / "work"))  # of a model that was given before
    assert keep.correction(TAUGHT, "0123456789ab").kind == "good" and keep.pictures(TAUGHT)


def test_a_correction_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    keep, name = ModelKeep(tmp_path), "0123456789ab"
    files = {".json": b"{}", ".safetensors": b"what it keeps", ".jpg": b"jpeg", ".png": b"png"}
    keep.put_correction(TAUGHT, name, files)
    for suffix in files:
        with pytest.raises(ModelError, match="another correction 0123456789ab"):
            keep.put_correction(TAUGHT, name, files | {suffix: b"another"})
    keep.put_correction(TAUGHT, name, files)  # as when a recipe file is taken in twice
    (tmp_path / "models" / TAUGHT / "corrections" / f"{name}.json").unlink()  # as a crash leaves it
    keep.put_correction(TAUGHT, name, files)
    assert {suffix: keep.correction_file(TAUGHT, name, suffix) for suffix in files} == files


def test_what_a_crash_left_is_removed_and_models_stay(tmp_path: Path) -> None:
    """And a model that is being brought: there may be one before a library is opened."""
    keep = ModelKeep(tmp_path)
    keep.remove_unfinished()  # nothing is there yet
    keep.put(TAUGHT, *made(tmp_path / "one"))
    left, brought = (tmp_path / "models" / f".work.{number}.tmp" for number in ("0123abcd", "4567abcd"))
    left.mkdir()
    os.utime(left, (1.0, 1.0))
    brought.mkdir()
    keep.remove_unfinished()
    assert {path.name for path in (tmp_path / "models").iterdir()} == {TAUGHT, brought.name}
    assert keep.has_pictures(TAUGHT)
    assert not keep.has_pictures(OTHER)


@pytest.mark.parametrize("name", ["../../etc/passwd", "0123456789AB", "", "0123456789abc", "0123456789ab/.."])
def test_a_name_that_climbs_out_of_the_folder_is_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no correction"):
        ModelKeep(tmp_path).correction_file(TAUGHT, name, ".jpg")
    with pytest.raises(ModelError, match="no model's hash"):
        ModelKeep(tmp_path).model_folder(f"../{TAUGHT}")


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    keep = ModelKeep(tmp_path)
    keep.keep_correction(TAUGHT, correction("0123456789ab"), {}, b"jpeg", b"png")
    folder = tmp_path / "models" / TAUGHT / "corrections"
    for suffix in (".json", ".safetensors"):
        (folder / f"0123456789ab{suffix}").write_bytes(b"{" * 1000)
    with pytest.raises(ModelError, match="damaged"):
        keep.correction(TAUGHT, "0123456789ab")
    with pytest.raises(ModelError, match="damaged"):
        keep.patches(TAUGHT, "0123456789ab")
    with pytest.raises(ModelError, match="cannot be read"):
        keep.correction(TAUGHT, "0" * 12)


def test_what_no_recipe_names_is_removed(tmp_path: Path) -> None:
    keep = ModelKeep(tmp_path)
    keep.put(TAUGHT, *made(tmp_path / "one"))
    keep.put(OTHER, *made(tmp_path / "two"))
    for name in ("0" * 12, "1" * 12):
        keep.keep_correction(TAUGHT, correction(name), {}, b"jpeg", b"png")
    (tmp_path / "models" / "somebody's notes").mkdir()
    keep.tidy([(TAUGHT, ["0" * 12])])
    assert keep.pictures(TAUGHT) and not keep.model_folder(OTHER).exists()
    assert keep.correction(TAUGHT, "0" * 12)
    with pytest.raises(ModelError):
        keep.correction(TAUGHT, "1" * 12)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [TAUGHT, "somebody's notes"]


def test_what_would_be_too_much_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    keep = ModelKeep(tmp_path, 300)
    keep.put(TAUGHT, *made(tmp_path / "one"))
    assert keep.size == len("{}") + 3 * len(b"png") + len("not a picture") == ModelKeep(tmp_path).size
    (tmp_path / "large" / "model").mkdir(parents=True)
    (tmp_path / "large" / "model" / "bank").write_bytes(bytes(280))
    with pytest.raises(NoRoom, match="delete recipes that are not used any more, or set MAX_MODELS_GB higher"):
        keep.put(OTHER, tmp_path / "large" / "model", None)
    assert (tmp_path / "large" / "model" / "bank").exists() and keep.there() == {TAUGHT}
    for name, size in (("0" * 12, 20), ("1" * 12, 60)):
        files = {suffix: bytes(size) for suffix in SUFFIXES}
        if size == 20:
            keep.put_correction(TAUGHT, name, files)
        else:
            with pytest.raises(NoRoom):
                keep.put_correction(TAUGHT, name, files)
    assert keep.size == 24 + 80 == ModelKeep(tmp_path).size
    keep.tidy([(TAUGHT, [])])
    assert keep.size == 24
    keep.put(TAUGHT, *made(tmp_path / "again"))  # which is here: it takes nothing more
    assert ModelKeep(tmp_path).size == 24


def test_where_the_disk_is_full_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=model_keep.KEPT_FREE + 50_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    keep = ModelKeep(tmp_path)
    keep.require_room(40_000_000)
    keep.require_room(400_000_000, writes=40_000_000)
    with pytest.raises(NoRoom, match="has 250 MB left, and 260 MB are needed: make room on it"):
        keep.require_room(60_000_000)


def shared_by(store: Path, folder: Path) -> ModelKeep:
    """The models of one gateway of a plant."""
    return ModelKeep(folder, shared=SharedModels(ObjectStore(StoreAddress("file", str(store)))))


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are taken for what they are called."""
    monkeypatch.setattr(model_keep, "check_is", lambda taught, folder: None)


@pytest.mark.usefixtures("made_up")
def test_what_comes_to_one_gateway_can_be_fetched_by_another(tmp_path: Path) -> None:
    mine, theirs = (shared_by(tmp_path / "store", tmp_path / name) for name in ("mine", "theirs"))
    mine.put(TAUGHT, *made(tmp_path / "taught"))
    mine.put_correction(TAUGHT, "0123456789ab", dict.fromkeys(SUFFIXES, b"said"))
    theirs.look_for_shared()
    assert theirs.is_kept(TAUGHT) and theirs.has_pictures(TAUGHT) and not theirs.model_folder(TAUGHT).exists()
    theirs.bring([(TAUGHT, ("0123456789ab",)), ("b" * 64, ())])  # the last was given to another gateway at its start
    assert (theirs.model_folder(TAUGHT) / "manifest.json").read_bytes() == b"{}"
    assert theirs.correction_file(TAUGHT, "0123456789ab", ".png") == b"said"
    assert theirs.pictures(TAUGHT) == []
    theirs.bring_pictures(TAUGHT)
    assert [path.name for path in theirs.pictures(TAUGHT)] == [path.name for path in mine.pictures(TAUGHT)] != []
    assert theirs.size == mine.size
    assert [*theirs.folder.glob(".*")] == [*mine.folder.glob(".*")] == []


@pytest.mark.usefixtures("made_up")
def test_what_is_damaged_in_the_store_leaves_nothing_here(tmp_path: Path) -> None:
    mine, theirs = (shared_by(tmp_path / "store", tmp_path / name) for name in ("mine", "theirs"))
    mine.put(TAUGHT, made(tmp_path / "taught")[0], None)
    (stored,) = (tmp_path / "store").rglob("model.zip")
    whole = stored.read_bytes()
    twice = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(twice, "w") as archive:
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("manifest.json", b"{}")
    for data in (b"", whole[:-30], whole.replace(b"{}", b"[]", 1), twice.getvalue()):
        stored.write_bytes(data)
        with pytest.raises(ModelError, match="is damaged"):
            theirs.bring([(TAUGHT, ())])
        assert not theirs.model_folder(TAUGHT).exists() and [*theirs.folder.glob(".*")] == []
    stored.write_bytes(whole)
    theirs.bring([(TAUGHT, ())])
    assert theirs.model_folder(TAUGHT).is_dir()


def test_what_no_recipe_names_goes_from_the_store_a_day_later(tmp_path: Path) -> None:
    keep = shared_by(tmp_path / "store", tmp_path / "mine")
    keep.put(TAUGHT, made(tmp_path / "taught")[0], None)
    keep.put_correction(TAUGHT, "0123456789ab", dict.fromkeys(SUFFIXES, b"said"))
    keep.tidy([])
    assert len([*(tmp_path / "store").rglob("*.zip")]) == 2  # somebody may be about to name them
    for path in (tmp_path / "store").rglob("*.zip"):
        os.utime(path, (1.0, 1.0))
    keep.tidy([(TAUGHT, ())])
    assert [path.name for path in (tmp_path / "store").rglob("*.zip")] == ["model.zip"]
    keep.tidy([])
    assert [*(tmp_path / "store").rglob("*.zip")] == []


def test_another_model_under_a_hash_does_not_come_here(tmp_path: Path, disc_folder: Path) -> None:
    mine, theirs = (shared_by(tmp_path / "store", tmp_path / name) for name in ("mine", "theirs"))
    for taught in (TAUGHT, read_manifest(disc_folder).hash):
        shutil.copytree(disc_folder, tmp_path / "disc")
        mine.put(taught, tmp_path / "disc", None)
    with pytest.raises(ModelError, match="is another one"):
        theirs.bring([(TAUGHT, ()), (taught, ())])
    assert [theirs.model_folder(one).is_dir() for one in (TAUGHT, taught)] == [False, True]
    assert [*theirs.folder.glob(".*")] == []


def test_what_others_removed_or_lost_in_the_store_is_put_there_again(tmp_path: Path) -> None:
    mine, theirs = (shared_by(tmp_path / "store", tmp_path / name) for name in ("mine", "theirs"))
    mine.put(TAUGHT, made(tmp_path / "taught")[0], None)
    (stored,) = (tmp_path / "store").rglob("model.zip")
    os.utime(stored, (1.0, 1.0))
    theirs.tidy([])
    assert not stored.exists()
    mine.put(TAUGHT, made(tmp_path / "again")[0], None)  # imported once more, though it lies here still
    assert stored.exists()
    os.utime(stored, (1.0, 1.0))
    mine.put(TAUGHT, made(tmp_path / "once more")[0], None)
    theirs.tidy([])  # of one that does not know yet that a recipe is about to name it
    assert stored.exists()
    stored.unlink()
    mine.look_for_shared()
    mine.bring([(TAUGHT, ())])  # a recipe names it
    assert stored.exists()


def test_what_is_stored_anew_while_another_tidies_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = (shared_by(tmp_path / "store", tmp_path / name) for name in ("mine", "theirs"))
    mine.put(TAUGHT, made(tmp_path / "taught")[0], None)
    (stored,) = (tmp_path / "store").rglob("model.zip")
    os.utime(stored, (1.0, 1.0))
    below = ObjectStore.below

    def listed(store: ObjectStore, folder: str) -> list[Listed]:
        found = below(store, folder)
        mine.share([(TAUGHT, ())])
        return found

    monkeypatch.setattr(ObjectStore, "below", listed)
    theirs.tidy([])
    assert stored.exists()


def test_a_clock_that_is_days_ahead_removes_nothing_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = shared_by(tmp_path / "store", tmp_path / "mine")
    keep.put(TAUGHT, made(tmp_path / "taught")[0], None)
    ahead = time.time() + 10 * 86_400
    monkeypatch.setattr(time, "time", lambda: ahead)
    keep.tidy([])
    assert len([*(tmp_path / "store").rglob("*.zip")]) == 1
