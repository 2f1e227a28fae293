from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from detector import ModelError, TaughtModel, files, load_taught, model_folder
from detector.backbones.efficientnet_lite import CHANNELS, Backbone, GraphBackbone, load_backbone
from detector.backbones.openvino_graph import as_ir, backbone_graph
from detector.heads import DrawnDefects, Gaussians, MemoryBanks, NearestNeighbour, fitting_step
from detector.input_size import square
from detector.model_folder import MANIFEST, Manifest
from detector.region import full
from detector.runtimes import runtime
from detector.score import LARGEST


def learned(seed: int = 0, patches: int = 20) -> tuple[Manifest, MemoryBanks, Backbone]:
    random = np.random.default_rng(seed)
    bank = random.normal(size=(patches, CHANNELS)).astype(np.float32)
    head = MemoryBanks(NearestNeighbour(bank.mean(0), np.eye(CHANNELS, dtype=np.float32), bank, fitting_step(bank)))
    network = load_backbone()
    manifest = model_folder.describe(
        head,
        category="bottle",
        image_size=128,
        region=full(square(128), 8),
        precision="float32",
        network=network,
        projection="standardised",
        seed=seed,
        n_images=12,
        held_out_scores=[1.5, 1.75, 2.0],
        threshold=2.5,
        fingerprint="f" * 64,
    )
    return manifest, head, network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_folder.write(tmp_path / "bottle", *learned())
    return tmp_path / "bottle"


def change(folder: Path, **fields: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest.pop("sha256", None)  # as in folders of older versions, which must be checked as well as can be
    (folder / MANIFEST).write_text(json.dumps(manifest | fields))


def bank_file(folder: Path) -> Path:
    (path,) = folder.glob("*.safetensors")
    return path


def assert_holds(folder: Path, seed: int) -> None:
    manifest, head, _ = model_folder.read(folder)
    assert isinstance(head, MemoryBanks)
    expected, arrays, _ = learned(seed)
    assert manifest.hash == expected.hash
    assert np.array_equal(head.fine.memory_bank, arrays.fine.memory_bank)


def test_round_trip(tmp_path: Path) -> None:
    manifest, head, network = learned()
    model_folder.write(tmp_path / "deep" / "er" / "bottle", manifest, head, network)
    read, arrays, _ = model_folder.read(tmp_path / "deep" / "er" / "bottle")
    assert read == manifest and read.hash == manifest.hash
    for name in ("memory_bank", "mean", "projection"):
        assert isinstance(arrays, MemoryBanks)
        assert np.array_equal(getattr(arrays.fine, name), getattr(head.fine, name))
        assert getattr(arrays.fine, name).dtype == np.float32


def scale(seed: int) -> NearestNeighbour:
    bank = np.random.default_rng(seed).normal(size=(20, CHANNELS)).astype(np.float32)
    return NearestNeighbour(bank.mean(0), np.eye(CHANNELS, dtype=np.float32), bank, fitting_step(bank))


def described(head: MemoryBanks) -> Manifest:
    return model_folder.describe(
        head,
        category="bottle",
        image_size=256,
        region=full(square(256), 8),
        precision="float32",
        network=load_backbone(),
        projection="standardised",
        seed=0,
        n_images=12,
        held_out_scores=[1.5, 1.75, 2.0],
        threshold=2.5,
        fingerprint="f" * 64,
    )


def test_both_scales_and_what_drawn_defects_taught_come_back(tmp_path: Path) -> None:
    drawn = DrawnDefects(np.linspace(-1, 1, CHANNELS, dtype=np.float32), np.array([-0.5], np.float32))
    head = MemoryBanks(scale(1), scale(2), 2, drawn)
    model_folder.write(tmp_path / "model", described(head), head, load_backbone())
    manifest, read, _ = model_folder.read(tmp_path / "model")
    assert isinstance(read, MemoryBanks) and read.coarse is not None and read.drawn is not None
    assert (manifest.shrink, read.shrink, manifest.coreset_size) == (2, 2, 40)
    assert np.array_equal(read.coarse.memory_bank, scale(2).memory_bank)
    assert np.array_equal(read.drawn.weights, drawn.weights) and read.drawn.offset == drawn.offset


NARROW = {
    "projection": np.zeros((CHANNELS, 0), np.float32),
    "memory_bank": np.zeros((20, 0), np.float32),
}
WIDE = {"projection": np.zeros((CHANNELS, 513), np.float32), "memory_bank": np.zeros((20, 513), np.float32)}
LONG = {"projection": np.zeros((CHANNELS, 1), np.float32), "memory_bank": np.zeros((50_001, 1), np.float32)}


def drawn_with(*, weight: float = 0.0, offset: float = 0.0) -> MemoryBanks:
    return MemoryBanks(
        scale(1), drawn=DrawnDefects(np.full(CHANNELS, weight, np.float32), np.full(1, offset, np.float32))
    )


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (MemoryBanks(scale(1), None, 2), "coarse.mean is missing"),
        (MemoryBanks(scale(1), scale(2), 1), "a model of this kind has no 'coarse.mean'"),
        (MemoryBanks(scale(1), replace(scale(2), **NARROW), 2), "wrong shape: coarse.projection"),
        (MemoryBanks(replace(scale(1), **NARROW)), "wrong shape: projection"),
        (MemoryBanks(replace(scale(1), **WIDE)), "projection is 513 long, which no model's is: 512 at the most"),
        (MemoryBanks(replace(scale(1), **LONG)), "memory_bank is 50,001 long, which no model's is: 50,000 at the most"),
        (MemoryBanks(scale(1), replace(scale(2), **LONG), 2), "coarse.memory_bank is 50,001 long"),
        (MemoryBanks(scale(1), replace(scale(2), step=np.full(1, 1e9, np.float32)), 2), "step is 1e\\+09, not between"),
        (drawn_with(weight=1e37), "drawn.weights holds numbers no model has: 1e\\+37"),
        (drawn_with(offset=-1e30), "drawn.offset holds numbers no model has"),
        (MemoryBanks(scale(1), scale(2), 7), "make no sense"),
        (MemoryBanks(scale(1), drawn=DrawnDefects(np.zeros(3, np.float32), np.zeros(1, np.float32))), "drawn.weights"),
        (
            MemoryBanks(scale(1), drawn=DrawnDefects(np.full(CHANNELS, np.nan, np.float32), np.zeros(1, np.float32))),
            "drawn.weights holds numbers that are not finite",
        ),
    ],
)
def test_scales_that_cannot_be_are_one_sentence(head: MemoryBanks, message: str, tmp_path: Path) -> None:
    model_folder.write(tmp_path / "model", described(head), head, load_backbone())
    with pytest.raises(ModelError, match=message):
        model_folder.read(tmp_path / "model")


def as_graph(**odd: Any) -> GraphBackbone:
    """The packaged backbone as a graph of OpenVINO, as it lies in a model folder once it was quantised."""
    lite = load_backbone()
    xml, weights = as_ir(backbone_graph(lite, square(128)))
    return replace(GraphBackbone("by hand", "1" * 64, lite.layers, xml, weights, 8, 16), **odd)


def written(folder: Path, network: GraphBackbone, channels: int = CHANNELS) -> Path:
    """A model on it, of features of so many channels."""
    bank = np.zeros((20, channels), np.float32)
    matrix = np.eye(channels, dtype=np.float32)
    head = MemoryBanks(NearestNeighbour(bank[0], matrix, bank, np.ones(1, np.float32)))
    files = {name: hashlib.sha256(data).hexdigest() for name, data in model_folder.backbone_files(network).items()}
    about: dict[str, Any] = {"backbone": network.name, "backbone_sha256": network.sha256, "backbone_files": files}
    about |= {"layers": list(network.layers), "preprocessing": network.preprocessing}
    about |= {"tensors_sha256": model_folder.tensors_sha256(head)}
    model_folder.write(folder, msgspec.structs.replace(learned()[0], **about), head, network)
    return folder


@pytest.mark.parametrize(
    "odd", [{"neighbourhood": 11}, {"neighbourhood": 2}, {"neighbourhood": 10**9 + 1}, {"channels": 1 << 16}], ids=str
)
def test_layers_that_no_backbone_has_are_refused(odd: dict[str, int], tmp_path: Path) -> None:
    """An average over so many patches, or a matrix of so many channels, takes all memory there is."""
    network = as_graph()
    assert model_folder.read(written(tmp_path / "whole", network))[2] == network
    fine, *others = network.layers
    strange = replace(network, layers=(replace(fine, **odd), *others))
    with pytest.raises(ModelError, match="it names no graph of its backbone"):
        model_folder.read(written(tmp_path / "strange", strange))


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"xml": b"<net/>"}, "the backbone by hand cannot be used: "),
        ({"layers": load_backbone().layers[:2]}, "its graph has 1 input and 3 outputs, not 1 and 2"),
        ({"layers": tuple(replace(layer, channels=9) for layer in load_backbone().layers)}, "cannot be computed here"),
    ],
)
def test_a_graph_that_does_not_fit_is_one_sentence(odd: dict[str, Any], message: str, tmp_path: Path) -> None:
    network = as_graph(**odd)
    written(tmp_path / "model", network, sum(layer.channels for layer in network.layers))
    with pytest.raises(ModelError, match=message) as raised:
        load_taught(tmp_path / "model")
    assert "\n" not in str(raised.value)


def test_a_coarse_scale_that_teaching_never_makes_is_refused(tmp_path: Path) -> None:
    """336 pixels averaged down threefold are 112: too few patches."""
    head = MemoryBanks(scale(1), scale(2), 3)
    for side, fits in ((336, False), (384, True)):
        manifest = msgspec.structs.replace(described(head), image_size=side, region=full(square(side), 8))
        model_folder.write(tmp_path / str(side), manifest, head, load_backbone())
        if fits:
            assert model_folder.read(tmp_path / str(side))[0].shrink == 3
        else:
            with pytest.raises(ModelError, match="image size, region or threshold make no sense"):
                model_folder.read(tmp_path / str(side))


GAUSSIANS = {
    "mean": np.zeros(CHANNELS, np.float32),
    "projection": np.ones((CHANNELS, 4), np.float32),
    "centres": np.zeros((256, 4), np.float32),
    "whitening": np.ones((256, 4, 4), np.float32),
}


@pytest.mark.parametrize(
    ("tensors", "fields", "message"),
    [
        ({"whitening": np.full((256, 4, 4), 1e38, np.float32)}, {}, "whitening holds numbers no model has"),
        ({"centres": np.full((256, 4), -1e38, np.float32)}, {}, "centres holds numbers no model has"),
        (
            {
                "projection": np.zeros((CHANNELS, 0), np.float32),
                "centres": np.zeros((256, 0), np.float32),
                "whitening": np.zeros((256, 0, 0), np.float32),
            },
            {},
            "wrong shape: projection",
        ),
        ({"coarse.mean": np.zeros(CHANNELS, np.float32)}, {}, "has no 'coarse.mean'"),
        ({"drawn.offset": np.zeros(1, np.float32)}, {}, "has no 'drawn.offset'"),
        ({}, {"shrink": 2}, "padim has one scale"),
        ({}, {"coreset_size": 7}, "7 patches are in the memory banks, there are 0"),
    ],
)
def test_gaussians_that_cannot_be_are_one_sentence(
    tensors: dict[str, Any], fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "gaussians"
    head = MemoryBanks(scale(1))
    side = 256 if fields.get("shrink") else 128
    manifest = msgspec.structs.replace(described(head), image_size=side, region=full(square(side), 8))
    model_folder.write(folder, manifest, head, load_backbone())
    change(folder, **({"method": "padim", "coreset_size": 0} | fields))
    bank_of(GAUSSIANS | tensors)(folder)
    with pytest.raises(ModelError, match=message) as raised:
        model_folder.read(folder)
    assert "\n" not in str(raised.value)


def test_gaussians_come_back(tmp_path: Path) -> None:
    model_folder.write(tmp_path / "disc", *learned())
    change(tmp_path / "disc", method="padim", coreset_size=0)
    bank_of(GAUSSIANS)(tmp_path / "disc")
    assert np.array_equal(vars(model_folder.read(tmp_path / "disc")[1])["whitening"], GAUSSIANS["whitening"])


def test_whatever_numbers_a_model_has_no_frame_is_normal_by_a_score_that_is_none() -> None:
    manifest, head, network = learned()
    white = replace(Gaussians(**GAUSSIANS), whitening=np.full((256, 4, 4), 1e38, np.float32))
    odd = DrawnDefects(np.tile(np.array([1e38, -1e38], np.float32), CHANNELS // 2), np.zeros(1, np.float32))
    frame = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    for wrong in (white, replace(head, drawn=odd), replace(head, fine=replace(head.fine, step=head.fine.step * 1e38))):
        found = TaughtModel(manifest, wrong, network, runtime("openvino")).detect(frame)
        assert np.isfinite(found.score) and np.isfinite(found.anomaly_map).all()
        if wrong is white:
            assert found.score == LARGEST > manifest.threshold


def test_what_older_folders_lack_changes_neither_their_hash_nor_their_validity(folder: Path) -> None:
    assert b"shapes" not in (folder / MANIFEST).read_bytes()
    manifest, _, _ = model_folder.read(folder)
    assert manifest.shapes is None
    older = json.loads((folder / MANIFEST).read_text()) | {"created": "", "software": {}}
    del older["sha256"]
    text = msgspec.json.format(msgspec.json.encode(older), indent=2)
    assert manifest.hash == hashlib.sha256(text).hexdigest()


def test_there_is_no_pickle_in_it(folder: Path) -> None:
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".safetensors"]
    assert json.loads((folder / MANIFEST).read_text())["category"] == "bottle"


def test_the_hash_names_the_model_and_not_the_moment() -> None:
    manifest = learned()[0]
    later = msgspec.structs.replace(manifest, created="2031-01-01T00:00:00+00:00", software={"numpy": "9"})
    assert later.hash == manifest.hash
    for other in (
        learned(1)[0],
        msgspec.structs.replace(manifest, threshold=3.0),
        msgspec.structs.replace(manifest, image_size=256),
    ):
        assert other.hash != manifest.hash


def remove_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def remove_bank(folder: Path) -> None:
    bank_file(folder).unlink()


def flip_a_byte(folder: Path) -> None:
    data = bytearray(bank_file(folder).read_bytes())
    data[-5] ^= 1
    bank_file(folder).write_bytes(data)


def cut_the_bank(folder: Path) -> None:
    bank_file(folder).write_bytes(bank_file(folder).read_bytes()[:-100])


def cut_the_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[:-100])


def fill_manifest(text: bytes) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / MANIFEST).write_bytes(text)

    return fill


def with_fields(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder, **fields)


def drop_a_field(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["threshold"]
    (folder / MANIFEST).write_text(json.dumps(manifest))


def bank_of(tensors: dict[str, np.ndarray[Any, Any]]) -> Callable[[Path], None]:
    """A memory bank that fits its hash and makes no sense."""

    def replace(folder: Path) -> None:
        data = save(tensors)
        digest = hashlib.sha256(data).hexdigest()
        change(folder, tensors_sha256=digest)
        bank_file(folder).rename(folder / f"memory_bank-{digest[:16]}.safetensors").write_bytes(data)

    return replace


STATISTICS = {
    "mean": np.zeros(CHANNELS, np.float32),
    "projection": np.eye(CHANNELS, dtype=np.float32),
    "step": np.ones(1, np.float32),
}
BANK = {"memory_bank": np.zeros((9, CHANNELS), np.float32)}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "there is no folder .* defectvision train"),
        (remove_manifest, "it has no manifest.json"),
        (remove_bank, r"it has no memory_bank-\w+\.safetensors"),
        (flip_a_byte, "damaged: its sha256 is not the one in the manifest; copy the folder again"),
        (cut_the_bank, "damaged: its sha256"),
        (cut_the_manifest, r"manifest\.json is damaged"),
        (fill_manifest(b""), "is damaged"),
        (fill_manifest(b"not json"), "is damaged"),
        (fill_manifest(b"\xff\xfe{}"), "is damaged"),
        (fill_manifest(b"[]"), "is damaged"),
        (fill_manifest(b"[" + 2_000_000 * b"0," + b"0]"), "it has 4,000,003 bytes, which no model's has"),
        (fill_manifest(b"[" * 100_000), "is damaged"),
        (fill_manifest(b"{}"), "model format None, this software reads 4"),
        (drop_a_field, "is damaged .*.*threshold"),
        (with_fields(format_version=1), "model format 1, this software reads 4: teach it again"),
        (with_fields(format_version="1"), "model format '1'"),
        (with_fields(format_version=int("1" * 400)), "model format 1{59}…, this"),
        (with_fields(backbone="resnet18"), "backbone resnet18 .*, here is .* teach it again"),
        (with_fields(backbone_sha256="0" * 64), "backbone efficientnet-lite0 \\(000000000000"),
        (with_fields(preprocessing="none"), "another preprocessing, pooling or score definition"),
        (with_fields(pooling="none"), "another preprocessing, pooling or score definition"),
        (with_fields(score="median"), "another preprocessing, pooling or score definition"),
        (with_fields(image_size=100), "image size, region or threshold make no sense"),
        (with_fields(image_size=1 << 20), "image size, region or threshold make no sense"),
        (
            with_fields(region={"columns": 9, "rows": 16, "left": 0, "top": 0, "width": 16, "height": 16}),
            "region or threshold make no",
        ),
        (
            with_fields(region={"columns": 16, "rows": 16, "left": 1, "top": 0, "width": 16, "height": 16}),
            "region or threshold make no",
        ),
        (
            with_fields(region={"columns": 8, "rows": 8, "left": 0, "top": 0, "width": 8, "height": 8}),
            "region or threshold make no",
        ),
        (with_fields(method="svm"), "is damaged"),
        (with_fields(method="padim"), "is damaged"),
        (with_fields(threshold=0), "image size, region or threshold make no sense"),
        (with_fields(threshold=1e300), "image size, region or threshold make no sense"),
        (with_fields(threshold=1e30), "a threshold of 1e\\+30 does not follow from its held-out scores"),
        (with_fields(threshold=27.0), "a threshold of 27 does not follow from its held-out scores"),
        (with_fields(threshold=1.7), "a threshold of 1.7 does not follow"),
        (with_fields(held_out_scores=[1e308, -1e308]), "does not follow"),
        (with_fields(held_out_scores=[], threshold=1e30), "0 of 12 images cannot have been held out"),
        (with_fields(held_out_scores=[2.5]), "1 of 12 images cannot have been held out"),
        (with_fields(n_images=-1), "3 of -1 images cannot"),
        (with_fields(n_images=2), "3 of 2 images cannot"),
        (with_fields(coreset_size=-5), "-5 patches are in the memory banks, there are 20"),
        (with_fields(shapes=[0, -1]), "narrowest of its images"),
        (with_fields(shapes=[-1, 2]), "narrowest of its images"),
        (with_fields(shapes=[2, 1]), "narrowest of its images"),
        (with_fields(category="x" * 1_000_000), "its category has 1000000 characters"),
        (with_fields(precision="int8"), "its backbone does not compute in int8"),
        (with_fields(seed=-1), "-1 is no seed"),
        (with_fields(layers=[]), "made with other layers of efficientnet-lite0"),
        (with_fields(sha256="0" * 64), "is damaged or was changed: its sha256"),
        (fill_manifest(b'{"a":' * 100_000), "is damaged"),
        (fill_manifest(b'{"format_version":4,"x":' + b"[" * 100_000), "is damaged"),
        (with_fields(threshold="high"), "is damaged .*.*threshold"),
        (with_fields(tensors_sha256="0" * 64), "it has no memory_bank-0000000000000000"),
        (with_fields(tensors_sha256="../../etc/passwd"), "is damaged .*.*tensors_sha256"),
        (with_fields(tensors_sha256="\0"), "is damaged .*.*tensors_sha256"),
        (bank_of(STATISTICS), "is damaged: memory_bank is missing"),
        (bank_of(STATISTICS | BANK | {"more": np.ones(1, np.float32)}), "a model of this kind has no 'more'"),
        (bank_of(STATISTICS | BANK | {"step": np.full(1, 1e12, np.float32)}), "holds numbers no model has"),
        (bank_of(STATISTICS | {"memory_bank": np.full((9, CHANNELS), np.inf, np.float32)}), "that are not finite"),
        (bank_of(STATISTICS | {"memory_bank": np.ones((), np.float32)}), "wrong shape: memory_bank"),
        (bank_of(STATISTICS | {"memory_bank": np.zeros((9, 3), np.float32)}), "tensors have the wrong shape"),
        (bank_of(STATISTICS | {"memory_bank": np.zeros((0, CHANNELS), np.float32)}), "tensors have the wrong shape"),
        (bank_of(STATISTICS | {"memory_bank": np.zeros((9, CHANNELS), np.float64)}), "tensors have the wrong shape"),
        (bank_of(STATISTICS | BANK | {"step": np.ones((), np.float32)}), "tensors have the wrong shape: step"),
        (bank_of(STATISTICS | BANK | {"step": np.zeros(1, np.float32)}), "quantisation step is 0, not between"),
    ],
)
def test_every_damage_is_one_clear_error(damage: Callable[[Path], None], message: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=message) as raised:
        model_folder.read(folder)
    assert str(folder) in str(raised.value) and "\n" not in str(raised.value)


def test_every_flipped_bit_of_the_manifest_is_one_sentence_or_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "bottle"
    manifest, head, network = learned(patches=2)
    model_folder.write(folder, manifest, head, network)
    whole = (folder / MANIFEST).read_bytes()
    for position in range(0, 8 * len(whole), 5):  # each of a byte's eight, in turn
        data = bytearray(whole)
        data[position // 8] ^= 1 << position % 8
        (folder / MANIFEST).write_bytes(data)
        try:
            read = model_folder.read(folder)[0]
        except ModelError as error:
            assert str(folder) in str(error) and "\n" not in str(error)
        else:
            assert read == manifest, position


def test_a_manifest_without_a_checksum_is_read(folder: Path) -> None:
    change(folder)
    assert_holds(folder, 0)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), lambda x: st.dictionaries(st.text(), x) | st.lists(x)).map(lambda x: json.dumps(x).encode()))  # fmt: skip  # noqa: E501
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_manifest_is_one_sentence(folder: Path, data: bytes) -> None:
    (folder / MANIFEST).write_bytes(data)
    with pytest.raises(ModelError) as raised:
        model_folder.read(folder)
    assert str(folder) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(put: Callable[[Path], None], folder: Path) -> None:
    for name in sorted(path.name for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".xml")):
        aside = folder.parent / name
        (folder / name).rename(aside)
        put(folder / name)
        with pytest.raises(ModelError):
            model_folder.read(folder)
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
        aside.rename(folder / name)
    model_folder.read(folder)


def test_a_file_is_not_a_model_folder(tmp_path: Path) -> None:
    (tmp_path / "bottle").write_text("hello")
    with pytest.raises(ModelError, match=r"there is no folder"):
        model_folder.read(tmp_path / "bottle")


def test_of_two_who_write_at_once_neither_takes_the_other_s_tensors_for_old_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has written its manifest and is about to remove what is not its own; the second's tensors are new."""
    tidy, written, go_on = model_folder.tidy, threading.Event(), threading.Event()

    def late(place: Path, manifest: Manifest) -> None:
        if not written.is_set():
            written.set()
            assert go_on.wait(20)
        tidy(place, manifest)

    monkeypatch.setattr(model_folder, "tidy", late)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(model_folder.write, folder, *learned(1))
        assert written.wait(20)
        second = pool.submit(model_folder.write, folder, *learned(2))
        with contextlib.suppress(TimeoutError):
            second.result(0.5)
        go_on.set()
        first.result(20)
        second.result(20)
    assert_holds(folder, 2)


def test_half_a_folder_of_a_crash_goes_when_the_model_is_next_written(tmp_path: Path) -> None:
    half, another = (files.temporary_beside(tmp_path / name) for name in ("bottle", "cap"))
    for place in (half, another):
        place.mkdir()
        (place / "memory_bank-0123.safetensors").write_bytes(bytes(1000))
        os.utime(place, (0, 0))
    model_folder.write(tmp_path / "bottle", *learned())
    assert sorted(tmp_path.iterdir()) == sorted([another, tmp_path / "bottle"])


def test_a_newer_model_replaces_an_older_one_and_leaves_nothing_of_it(folder: Path) -> None:
    (folder / model_folder.GRAPH_FOLDER).mkdir()
    (folder / model_folder.GRAPH_FOLDER / "model.xml").write_text("of the older model")
    model_folder.write(folder, *learned(1))
    assert_holds(folder, 1)
    assert len(list(folder.iterdir())) == 2
    assert list(folder.parent.iterdir()) == [folder]


def test_the_same_model_can_be_written_again(folder: Path) -> None:
    model_folder.write(folder, *learned())
    assert_holds(folder, 0)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "bottle").mkdir()
    model_folder.write(tmp_path / "bottle", *learned())
    assert_holds(tmp_path / "bottle", 0)


def test_what_is_not_a_model_folder_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name in ("photos", "file"):
        with pytest.raises(ModelError, match="not a model folder: choose another place, nothing was written"):
            model_folder.write(tmp_path / name, *learned())
    assert (tmp_path / "photos" / "holiday.jpg").read_text() == (tmp_path / "file").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 2


class PowerCut(BaseException):
    """Not an error anyone handles: the process is gone."""


def stop_at(number: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let ``number`` changes of the disk happen and fail at the next."""
    left = iter(range(number))

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if next(left, None) is None:
                raise error
            return original(*arguments, **options)

        return step

    monkeypatch.setattr(model_folder, "write_atomically", counted(files.write_atomically))
    monkeypatch.setattr(model_folder, "sync_folder", counted(files.sync_folder))
    for name in ("mkdir", "rename", "replace", "unlink"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))


@pytest.mark.parametrize("steps", range(8))
def test_a_crash_while_replacing_leaves_the_old_model_or_the_new_one(
    steps: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(steps, patch, PowerCut())
        with contextlib.suppress(PowerCut):
            model_folder.write(folder, *learned(1))
    assert model_folder.read(folder)[0].hash in (learned(0)[0].hash, learned(1)[0].hash)
    model_folder.write(folder, *learned(2))
    assert_holds(folder, 2)
    assert len(list(folder.glob("*.safetensors"))) == 1


@pytest.mark.parametrize("steps", range(9))
def test_a_crash_while_writing_the_first_leaves_none_or_a_whole_one(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(steps, patch, PowerCut())
        with contextlib.suppress(PowerCut):
            model_folder.write(tmp_path / "bottle", *learned())
    if (tmp_path / "bottle").exists():
        assert_holds(tmp_path / "bottle", 0)
    model_folder.write(tmp_path / "bottle", *learned(1))
    assert_holds(tmp_path / "bottle", 1)


def test_a_full_disk_is_a_clear_error_and_keeps_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_at(0, patch, OSError(28, "No space left on device"))
        with pytest.raises(ModelError, match=r"cannot be written to .*bottle: No space left on device"):
            model_folder.write(folder, *learned(1))
    assert_holds(folder, 0)
