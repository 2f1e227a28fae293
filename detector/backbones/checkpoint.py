"""Reads torch's legacy ``.pth`` files without torch, and without running anything that is in them.

A legacy file is a series of pickles: magic number, protocol version, system information, the state dictionary (whose
tensors point at storages by key), the list of keys, then the storages' raw bytes. A pickle can call anything, so the
unpickler here knows three names (OrderedDict, the storage classes' names and the tensor builder, ours) and refuses
every other.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import ModelError

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "FloatStorage": "<f4",
    "LongStorage": "<i8",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "IntStorage": "<i4",
}

Tensor = NDArray[Any]


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    size: int


@dataclass(frozen=True)
class _View:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _TensorsOnly(pickle._Unpickler):  # the one in Python: the one in C can be told to allocate gigabytes
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if module == "torch" and name in _DTYPES:
            return name
        raise ModelError(f"the checkpoint asks for {module}.{name}: only tensors are allowed in one")

    def persistent_load(self, identifier: Any) -> _Storage:
        kind, dtype, key, _device, size, *_ = identifier
        if kind != "storage" or dtype not in _DTYPES or not isinstance(size, int) or size < 0:
            raise ModelError("the checkpoint holds something that is not a tensor storage")
        return _Storage(str(key), _DTYPES[dtype], size)


def _view(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _View:
    return _View(storage, offset, tuple(shape), tuple(strides))


def read_checkpoint(data: bytes) -> dict[str, Tensor]:
    """Tensors of a legacy torch checkpoint, by name.

    Args:
        data: the file's content.

    Returns:
        arrays in the checkpoint's shapes and dtypes, contiguous copies.

    Raises:
        ModelError: not such a file, damaged, or holding anything but tensors.
    """
    file = io.BytesIO(data)
    try:
        if _TensorsOnly(file).load() != _MAGIC:
            raise ModelError("not a legacy torch checkpoint")
        _TensorsOnly(file).load()
        _TensorsOnly(file).load()
        state = _TensorsOnly(file).load()
        keys = _TensorsOnly(file).load()
        views = {name: view for name, view in state.items() if isinstance(view, _View)}
        dtypes = {view.storage.key: view.storage.dtype for view in views.values()}
        storages: dict[str, Tensor] = {}
        for key in keys:
            length = int.from_bytes(file.read(8), "little")
            dtype = np.dtype(dtypes[key])
            storages[key] = np.frombuffer(file.read(length * dtype.itemsize), dtype, count=length)
        return {name: _array(storages[view.storage.key], view) for name, view in views.items()}
    except ModelError:
        raise
    except Exception as error:  # a pickle of random bytes can fail in any way there is
        raise ModelError(
            f"the checkpoint is damaged or not a legacy torch checkpoint ({type(error).__name__})"
        ) from error


def _array(storage: Tensor, view: _View) -> Tensor:
    if any(n < 0 for n in (*view.shape, *view.strides, view.offset)) or len(view.shape) != len(view.strides):
        raise ModelError("the checkpoint holds a tensor of impossible shape")
    if math.prod(view.shape) > storage.size:  # with strides of 0 a few bytes could become terabytes
        raise ModelError("the checkpoint holds a tensor larger than its storage")
    last = view.offset + sum((n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True))
    if 0 not in view.shape and last >= storage.size:
        raise ModelError("the checkpoint holds a tensor that reaches beyond its storage")
    strides = tuple(stride * storage.itemsize for stride in view.strides)
    return np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, strides, writeable=False).copy()
