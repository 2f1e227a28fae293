"""The same detector in torch: a second opinion on the first runtime, and a way onto hardware OpenVINO does not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from detector.backbones import MEAN, SCALE, AnyBackbone, Backbone, Convolution, Features, GraphBackbone
from detector.errors import ModelError
from detector.heads import DIRECTIONS, LEVELS, Gaussians, Head, NearestNeighbour, half_squares
from detector.input_size import InputSize
from detector.runtimes.runtime import Distances


class TorchRuntime:
    """torch, float32, on the first GPU where there is one, else on the CPU."""

    name = "torch"

    def __init__(self, workers: int = 1) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def features(self, backbone: AnyBackbone, size: InputSize) -> Features:
        network = _PatchFeatures(backbone, size, self._device)

        def features(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return np.asarray(network(frame).cpu().numpy(), np.float32)

        return features

    def distances(self, backbone: AnyBackbone, size: InputSize, head: Head) -> Distances:
        return _Distances(_PatchFeatures(backbone, size, self._device), head)


class _Distances:
    def __init__(self, network: _PatchFeatures, head: Head) -> None:
        self._network, self._head = network, head
        arrays = dict(vars(head))
        if isinstance(head, NearestNeighbour):
            signatures = head.signatures()
            del arrays["memory_bank"]  # compared by its signatures
            arrays |= {"signatures": signatures.astype(np.float32).T, "half_squares": half_squares(signatures)}
        self._tensors = {name: network.tensor(array) for name, array in arrays.items()}

    def __call__(self, frame: NDArray[np.uint8], /) -> NDArray[np.float32]:
        learned = self._tensors
        with torch.inference_mode():
            patches = (self._network(frame) - learned["mean"]) @ learned["projection"]
            if isinstance(self._head, Gaussians):
                deviation = (patches - learned["centres"])[:, None]
                distances = (deviation @ learned["whitening"]).squeeze(1).norm(dim=1)
            else:
                distances = _nearest(patches, learned)
            return np.asarray(distances.reshape(self._network.grid).cpu().numpy(), np.float32)

    def with_bank(self, head: NearestNeighbour) -> Distances:
        return _Distances(self._network, head)


def _nearest(patches: torch.Tensor, learned: dict[str, torch.Tensor]) -> torch.Tensor:
    """As :class:`NearestNeighbour` says. The products are whole numbers below 2²⁴, which float32 holds exactly."""
    if patches.shape[1] > DIRECTIONS + 1:
        patches = torch.cat((patches[:, :DIRECTIONS], patches[:, DIRECTIONS:].norm(dim=1, keepdim=True)), 1)
    whole = (patches * (1 / learned["step"])).round().clamp(-LEVELS, LEVELS)
    nearest = (whole @ learned["signatures"] - learned["half_squares"]).amax(1)
    return ((whole * whole).sum(1) - 2 * nearest).sqrt() * learned["step"]


class _PatchFeatures:
    """Frame to N×C patch features."""

    def __init__(self, backbone: AnyBackbone, size: InputSize, device: torch.device) -> None:
        self._backbone, self._device = backbone, device
        self.grid = size.grid(backbone.grid_stride)
        self._taps = _LiteTaps(backbone, device) if isinstance(backbone, Backbone) else _timm_taps(backbone, device)

    def tensor(self, array: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(self._device)

    def __call__(self, frame: NDArray[np.uint8]) -> torch.Tensor:
        x = torch.tensor(np.ascontiguousarray(frame), device=self._device).permute(2, 0, 1)[None].float()
        maps = []
        for y, layer in zip(self._taps(x), self._backbone.layers, strict=True):
            if layer.stride < self._backbone.grid_stride:
                y = F.avg_pool2d(y, self._backbone.grid_stride // layer.stride)
            if layer.neighbourhood > 1:
                y = F.avg_pool2d(y, layer.neighbourhood, 1, layer.neighbourhood // 2)
            if y.shape[2:] != self.grid:
                y = F.interpolate(y, self.grid, mode="bilinear", align_corners=False)
            maps.append(y)
        return torch.cat(maps, 1)[0].flatten(1).T


def _timm_taps(backbone: GraphBackbone, device: torch.device) -> Callable[[torch.Tensor], Sequence[torch.Tensor]]:
    if not backbone.torch_form:
        raise ModelError(f"the backbone {backbone.name} exists as an OpenVINO graph only: use RUNTIME=openvino")
    try:
        from detector.backbones import unpacked
    except ImportError as error:
        raise ModelError(
            f"the backbone {backbone.name} needs timm: pip install 'defectvision[torch]' "
            "(in a clone: .venv/bin/pip install -e '.[torch]'), or use RUNTIME=openvino"
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
