"""The weights of a file and the parameters of a model, by name and shape."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from zerocast.workloads.checkpoint.forms import adapter, packed
from zerocast.workloads.checkpoint.quantised import Narrow
from zerocast.workloads.checkpoint.reading import Checkpoint
from zerocast.workloads.errors import WorkloadError

if TYPE_CHECKING:
    from torch import nn

_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|base_layer)\.")
"""What compilation, sharding, checkpoints of activations and adapters put into names."""
_FRONTS = ("module.", "base_model.model.")
"""What wrappers for several devices and for adapters put before every name."""
SHOWN = 3
"""Tensors that a message names."""


def matched(checkpoint: Checkpoint, model: nn.Module) -> dict[str, str]:
    """For each parameter and buffer that a checkpoint holds: its name in the model -> its name there.

    A weight that is tied is there under any of its names; the part of the model that others are built on may be saved
    without its own prefix, or alone.
    Raises `WorkloadError` for parameters that are not there, and for shapes that do not fit.
    """
    state = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    names = _renamed(checkpoint, model, state)
    held = {id(state[name]) for name in names}
    path = str(checkpoint.path)
    if (adapted := adapter(checkpoint.shapes)) and adapted not in names.values():
        raise WorkloadError(
            f"weights {path!r}: {adapted!r} is of an adapter, which the model has no layers for; merge it into the "
            "weights (merge_and_unload of peft) and save these, or give the network with its adapters as a factory"
        )
    missing = [name for name, each in model.named_parameters() if id(each) not in held]
    if missing and (form := packed(checkpoint.shapes)):
        raise WorkloadError(
            f"weights {path!r}: {form}; save the weights as they were before, or leave --weights out for a dense price"
        )
    if missing:
        lacking = ", ".join(f"{name!r} {tuple(state[name].shape)}" for name in missing[:SHOWN])
        near = difflib.get_close_matches(missing[0], checkpoint.shapes, n=SHOWN, cutoff=0.0)
        nearest = ", ".join(f"{name!r} {checkpoint.shapes[name]}" for name in near)
        raise WorkloadError(
            f"weights {path!r} are of another model: {len(missing)} of its parameters are not there, such as "
            f"{lacking}; of {len(checkpoint.shapes)} tensors in the file the nearest are {nearest}"
        )
    for name, there in names.items():
        wanted, found = tuple(state[name].shape), checkpoint.shapes[there]
        if wanted != found:
            raise WorkloadError(
                f"weights {path!r} are of another model: {there!r} has shape {found}, the model's {wanted}"
            )
    return names


def narrowed(checkpoint: Checkpoint, model: nn.Module) -> dict[str, Narrow]:
    """By their names in the model: how parameters are stored that a checkpoint keeps in fewer than 16 bits."""
    names = _renamed(checkpoint, model, dict(model.named_parameters(remove_duplicate=False)))
    return {name: checkpoint.narrow[there] for name, there in names.items() if there in checkpoint.narrow}


def _renamed(checkpoint: Checkpoint, model: nn.Module, state: Mapping[str, object]) -> dict[str, str]:
    """The names with the base model's prefix as it is, left out or added, or with that of a wrapper or whatever the
    first name in the file begins with, whichever fits most."""
    prefix = f"{getattr(model, 'base_model_prefix', '') or 'model'}."
    there = {_WRAPPERS.sub("", name): name for name in checkpoint.shapes} | {name: name for name in checkpoint.shapes}
    common = next((name.partition(".")[0] for name in there), "")
    fronts = dict.fromkeys((prefix, *_FRONTS, f"{common}."))
    spellings: list[Callable[[str], str]] = [str, lambda name: name.removeprefix(prefix)]
    spellings += [partial("{}{}".format, front) for front in fronts]
    ways = ({name: there[spell(name)] for name in state if spell(name) in there} for spell in spellings)
    return max(ways, key=len)


def load_into(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Put the weights into a model that has data of its own."""
    import torch

    names = matched(checkpoint, model)
    state = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, there in names.items():
            if name in state:
                state[name].copy_(checkpoint.read(there))
