"""The detector as one OpenVINO graph: from the resized frame to patch distances, nothing in between in Python."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from detector.backbones import AnyBackbone, Features, taps_of_frame
from detector.errors import ModelError
from detector.heads import (
    DIRECTIONS,
    LEVELS,
    Corrections,
    Gaussians,
    Head,
    MemoryBanks,
    NearestNeighbour,
    half_squares,
    no_corrections,
)
from detector.input_size import InputSize
from detector.quiet_openvino import ops, ov
from detector.runtimes.runtime import PRECISION_HINTS, Distances, Seen
from detector.score import PatchMaps

_ROOM = 512
"""Entries of a memory bank with which a frame is compared at once: their products stay in a processor core's cache."""
_MORE = 64
"""Corrections by which their number grows for the graph: it takes a while to prepare for each number of them."""
_NOWHERE = np.float32(1e30)
"""Half the squared length of the entries that are room only: never the nearest."""


class OpenVINORuntime:
    """OpenVINO on the CPU in the precision asked for: left alone it would choose bfloat16 where the processor has it,
    with 3–5 % error in the features, and a threshold would not carry over from one machine to the next.

    Raises:
        ModelError: bfloat16 on a processor without it.
    """

    name = "openvino"

    def __init__(self, workers: int = 1, precision: str = "float32", threads: int | None = None) -> None:
        self._core = ov.Core()
        if precision == "bfloat16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ModelError("this processor does not compute in bfloat16: use a float32 model")
        self._precision = precision
        self.is_exact = precision != "bfloat16"
        self._configuration = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "NUM_STREAMS": str(workers),
        }
        if threads is not None:
            self._configuration["INFERENCE_NUM_THREADS"] = str(threads)

    def features(self, backbone: AnyBackbone, size: InputSize, shrink: int = 1) -> Features:
        frame, seen = _frame(size), size.shrunk(shrink)
        maps = [_to_grid(x, backbone, seen) for x in _pooled(taps_of_frame(backbone, frame, shrink), backbone)]
        rows = _rows(ops.concat(maps, 1))
        infer = _Infer(self._compile(ov.Model([rows], [frame], "features")))
        return lambda picture: infer(picture)[0]

    def distances(self, backbone: AnyBackbone, size: InputSize, head: Head) -> Distances:
        if isinstance(head, Gaussians):
            compiled = self._compile(self._mahalanobis(backbone, size, head))
            return _Fixed(_Infer(compiled))
        return _Search(_Graphs(self, backbone, size, head), head)

    def _compile(self, model: ov.Model) -> ov.CompiledModel:
        return self._core.compile_model(model, "CPU", self._configuration)

    def _mahalanobis(self, backbone: AnyBackbone, size: InputSize, head: Gaussians) -> ov.Model:
        frame = _frame(size)
        pooled = _pooled(taps_of_frame(backbone, frame), backbone)
        patches = _projected(pooled, backbone, size, head.projection, -head.mean @ head.projection)
        deviation = ops.unsqueeze(ops.subtract(patches, ops.constant(head.centres)), _axis(1))
        white = ops.matmul(deviation, ops.constant(head.whitening), False, False)
        squared = ops.reduce_sum(ops.multiply(white, white), ops.constant(np.array([1, 2])), False)
        return ov.Model([_map(ops.sqrt(squared), backbone, size)], [frame], "distances")

    def nearest(self, backbone: AnyBackbone, size: InputSize, head: MemoryBanks, correctable: bool) -> _Nearest:
        """|p - b|² = |p|² - 2 (p·b - |b|²/2) in whole steps. The banks come in as inputs, and so do corrections, of any
        number, where they are taken."""
        frame = _frame(size)
        patches, drawn = _seen(backbone, size, head, frame)
        banks = [_bank_inputs(one, scale, correctable) for one, (_, scale) in zip(patches, head.scales, strict=True)]
        inputs = [node for bank in banks for node in bank.inputs]
        more = patches if correctable else []
        if self.is_exact:
            distances = _to_banks(patches, banks, head, backbone, size, exact_int8())
            results = [*distances, *drawn]
            return _InOne(
                _Infer(self._compile(ov.Model([*results, *more], [frame, *inputs], "distances"))), len(results)
            )
        # A graph of its own: as part of a bfloat16 one, its whole numbers would be rounded to 8 bits.
        taken = [ops.parameter([1, *one.get_output_shape(0)], np.float32) for one in patches]
        rows = [ops.squeeze(one, _axis(0)) for one in taken]
        distances = _to_banks(rows, banks, head, backbone, size, exact_int8())
        signatures = _Infer(self._compile(ov.Model([*patches, *drawn], [frame], "signatures")))
        exact = self._configuration | {"INFERENCE_PRECISION_HINT": "f32"}
        search = ov.Model(distances, [*taken, *inputs], "search")
        return _InTwoSteps(signatures, _Infer(self._core.compile_model(search, "CPU", exact)), len(patches))

    def whole(self, backbone: AnyBackbone, size: InputSize, head: Head) -> ov.Model:
        """The same as a graph that takes nothing but the frame, not compiled: memory banks and corrections are
        constants in it."""
        if isinstance(head, Gaussians):
            return self._mahalanobis(backbone, size, head)
        frame = _frame(size)
        # Where it will run is not known here, and not every processor sums 8-bit products exactly. Those with bfloat16
        # do, and would round float32 to it. (As constants of 8 bits they would be multiplied with rounded patches.)
        int8 = not self.is_exact
        patches, drawn = _seen(backbone, size, head, frame)
        banks = [
            _Bank(*(ops.constant(one if int8 else one.astype(np.float32)) for one in arrays.inputs))
            for arrays in _arrays(head, bool(head.corrections))
        ]
        return ov.Model([*_to_banks(patches, banks, head, backbone, size, int8), *drawn], [frame], "distances")


class _Nearest(Protocol):
    """Frame, and what it is compared with at each scale → distances at each scale, and what drawn defects say."""

    def __call__(self, frame: NDArray[Any], *banks: NDArray[Any]) -> list[NDArray[np.float32]]: ...

    def seen(
        self, frame: NDArray[Any], *banks: NDArray[Any]
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """The same, and the patches as they are before they are rounded, where corrections are taken."""
        ...


_ALL = slice(None)


class _Infer:
    """A compiled model with one infer request a thread: a request serves one caller at a time."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self.compiled = compiled
        self._requests = threading.local()

    def __call__(self, frame: NDArray[Any], *others: NDArray[Any]) -> list[NDArray[np.float32]]:
        return self.infer(frame[None], *others)

    def infer(self, *inputs: NDArray[Any], outputs: slice = _ALL) -> list[NDArray[np.float32]]:
        """Some of the outputs, copied."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self.compiled.create_infer_request()
        found = self._requests.own.infer(dict(enumerate(inputs)), share_inputs=True)
        return [np.array(found[number], np.float32) for number in range(len(self.compiled.outputs))[outputs]]


class _InOne:
    """All in one graph, whose first outputs are the distances and what drawn defects say."""

    def __init__(self, infer: _Infer, results: int) -> None:
        self._infer, self._results = infer, results

    def __call__(self, frame: NDArray[Any], *banks: NDArray[Any]) -> list[NDArray[np.float32]]:
        return self._infer.infer(frame[None], *banks, outputs=slice(self._results))

    def seen(
        self, frame: NDArray[Any], *banks: NDArray[Any]
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        found = self._infer(frame, *banks)
        return found[: self._results], found[self._results :]


class _InTwoSteps:
    """The search apart from all before it."""

    def __init__(self, signatures: _Infer, search: _Infer, scales: int) -> None:
        self._signatures, self._search, self._scales = signatures, search, scales

    def __call__(self, frame: NDArray[Any], *banks: NDArray[Any]) -> list[NDArray[np.float32]]:
        return self.seen(frame, *banks)[0]

    def seen(
        self, frame: NDArray[Any], *banks: NDArray[Any]
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        found = self._signatures(frame)
        patches, drawn = found[: self._scales], found[self._scales :]
        return self._search.infer(*(one[None] for one in patches), *banks) + drawn, patches


class _Fixed:
    """Distances of a head that cannot change."""

    def __init__(self, infer: _Infer) -> None:
        self._infer = infer

    def __call__(self, frame: NDArray[np.uint8], /) -> PatchMaps:
        return PatchMaps(self._infer(frame)[0])

    def seen(self, frame: NDArray[np.uint8], /) -> Seen:
        raise TypeError("this model has no memory bank")

    def with_corrections(self, head: MemoryBanks) -> Distances:
        raise TypeError("this model has no memory bank")


class _Graphs:
    """What is compiled for one model: a graph that knows nothing of corrections, and one that takes them, which costs a
    little more for each frame, from the time it is needed."""

    def __init__(self, engine: OpenVINORuntime, backbone: AnyBackbone, size: InputSize, head: MemoryBanks) -> None:
        self._engine, self._how = engine, (backbone, size, head)
        self.as_taught = engine.nearest(*self._how, False)
        self._made: list[_Nearest] = []
        self._one_at_a_time = threading.Lock()

    @property
    def correctable(self) -> _Nearest:
        with self._one_at_a_time:
            if not self._made:
                self._made.append(self._engine.nearest(*self._how, True))
            return self._made[0]


class _Search:
    """Distances to memory banks, as they were taught or corrected."""

    def __init__(self, graphs: _Graphs, head: MemoryBanks) -> None:
        self._graphs, self._head = graphs, head
        self._has = head.coarse is not None, head.drawn is not None
        corrected = bool(head.corrections)
        self._infer = graphs.correctable if corrected else graphs.as_taught
        self._banks = _flat(_arrays(head, corrected))

    def __call__(self, frame: NDArray[np.uint8], /) -> PatchMaps:
        return self._maps(self._infer(frame, *self._banks))

    def seen(self, frame: NDArray[np.uint8], /) -> Seen:
        banks = self._banks if self._head.corrections else _flat(_arrays(self._head, True))
        found, patches = self._graphs.correctable.seen(frame, *banks)
        signatures = (_rounded(one, scale) for one, (_, scale) in zip(patches, self._head.scales, strict=True))
        return Seen(self._maps(found), tuple(signatures))

    def with_corrections(self, head: MemoryBanks) -> Distances:
        return _Search(self._graphs, head)

    def _maps(self, results: list[NDArray[np.float32]]) -> PatchMaps:
        found = iter(results)
        return PatchMaps(next(found), *(next(found) if there else None for there in self._has))


def _rounded(patches: NDArray[np.float32], scale: NearestNeighbour) -> NDArray[np.int8]:
    """As the graph rounds them."""
    steps = np.rint(patches * np.float32(1 / float(scale.step[0])))
    return np.asarray(np.clip(steps, -LEVELS, LEVELS), np.int8)


class _Bank(NamedTuple):
    """What a scale's patches are compared with, as arrays or as nodes: signatures of the memory bank and half their
    squares; the same of patches forgiven; conditions of what is known to be bad
    (:class:`detector.heads.KnownBad`). Nothing but the first two where no corrections are taken."""

    entries: Any
    halves: Any
    good: Any = None
    good_halves: Any = None
    towards: Any = None
    square: Any = None
    offset: Any = None

    @property
    def inputs(self) -> list[Any]:
        return [one for one in self if one is not None]


def _flat(banks: Sequence[_Bank]) -> list[NDArray[Any]]:
    return [array for bank in banks for array in bank.inputs]


def _bank_inputs(patches: ov.Node, scale: NearestNeighbour, correctable: bool) -> _Bank:
    room, length, some = _whole_tiles(len(scale.memory_bank), _ROOM), patches.get_output_shape(0)[1], ov.Dimension()
    shapes: list[tuple[list[Any], Any]] = [([room, length], np.int8), ([room], np.float32)]
    if correctable:
        shapes += [([some, length], np.int8), ([some], np.float32)]
        shapes += [([some, length], np.float32), ([some], np.float32), ([some], np.float32)]
    return _Bank(*(ops.parameter(ov.PartialShape(shape), kind) for shape, kind in shapes))


def _arrays(head: MemoryBanks, correctable: bool) -> list[_Bank]:
    """Of each scale, filled up to whole tiles."""
    banks = []
    for number, (_, scale) in enumerate(head.scales):
        bank = _filled(scale.signatures(), _ROOM)
        if correctable:
            some = head.corrections[number] if head.corrections else no_corrections(scale.memory_bank.shape[1])
            bank = _Bank(*bank[:2], *_filled(some.good, _MORE)[:2], *_conditions(some))
        banks.append(bank)
    return banks


def _filled(signatures: NDArray[np.int8], tile: int) -> _Bank:
    """Signatures and half their squares, filled up with what is never the nearest."""
    room = _whole_tiles(max(1, len(signatures)), tile)
    bank = np.zeros((room, signatures.shape[1]), np.int8)
    halves = np.full(room, _NOWHERE, np.float32)
    bank[: len(signatures)], halves[: len(signatures)] = signatures, half_squares(signatures)
    return _Bank(bank, halves)


def _conditions(some: Corrections) -> list[NDArray[np.float32]]:
    """What is known to be bad, filled up with what never is."""
    more = _whole_tiles(max(1, len(some.bad)), _MORE) - len(some.bad)
    return [np.pad(one, [(0, more)] + [(0, 0)] * (one.ndim - 1)) for one in vars(some.bad).values()]


def _whole_tiles(count: int, tile: int) -> int:
    return -(-count // tile) * tile


def _seen(
    backbone: AnyBackbone, size: InputSize, head: MemoryBanks, frame: ov.Node
) -> tuple[list[ov.Node], list[ov.Node]]:
    """A frame's patches at each scale as they are compared, and the map of what drawn defects say, if anything."""
    patches, drawn = [], list[ov.Node]()
    for shrink, scale in head.scales:
        seen = size.shrunk(shrink)
        pooled = _pooled(taps_of_frame(backbone, frame, shrink), backbone)
        offset = -scale.mean @ scale.projection
        patches.append(_signature(_projected(pooled, backbone, seen, scale.projection, offset)))
        if shrink == 1 and head.drawn is not None:
            says = _projected(pooled, backbone, seen, head.drawn.weights[:, None], head.drawn.offset)
            drawn.append(_map(says, backbone, seen))
    return patches, drawn


def _projected(
    pooled: list[ov.Node], backbone: AnyBackbone, size: InputSize, matrix: NDArray[Any], offset: NDArray[Any]
) -> ov.Node:
    """Patch features times a matrix (C×D) plus an offset (D), N×D. The product with a coarse layer is made before it is
    enlarged: both are linear."""
    together, start = None, 0
    for x, layer in zip(pooled, backbone.layers, strict=True):
        weight = matrix[start : start + layer.channels].T[:, :, None, None]
        x = ops.convolution(x, ops.constant(np.ascontiguousarray(weight)), [1, 1], [0, 0], [0, 0], [1, 1])
        x = _to_grid(x, backbone, size)
        together = x if together is None else ops.add(together, x)
        start += layer.channels
    return _rows(ops.add(together, ops.constant(offset.astype(np.float32).reshape(1, -1, 1, 1))))


def _frame(size: InputSize) -> ov.Node:
    return ops.parameter([1, *size, 3], np.uint8, name="frame")


def _to_banks(
    patches: Sequence[ov.Node],
    banks: Sequence[_Bank],
    head: MemoryBanks,
    backbone: AnyBackbone,
    size: InputSize,
    int8: bool,
) -> list[ov.Node]:
    """Maps of distances, one for each scale."""
    maps = []
    for one, bank, (shrink, scale) in zip(patches, banks, head.scales, strict=True):
        halved = _half_steps(one, float(scale.step[0]), int8)
        distances = ops.multiply(ops.sqrt(_squared_steps(halved, bank)), ops.constant(scale.step))
        if bank.towards is not None:
            distances = ops.maximum(distances, _known_bad(halved, bank))
        maps.append(_map(distances, backbone, size.shrunk(shrink)))
    return maps


def _axis(number: int) -> ov.Node:
    return ops.constant(np.array([number]))


def _signature(patches: ov.Node) -> ov.Node:
    """N×D → N×128: the first directions, and the length of the rest."""
    if patches.get_output_shape(0)[1] <= DIRECTIONS + 1:
        return patches
    first, rest = ops.variadic_split(
        patches, ops.constant(np.int64(1)), ops.constant(np.array([DIRECTIONS, -1]))
    ).outputs()
    length = ops.sqrt(ops.reduce_sum(ops.multiply(rest, rest), _axis(1), True))
    return ops.concat([first, length], 1)


def _half_steps(patches: ov.Node, step: float, int8: bool) -> ov.Node:
    """N×D signatures in half steps: OpenVINO multiplies in 8 bits where a scale follows, 1 is none to it, and halves
    are exact too."""
    steps = ops.round(ops.multiply(patches, ops.constant(np.float32(1 / step))), "half_to_even")
    if int8:  # what is quantised is whole already, so that both ways round alike
        ends = [ops.constant(np.float32(side * LEVELS * scale)) for scale in (1, 0.5) for side in (-1, 1)]
        return ops.fake_quantize(steps, *ends, 2 * LEVELS + 1)
    return ops.multiply(ops.clamp(steps, float(-LEVELS), float(LEVELS)), ops.constant(np.float32(0.5)))


def _squared_steps(halved: ov.Node, bank: _Bank) -> ov.Node:
    """N×D signatures in half steps and a bank of int8 → N squared distances to the nearest, in steps²."""
    half = ops.constant(np.float32(0.5))
    tiles = ops.constant(np.int64(0)), -(-bank.entries.get_output_shape(0)[0] // _ROOM)
    some = [node.outputs() for node in (ops.split(bank.entries, *tiles), ops.split(bank.halves, *tiles))]
    pairs = [*zip(*some, strict=True), *([(bank.good, bank.good_halves)] if bank.good is not None else [])]
    nearest = []
    for entries, squares in pairs:
        products = ops.matmul(halved, ops.multiply(ops.convert(entries, "f32"), half), False, True)
        eighths = ops.multiply(ops.unsqueeze(squares, _axis(0)), ops.constant(np.float32(0.25)))
        nearest.append(ops.reduce_max(ops.subtract(products, eighths), _axis(1), True))
    closest = ops.multiply(ops.reduce_max(ops.concat(nearest, 1), _axis(1), False), ops.constant(np.float32(2)))
    return ops.multiply(ops.subtract(_quarter_lengths(halved), closest), ops.constant(np.float32(4)))


def _quarter_lengths(halved: ov.Node) -> ov.Node:
    """N: squared lengths in half steps²."""
    return ops.reduce_sum(ops.multiply(halved, halved), _axis(1), False)


def _known_bad(halved: ov.Node, bank: _Bank) -> ov.Node:
    """N×D signatures in half steps → N: what is known of them (:meth:`detector.heads.KnownBad.says`)."""
    products = ops.multiply(ops.matmul(halved, bank.towards, False, True), ops.constant(np.float32(2)))
    lengths = ops.unsqueeze(ops.multiply(_quarter_lengths(halved), ops.constant(np.float32(4))), _axis(1))
    apart = ops.multiply(lengths, ops.unsqueeze(bank.square, _axis(0)))
    said = ops.add(ops.subtract(products, apart), ops.unsqueeze(bank.offset, _axis(0)))
    return ops.reduce_max(said, _axis(1), False)


@cache
def exact_int8() -> bool:
    """Whether 8-bit products are summed exactly here: processors without the instructions for it may cut sums off at 16
    bits. Where they are not, the same whole numbers are multiplied as float32, which takes longer."""
    patches, bank = (ops.parameter([64, DIRECTIONS + 1], kind) for kind in (np.float32, np.int8))
    halves = ops.parameter([64], np.float32)
    squared = _squared_steps(_half_steps(patches, 1.0, True), _Bank(bank, halves))
    model = ov.Model([squared], [patches, bank, halves], "exact")
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    random = np.random.default_rng(0)
    ours, theirs = (random.integers(-LEVELS, LEVELS + 1, (64, DIRECTIONS + 1)) for _ in range(2))
    ours[:8], theirs[:8] = LEVELS, LEVELS  # the largest sums there are
    theirs[8:16] = -LEVELS
    found = compiled([ours.astype(np.float32), theirs.astype(np.int8), half_squares(theirs.astype(np.int8))])[0]
    return bool(np.array_equal(found, ((ours[:, None] - theirs[None]) ** 2).sum(2).min(1)))


def _map(distances: ov.Node, backbone: AnyBackbone, size: InputSize) -> ov.Node:
    return ops.reshape(distances, ops.constant(np.array(size.grid(backbone.grid_stride))), False)


def _rows(x: ov.Node) -> ov.Node:
    """1×C×h×w → N×C."""
    _, channels, height, width = x.get_output_shape(0)
    x = ops.transpose(x, ops.constant(np.array([0, 2, 3, 1])))
    return ops.reshape(x, ops.constant(np.array([height * width, channels])), False)


def _pooled(taps: list[ov.Node], backbone: AnyBackbone) -> list[ov.Node]:
    """Finer layers averaged down to the patch grid, each then averaged over its neighbourhood."""
    pooled = []
    for x, layer in zip(taps, backbone.layers, strict=True):
        if layer.stride < backbone.grid_stride:
            step = [backbone.grid_stride // layer.stride] * 2
            x = ops.avg_pool(x, step, [0, 0], [0, 0], step, True)
        if layer.neighbourhood > 1:
            reach = [layer.neighbourhood // 2] * 2
            x = ops.avg_pool(x, [1, 1], reach, reach, [layer.neighbourhood] * 2, False)
        pooled.append(x)
    return pooled


def _to_grid(x: ov.Node, backbone: AnyBackbone, size: InputSize) -> ov.Node:
    grid = size.grid(backbone.grid_stride)
    if tuple(x.get_output_shape(0))[2:] == grid:
        return x
    return ops.interpolate(x, ops.constant(np.array(grid)), "linear", "sizes", axes=ops.constant(np.array([2, 3])))
