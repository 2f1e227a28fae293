"""``defectvision plant``: make a plant of this data directory, and say how it stands with it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from server import access, inspection, recipes
from server.ground import DatabaseAddress, DataDirectoryError, data_directory, fault, in_words, only_looked_at
from server.plant import ListedGateway, ObjectStore, Plant, PlantAway, PlantError, StoreAddress, joined_in, listed_in
from server.recipes import ModelKeep, RecipeBook, SharedModels
from server.settings import Settings, SettingsError, read_settings

SHARED = {**inspection.DOCUMENTS, **access.DOCUMENTS, **recipes.DOCUMENTS}
"""By their paths in the data directory."""

_ABOUT = (
    "Several gateways share what people work with: make a plant of this data directory, or say how this gateway stands "
    "with it. PLANT_STORE and DATABASE_URL say where."
)


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """``plant make`` and ``plant status``."""
    plant = subparsers.add_parser("plant", help="several gateways: make, status", description=_ABOUT)
    what = plant.add_subparsers(required=True, metavar="WHAT")
    make = what.add_parser(
        "make",
        help="share this data directory's recipes, models, calibrations and logins",
        description="Store what this data directory has where the plant's gateways share it (PLANT_STORE and "
        "DATABASE_URL), which must be empty still. The server has to be stopped. The history is not taken along.",
    )
    about = "whether this gateway belongs to the plant, and what the plant has"
    status = what.add_parser("status", help=about, description=f"Say {about}. Changes nothing.")
    make.set_defaults(run=_prints(_made))
    status.set_defaults(run=_prints(_said))


def _prints(work: Callable[[], str]) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        print(work())
        return 0

    return in_words(run, PlantError, SettingsError, DataDirectoryError)


def _settings() -> tuple[Settings, DatabaseAddress, StoreAddress]:
    settings = read_settings()
    if settings.plant_store is None or settings.database_url is None:
        raise SettingsError("PLANT_STORE is not set: it and DATABASE_URL say where the gateways of a plant share")
    return settings, settings.database_url, settings.plant_store


def _opened() -> tuple[Plant, Path]:
    settings, address, store = _settings()
    plant = Plant.of(address, store, settings.data_dir, settings.gateway_name)
    assert plant is not None
    return plant, settings.data_dir


def _made() -> str:
    with data_directory(read_settings().data_dir, "where a plant is made of it"):
        plant, folder = _opened()
        try:
            make_of(plant, folder)
        finally:
            plant.close()
    return f"{folder} is a gateway of the plant now, and all that it had is the plant's: start it, then the others"


def make_of(plant: Plant, folder: Path) -> None:
    """Make a plant of a data directory that no server uses. Cut off in the middle, it is done again: the models are in
    the store first, then all documents in one transaction, then this directory belongs to it.

    Raises:
        PlantError: it cannot be; nothing was changed.
        OSError: database or store do not answer.
    """
    if plant.has_joined:
        raise PlantError(f"{folder} belongs to the plant already: nothing was changed")
    documents = {Path(name).name: _bytes_of(folder / name, name) for name in SHARED}
    models = [(model.taught, model.corrections) for model in RecipeBook(folder).named()]
    keep = ModelKeep(folder, shared=SharedModels(plant.store))
    here = [(taught, corrections) for taught, corrections in models if keep.model_folder(taught).is_dir()]
    keep.share(here)
    plant.make(documents)


def _bytes_of(path: Path, name: str) -> bytes:
    form = SHARED[name]
    if (words := fault(path, form)) is not None:
        raise PlantError(f"{path.name} {words}; nothing was changed")
    data: bytes = form.bytes_of(only_looked_at(path, form), path.name)
    return data


def _said() -> str:
    settings, address, place = _settings()
    folder, store = settings.data_dir, ObjectStore(place)
    joined = "belongs to the plant" if joined_in(folder) else "has not joined the plant yet"
    try:
        (documents, gateways), objects = listed_in(address, folder), store.below("")
    except PlantAway as error:
        raise PlantError(f"{folder} {joined}; {error}") from error
    lines = [f"{folder} {joined}; its files are in {store.address}"]
    lines += [f"{one.name}  version {one.version}  changed {one.changed} by {one.gateway}" for one in documents]
    lines += [_line_of(one) for one in gateways]
    lines.append(f"{len(objects)} objects, {sum(one.size for one in objects) / 1e6:.1f} MB")
    return "\n".join(lines)


def _line_of(one: ListedGateway) -> str:
    seen = "is there" if one.is_there else f"was seen {one.seen_s / 60:.0f} minutes ago"
    streams = f", with {', '.join(one.streams)}" if one.is_there and one.streams else ""
    return f"gateway {one.name} on {one.host} ({one.software}) {seen}{streams}"
