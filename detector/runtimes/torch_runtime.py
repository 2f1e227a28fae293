"""The same detector in torch: a second opinion on the first runtime, and a way onto hardware OpenVINO does not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from detector.backbones import MEAN, SCALE, AnyBackbone, Backbone, Convolution, Features, GraphBackbone
from detector.errors import ModelError
from detector.extras import to_install
from detector.heads import DIRECTIONS, LEVELS, Corrections, Gaussians, Head, MemoryBanks, NearestNeighbour, half_squares
from detector.input_size import InputSize
from detector.runtimes.runtime import Distances, Seen
from detector.score import PatchMaps


class TorchRuntime:
    """torch, float32, on the first GPU where there is one, else on the CPU.

    For the whole process, convolutions on Nvidia GPUs are computed in float32 from then on: left alone cuDNN rounds
    what it multiplies to 10 bits (TF32), and a part near the threshold would be judged otherwise there than on a CPU.
    """

    name = "torch"
    is_exact = True

    def __init__(self, workers: int = 1) -> None:
        torch.backends.cudnn.allow_tf32 = False
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def features(self, backbone: AnyBackbone, size: InputSize, shrink: int = 1) -> Features:
        network = _PatchFeatures(backbone, size, self._device)

        def features(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return np.asarray(network(frame, shrink).cpu().numpy(), np.float32)

        return features

    def distances(self, backbone: AnyBackbone, size: InputSize, head: Head) -> Distances:
        network = _PatchFeatures(backbone, size, self._device)
        return _ToGaussians(network, head) if isinstance(head, Gaussians) else _ToBanks(network, head)


class _ToGaussians:
    def __init__(self, network: _PatchFeatures, head: Gaussians) -> None:
        self._network = network
        self._learned = {name: network.tensor(array) for name, array in vars(head).items()}

    def __call__(self, frame: NDArray[np.uint8], /) -> PatchMaps:
        learned = self._learned
        with torch.inference_mode():
            patches = (self._network(frame) - learned["mean"]) @ learned["projection"]
            deviation = (patches - learned["centres"])[:, None]
            distances = (deviation @ learned["whitening"]).squeeze(1).norm(dim=1)
            return PatchMaps(self._network.map_of(distances))

    def seen(self, frame: NDArray[np.uint8], /) -> Seen:
        raise TypeError("this model has no memory bank")

    def with_corrections(self, head: MemoryBanks) -> Distances:
        raise TypeError("this model has no memory bank")


class _ToBanks:
    def __init__(self, network: _PatchFeatures, head: MemoryBanks) -> None:
        self._network = network
        corrections = head.corrections or [None] * len(head.scales)
        self._scales = [
            (shrink, _searched(network, scale, some))
            for (shrink, scale), some in zip(head.scales, corrections, strict=True)
        ]
        self._drawn = head.drawn and {name: network.tensor(array) for name, array in vars(head.drawn).items()}

    def __call__(self, frame: NDArray[np.uint8], /) -> PatchMaps:
        return self.seen(frame).maps

    def seen(self, frame: NDArray[np.uint8], /) -> Seen:
        network, maps, signatures, drawn = self._network, [], [], None
        with torch.inference_mode():
            for shrink, learned in self._scales:
                features = network(frame, shrink)
                whole = _whole_steps((features - learned["mean"]) @ learned["projection"], learned)
                signatures.append(np.asarray(whole.cpu().numpy(), np.int8))
                maps.append(network.map_of(_nearest(whole, learned), shrink))
                if shrink == 1 and self._drawn:
                    drawn = network.map_of(features @ self._drawn["weights"] + self._drawn["offset"])
        return Seen(PatchMaps(maps[0], maps[1] if len(maps) > 1 else None, drawn), tuple(signatures))

    def with_corrections(self, head: MemoryBanks) -> Distances:
        return _ToBanks(self._network, head)


def _searched(network: _PatchFeatures, scale: NearestNeighbour, some: Corrections | None) -> dict[str, torch.Tensor]:
    """What a scale learned, its memory bank and patches forgiven as signatures, and what is known to be bad."""
    signatures = scale.signatures()
    arrays = {name: array for name, array in vars(scale).items() if name != "memory_bank"}
    if some is not None:
        signatures = np.concatenate([signatures, some.good])
        arrays |= vars(some.bad) if len(some.bad) else {}
    arrays |= {"signatures": signatures.astype(np.float32).T, "half_squares": half_squares(signatures)}
    return {name: network.tensor(array) for name, array in arrays.items()}


def _whole_steps(patches: torch.Tensor, learned: dict[str, torch.Tensor]) -> torch.Tensor:
    """As :class:`NearestNeighbour` says: signatures."""
    if patches.shape[1] > DIRECTIONS + 1:
        patches = torch.cat((patches[:, :DIRECTIONS], patches[:, DIRECTIONS:].norm(dim=1, keepdim=True)), 1)
    return (patches * (1 / learned["step"])).round().clamp(-LEVELS, LEVELS)


def _nearest(whole: torch.Tensor, learned: dict[str, torch.Tensor]) -> torch.Tensor:
    """Distances of signatures. The products are whole numbers below 2²⁴, which float32 holds exactly."""
    nearest = (whole @ learned["signatures"] - learned["half_squares"]).amax(1)
    lengths = (whole * whole).sum(1)
    distances = (lengths - 2 * nearest).sqrt() * learned["step"]
    if "towards" not in learned:
        return distances
    said = whole @ learned["towards"].T - lengths[:, None] * learned["square"] + learned["offset"]
    return torch.maximum(distances, said.amax(1))


class _PatchFeatures:
    """Frame to N×C patch features."""

    def __init__(self, backbone: AnyBackbone, size: InputSize, device: torch.device) -> None:
        self._backbone, self._size, self._device = backbone, size, device
        self._taps = _LiteTaps(backbone, device) if isinstance(backbone, Backbone) else _timm_taps(backbone, device)

    def tensor(self, array: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(self._device)

    def map_of(self, patches: torch.Tensor, shrink: int = 1) -> NDArray[np.float32]:
        """N numbers → h×w."""
        return np.asarray(patches.reshape(self._grid(shrink)).cpu().numpy(), np.float32)

    def _grid(self, shrink: int) -> tuple[int, int]:
        return self._size.shrunk(shrink).grid(self._backbone.grid_stride)

    def __call__(self, frame: NDArray[np.uint8], shrink: int = 1) -> torch.Tensor:
        x = torch.tensor(np.ascontiguousarray(frame), device=self._device).permute(2, 0, 1)[None].float()
        if shrink > 1:
            x = F.avg_pool2d(x, shrink)
        grid, maps = self._grid(shrink), []
        for y, layer in zip(self._taps(x), self._backbone.layers, strict=True):
            if layer.stride < self._backbone.grid_stride:
                y = F.avg_pool2d(y, self._backbone.grid_stride // layer.stride)
            if layer.neighbourhood > 1:
                y = F.avg_pool2d(y, layer.neighbourhood, 1, layer.neighbourhood // 2)
            if y.shape[2:] != grid:
                y = F.interpolate(y, grid, mode="bilinear", align_corners=False)
            maps.append(y)
        return torch.cat(maps, 1)[0].flatten(1).T


def _timm_taps(backbone: GraphBackbone, device: torch.device) -> Callable[[torch.Tensor], Sequence[torch.Tensor]]:
    if not backbone.torch_form:
        raise ModelError(f"the backbone {backbone.name} exists as an OpenVINO graph only: use RUNTIME=openvino")
    try:
        from detector.backbones import unpacked
    except ImportError as error:
        raise ModelError(
            f"the backbone {backbone.name} needs timm: {to_install('torch')}, or use RUNTIME=openvino"
        ) from error
    network: Callable[[torch.Tensor], Sequence[torch.Tensor]] = unpacked(backbone.torch_form).to(device)
    return network


class _LiteTaps:
    def __init__(self, backbone: Backbone, device: torch.device) -> None:
        self._backbone = backbone
        every = (backbone.stem, *(c for block in backbone.blocks for c in block.convolutions))
        self._tensors = {
            id(c): (
                torch.from_numpy(np.ascontiguousarray(c.weight)).to(device),
                torch.from_numpy(c.bias.copy()).to(device),
            )
            for c in every
        }

    def __call__(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self._convolution((x - MEAN) / SCALE, self._backbone.stem)
        taps = []
        for number, block in enumerate(self._backbone.blocks):
            y = x
            for convolution in block.convolutions:
                y = self._convolution(y, convolution)
            x = x + y if block.residual else y
            if number in self._backbone.taps:
                taps.append(x)
        return taps

    def _convolution(self, x: torch.Tensor, convolution: Convolution) -> torch.Tensor:
        weight, bias = self._tensors[id(convolution)]
        kernel, stride = weight.shape[-1], convolution.stride
        padding = []
        for length in (x.shape[3], x.shape[2]):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            padding += [total // 2, total - total // 2]
        groups = weight.shape[0] if convolution.depthwise else 1
        x = F.conv2d(F.pad(x, padding), weight, bias, stride, groups=groups)
        return x.clamp(0, 6) if convolution.relu6 else x
