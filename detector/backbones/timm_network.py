"""A network of timm in torch, cut after the last layer that is used."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.torch
import timm
import torch
from numpy.typing import NDArray

from detector.errors import ModelError

_SEED = 0
_FACTS = "backbone"
"""Key of the only metadata: the order of several would be chance, and with it the file's sha256."""
_ANY_SIZE = {"dynamic_img_size": True}
_COUNTER = "num_batches_tracked"
"""Ends the name of what batch normalisation counts while it learns; older files lack it, and features do without."""
NAMED = 4
"""Names that a message lists before it says how many more there are."""

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Output:
    """What a timm network can give: the output of the module ``name``."""

    index: int
    name: str
    channels: int
    stride: int


class TimmNetwork(torch.nn.Module):  # type: ignore[misc]
    """1×3×H×W float32, BGR 0..255 → the outputs of some layers, 1×channels×h×w. Normalises as timm says it has to be.

    Attributes:
        name: in timm.
        outputs: those it gives, finest first.
    """

    def __init__(self, name: str, network: Any, outputs: Sequence[Output], mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.name, self.outputs, self._mean, self._std = name, tuple(outputs), tuple(mean), tuple(std)
        try:
            self._indices = network.prune_intermediate_layers([output.index for output in outputs])
        except AttributeError as error:
            raise ModelError(f"this timm cannot cut {name} after a layer: pip install --upgrade timm") from error
        self.network = network.eval().requires_grad_(False)
        # 0..255, where timm counts 0..1
        self.register_buffer("mean", 255 * torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, picture: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rgb = (picture[:, [2, 1, 0]] - self.mean) / self.std
        maps = self.network.forward_intermediates(
            rgb, indices=self._indices, intermediates_only=True, output_fmt="NCHW"
        )
        return tuple(maps)

    def outputs_of(self, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """What its layers give for one picture (1×3×H×W float32, BGR 0..255)."""
        with torch.inference_mode():
            return [np.asarray(output.numpy(), np.float32) for output in self(torch.from_numpy(picture))]

    def state(self) -> State:
        """The tensors that make its features, by timm's names."""
        return {name: t for name, t in sorted(self.network.state_dict().items()) if not name.endswith(_COUNTER)}

    def take(self, state: State) -> None:
        """Use these tensors: all that :meth:`state` names, in the same shapes."""
        self.network.load_state_dict(state, strict=False)

    def sha256(self) -> str:
        """Over everything that makes its features what they are."""
        digest = hashlib.sha256(self._facts().encode())
        for name, tensor in self.state().items():
            digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def packed(self) -> bytes:
        """A safetensors file that :func:`unpacked` makes the same network of."""
        state = {name: tensor.clone().contiguous() for name, tensor in self.state().items()}
        return bytes(safetensors.torch.save(state, {_FACTS: self._facts()}))

    def _facts(self) -> str:
        layers = [output.name for output in self.outputs]
        return json.dumps({"timm": self.name, "layers": layers, "mean": self._mean, "std": self._std})


def unpacked(data: bytes) -> TimmNetwork:
    """The network of :meth:`TimmNetwork.packed`. Nothing is downloaded.

    Raises:
        ModelError: damaged, or this timm builds the network in another way.
    """
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = json.loads(header["__metadata__"][_FACTS])
        name, layers, mean, std = (facts[key] for key in ("timm", "layers", "mean", "std"))
        state = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the backbone's torch form is damaged: {error}") from error
    whole = created(name)
    network = TimmNetwork(name, whole, chosen(name, outputs(name, whole), layers), mean, std)
    wanted = network.state()
    if {key: tensor.shape for key, tensor in state.items()} != {key: tensor.shape for key, tensor in wanted.items()}:
        raise ModelError(
            f"timm {timm.__version__} builds {name} in another way than the timm this model was taught with: use "
            "RUNTIME=openvino, or teach it again"
        )
    network.take(state)
    return network


def created(name: str, **options: Any) -> Any:
    """timm's whole network of that name, on seeded random weights unless the options ask for others. A transformer is
    made for inputs of any size where it can be: its positions are then resampled or rotated to those of the input.

    Raises:
        ModelError: timm has no such network. Names a few like it.
    """
    require_known(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        try:
            return timm.create_model(name, **_ANY_SIZE, **options)
        except TypeError:  # it knows no such option: a convolutional one takes any size as it is
            torch.manual_seed(_SEED)
            return timm.create_model(name, **options)


def require_known(name: str) -> None:
    """Check that timm has a network of that name.

    Raises:
        ModelError: it has not. Names a few like it.
    """
    # is_model also keeps out names that make timm download or read a folder, as hf-hub:… and local-dir:… do.
    others = timm.list_models()
    if timm.is_model(name):
        try:
            timm.get_pretrained_cfg(name)
            return
        except RuntimeError:  # no such tag behind the dot
            others = timm.list_pretrained(f"{name.partition('.')[0]}.*")
    close = difflib.get_close_matches(name, others, NAMED, cutoff=0.5)
    hint = f"like it: {', '.join(close)}" if close else "timm.list_models() lists those there are"
    raise ModelError(f"timm has no network {name!r}; {hint}")


def outputs(name: str, network: Any) -> tuple[Output, ...]:
    """All that timm can give of its network, finest first.

    Raises:
        ModelError: timm does not say.
    """
    info = getattr(network, "feature_info", None)
    info = getattr(info, "info", info)
    if not info:
        raise ModelError(f"timm gives no features of {name}, only its answer: take another backbone")
    return tuple(
        Output(index, entry["module"], entry["num_chs"], entry["reduction"]) for index, entry in enumerate(info)
    )


def chosen(name: str, given: Sequence[Output], layers: Sequence[str] | None) -> tuple[Output, ...]:
    """The outputs of these names, finest first. Without names the last of stride 8 and the last of stride 16, and of a
    transformer, whose blocks all have one stride, those at a third and two thirds of its depth.

    Raises:
        ModelError: there are none such. Lists those there are.
    """
    there_are = f"its layers are {listed([f'{output.name} (stride {output.stride})' for output in given], 8)}"
    if layers is None:
        last = {output.stride: output for output in given}
        if one_grid(given):
            return given[max(1, len(given) // 3) - 1], given[max(2, 2 * len(given) // 3) - 1]
        if 8 not in last or 16 not in last:
            raise ModelError(
                f"{name} has no layers of stride 8 and 16: take another backbone, or name layers of it; {there_are}"
            )
        return last[8], last[16]
    by_name = {output.name: output for output in given}
    if not layers or (unknown := [layer for layer in layers if layer not in by_name]):
        raise ModelError(f"{name} has no layer {', '.join(unknown) if layers else 'without a name'}: {there_are}")
    return tuple(sorted({by_name[layer] for layer in layers}, key=lambda output: output.index))


def one_grid(given: Sequence[Output]) -> bool:
    """Whether all blocks of a network have the same patches, as a transformer's have."""
    return len(given) > 1 and len({output.stride for output in given}) == 1


def listed(names: Sequence[str], at_most: int = NAMED) -> str:
    """The first of these names, and how many more there are."""
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return f"{', '.join(names[:at_most])}{more}"
