"""A model that travels is the same model, or none."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector import ModelError, TaughtModel, load_taught
from server.inspection import Encoded, Looked, Wanted
from server.replicas.packed_model import base_of, packed, unpacked
from server.replicas.replica import Broken, NotHere, Replica, Request
from tests.server.fakes import BROKEN, GOOD, FakeModel, picture


@pytest.fixture(scope="module")
def model(model_folder: Path) -> TaughtModel:
    return load_taught(model_folder)


@pytest.fixture(scope="module")
def corrected(model: TaughtModel) -> TaughtModel:
    frame = Encoded(picture(200), 10_000_000)()
    good = model.good_of(model.input_of(frame), [(0.2, 0.2), (0.4, 0.2), (0.4, 0.4)])
    return model.corrected([good])


def test_it_scores_bit_for_bit_the_same(model: TaughtModel, corrected: TaughtModel) -> None:
    frame = Encoded(picture(180), 10_000_000)()
    base = base_of(corrected)
    for one in (model, corrected):
        name = packed(one)
        assert name is not None and len(pickle.dumps(name)) < 200_000
        there = unpacked(name, base, threads=1)
        assert there.hash == one.hash
        found, here = there.detect(frame), one.detect(frame)
        assert found.score == here.score
        np.testing.assert_array_equal(found.anomaly_map, here.anomaly_map)


def test_one_that_changed_on_the_way_is_refused(model: TaughtModel, corrected: TaughtModel) -> None:
    name = packed(corrected)
    assert name is not None
    with pytest.raises(ModelError, match="damaged"):
        unpacked(replace(name, corrections=()), base_of(model))
    manifest, head, network = pickle.loads(base_of(model))
    other = replace(head, fine=replace(head.fine, mean=head.fine.mean + 1))
    with pytest.raises(ModelError, match="damaged"):
        unpacked(name, pickle.dumps((manifest, other, network)))


def test_what_anomalib_exported_does_not_travel() -> None:
    assert packed(FakeModel()) is None  # type: ignore[arg-type]


def test_a_replica_looks_with_the_version_that_is_named(model: TaughtModel, corrected: TaughtModel) -> None:
    replica, frame, asked = Replica(1), Encoded(GOOD, 10_000_000), list[bytes]()

    def fetch() -> bytes:
        asked.append(base_of(model))
        return asked[-1]

    first, second = packed(model), packed(corrected)
    assert first is not None and second is not None
    assert replica.look(Request(first.hash, frame, Wanted())) == NotHere()
    assert replica.load(first, fetch) == model.hash
    assert replica.load(second, fetch) == corrected.hash
    assert len(asked) == 1, "what it learned travels once; corrections by themselves"
    for one in (model, corrected):
        looked = replica.look(Request(one.hash, frame, Wanted(one.taught_hash, keep=True)))
        assert isinstance(looked, Looked) and looked.found.score == one.detect(frame()).score
        assert looked.frame is None and looked.kept is not None
        found = replica.look(Request(one.hash, one.input_of(frame()), Wanted()))
        assert not isinstance(found, Looked | NotHere | Broken)
    assert isinstance(replica.look(Request(first.hash, Encoded(BROKEN, 100), Wanted())), Broken)


def test_models_that_nobody_wants_are_let_go_of(model: TaughtModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.replicas.replica.FORGOTTEN_S", 0.0)
    replica, name = Replica(1), packed(model)
    assert name is not None
    replica.load(name, lambda: base_of(model))
    assert replica.beat([name.hash]) == (name.hash,)
    replica.beat([])
    assert replica.beat([]) == ()
