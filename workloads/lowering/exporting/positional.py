"""Example inputs, however they are given, as positional arguments of a model's forward."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zerocast.workloads.errors import WorkloadError


def positional(model: nn.Module, inputs: Tensor | Sequence[Any] | Mapping[str, Any]) -> tuple[Any, ...]:
    """A tensor, positional arguments, or arguments by name, whose gaps take forward's defaults.

    Raises `WorkloadError` for a name that forward does not have, or takes by keyword alone, and for one that it needs.
    """
    if isinstance(inputs, Tensor):
        return (inputs,)
    if not isinstance(inputs, Mapping):
        return tuple(inputs)
    signature = inspect.signature(model.forward)
    names = list(signature.parameters)
    try:
        given = signature.bind(**inputs)
    except TypeError as error:
        kind = type(model).__name__
        raise WorkloadError(f"example_inputs: {kind}.forward: {error}; it takes {', '.join(names)}") from error
    given.apply_defaults()
    if unfit := [name for name in inputs if name in given.kwargs]:
        raise WorkloadError(
            f"example_inputs: forward takes {unfit[0]!r} by keyword alone; wrap the model in one that does not"
        )
    last = max((names.index(name) for name in inputs), default=-1)
    return tuple(given.arguments[name] for name in names[: last + 1])
