"""The weights of a file and the parameters of a model, by name and shape."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from zerocast.workloads.checkpoint.forms import packed
from zerocast.workloads.checkpoint.reading import Checkpoint
from zerocast.workloads.errors import WorkloadError

if TYPE_CHECKING:
    from torch import nn

_WRAPPERS = ("module.", "_orig_mod.")
"""What torch's wrappers for several devices and for compilation put before every name."""
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


def _renamed(checkpoint: Checkpoint, model: nn.Module, state: Mapping[str, object]) -> dict[str, str]:
    """The names with the base model's prefix as it is, left out or added, or with a wrapper's, whichever fits most."""
    prefix = f"{getattr(model, 'base_model_prefix', '') or 'model'}."
    spellings: list[Callable[[str], str]] = [str, lambda name: name.removeprefix(prefix)]
    spellings += [partial("{}{}".format, front) for front in (prefix, *_WRAPPERS)]
    ways = ({name: spell(name) for name in state if spell(name) in checkpoint.shapes} for spell in spellings)
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
