"""recipes.json: versions, who came first, what a crash and a damaged disk leave."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.ground import kept_file
from server.recipes import (
    InUseStill,
    ModelVersion,
    NotTheNewest,
    Recipe,
    RecipeBook,
    RecipeChange,
    RecipeError,
    Regions,
    recipe_book,
)
from server.recipes.recipe import MOST_CORNERS, MOST_POLYGONS
from server.recipes.recipe_book import FILE, Contents
from tests.server.recipes.test_recipe import RECIPE, SQUARE, ring


def changed(before: Recipe | None, **fields: Any) -> RecipeChange:
    after = msgspec.structs.replace(before or RECIPE, version=before.version + 1 if before else 1, **fields)
    return RecipeChange("2026-11-26T10:00:00.000+00:00", "me", "regions", "a test", "", before, after)


def test_what_is_stored_is_there_after_a_restart_with_its_history(tmp_path: Path) -> None:
    book = RecipeBook(tmp_path / "new")
    first = book.change(changed(None), stream="press", as_default=True)
    second = book.change(changed(first, name="big bottle"))
    for one in (book, RecipeBook(tmp_path / "new")):
        assert one.recipes == (second,) and one.warning is None
        assert (one.default, dict(one.chosen)) == ("1", {"press": "1"})
        assert [step.after.version for step in one.history("1")] == [2, 1]
        assert one.version("1", 1) == first and one.version("1", 3) is None


def test_of_two_who_change_a_version_the_second_is_told(tmp_path: Path) -> None:
    book = RecipeBook(tmp_path)
    first = book.change(changed(None))
    book.change(changed(first, name="one", who="Ann", why="a reason"))
    with pytest.raises(NotTheNewest, match=r"Ann changed one since \(a reason\): it is version 2 now"):
        book.change(changed(first, name="other"))
    with pytest.raises(NotTheNewest, match="nothing was deleted"):
        book.delete("1", 1)
    with pytest.raises(NotTheNewest):
        book.change(changed(None))
    assert book.get("1") is not None and book.get("1").name == "one"  # type: ignore[union-attr]


def test_what_was_deleted_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    """But the recipe of a model that was given is in no book before it is changed."""
    book = RecipeBook(tmp_path)
    first = book.change(changed(None))
    book.delete("1", 1)
    given = msgspec.structs.replace(RECIPE, id="given-1")
    with pytest.raises(NotTheNewest, match=r"big bottle was deleted since.*nothing was changed"):
        book.change(changed(first, name="big bottle"), given=given)
    assert book.recipes == ()
    second = book.change(changed(given, name="given bottle"), given=given)
    book.delete(second.id, second.version)
    with pytest.raises(NotTheNewest):
        book.change(changed(second), given=given)
    assert book.change(changed(given), given=given).version == 2


def test_what_goes_leaves_where_it_was_chosen(tmp_path: Path) -> None:
    """Such a stream is not inspected until another recipe is chosen: the default one is of another product."""
    book = RecipeBook(tmp_path)
    book.change(changed(None), stream="press")
    book.delete("1", 1)
    for there in (book, RecipeBook(tmp_path)):
        assert (there.recipes, there.default, dict(there.chosen), there.history()) == ((), None, {"press": "1"}, ())


def test_what_is_the_default_somewhere_is_not_deleted_and_no_other_takes_its_place(tmp_path: Path) -> None:
    """Each step looks at what the book says by then: another gateway may have come first."""
    book = RecipeBook(tmp_path)
    bolts = book.change(changed(None))
    book.change(changed(None, id="2", name="nuts"))
    with pytest.raises(InUseStill, match="the plant's first recipe"):
        book.delete(bolts.id, 1, keeps_first=True)
    book.choose_default("2")
    with pytest.raises(InUseStill, match="by default: choose another first"):
        book.delete("2", 1)
    book.change(changed(None, id="3", name="rings"), as_default=True)  # by somebody who saw none chosen
    book.delete(bolts.id, 1, keeps_first=True)
    assert [one.id for one in book.recipes] == ["2", "3"] and book.default == "2"


def test_of_the_models_a_recipe_had_the_newest_few_are_kept(tmp_path: Path) -> None:
    book, before = RecipeBook(tmp_path), None
    for number in range(6):
        after = msgspec.structs.replace(
            RECIPE, version=number + 1, model=ModelVersion(f"{number:064}", (f"{number:012}",))
        )
        book.change(RecipeChange("now", "me", "taught more", "", "", before, after))
        before = after
    kept = {f"{number:064}" for number in range(5 - recipe_book.MOST_EARLIER, 6)}
    assert {model.taught for model in book.named()} == kept and len(book.history()) == 6


def test_the_book_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_file, "write_atomically", lambda path, data, mode: path.write_bytes(data))  # no disk waits
    monkeypatch.setattr(recipe_book, "MOST_RECIPES", 3)
    monkeypatch.setattr(recipe_book, "MOST_CHOSEN", 5)
    monkeypatch.setattr(recipe_book, "MOST_STEPS", 10)
    book = RecipeBook(tmp_path)
    for number in range(3):
        book.change(changed(None, id=str(number)), stream=f"s{number}")
    with pytest.raises(RecipeError, match="3 recipes already"):
        book.change(changed(None, id="4"))
    for number in range(5):
        book.choose(f"s{number}", "1")
    with pytest.raises(RecipeError, match="as s0 may be, whose was chosen longest ago"):
        book.choose("s5", "1")  # none of the others is inspected with another recipe because of it
    assert [*book.chosen] == ["s0", "s1", "s2", "s3", "s4"]
    book.choose("s0", None)
    book.choose("s5", "1")
    book.choose("s5", "0")
    assert "s0" not in book.chosen and book.chosen["s5"] == "0"
    for _ in range(20):
        book.change(changed(book.get("1"), regions=msgspec.structs.replace(RECIPE.regions, ignore=(SQUARE,))))
    assert len(book.history()) == 10 and RecipeBook(tmp_path).history() == book.history()


def test_the_largest_recipes_there_may_be_are_there_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corners = ring(MOST_CORNERS)
    regions = Regions((corners,) * MOST_POLYGONS)
    many = tuple(
        msgspec.structs.replace(RECIPE, id=str(number), regions=regions) for number in range(recipe_book.MOST_RECIPES)
    )
    step = RecipeChange("now", "me", "regions", "", "", many[0], many[0])
    size = len(msgspec.json.encode(step))
    steps = (step,) * (recipe_book.MOST_BYTES_OF_STEPS // size)
    chosen = {f"{number:064}": "1" for number in range(recipe_book.MOST_CHOSEN)}
    assert len(recipe_book.encode(Contents(many, "1", chosen, steps))) < recipe_book.LARGEST_FILE - 1_000_000


def test_what_would_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RecipeBook(tmp_path).change(changed(None))
    largest = (tmp_path / FILE).stat().st_size
    monkeypatch.setattr(recipe_book, "FORM", dataclasses.replace(recipe_book.FORM, largest=largest))
    book = RecipeBook(tmp_path)
    (first,) = book.recipes
    with pytest.raises(OSError, match="would be over"):
        book.change(changed(first, name="x"))
    assert book.recipes == (first,)


def test_it_is_known_whether_all_recipes_are(tmp_path: Path) -> None:
    file = tmp_path / FILE
    assert not RecipeBook(tmp_path).names_all  # somebody may be putting a backup back
    book = RecipeBook(tmp_path)
    book.change(changed(None))
    assert book.names_all and RecipeBook(tmp_path).names_all
    whole = file.read_bytes()
    for damage in (b"{", b'{"version":99}', b""):
        file.write_bytes(damage)
        damaged = RecipeBook(tmp_path)
        assert not damaged.names_all
        damaged.change(changed(None))
        assert not damaged.names_all and not RecipeBook(tmp_path).names_all  # as long as it may be put back
        for aside in tmp_path.glob(f"{FILE}.damaged-*"):
            aside.unlink()
        assert RecipeBook(tmp_path).names_all
    file.unlink()
    file.mkdir()
    assert not RecipeBook(tmp_path).names_all
    file.rmdir()
    os.mkfifo(file)
    assert not RecipeBook(tmp_path).names_all
    file.unlink()
    file.write_bytes(whole)
    assert RecipeBook(tmp_path).names_all


def test_what_cannot_be_stored_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(28, "No space left on device")

    book = RecipeBook(tmp_path)
    first = book.change(changed(None))
    monkeypatch.setattr(kept_file, "write_atomically", full)
    for change in (lambda: book.change(changed(first, name="x")), lambda: book.choose("press", "1")):
        with pytest.raises(OSError, match="No space"):
            change()
    assert book.recipes == (first,) and not book.chosen and len(book.history()) == 1


@pytest.mark.parametrize("damage", [b"{", b"[" * 100_000, b'{"version":1,"sha256":"","contents":{}}', b"\xff"])
def test_a_damaged_file_is_set_aside_with_a_warning(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(damage)
    book = RecipeBook(tmp_path)
    assert book.warning is not None and "recipes.json was damaged" in book.warning and not book.recipes
    assert (tmp_path / f"{FILE}.damaged-1").read_bytes() == damage
    book.change(changed(None))
    assert book.warning is None


def test_a_newer_file_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"version":99}')
    warning = RecipeBook(tmp_path).warning
    assert warning is not None and "of a newer version" in warning


def test_what_cannot_be_a_recipe_is_damage_even_with_a_true_checksum(tmp_path: Path) -> None:
    bad = msgspec.structs.replace(RECIPE, name="")
    for contents in (Contents((bad,)), Contents((RECIPE, RECIPE)), Contents((), None, {}, (changed(None, name=""),))):
        (tmp_path / FILE).write_bytes(recipe_book.encode(contents))
        assert "damaged" in str(RecipeBook(tmp_path).warning)


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    book = RecipeBook(tmp_path)
    book.change(changed(None), stream="press")
    whole = (tmp_path / FILE).read_bytes()
    meant = recipe_book.decode(whole)
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        with contextlib.suppress(msgspec.MsgspecError, ValueError):
            assert recipe_book.decode(bytes(data)) == meant, position


KILLED = """
import sys
from pathlib import Path
from server.recipes import RecipeBook
from tests.server.recipes.test_recipe_book import changed
book = RecipeBook(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    book.change(changed(book.get("1"), name=f"name {len(book.history())}"))
"""


def test_killed_at_any_moment_it_is_the_old_version_or_the_new_and_the_history_agrees(tmp_path: Path) -> None:
    """The other 190 of 200 kills, while a server teaches and corrects: benchmarks/kills.py."""
    book = RecipeBook(tmp_path)
    book.change(changed(None))
    for number in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        )
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        file = tmp_path / FILE
        was = file.stat().st_mtime_ns
        while file.stat().st_mtime_ns == was:
            os.sched_yield()
        for _ in range(number * 1000):
            pass  # another moment each time
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        after = RecipeBook(tmp_path)
        assert after.warning is None
        (recipe,) = after.recipes
        versions = [step.after.version for step in after.history("1")]
        assert recipe == after.history("1")[0].after
        assert versions == [*range(recipe.version, recipe.version - len(versions), -1)]
