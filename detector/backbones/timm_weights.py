"""Weights for a network of timm: from a file, or from the model hub, which is the only way anything is downloaded."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors.torch
import timm
import torch
from huggingface_hub.errors import HfHubHTTPError

from detector.backbones.timm_network import State, TimmNetwork, created, listed, require_known
from detector.errors import ModelError

_PATIENCE = 5.0
"""Seconds the hub has for a first answer. Left alone it would be asked for a minute."""
_WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Where training scripts put the weights among other things."""
_LEFT_OVER = ("fc", "head", "classifier", "mask_token")
"""Where the names begin of what only training needs, or the answer that is cut off."""


def read_weights(file: Path) -> State:
    """The tensors in a .safetensors file or in one of torch (.pth, .pt, .bin), by name. Code in it is not run.

    Raises:
        ModelError: it cannot be read, or holds something else.
    """
    try:
        if file.suffix == ".safetensors":
            content = safetensors.torch.load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"the weights {file} cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{file} is damaged or holds more than tensors, which could run code, so it was not loaded: save its state "
            "dict as .safetensors where you trust it"
        ) from error
    except Exception as error:  # damaged archives fail in any way there is
        raise ModelError(f"{file} is damaged or holds no weights ({type(error).__name__})") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    state = dict(content) if isinstance(content, Mapping) else {}
    state = {str(name).removeprefix("module."): value for name, value in state.items()}
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{file} holds no state dict, which is tensors by name: save model.state_dict()")
    return state


def take_from(file: Path, network: TimmNetwork, whole: frozenset[str]) -> None:
    """Give a network the weights of a file. Those of a classifier and of blocks past the cut may be left over.

    Args:
        network: cut already.
        whole: names of all tensors before it was cut.

    Raises:
        ModelError: a tensor is missing, unknown, of another shape or not finite.
    """
    state, wanted = read_weights(file), network.state()
    if missing := sorted(wanted.keys() - state.keys()):
        raise ModelError(f"{file} is not of {network.name}: it lacks {listed(missing)}; give the name it was made with")
    known = {name for name in state if name in whole or name.split(".")[0].startswith(_LEFT_OVER)}
    if unknown := sorted(state.keys() - known):
        raise ModelError(
            f"{file} is not of {network.name}, which has no {listed(unknown)}; give the name it was made with"
        )
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise ModelError(
                f"{file} is not of {network.name}: {name} is {_shape(state[name])} and has to be {_shape(tensor)}; "
                "give the name it was made with"
            )
        if not torch.isfinite(state[name]).all():
            raise ModelError(f"{file} is damaged: {name} holds numbers that are not finite")
    network.take({name: state[name].to(tensor.dtype) for name, tensor in wanted.items()})


def created_from_hub(name: str) -> Any:
    """timm's network of that name with its published weights: from the hub's cache on this machine, else downloaded.

    Raises:
        ModelError: there are none, or the hub is out of reach.
    """
    require_known(name)
    published = timm.get_pretrained_cfg(name)
    if not published.hf_hub_id:
        advice = f"download {published.url}, and give" if published.url else "give"
        raise ModelError(f"the hub has no weights of {name}: {advice} weights by --backbone-weights FILE")
    repository, _, revision = published.hf_hub_id.partition("@")
    place = repository, published.hf_hub_filename or "model.safetensors"
    try:
        if not isinstance(huggingface_hub.try_to_load_from_cache(*place, revision=revision or None), str):
            url = huggingface_hub.hf_hub_url(*place, revision=revision or None)
            huggingface_hub.get_hf_file_metadata(url, timeout=_PATIENCE)
    except HfHubHTTPError:
        pass  # an answer: timm knows other files to ask for
    except Exception as error:  # of whichever HTTP client the hub's package uses
        raise _out_of_reach(name) from error
    try:
        return created(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"the weights of {name} cannot be had from the model hub ({reason}): --backbone-weights FILE takes a local "
            "file"
        ) from error


def _out_of_reach(name: str) -> ModelError:
    return ModelError(
        f"the model hub, which has the weights of {name}, is out of reach: --backbone-weights FILE takes a local file"
    )


def _shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"
