"""The same detector in torch: a second opinion on the first runtime, and a way onto hardware OpenVINO does not know."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from detector.backbone import CHANNELS, MEAN, SCALE, Backbone, Convolution
from detector.runtimes import Distances, Features


class TorchRuntime:
    """torch, float32, on the first GPU where there is one, else on the CPU."""

    name = "torch"

    def __init__(self, workers: int = 1) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def features(self, backbone: Backbone, image_size: int) -> Features:
        network = _Network(backbone, self._device)

        def features(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return np.asarray(network.patch_features(frame, image_size).cpu().numpy(), np.float32)

        return features

    def distances(
        self,
        backbone: Backbone,
        image_size: int,
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        bank: NDArray[np.float32],
    ) -> Distances:
        network = _Network(backbone, self._device)
        centre, spread, normal = (torch.from_numpy(array.copy()).to(self._device) for array in (mean, std, bank))

        def distances(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
            with torch.inference_mode():
                patches = (network.patch_features(frame, image_size) - centre) / spread
                nearest = torch.cdist(patches, normal).amin(1)
                return np.asarray(nearest.reshape(image_size // 8, image_size // 8).cpu().numpy(), np.float32)

        return distances


class _Network:
    def __init__(self, backbone: Backbone, device: torch.device) -> None:
        self._backbone, self._device = backbone, device
        every = (backbone.stem, *(c for block in backbone.blocks for c in block.convolutions))
        self._tensors = {
            id(c): (
                torch.from_numpy(np.ascontiguousarray(c.weight)).to(device),
                torch.from_numpy(c.bias.copy()).to(device),
            )
            for c in every
        }

    def patch_features(self, frame: NDArray[np.uint8], image_size: int) -> torch.Tensor:
        x = torch.tensor(np.ascontiguousarray(frame), device=self._device).permute(2, 0, 1)[None].float()
        x = self._convolution((x - MEAN) / SCALE, self._backbone.stem)
        outputs = []
        for number, block in enumerate(self._backbone.blocks):
            y = x
            for convolution in block.convolutions:
                y = self._convolution(y, convolution)
            x = x + y if block.residual else y
            if number in (4, 10):
                outputs.append(F.avg_pool2d(x, 3, 1, 1))
        side = image_size // 8
        deep = F.interpolate(outputs[1], (side, side), mode="bilinear", align_corners=False)
        return torch.cat((outputs[0], deep), 1).permute(0, 2, 3, 1).reshape(side * side, CHANNELS)

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
